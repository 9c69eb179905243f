"""What is typed: arguments, exit codes, and one file for each command.

A command reads its arguments and calls ``runs`` or ``results``; it trains and writes nothing.
"""
