"""Devices: where a run computes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.utils import deterministic

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Count
from sae_cli.core.ranks.messages import launched
from sae_cli.core.ranks.together import Share
from sae_cli.core.registry import Registry
from sae_cli.core.text import counted
from sae_cli.model.autoencoder import AutoEncoder, Pass

Precision = Literal["float32", "tf32", "bfloat16"]

DEVICES: Registry[Device] = Registry("device")


def _register(name: str, choose: Callable[[], torch.device]) -> None:
    @DEVICES.register(name)
    def device(*, precision: Precision, threads: Count | None, share: Share = "rows") -> Device:
        chosen = choose()
        if precision == "tf32" and chosen.type != "cuda":
            raise ConfigError(
                f"device.precision=tf32 needs an NVIDIA GPU, and this run is on {chosen}; choose "
                "device.precision=float32 or bfloat16"
            )
        # TF32 rounds the inputs of products to 10 bits of mantissa, for a GPU's tensor cores.
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        # Only a GPU needs this to give the same numbers each time, and the call imports PyTorch's
        # compiler, which takes more than a second.
        if chosen.type == "cuda":
            torch.use_deterministic_algorithms(True)
            # That would also write over all memory that is taken, and nothing is read unwritten.
            deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        return Device(chosen, bfloat16=precision == "bfloat16")


def _auto() -> torch.device:
    return _gpu() if torch.cuda.is_available() else torch.device("cpu")


def _cuda() -> torch.device:
    if not torch.cuda.is_available():
        why = (
            "no NVIDIA GPU or driver is visible"
            if torch.version.cuda
            else "this PyTorch is a build without CUDA"
        )
        raise ConfigError(
            f"device=cuda: {why} (torch {torch.__version__}); choose device=cpu or device=auto"
        )
    return _gpu()


def _gpu() -> torch.device:
    """Choose the GPU, and have its products give the same numbers each time."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    launch = launched()
    if launch is not None:
        n = torch.cuda.device_count()
        if launch.local_size > n:
            raise ConfigError(
                f"torchrun has started {launch.local_size} processes on a machine with "
                f"{counted(n, 'GPU')}; give --nproc-per-node {n}, or device=cpu"
            )
        torch.cuda.set_device(launch.local_rank)
    return torch.device("cuda")


_register("auto", _auto)
_register("cpu", lambda: torch.device("cpu"))
_register("cuda", _cuda)


@dataclass(frozen=True)
class Device:
    """Where and how precisely to compute.

    Attributes:
        torch: the device.
        bfloat16: run the auto-encoder under bfloat16 autocast; losses stay float32.
    """

    torch: torch.device
    bfloat16: bool = False

    def run(
        self,
        autoencoder: AutoEncoder,
        x: Tensor,
        noise: Tensor | None = None,
        training: bool = False,
        sparsely: bool = False,
    ) -> Pass:
        """Make a forward pass, with results in float32; the arguments are those of its own."""
        if not self.bfloat16:
            passed: Pass = autoencoder(x, noise, training, sparsely)
            return passed
        with torch.autocast(self.torch.type, torch.bfloat16):
            passed = autoencoder(x, noise, training, sparsely)
        made = (one.float() if isinstance(one, Tensor) else one for one in passed)
        return Pass(*made)  # type: ignore[arg-type]
