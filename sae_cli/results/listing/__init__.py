"""Runs as a list: read as plain data, chosen by conditions, sorted, and shown beside each other.

Thousands are read in a second or two, so that nothing here imports torch. A run that is damaged or
at work is listed, too, with what can be read of it.
"""
