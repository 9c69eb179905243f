"""Many runs of one command: their folder, their order and their results.

A job is an ordinary run; what a run does is not repeated here.
"""
