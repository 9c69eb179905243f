"""The sums of the terms of a loss over the steps of an epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from sae_cli.model.objective import Terms

# The terms of so many steps are kept on a CPU before they are added up.
MOST_KEPT = 256


class BrokenError(Exception):
    """Terms of the loss became infinite or NaN.

    Args:
        terms: the first that did.
        done: steps of the epoch before that.
    """

    def __init__(self, terms: list[str], done: int) -> None:
        super().__init__(f"{', '.join(terms)} became infinite or NaN")
        self.done = done


@final
class Sums:
    """Sums in float64, one for each term, in the order of the steps.

    Nothing is read back from a GPU. On a CPU the terms of many steps are added in a few calls, to
    the same bits.

    Args:
        names: of the terms.
        device: where they are.

    Attributes:
        names: as given.
        sums: float64, one for each term.
        finite: int64, in how many steps each sum was finite; once it is not, it never is again.
    """

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self.names = names
        self._kept: list[tuple[Terms, int]] | None = [] if device.type == "cpu" else None
        self.sums = torch.zeros(len(names), dtype=torch.float64, device=device)
        self.finite = torch.zeros(len(names), dtype=torch.int64, device=device)

    def add(self, terms: Terms, n: int) -> None:
        """Add the means of ``n`` examples."""
        if self._kept is None:
            self.sums.add_(torch.stack([terms[name] for name in self.names]), alpha=n)
            self.finite.add_(self.sums.isfinite())
            return
        self._kept.append((terms, n))
        if len(self._kept) == MOST_KEPT:
            self._add_kept()

    @property
    def keeps(self) -> bool:
        """Whether terms are kept before they are added up."""
        return self._kept is not None

    def _add_kept(self) -> None:
        if not self._kept:
            return
        values = torch.stack([terms[name] for terms, _ in self._kept for name in self.names])
        numbers = torch.tensor([n for _, n in self._kept], dtype=torch.float64)
        # The products are exact, and a cumulative sum adds one after the other.
        rows = values.view(len(numbers), -1).double() * numbers[:, None]
        sums = torch.cat([self.sums[None], rows]).cumsum(0)
        self.sums.copy_(sums[-1])
        self.finite.add_(sums[1:].isfinite().sum(0))
        self._kept.clear()

    def check(self) -> list[float]:
        """Give the sums since they were zero.

        Raises:
            BrokenError: one is not finite.
        """
        self._add_kept()
        sums: list[float] = self.sums.tolist()
        if not all(map(math.isfinite, sums)):
            finite: list[int] = self.finite.tolist()
            first = min(finite)
            names = zip(self.names, finite, strict=True)
            raise BrokenError([name for name, steps in names if steps == first], first)
        return sums

    def means(self, n: int) -> dict[str, float]:
        """Give the means over the ``n`` examples that were added, and begin anew.

        Raises:
            BrokenError: one is not finite.
        """
        means = [total / n for total in self.check()]
        self.sums.zero_()
        self.finite.zero_()
        return dict(zip(self.names, means, strict=True))

    def state_dict(self) -> dict[str, Tensor]:
        """Give the sums to save."""
        self._add_kept()
        return {"sums": self.sums, "finite": self.finite}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore saved sums."""
        if self._kept is not None:
            self._kept.clear()
        self.sums.copy_(state["sums"])
        self.finite.copy_(state["finite"])


def add_all(sums: Sequence[Sums], terms: Sequence[Terms], n: int) -> None:
    """Add to the sums of several trainings as ``Sums.add`` does, those on a GPU in a few calls.

    Args:
        terms: of each, means of ``n`` examples.
    """
    if any(one.keeps for one in sums) or len({len(one.names) for one in sums}) > 1:
        for one, own in zip(sums, terms, strict=True):
            one.add(own, n)
        return
    every = [own[name] for one, own in zip(sums, terms, strict=True) for name in one.names]
    values = torch.stack(every).view(len(sums), -1).double()
    torch._foreach_add_([one.sums for one in sums], values.unbind(), alpha=n)
    finite = torch.stack([one.sums for one in sums]).isfinite().long()
    torch._foreach_add_([one.finite for one in sums], finite.unbind())
