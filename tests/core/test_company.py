"""Calls side by side: each as if alone, until they meet or wait."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

import pytest

from sae_cli.core.company import in_company, meet, run_side_by_side, wait_for


class Squares:
    """Squares what calls bring, and remembers what came together."""

    def __init__(self) -> None:
        self.together: list[list[int]] = []

    def __call__(self, brought: Sequence[int]) -> list[int]:
        self.together.append([*brought])
        return [x * x for x in brought]


def test_what_calls_bring_is_done_at_once() -> None:
    squares, found = Squares(), {}

    def call(first: int, n_meetings: int) -> None:
        found[first] = [meet(squares, first + i) for i in range(n_meetings)]

    run_side_by_side([partial(call, 10, 3), partial(call, 20, 1), partial(call, 30, 2)])
    assert found == {10: [100, 121, 144], 20: [400], 30: [900, 961]}
    # The calls that go on no longer wait for one that has ended.
    assert [sorted(one) for one in squares.together] == [[10, 20, 30], [11, 31], [12]]


def test_each_function_has_its_own() -> None:
    one, other = Squares(), Squares()

    def call(function: Squares, brought: int) -> None:
        meet(function, brought)

    run_side_by_side([partial(call, one, 1), partial(call, other, 2), partial(call, one, 3)])
    assert (one.together, other.together) == ([[1, 3]], [[2]])


def test_alone_a_meeting_is_a_call() -> None:
    squares = Squares()
    assert not in_company()
    assert (meet(squares, 3), wait_for(lambda: 4)) == (9, 4)
    assert squares.together == [[3]]


def test_a_call_goes_on_while_another_waits() -> None:
    """The first waits for what the second does, which would never come if it waited, too."""
    done, seen = threading.Event(), []

    def wait() -> None:
        assert in_company()
        seen.append(wait_for(partial(done.wait, 60)))

    run_side_by_side([wait, done.set])
    assert seen == [True]


def test_a_call_sees_the_error_of_what_it_waited_for() -> None:
    seen: list[str] = []

    def call() -> None:
        with pytest.raises(OSError, match="no such disk"):
            wait_for(partial(fail, "no such disk"))
        seen.append("went on")

    run_side_by_side([call])
    assert seen == ["went on"]


def test_all_see_the_error_of_what_was_done_for_them() -> None:
    seen: list[int] = []

    def refuse(brought: Sequence[int]) -> list[int]:
        raise ValueError(f"{len(brought)} together")

    def call(i: int) -> None:
        with pytest.raises(ValueError, match="2 together"):
            meet(refuse, i)
        seen.append(i)

    run_side_by_side([partial(call, 1), partial(call, 2)])
    assert sorted(seen) == [1, 2]


def test_an_error_leaves_the_others_to_their_ends() -> None:
    squares, found = Squares(), []

    def call() -> None:
        found.append(meet(squares, 5))

    with pytest.raises(OSError, match="first"):
        run_side_by_side([partial(fail, "first"), call, partial(fail, "second")])
    assert found == [25]
    # Another company may follow.
    run_side_by_side([call])
    assert found == [25, 25]


def test_a_signal_between_two_calls_ends_all() -> None:
    ended: list[str] = []

    def interrupt(brought: Sequence[int]) -> list[int]:
        raise KeyboardInterrupt

    def call(function: object) -> None:
        try:
            meet(interrupt, 1)
        finally:
            ended.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        run_side_by_side([partial(call, 1), partial(call, 2)])
    assert len(ended) == 2
    assert not in_company()


def fail(text: str) -> None:
    raise OSError(text)
