"""Gradients by the active pairs on a GPU, which is pretended by tensors without values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from sae_cli.assembly.compute import build_gradients
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.prepare import prepare
from sae_cli.model.activations.topk import BatchTopK, TopK
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.objective import Objective
from sae_cli.model.reconstruction import MSE, Nested, Reconstruction
from sae_cli.training.devices import Device
from sae_cli.training.gradients import sparse
from sae_cli.training.gradients.sparse import Sparse
from tests.conftest import Configure
from tests.training.gradients.test_sparse import batch, drawn
from tests.training.test_step import make_step

GPU = Device(torch.device("cuda"))
ACTIVATIONS = [TopK(k=5), BatchTopK(k=5, threshold_rate=0.1)]


def move_(model: AutoEncoder) -> None:
    """Put tensors on a pretended GPU in the place of all that a model has."""
    for module in model.modules():
        for name, one in module._parameters.items():
            if one is not None:
                module._parameters[name] = nn.Parameter(torch.empty(one.shape, device="cuda"))
        for name, other in module._buffers.items():
            if other is not None:
                module._buffers[name] = torch.empty(other.shape, device="cuda")


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda one: one.name)
@pytest.mark.parametrize("prefixes", [[], [0.1, 0.5]])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_step_stays_on_the_gpu_and_reads_nothing_back(
    activation: TopK | BatchTopK, prefixes: list[float], bfloat16: bool
) -> None:
    """Tensors without values raise an error where one is asked for, or two devices meet."""
    with FakeTensorMode():
        model = drawn(activation)
        loss: Reconstruction = MSE(reduction="mean")
        if prefixes:
            loss = Nested(reduction="mean", prefixes=prefixes).for_network(model)
        move_(model)
        gradients = Sparse(model, Objective(loss, None), bfloat16=bfloat16)
        x = torch.zeros(33, 12, device="cuda")
        terms, found = gradients(x, x)
        assert gradients.capturable
        assert all(one.is_cuda for one in (*terms.values(), *found))
        assert [one.shape for one in found] == [one.shape for one in model.parameters()]
        assert all(one.dtype == torch.float32 for one in found)


@pytest.mark.parametrize("activation", [TopK(k=5), BatchTopK(k=4, threshold_rate=0.1)])
def test_pre_codes_in_bfloat16_against_autograd(activation: TopK | BatchTopK) -> None:
    """All but the pre-codes is in float32, and they differ by their rounding."""
    model, x = drawn(activation), batch(33)
    model.train()
    terms, found = Sparse(model, Objective(MSE(reduction="sum"), None), bfloat16=True)(x, x)

    encoder, (atoms, bias) = model.encoder[-1], linear(model)  # type: ignore[index]
    given = (x - bias, encoder.weight, encoder.bias)
    exact = F.linear(*given)
    rounded = F.linear(*(one.bfloat16() for one in given)).float()
    assert (rounded != exact).any()
    pre_codes = exact + (rounded - exact).detach()
    if isinstance(activation, BatchTopK):
        least = rounded.flatten().topk(activation.k * len(x)).values[-1]
    else:
        least = rounded.topk(activation.k).values[:, -1:]
    codes = torch.where(rounded >= least, pre_codes, 0.0).relu()
    # A tie would be kept by the comparison alone.
    assert int((rounded >= least).sum()) == activation.k * len(x)
    loss = (codes @ atoms.t() + bias - x).square().sum() / len(x)
    expected = torch.autograd.grad(loss, list(model.parameters()))
    assert float(terms["loss"]) == pytest.approx(loss.item(), rel=1e-5)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def linear(model: AutoEncoder) -> tuple[Tensor, Tensor]:
    made = model.linear_decoder()
    assert made is not None and made[1] is not None
    return made[0], made[1]


@pytest.mark.parametrize(
    ("page", "n_latents", "by_pairs"),
    [
        (("model=topk",), 16384, True),
        (("model=topk", "device.precision=bfloat16"), 16384, True),
        (("model=batch_topk",), 16384, True),
        (("model=matryoshka", "revival=none"), 16384, True),
        (("model=topk",), 4096, False),
        # What is dead is read back, so that a step is no single launch.
        (("model=topk", "revival=auxk"), 16384, False),
        (("model=topk", "revival=auxk"), 65536, True),
    ],
    ids=str,
)
def test_pairs_are_chosen_on_a_gpu_where_there_are_many_pre_codes(
    page: tuple[str, ...], n_latents: int, by_pairs: bool, configure: Configure
) -> None:
    own = (f"architecture.n_latents={n_latents}", "activation.k=32", "batch_size=1024")
    config = configure(*page, *own, "device=cpu")
    (stage,) = prepare(config, build_parts(config)).training.stages
    assert isinstance(build_gradients(config, GPU, stage), Sparse) == by_pairs


@pytest.mark.gpu
@pytest.mark.parametrize("page", ["topk", "batch_topk", "matryoshka"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_captured_step_by_pairs_gives_what_a_plain_one_gives(
    page: str, precision: str, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse, "GPU_FROM", 0)
    own = (f"model={page}", "revival=none", f"device.precision={precision}", "device=cuda")
    results = []
    for captured in (True, False):
        step, data = make_step(own, configure, 32)
        assert isinstance(step._gradients, Sparse)
        if not captured:
            step._take = step._once
        targets = [*data.shuffled(torch.arange(8 * 32 + 5), 32)]
        torch.cuda.set_sync_debug_mode("error")
        try:
            for target in targets:
                step(target, 0.01)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        results.append([one.detach().cpu() for one in step._gradients.parameters])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
