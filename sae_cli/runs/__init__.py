"""One run from its beginning to its end: begin, train, save, draw, resume, reproduce.

How a step is computed is in ``training``, how a file is written in ``run_folder``.
"""
