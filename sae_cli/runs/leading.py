"""The first of several processes, which calls the others to each training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sae_cli.assembly.prepare import Prepared
from sae_cli.core.ranks.messages import connected
from sae_cli.core.ranks.together import Together, trained_together
from sae_cli.core.signals import stopping_at_once
from sae_cli.run_folder.checkpoints import pack
from sae_cli.run_folder.train_state import TrainState


@contextmanager
def leading(made: Prepared, saved: TrainState | None) -> Iterator[None]:
    """Train together with the other processes within, if ``torchrun`` has started several.

    They have the same data and build the same network first, so that a fault of one of them is met
    before anything is written.

    Args:
        saved: the checkpoint that all resume from, or None.

    Raises:
        SaeError, Stopped: what has ended another process.
    """
    messages = connected()
    if messages is None:
        yield
        return
    messages.calls += 1
    number = messages.calls
    call = {"config": made.config.as_dict(), "data": made.fingerprint, "new": saved is None}
    messages.send(f"call {number}", call)
    others = range(1, messages.launch.size)
    # One that was killed never comes; torchrun then has this one stop, too.
    with stopping_at_once():
        messages.wait_for_all([f"here {number} {rank}" for rank in others])
    ranks = Together(messages, made.training.device.torch)
    ranks.from_first(b"" if saved is None else pack(saved.state_dict()))
    with trained_together(ranks):
        yield
    ranks.end()


def under_torchrun() -> str:
    """Word what belongs to the command that resumes this run; nothing for one of one process."""
    messages = connected()
    return "" if messages is None else f" (under torchrun, with {messages.launch.size} processes)"
