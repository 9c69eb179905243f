"""Decoding the few codes that are active: what the whole product gives, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Generator

from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.prepare import prepare
from sae_cli.model.layers import linear_of_few
from tests.conftest import Configure


@pytest.mark.parametrize("active", [[], [0], [0, 3, 4], range(5)])
def test_sums_of_active_codes_are_the_product(active: list[int]) -> None:
    random = np.random.default_rng(0)
    codes = np.zeros((5, 30))
    for row in active:
        codes[row, random.permutation(30)[:4]] = random.normal(size=4)
    weight, bias = random.normal(size=(7, 30)), random.normal(size=7)
    given = [torch.from_numpy(one) for one in (codes, weight, bias)]
    np.testing.assert_allclose(linear_of_few(*given).numpy(), codes @ weight.T + bias, rtol=1e-9)
    without = linear_of_few(given[0], given[1], None)
    np.testing.assert_allclose(without.numpy(), codes @ weight.T, rtol=1e-9, atol=1e-12)


def test_what_is_not_a_number_stays_so() -> None:
    codes = torch.zeros(2, 9)
    codes[1, 4] = torch.nan
    decoded = linear_of_few(codes, torch.ones(3, 9), torch.zeros(3))
    assert decoded.isnan().tolist() == [[False] * 3, [True] * 3]


@pytest.mark.parametrize("model", ["topk", "batch_topk", "matryoshka"])
@pytest.mark.parametrize("k", [3, 40])
def test_a_pass_is_the_same_with_and_without_a_gradient(
    model: str, k: int, configure: Configure
) -> None:
    config = configure(f"model={model}", f"activation.k={k}", "device=cpu")
    autoencoder = prepare(config, build_parts(config)).training.autoencoder
    x = torch.rand(20, 1, 8, 8, generator=Generator().manual_seed(0))
    with_gradient = autoencoder(x)
    with torch.no_grad():
        without = autoencoder(x)
        decoded = autoencoder.decode(without.codes)
    assert without.x_hat.shape == x.shape
    torch.testing.assert_close(without.x_hat, with_gradient.x_hat.detach())
    assert torch.equal(decoded, without.x_hat)
