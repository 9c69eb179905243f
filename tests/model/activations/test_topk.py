"""TopK and BatchTopK: how many codes are active, ties, the learned threshold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sae_cli.core.errors import ConfigError
from sae_cli.model.activations.activation import Activation
from sae_cli.model.activations.topk import MANY, BatchTopK, TopK

PRE_CODES = torch.randn(50, 30, generator=torch.Generator().manual_seed(0)) + 2.0


def batch_topk(k: int = 4, rate: float = 0.01) -> BatchTopK:
    return BatchTopK(k=k, threshold_rate=rate)


def test_exactly_k_of_each_example_are_active_and_they_are_the_largest() -> None:
    codes = TopK(k=4)(PRE_CODES)
    for found, pre in zip(codes.numpy(), PRE_CODES.numpy(), strict=True):
        assert set(np.flatnonzero(found)) == set(np.argsort(pre)[-4:])
        assert np.array_equal(found[found > 0], pre[found > 0])


def test_no_more_than_k_of_equal_ones() -> None:
    same = torch.ones(5, 12)
    assert TopK(k=4)(same).count_nonzero(1).tolist() == [4] * 5
    assert batch_topk().in_training(same).count_nonzero() == 20


def test_what_is_not_positive_is_never_active() -> None:
    pre_codes = torch.tensor([[3.0, -1.0, 0.0, -2.0], [-1.0, -1.0, -5.0, -2.0]])
    expected = torch.tensor([[3.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert torch.equal(TopK(k=3)(pre_codes), expected)
    assert torch.equal(batch_topk(3).in_training(pre_codes), expected)


def test_values_and_places_make_the_codes() -> None:
    activation = TopK(k=4)
    values, indices = activation.kept(PRE_CODES)
    assert values.shape == indices.shape == (50, 4)
    assert torch.equal(activation(PRE_CODES).gather(1, indices), values)
    assert activation(PRE_CODES).sum() == pytest.approx(float(values.sum()))


@pytest.mark.parametrize("width", [512, 500, 1023])
def test_of_many_values_the_largest_are_kept_too(width: int) -> None:
    rows = -(-MANY // width)
    pre_codes = torch.randn(rows, width, generator=torch.Generator().manual_seed(1))
    values, indices = TopK(k=8).kept(pre_codes)
    expected = np.argsort(pre_codes.numpy(), axis=1)[:, -8:]
    assert np.array_equal(np.sort(indices.numpy(), axis=1), np.sort(expected, axis=1))
    assert np.array_equal(values.numpy(), np.take_along_axis(pre_codes.numpy(), indices.numpy(), 1))


def test_of_few_values_the_order_is_that_of_earlier_versions() -> None:
    pre_codes = torch.randn(32, 128, generator=torch.Generator().manual_seed(1))
    _, indices = TopK(k=8).kept(pre_codes)
    assert torch.equal(indices, pre_codes.topk(8, dim=1, sorted=False).indices)


def test_k_on_average_over_a_batch() -> None:
    codes = batch_topk().in_training(PRE_CODES)
    counts = codes.count_nonzero(1)
    assert counts.sum() == 200
    assert len(set(counts.tolist())) > 1
    assert codes[codes > 0].min() >= PRE_CODES[codes == 0].max()


def test_the_threshold_is_the_exponential_mean_of_the_smallest_codes() -> None:
    activation = batch_topk(rate=0.25)
    assert activation.threshold == 0.0
    expected: float | None = None
    for number in range(6):
        pre_codes = PRE_CODES * (1.0 + number)
        activation.learn_(activation.in_training(pre_codes))
        smallest = float(np.sort(pre_codes.numpy(), axis=None)[-200])
        expected = smallest if expected is None else 0.75 * expected + 0.25 * smallest
        assert float(activation.threshold) == pytest.approx(expected, rel=1e-6)
    activation.learn_(torch.zeros(50, 30))
    assert float(activation.threshold) == pytest.approx(expected, rel=1e-6)


def test_in_use_an_example_does_not_see_its_batch() -> None:
    activation = batch_topk()
    activation.learn_(activation.in_training(PRE_CODES))
    codes = activation(PRE_CODES)
    assert torch.equal(codes, PRE_CODES * (activation.threshold < PRE_CODES))
    alone = torch.cat([activation(row[None]) for row in PRE_CODES])
    assert torch.equal(codes, alone)
    # Training has kept the one that the threshold comes from.
    assert codes.count_nonzero() == 199


@pytest.mark.parametrize("activation", [TopK(k=10), batch_topk(10)])
def test_k_is_at_most_the_number_of_latents(activation: Activation) -> None:
    activation.fit_to_([10])
    with pytest.raises(ConfigError, match=r"activation\.k=10 .* the 9 latents .*; give at most"):
        activation.fit_to_([20, 9])
