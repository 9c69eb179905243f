"""What a run leaves on disk: its layout, how files are written, its lock and its checkpoints.

Nothing here trains, draws or reads a configuration; bytes and plain values come in and go out.
"""
