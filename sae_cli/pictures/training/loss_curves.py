"""Loss curves: every weighted term of the objective over the epochs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.picture import Picture
from sae_cli.pictures.training.panels import collect, draw_panels
from sae_cli.pictures.view import View


@register(Chapter.TRAINING)
def draw(view: View) -> Iterator[Picture]:
    """Draw the loss of every run, and its terms where there is more than one."""
    yield loss_curves(view.lines, terms=view.terms if len(view.terms) > 2 else [])


def loss_curves(lines: Sequence[Mapping[str, Any]], *, terms: Sequence[str]) -> Picture:
    """Draw one panel for ``loss`` and one for each of ``terms``, over the epochs.

    ``lines`` are those of ``metrics.jsonl``: ``stage``, ``epoch`` (counted through all stages) and
    ``train/TERM``, ``val/TERM`` where they were measured.

    Numbers: ``epoch`` and ``stage`` ``(n_lines,)`` and each drawn key, NaN where a line lacks it.
    """
    names = list(dict.fromkeys(["loss", *terms]))
    numbers = collect(lines, names)
    title = "Loss by epoch" if len(names) == 1 else "Loss and its weighted terms by epoch"
    figure = draw_panels(title, {name: name for name in names}, numbers)
    return Picture("loss_curves", figure, numbers)
