"""Devices: where a run computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

from sae_cli.loop import Device
from sae_cli.registry import ConfigError, Registry

Precision = Literal["float32", "bfloat16"]

DEVICES: Registry[Device] = Registry("device")


def _register(name: str, choose: Callable[[], torch.device]) -> None:
    @DEVICES.register(name)
    def device(*, precision: Precision) -> Device:
        return Device(choose(), bfloat16=precision == "bfloat16")


def _auto() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
    return torch.device("cuda")


_register("auto", _auto)
_register("cpu", lambda: torch.device("cpu"))
_register("cuda", _cuda)
