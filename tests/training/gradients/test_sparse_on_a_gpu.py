"""Gradients by the active pairs on a GPU, which is pretended by tensors without values."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from sae_cli.assembly.compute import build_gradients
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.prepare import prepare
from sae_cli.model.activations.topk import BatchTopK, TopK
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.objective import Objective
from sae_cli.model.reconstruction import MSE, Nested, Reconstruction
from sae_cli.training.devices import Device
from sae_cli.training.gradients import sparse
from sae_cli.training.gradients.autograd import Autograd
from sae_cli.training.gradients.sparse import Sparse
from tests.conftest import Configure
from tests.training.gradients.test_sparse import drawn
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
def test_a_step_stays_on_the_gpu_and_reads_nothing_back(
    activation: TopK | BatchTopK, prefixes: list[float]
) -> None:
    """Tensors without values raise an error where one is asked for, or two devices meet."""
    with FakeTensorMode():
        model = drawn(activation)
        loss: Reconstruction = MSE(reduction="mean")
        if prefixes:
            loss = Nested(reduction="mean", prefixes=prefixes).for_network(model)
        move_(model)
        gradients = Sparse(model, Objective(loss, None))
        x = torch.zeros(33, 12, device="cuda")
        terms, found = gradients(x, x)
        assert gradients.capturable
        assert all(one.is_cuda for one in (*terms.values(), *found))
        assert [one.shape for one in found] == [one.shape for one in model.parameters()]
        assert all(one.dtype == torch.float32 for one in found)


PAIRS = [
    (("model=topk",), 16384, True),
    (("model=batch_topk",), 16384, True),
    (("model=matryoshka", "revival=none"), 16384, True),
    (("model=topk",), 4096, False),
    # More than one in 128 is active.
    (("model=topk", "activation.k=256"), 16384, False),
    # What is dead is read back, so that a step takes many launches.
    (("model=topk", "revival=auxk"), 16384, False),
    (("model=topk", "revival=auxk"), 65536, True),
]


@pytest.mark.parametrize(("page", "n_latents", "by_pairs"), PAIRS, ids=str)
def test_pairs_are_chosen_on_a_gpu_where_there_are_many_pre_codes(
    page: tuple[str, ...], n_latents: int, by_pairs: bool, configure: Configure
) -> None:
    of_data = (f"architecture.n_latents={n_latents}", "batch_size=1024", "device=cpu")
    config = configure(page[0], "activation.k=32", *page[1:], *of_data)
    (stage,) = prepare(config, build_parts(config)).training.stages
    assert isinstance(build_gradients(config, GPU, stage), Sparse) == by_pairs
    in_bfloat16 = build_gradients(config, replace(GPU, bfloat16=True), stage)
    assert isinstance(in_bfloat16, Autograd)


@pytest.mark.gpu
@pytest.mark.parametrize("page", ["topk", "batch_topk", "matryoshka"])
def test_a_captured_step_by_pairs_gives_what_a_plain_one_gives(
    page: str, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse, "GPU_FROM", 0)
    monkeypatch.setattr(sparse, "GPU_SPARSE_FROM", sparse.SPARSE_FROM)
    results = []
    for captured in (True, False):
        own = (f"model={page}", "revival=none", "activation.k=8", "device=cuda")
        step, data = make_step(own, configure, 32)
        assert isinstance(step.update.gradients, Sparse)
        if not captured:
            step._captured = None
        targets = [*data.shuffled(torch.arange(8 * 32 + 5), 32)]
        torch.cuda.set_sync_debug_mode("error")
        try:
            for target in targets:
                step(target, 0.01)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        results.append([one.detach().cpu() for one in step.update.gradients.parameters])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
