"""What processes that hold some of the latents each can train, and what is refused in one line."""

from __future__ import annotations

import math

import pytest

from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.latents import check_shares
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import Training, build_training
from sae_cli.core.errors import ConfigError
from sae_cli.core.ranks.launched import Launch
from sae_cli.model.held import axes_of_latents, n_parameters
from tests.conftest import Configure

REFUSED = {
    "AuxK": ("model=topk revival=auxk", "revival=auxk", "revival=none"),
    "resampling": ("model=sparse_l1 revival=resample", "revival=resample", "revival=none"),
    "head": ("model=ae head=classifier", "head=classifier", "head=none"),
    "greedy": ("model=stacked schedule=greedy", "schedule=greedy", "schedule=joint"),
    "hidden layers": ("model=tied", "architecture.hidden_sizes=[100]", "architecture.hidden_sizes"),
    "conv": ("model=conv", "architecture=conv", "architecture=sae"),
    "fields": ("model=local_filters penalty=l1", "architecture=local", "architecture=sae"),
    "recurrent": ("model=recurrent", "architecture=recurrent", "architecture=sae"),
    "variational": (
        "model=vae architecture.hidden_sizes=[]",
        "activation=gaussian",
        "activation=topk",
    ),
    "inference": ("model=sparse_coding", "inference=", "inference=none"),
    "unrolled": ("model=lista inference=none", "architecture=unrolled", "architecture=sae"),
    "nested": ("model=matryoshka revival=none", "reconstruction=nested", "reconstruction=mse"),
    "pools": ("model=group_sparse", "penalty=group", "penalty=l1"),
    "L-BFGS": ("model=ae optimizer=lbfgs", "optimizer=lbfgs", "optimizer=adam"),
    "compiled": ("model=sparse_l1 compile=on", "compile=on", "compile=off"),
}


@pytest.fixture(autouse=True)
def second_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    launch = Launch(1, 3, 1, 3)
    for module in ("latents", "ranks"):
        monkeypatch.setattr(f"sae_cli.assembly.{module}.launched", lambda: launch)


def build(configure: Configure, *words: str) -> Training:
    config = configure("device.share=latents", "dataset.test=1500", *words)
    return build_training(config, build_parts(config), read_dataset(config))


@pytest.mark.parametrize("kind", REFUSED)
def test_what_needs_all_latents_is_refused(kind: str, configure: Configure) -> None:
    words, given, instead = REFUSED[kind]
    with pytest.raises(ConfigError) as caught:
        build(configure, "device=cpu", *words.split())
    line = str(caught.value)
    assert line.startswith(given) and "\n" not in line
    assert "device.share=latents gives each some of them" in line
    assert f"choose {instead}" in line and line.endswith("or device.share=rows")


def test_fewer_latents_than_processes(configure: Configure) -> None:
    with pytest.raises(ConfigError, match=r"more processes \(3\) than there are latents \(2\)"):
        build(configure, "model=topk", "architecture.n_latents=2", "activation.k=1")


def test_one_process(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sae_cli.assembly.latents.launched", lambda: None)
    with pytest.raises(ConfigError, match=r"this is one; start it with torchrun, or give device\."):
        check_shares(configure("device.share=latents"))
    check_shares(configure())


@pytest.mark.parametrize("model", ["topk", "batch_topk", "jumprelu", "gated", "sparse_l1", "tied"])
def test_a_process_builds_its_latents_alone(
    model: str, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 50 latents the second of three has those from 16 on, with the weights of one process."""
    words: tuple[str, ...] = ("architecture.n_latents=50", f"model={model}")
    if model == "tied":
        words = (*words, "architecture.hidden_sizes=[]", "architecture.hidden_activations=[]")
    held = build(configure, *words).autoencoder
    monkeypatch.setattr("sae_cli.assembly.latents.launched", lambda: None)
    whole = build(configure, *words).autoencoder
    assert (held.n_held, held.n_latents, whole.n_held) == (17, 50, 50)
    axes = axes_of_latents(held)
    assert axes == axes_of_latents(whole) and len(axes) >= (1 if model == "tied" else 2)
    named = dict(whole.named_parameters())
    for name, own in held.named_parameters():
        if name in axes:
            assert own.shape[axes[name]] == 17
            expected = named[name].movedim(axes[name], 0)[16:33]
            assert (own.movedim(axes[name], 0) == expected).all()
        else:
            assert own.shape == named[name].shape and own.ndim == 1
    assert n_parameters(held) == n_parameters(whole)
    assert n_parameters(whole) == sum(math.prod(p.shape) for p in whole.parameters())
