"""Where names meet code: a checked configuration becomes parts, data, a network and stages.

Each part is built once, here; nothing is trained or written to a run folder.
"""
