"""Curves of activity over the epochs, against its target where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.picture import Picture
from sae_cli.pictures.training.panels import collect, draw_panels
from sae_cli.pictures.view import View, some_inactive


@register(Chapter.TRAINING)
def draw(view: View) -> Iterator[Picture]:
    """Draw the mean activity where the penalty has a target, and how many codes are active where
    some are not."""
    above = view.active_above if some_inactive(view) else None
    if view.target is not None or above is not None:
        yield activity_curves(view.lines, target=view.target, active_above=above)


def activity_curves(
    lines: Sequence[Mapping[str, Any]], *, target: float | None, active_above: float | None
) -> Picture:
    """Draw the mean activity with its target, the active codes of an example, and dead latents.

    All are of the validation split.

    Args:
        lines: those of ``metrics.jsonl``.
        target: of the mean code of each latent; None leaves the mean activity out.
        active_above: the magnitude above which a code counts as active; None leaves out the number
            of active codes and that of dead latents. The latter is drawn where any was dead.

    Numbers: ``epoch`` and ``stage`` ``(n_lines,)``, each drawn key, NaN where a line lacks it, and,
    if given, ``target`` and ``active_above``.

    Raises:
        ValueError: neither is given.
    """
    if target is None and active_above is None:
        raise ValueError("neither target nor active_above; needed: at least one of them")
    names: dict[str, str] = {}
    if target is not None:
        names["mean_activity"] = "mean activity"
    if active_above is not None:
        more = f" (above {active_above:g})" if active_above else ""
        names["l0"] = f"active codes{more}"
        if any(line.get("val/dead_latents") for line in lines):
            names["dead_latents"] = "dead latents"
    numbers = collect(lines, list(names), ["val"])
    targets = {} if target is None else {"mean_activity": target}
    title = "Activity in validation by epoch"
    figure = draw_panels(title, names, numbers, targets=targets)
    for name, value in (("target", target), ("active_above", active_above)):
        if value is not None:
            numbers[name] = np.asarray(value, np.float64)
    return Picture("activity_curves", figure, numbers)
