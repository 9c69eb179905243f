"""Decoding the few codes that are active: what the whole product gives, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.prepare import prepare
from sae_cli.model import autoencoder
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.activations.topk import TopK
from sae_cli.model.autoencoder import AutoEncoder
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


@pytest.mark.parametrize("model", ["topk", "batch_topk", "matryoshka", "jumprelu", "tied"])
@pytest.mark.parametrize("side", [8, 14])
def test_a_sparse_pass_is_the_dense_one(
    model: str, side: int, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((50, 1, side, side)))
    k = [] if model in {"jumprelu", "tied"} else ["activation.k=2"]
    data = ("dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "dataset.axes=channels_first")
    config = configure(f"model={model}", *k, *data, "device=cpu")
    model_of_it = prepare(config, build_parts(config)).training.autoencoder
    sums: list[torch.Size] = []

    def recorded(codes: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        sums.append(weight.shape)
        return linear_of_few(codes, weight, bias)

    monkeypatch.setattr(autoencoder, "linear_of_few", recorded)
    for n in (20, 300):
        x = torch.rand(n, 1, side, side, generator=Generator().manual_seed(0))
        sums.clear()
        with torch.no_grad():
            dense, sparse = (model_of_it(x, training=True, sparsely=few) for few in (False, True))
        assert torch.equal(dense.codes, sparse.codes)
        assert sparse.x_hat.shape == x.shape
        torch.testing.assert_close(dense.x_hat, sparse.x_hat)
        # Few examples, or few features, do not make up for the search for what is active.
        assert bool(sums) == (len(k) == 1 and n == 300 and side == 14)


class Doubled(nn.Linear):
    """A layer that is linear, and another one."""

    def forward(self, input: Tensor) -> Tensor:
        return 2.0 * super().forward(input)


def test_only_a_plain_linear_layer_is_taken_for_one() -> None:
    shown: list[Tensor] = []
    hooked = nn.Linear(100, 200)
    hooked.register_forward_hook(lambda module, given, made: shown.append(made))
    for layer in (Doubled(100, 200), hooked):
        made = AutoEncoder(nn.Identity(), TopK(k=2), layer, Pointwise("identity"), 100)
        x = torch.randn(300, 100, generator=Generator().manual_seed(0))
        with torch.no_grad():
            assert torch.equal(made(x).x_hat, made(x, sparsely=True).x_hat)
    assert len(shown) == 2
