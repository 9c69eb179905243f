"""How a model is trained: the loop, the step, gradients, optimizers, schedules and metrics.

It knows neither configurations nor paths, and nothing here writes a file.
"""
