"""The state of a training whose latents several processes hold: made whole, and cut up again.

What is saved is that of a training in one process. The first process makes it whole on the CPU, one
tensor after the other; no process has the whole on its device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sae_cli.core.ranks.latents import finite_in_all, latents_of, sharing_latents
from sae_cli.core.ranks.together import Together
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.held import axes_of_latents, held_of
from sae_cli.run_folder.train_state import TrainState
from sae_cli.training.gradients.autograd import trained_parameters
from sae_cli.training.optimizers import Mover
from sae_cli.training.stage import Stage


def is_held(stage: Stage) -> list[bool]:
    """Tell of each parameter that a stage trains whether it is of latents."""
    return [axis is not None for _, axis in _parameters(stage)]


def _parameters(stage: Stage) -> list[tuple[Tensor, int | None]]:
    """The parameters in the order of the optimizer, each with its axis of latents."""
    axes = axes_of_latents(stage.autoencoder)
    own = {id(p): axes.get(name) for name, p in stage.autoencoder.named_parameters()}
    every = trained_parameters(stage.autoencoder, stage.objective)
    return [(parameter, own.get(id(parameter))) for parameter in every]


def find_broken(optimizer: Mover) -> str | None:
    """Say what of a training is not finite, in any of its processes."""
    moments = [tensor for tensors in optimizer.state.values() for tensor in tensors]
    found = {"weights": optimizer.parameters, "moments of the gradients": moments}
    for what, tensors in found.items():
        if not finite_in_all(all(bool(tensor.isfinite().all()) for tensor in tensors)):
            return what
    return None


def whole_model(autoencoder: AutoEncoder, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Make tensors of an auto-encoder, by their names, whole in the first process.

    Other processes keep their slices, and one that has all latents what it is given.
    """
    ranks = sharing_latents()
    if ranks is None:
        return {**tensors}
    axes, n = axes_of_latents(autoencoder), autoencoder.n_latents
    return {name: _gather(ranks, one, axes.get(name), n) for name, one in tensors.items()}


def whole_moments(stage: Stage, state: dict[str, list[Tensor]]) -> dict[str, list[Tensor]]:
    """Make the state of a stage's optimizer whole, as ``whole_model`` does tensors."""
    ranks = sharing_latents()
    if ranks is None:
        return state
    parameters, n = _parameters(stage), stage.autoencoder.n_latents
    return {
        name: [
            # Counters of steps are the same in each process.
            _gather(ranks, one, axis if one.shape == parameter.shape else None, n)
            for one, (parameter, axis) in zip(tensors, parameters, strict=True)
        ]
        for name, tensors in state.items()
    }


def _gather(ranks: Together, own: Tensor, axis: int | None, n_latents: int) -> Tensor:
    if axis is None:
        return own
    if ranks.rank > 0:
        ranks.send(own, 0)
        return own
    shape = _sized(own, axis, n_latents)
    whole = torch.empty(shape, dtype=own.dtype)
    for rank in range(ranks.size):
        latents = latents_of(rank, ranks.size, n_latents)
        part = whole.narrow(axis, latents.start, len(latents))
        part.copy_(own if rank == 0 else ranks.receive(tuple(part.shape), own.dtype, rank))
    return whole


def _sized(tensor: Tensor, axis: int, n: int) -> tuple[int, ...]:
    return (*tensor.shape[:axis], n, *tensor.shape[axis + 1 :])


def cut_state(state: TrainState, stage: Stage, latents: range) -> TrainState:
    """Give the part of a whole state that one process resumes from.

    What has another shape than the whole would have is left as it is, and does not fit.
    """
    n, axes = stage.autoencoder.n_latents, axes_of_latents(stage.autoencoder)
    named = dict(stage.autoencoder.named_parameters())

    def cut(tensor: Any, own: Tensor, axis: int | None) -> Any:
        whole = axis is not None and tensor.shape == _sized(own, axis, n)
        return held_of(tensor, axis, latents) if whole and axis is not None else tensor

    model = {
        name: cut(tensor, named[name], axes[name]) if name in axes else tensor
        for name, tensor in state.model.items()
    }
    parameters = _parameters(stage)
    optimizer = {
        name: [cut(one, *own) for one, own in zip(tensors, parameters, strict=True)]
        for name, tensors in state.optimizer.items()
    }
    return replace(state, model=model, optimizer=optimizer)
