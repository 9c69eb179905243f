"""Readers of file formats, and the cache of decoded files.

A reader treats every file as a stranger's: it takes no more memory than the file can hold, and
raises nothing but a ``ConfigError``.
"""
