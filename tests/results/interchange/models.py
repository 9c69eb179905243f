"""Models to export, with weights as a training leaves them: none of them 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_cli.assembly.network import Network, build_network, build_network_parts
from sae_cli.core.shapes import REALS, DataShape
from sae_cli.datasets.inputs import DataRecord, Inputs
from sae_cli.model.activations.topk import BatchTopK
from sae_cli.results.load import Run
from tests.configured import configured

SHAPE = DataShape((1, 3, 4), None)
DIVISOR = 4.0
SAE = ("architecture.n_latents=20", "architecture.bias_init=zeros")
DENSE = ("model=sparse_l1", "activation=relu", "architecture.n_latents=20")
FREE = ("architecture.unit_norm_decoder=false",)
NOT_SUBTRACTED = ("architecture.subtract_bias=false",)

MODELS = {
    "topk": ("model=topk", "activation.k=3", *SAE),
    "topk, nothing subtracted": ("model=topk", "activation.k=3", *SAE, *NOT_SUBTRACTED),
    "batch_topk": ("model=batch_topk", "activation.k=3", *SAE),
    "batch_topk, nothing subtracted": ("model=batch_topk", "activation.k=3", *SAE, *NOT_SUBTRACTED),
    "jumprelu": ("model=jumprelu", *SAE),
    "jumprelu, nothing subtracted": ("model=jumprelu", *SAE, *NOT_SUBTRACTED),
    "gated": ("model=gated", *SAE),
    "gated, nothing subtracted": ("model=gated", *SAE, *NOT_SUBTRACTED),
    "relu": ("model=topk", "activation=relu", *SAE),
    "relu, atoms of any norm": ("model=topk", "activation=relu", *SAE, *FREE),
    "relu, nothing subtracted": ("model=topk", "activation=relu", *SAE, *NOT_SUBTRACTED),
    "dense relu": DENSE,
    "dense relu, atoms of any norm": (*DENSE, *FREE),
    "dense relu, tied": (*DENSE, "architecture.tied=true"),
    "dense topk": (*DENSE, "activation=topk", "activation.k=3", "penalty=none"),
    "dense jumprelu": (*DENSE, "activation=jumprelu"),
}


def make_network(*overrides: str) -> Network:
    """A network of that configuration, with weights from a seed."""
    config = configured(*overrides)
    network = build_network(config, build_network_parts(config), SHAPE)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.autoencoder.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
        if isinstance(network.autoencoder.activation, BatchTopK):
            network.autoencoder.activation.threshold.fill_(0.7)
    network.autoencoder.eval()
    return network


def make_run(*overrides: str, inputs: Inputs | None = None) -> Run:
    """A loaded run with such a network; its data were divided by ``DIVISOR``."""
    record = DataRecord(inputs or Inputs(divisor=DIVISOR), None, REALS)
    path = Path("somewhere")
    return Run(path, configured(*overrides), make_network(*overrides), SHAPE.input_shape, record)


def examples() -> Tensor:
    """Rows as a data file has them, ``(50, 12)``."""
    return DIVISOR * torch.randn(50, SHAPE.n_features, generator=torch.Generator().manual_seed(2))


def expected(run: Run, x: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
    """The run's own codes and reconstructions of rows, both as the data file has them."""
    codes = run.encode(x / DIVISOR, as_stored=False)
    assert 0.02 < float((codes != 0.0).float().mean()) < 0.98
    return codes.numpy(), DIVISOR * run.decode(codes).flatten(1).numpy()
