"""TopK and BatchTopK where several processes hold some of the latents each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sae_cli.core.ranks.latents import latents_of
from sae_cli.core.ranks.together import Together, trained_together
from sae_cli.model.activations.activation import Activation
from sae_cli.model.activations.topk import BatchTopK, TopK, largest_of_all

RANDOM = np.random.default_rng(0)
DISTINCT = RANDOM.permutation(8 * 21).reshape(8, 21).astype(np.float32) - 40.0
EQUAL = RANDOM.integers(-2, 4, (8, 21)).astype(np.float32)


def codes_of(activation: Activation, pre_codes: Tensor, size: int) -> list[Tensor]:
    """The codes of each process, which are asked for what they send first, and then all get it."""
    n = pre_codes.shape[1]
    parts = [pre_codes[:, latents_of(rank, size, n)] for rank in range(size)]
    sent: dict[int, Tensor] = {}
    found: list[Tensor] = []
    for answers in (False, True):
        for rank in range(size):
            one = Together.__new__(Together)
            one.rank, one.size, one.shares = rank, size, "latents"

            def gather(self: Together, values: Tensor, *, known: bool = answers) -> list[Tensor]:
                sent.setdefault(self.rank, values)
                return [sent[i] for i in range(size)] if known else [values] * self.size

            with pytest.MonkeyPatch.context() as patch, trained_together(one):
                patch.setattr(Together, "gather", gather)
                codes = activation.in_training(parts[rank])
            if answers:
                found.append(codes)
    return found


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("k", [1, 4, 13])
def test_the_largest_of_all_latents_are_kept(k: int, size: int) -> None:
    """Of 21 latents, which 2 and 5 do not divide; 5 processes hold fewer than 13 each."""
    found = torch.cat(codes_of(TopK(k=k), torch.from_numpy(DISTINCT), size), 1).numpy()
    least = np.sort(DISTINCT, axis=1)[:, -k:][:, :1]
    assert np.array_equal(found, np.where(least <= DISTINCT, np.maximum(DISTINCT, 0.0), 0.0))


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("k", [1, 4])
def test_the_largest_of_all_latents_and_examples_are_kept(k: int, size: int) -> None:
    activation = BatchTopK(k=k, threshold_rate=0.1)
    found = torch.cat(codes_of(activation, torch.from_numpy(DISTINCT), size), 1).numpy()
    least = np.sort(DISTINCT, axis=None)[-8 * k]
    assert np.array_equal(found, np.where(least <= DISTINCT, np.maximum(DISTINCT, 0.0), 0.0))


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("k", [1, 3, 9])
def test_of_equal_ones_as_many_as_one_process_keeps(k: int, size: int) -> None:
    """And their values are the same; those of the first process come first."""
    pre_codes = torch.from_numpy(EQUAL)
    found = [part.numpy() for part in codes_of(TopK(k=k), pre_codes, size)]
    alone = TopK(k=k)(pre_codes).numpy()
    assert np.array_equal(np.sort(np.concatenate(found, 1)), np.sort(alone))
    for row in range(len(EQUAL)):
        least = np.sort(EQUAL[row])[-k]
        left = k - int((EQUAL[row] > least).sum())
        for rank, part in enumerate(found):
            equal = int((EQUAL[row, latents_of(rank, size, 21)] == least).sum())
            kept = min(left, equal)
            left -= kept
            if least > 0:
                assert int((part[row] == least).sum()) == kept


def test_of_equal_ones_in_a_batch() -> None:
    activation = BatchTopK(k=2, threshold_rate=0.1)
    parts = codes_of(activation, torch.ones(5, 6), 3)
    # Each holds 2 latents, and so 10 codes; 10 are kept.
    assert [int(part.count_nonzero()) for part in parts] == [10, 0, 0]


@pytest.mark.parametrize("n", [1, 4, 7, 12])
def test_against_a_stable_sort(n: int) -> None:
    found = RANDOM.integers(0, 5, (3, 40, 4)).astype(np.float32)
    kept = largest_of_all(torch.from_numpy(found), n).numpy()
    for row in range(40):
        flat = found[:, row].ravel()
        order = np.lexsort((np.arange(12), -flat))[:n]
        assert {*np.flatnonzero(kept[:, row].ravel())} == {*order}


def test_what_is_not_a_number_is_kept() -> None:
    """One latent has diverged: the loss is to say so."""
    pre_codes = torch.from_numpy(DISTINCT).clone()
    pre_codes[:, 3] = torch.nan
    for size in (2, 3):
        assert codes_of(TopK(k=2), pre_codes, size)[0].isnan().any(1).all()


def test_latents_are_shared_out() -> None:
    for n, size in [(7, 3), (6, 2), (5, 5), (100, 7)]:
        parts = [latents_of(rank, size, n) for rank in range(size)]
        assert [i for part in parts for i in part] == [*range(n)]
        assert {len(part) for part in parts} <= {n // size, n // size + 1}
