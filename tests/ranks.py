"""Commands in several processes that train one run together, as ``torchrun`` starts them, without
the seconds that it takes: the test keeps the store, and sets the variables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from tests.forked import Before, Done, Forked, Started


@contextmanager
def start_ranks(
    cwd: Path,
    n: int,
    *arguments: str,
    name: str = "sae_train",
    before: Sequence[Before | None] = (),
) -> Iterator[list[Started]]:
    """Start a command in ``n`` processes.

    Args:
        before: called in each of them before it begins.
    """
    # The system chooses a port that is free, and the store has it until the end.
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    variables = {
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(n),
        "LOCAL_WORLD_SIZE": str(n),
        "TORCHELASTIC_RUN_ID": "test",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    calls = [*before, *[None] * (n - len(before))]
    with ExitStack() as stack:
        started = []
        for rank, call in enumerate(calls):
            with pytest.MonkeyPatch.context() as patch:
                for key, value in {**variables, "RANK": rank, "LOCAL_RANK": rank}.items():
                    patch.setitem(os.environ, key, str(value))
                start = Forked(cwd, name).start(*arguments, before=call)
                started.append(stack.enter_context(start))
        yield started


def run_ranks(cwd: Path, n: int, *arguments: str, name: str = "sae_train") -> list[Done]:
    """Run a command in ``n`` processes to its end."""
    with start_ranks(cwd, n, *arguments, name=name) as started:
        return [one.wait() for one in started]
