"""How a loaded network computes: where, how much at a time, and on arrays of which kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.model.autoencoder import AutoEncoder


def device_of(module: nn.Module) -> torch.device:
    """Tell where a module computes."""
    found = next(module.parameters(), None)
    return torch.device("cpu") if found is None else found.device


def move_to(module: nn.Module, device: str | torch.device) -> None:
    """Move a module to a device.

    Raises:
        ConfigError: there is no such device.
    """
    try:
        module.to(device)
    except (RuntimeError, AssertionError) as error:
        text = str(error).partition("\n")[0]
        raise ConfigError(
            f"{device} is not a device of this machine ({text}); give cpu, or cuda where there is "
            "an NVIDIA GPU"
        ) from None


def code_batches(codes: Any, n_latents: int, batch_size: int) -> Iterator[Tensor]:
    """Give codes ``(batch, n_latents)`` a few at a time, as float32.

    Raises:
        ValueError: the shape is wrong.
    """
    given = codes if isinstance(codes, Tensor) else np.asarray(codes)
    if given.ndim != 2 or given.shape[1] != n_latents:
        raise ValueError(f"codes have shape {tuple(given.shape)}; expected (batch, {n_latents})")
    starts = range(0, len(given), batch_size)
    return (_float32(given[start : start + batch_size]) for start in starts)


def joined(
    given: Any,
    batches: Iterable[Tensor],
    apply: Callable[[Tensor], Tensor],
    device: torch.device,
    nothing: Tensor,
) -> Any:
    """Apply a network to batch after batch, and join what it gives.

    Args:
        given: what the batches were made of: an array gives an array, all else a tensor.
        device: where the network computes.
        nothing: what no batch gives.

    Returns:
        ``(n, ...)``, a tensor on the device of the one that was given.
    """
    back = given.device if isinstance(given, Tensor) else torch.device("cpu")
    with torch.no_grad():
        made = [apply(batch.to(device)).to(back) for batch in batches]
    found = torch.cat(made) if made else nothing.to(back)
    return found.numpy() if isinstance(given, np.ndarray) else found


def _float32(given: Any) -> Tensor:
    tensor = given.detach() if isinstance(given, Tensor) else torch.from_numpy(np.array(given))
    return tensor.to(torch.float32)


def atoms_of(model: AutoEncoder, name: str) -> Tensor:
    """Give a copy of the atoms of a linear decoder, ``(n_latents, n_features)``.

    Args:
        name: of the run, for the message.

    Raises:
        ConfigError: the decoder is not one linear layer.
    """
    linear = model.linear_decoder()
    if linear is None:
        raise ConfigError(
            f"{name} has no dictionary: its decoder is not one linear layer; "
            "run.autoencoder.atoms(n) gives what each of the first n latents adds to the output"
        )
    return linear[0].detach().t().clone()


def draw_codes(model: AutoEncoder, n: int, seed: int | None, name: str) -> Tensor:
    """Draw codes ``(n, n_latents)`` from the prior of a variational auto-encoder.

    Args:
        seed: None for PyTorch's own generator.
        name: of the run, for the message.

    Raises:
        ConfigError: the model is not variational.
    """
    if not model.activation.samples:
        raise ConfigError(
            f"{name} has no prior to draw from, because its codes are not random; sample is for "
            "models with activation=gaussian, such as model=vae"
        )
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.randn(n, model.n_latents, generator=generator)


def as_frame(lines: list[dict[str, Any]]) -> Any:
    """Make a ``pandas.DataFrame`` of lines of metrics.

    Raises:
        ConfigError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise ConfigError(
            "metrics_frame needs pandas (pip install pandas); run.metrics is the same as a list "
            "of dicts"
        ) from None
    return pandas.DataFrame(lines)
