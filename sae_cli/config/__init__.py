"""From YAML pages and a command line to one checked ``RunConfig``.

The only package that knows Hydra, but for ``commands.launch``; it builds no part and trains
nothing.
"""
