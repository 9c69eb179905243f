"""Gradients of the objective: by autograd, by hand to the same bits, or compiled.

Derivatives by hand live in ``derivatives`` alone; a part without one is left to autograd.
"""
