"""Auto-encoders, their parts and the objective that they are trained to, as papers write them.

No training, no data and no files here; derivatives by hand are in ``training.gradients``.
"""
