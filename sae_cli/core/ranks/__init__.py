"""Ranks: the processes that train one run together, which ``torchrun`` has started.

They know each other's numbers, messages and sums; what is summed, and what a run is, is for the
floors above. PyTorch's distributed package is used here alone, and only under ``torchrun``.
"""
