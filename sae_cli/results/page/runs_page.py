"""The page of several runs: a sweep's, or those of folders that are given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae_cli.core.text import counted, number
from sae_cli.results.notes import threshold_notes
from sae_cli.results.page.comparison import (
    best_first,
    columns,
    differing,
    key_metrics,
    labels_of,
    names_of,
    over_seeds,
    sort_metrics,
)
from sae_cli.results.page.curves import thinned_curves
from sae_cli.results.page.html import fill
from sae_cli.results.page.pictures import ShownPicture, address, show_pictures
from sae_cli.results.page.shown_run import ShownRun
from sae_cli.training.better import higher_is_better

REPORT = "report.html"
# So many of the best runs are beside each other when a page is opened.
CHOSEN = 3
# The trade-off begins with the first of each that the runs have.
SPARSITY, QUALITY = ("val/l0", "val/mean_activity"), ("val/fvu", "val/mse", "val/loss")


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes:
        name: of the run.
        label: the name, or what stands for it where room is scarce.
        link: its own page or its folder, relative to the page.
        run: the run.
        pictures: its pictures.
        chosen: whether it is beside the others when the page is opened.
    """

    name: str
    label: str
    link: str
    run: ShownRun
    pictures: list[ShownPicture]
    chosen: bool


def runs_page(
    runs: Sequence[ShownRun],
    target: Path,
    title: str,
    left_out: Sequence[str] = (),
    objectives: Sequence[str] = (),
) -> bytes:
    """Make the page of several runs, the best first by the metric that their sweep is sorted by.

    Args:
        runs: at least one.
        target: the folder of the page.
        title: what the runs are.
        left_out: a line on each run that cannot be read.
        objectives: the metrics that a search makes best; the trade-off begins with two of them.
    """
    objectives = [name for name in objectives if any(name in run.metrics for run in runs)]
    sorted_by = sort_metrics(runs, objectives)
    runs = best_first(runs, sorted_by[0])
    differences, metrics = differing(runs), key_metrics(runs, sorted_by)
    shown = columns(runs, differences)
    folders = [run.path for run in runs]
    pictures = show_pictures(folders, target)
    links = [_link(folder, target) for folder in folders]
    names = names_of(folders)
    parts = zip(names, labels_of(names), links, runs, pictures, strict=True)
    entries = [Entry(*part, chosen=i < CHOSEN) for i, part in enumerate(parts)]
    curves, points = thinned_curves(runs)
    thresholds = [(entry.label, entry.run.metrics.get("active_above")) for entry in entries]
    return fill(
        "runs.html",
        ["charts.js", "table.js", "runs.js"],
        _data(entries, curves, shown, differences, objectives),
        title=title,
        summary=_summary(runs),
        entries=entries,
        columns=shown,
        metrics=metrics,
        sorted_by=sorted_by[0],
        groups=over_seeds(runs, shown, metrics),
        threshold_notes=_brief(threshold_notes(thresholds)),
        picture_names=_picture_names(entries),
        linked=_linked(entries),
        points=points,
        common=_common(runs, differences),
        left_out=left_out,
        column_notes=_column_notes(shown, differences),
    )


def _link(folder: Path, target: Path) -> str:
    page = folder / REPORT
    return address(page if page.is_file() else folder, target)


def _data(
    entries: Sequence[Entry],
    curves: Sequence[Mapping[str, Any]],
    shown: Sequence[str],
    differences: Sequence[str],
    objectives: Sequence[str],
) -> dict[str, Any]:
    """Give the plain values that charts and the comparison of chosen runs are made from."""
    names = dict.fromkeys(name for entry in entries for name in entry.run.metrics if "/" in name)
    kept = dict.fromkeys([*shown, *differences])
    y = _first((*objectives[:1], *QUALITY), names)
    return {
        "columns": shown,
        "metrics": list(names),
        "higher": [name for name in names if higher_is_better(name)],
        "x": _first((*objectives[1:], *SPARSITY), [name for name in names if name != y]),
        "y": y,
        "runs": [
            {
                "name": entry.name,
                "label": entry.label,
                "settings": {key: entry.run.settings.get(key, "") for key in kept},
                "metrics": {name: entry.run.metrics.get(name) for name in names},
                "curves": curve,
            }
            for entry, curve in zip(entries, curves, strict=True)
        ],
    }


def _first(wanted: Sequence[str], names: Collection[str]) -> str:
    return next((name for name in (*wanted, *names) if name in names), "")


def _summary(runs: Sequence[ShownRun]) -> str:
    counts = Counter(run.status for run in runs)
    return f"{counted(len(runs), 'run')}: " + ", ".join(
        f"{n} {status}" for status, n in counts.items()
    )


def _brief(notes: Sequence[str]) -> list[str]:
    """Leave out the names of very many runs."""
    return [note if len(note) < 1000 else f"{note[:900]} …" for note in notes]


def _picture_names(entries: Sequence[Entry]) -> dict[str, str]:
    """Give name and title of each picture that some run has."""
    return {one.name: one.title for entry in entries for one in entry.pictures}


def _linked(entries: Sequence[Entry]) -> str:
    """Say how many pictures are not inside of the page; an empty text if all are."""
    every = [picture for entry in entries for picture in entry.pictures]
    outside = sum(not picture.embedded for picture in every)
    return f"{number(outside)} of {counted(len(every), 'picture')}" if outside else ""


def _common(runs: Sequence[ShownRun], differences: Sequence[str]) -> list[tuple[str, str]]:
    return [(key, value) for key, value in runs[0].settings.items() if key not in differences]


def _column_notes(shown: Sequence[str], differences: Sequence[str]) -> str:
    more = len(set(differences) - set(shown))
    return f"{counted(more, 'further setting')}" if more else ""
