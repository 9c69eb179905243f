"""Plug-ins: Python files and packages of the user's own that register parts.

They are code, so one is loaded only because it was named a moment ago: on the command line, in the
environment variable ``SAE_PLUGINS``, or as an argument in Python. No file of a run folder and no
page can name one.
"""
