"""Dictionaries in the files of other libraries: one file each for what is read and written.

A ``Dictionary`` stands between them and our own auto-encoders. Nothing here changes a run, and no
file is ever unpickled.
"""
