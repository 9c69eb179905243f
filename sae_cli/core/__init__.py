"""Registries, options, errors, text and signals: what every other package builds on.

Nothing here imports from the rest of the package, or knows what an auto-encoder is.
"""
