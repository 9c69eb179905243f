"""Results that are the same to the bit."""

from __future__ import annotations

import torch
from torch import Tensor

from sae_cli.training.gradients.recording import Result


def same_results(one: Result, other: Result) -> bool:
    """Whether two results are the same, to the bit."""
    terms = all(same(value, other[0][name]) for name, value in one[0].items())
    return terms and all(map(same, one[1], other[1]))


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same bits; one NaN is as another."""
    if one.dtype != other.dtype:
        return False
    if one.dtype != torch.float32:
        return torch.equal(one, other)
    bits, other_bits = one.view(torch.int32), other.view(torch.int32)
    if torch.equal(bits, other_bits):
        return True
    return bool(((bits == other_bits) | (one.isnan() & other.isnan())).all())
