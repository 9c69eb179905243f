"""The first of several processes, which calls the others to each training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sae_cli.assembly.latents import shares_of
from sae_cli.assembly.prepare import Prepared
from sae_cli.core.ranks.latents import latents_of
from sae_cli.core.ranks.messages import connected
from sae_cli.core.ranks.together import Together, trained_together
from sae_cli.core.signals import stopping_at_once
from sae_cli.run_folder.checkpoints import pack
from sae_cli.run_folder.train_state import TrainState
from sae_cli.runs.restoring import refuse_misfits
from sae_cli.runs.slices import cut_state


@contextmanager
def leading(made: Prepared, saved: TrainState | None) -> Iterator[TrainState | None]:
    """Train together with the other processes within, if ``torchrun`` has started several.

    They have the same data and build the same network first, so that a fault of one of them is met
    before anything is written.

    Args:
        saved: the checkpoint that all resume from, or None.

    Yields:
        what this process resumes from: the checkpoint, or its part of it where each process holds
        some of the latents.

    Raises:
        CheckpointError: the checkpoint is of another network.
        SaeError, Stopped: what has ended another process.
    """
    messages = connected()
    if messages is None:
        yield saved
        return
    messages.calls += 1
    number = messages.calls
    call = {"config": made.config.as_dict(), "data": made.fingerprint, "new": saved is None}
    messages.send(f"call {number}", call)
    others = range(1, messages.launch.size)
    # One that was killed never comes; torchrun then has this one stop, too.
    with stopping_at_once():
        messages.wait_for_all([f"here {number} {rank}" for rank in others])
    ranks = Together(messages, made.training.device.torch, shares_of(made.config))
    own = _send_state(ranks, made, saved)
    with trained_together(ranks):
        yield own
    ranks.end()


def _send_state(ranks: Together, made: Prepared, saved: TrainState | None) -> TrainState | None:
    if ranks.shares == "rows" or saved is None:
        ranks.from_first(b"" if saved is None else pack(saved.state_dict()))
        return saved
    (stage,) = made.training.stages
    n = stage.autoencoder.n_latents
    with refuse_misfits():
        own = cut_state(saved, stage, latents_of(0, ranks.size, n))
    for rank in range(1, ranks.size):
        part = cut_state(saved, stage, latents_of(rank, ranks.size, n))
        ranks.send_bytes(pack(part.state_dict()), rank)
    return own


def under_torchrun() -> str:
    """Word what belongs to the command that resumes this run; nothing for one of one process."""
    messages = connected()
    return "" if messages is None else f" (under torchrun, with {messages.launch.size} processes)"
