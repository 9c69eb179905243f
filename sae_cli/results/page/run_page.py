"""The page of a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sae_cli.core.text import number
from sae_cli.results.finished_run import machine
from sae_cli.results.page.curves import AIMS, curves_of
from sae_cli.results.page.html import fill
from sae_cli.results.page.pictures import show_pictures
from sae_cli.results.page.run_log import end_of, notes_of, read_log
from sae_cli.results.page.shown_run import ShownRun

SPLITS = ("train", "val", "test")
# These figures of a summary are of the run as a whole.
FACTS = {
    "n_latents": "latents",
    "n_parameters": "parameters",
    "best_epoch": "best epoch",
    "seconds": "seconds",
}
Table = list[tuple[str, str]]


def run_page(run: ShownRun, target: Path) -> bytes:
    """Make the page of a run.

    Args:
        target: the folder of the page.
    """
    charts = curves_of(run)
    log = read_log(run.path)
    (pictures,) = show_pictures([run.path], target)
    return fill(
        "run.html",
        ["charts.js", "run.js"],
        {"charts": charts},
        title=run.path.resolve().name,
        run=run,
        facts=_facts(run),
        notes=notes_of(log),
        closing=_closing(run),
        active_above=run.metrics.get("active_above"),
        charts=charts,
        pictures=pictures,
        linked=[picture for picture in pictures if not picture.embedded],
        settings=_settings(run),
        provenance=_provenance(run.record),
        log=end_of(log),
    )


def _facts(run: ShownRun) -> Table:
    settings, record = run.settings, run.record
    epochs = run.lines[-1].get("epoch") if run.lines else None
    facts = [
        ("model", settings.get("model", "")),
        ("data", text_of(record, "dataset", "source") or settings.get("dataset", "")),
        ("experiment", settings.get("experiment", "null").replace("null", "")),
        ("seed", settings.get("seed", "")),
        ("epochs done", "" if epochs is None else number(epochs)),
        *((label, number(run.metrics[key])) for key, label in FACTS.items() if key in run.metrics),
        ("started", text_of(record, "started")),
        ("command", command_of(record)),
    ]
    return [(label, value) for label, value in facts if value]


def _closing(run: ShownRun) -> list[tuple[str, list[float | None], str]]:
    """Give name, value on each split and aim of every metric."""
    keys = [key.partition("/") for key in run.metrics]
    names = dict.fromkeys(name for split, _, name in keys if split in SPLITS)
    rows = []
    for name in names:
        aim = run.number(AIMS[name]) if name in AIMS else None
        values = [run.metrics.get(f"{split}/{name}") for split in SPLITS]
        rows.append((name, values, "" if aim is None else f"target {aim:g}"))
    return rows


def _settings(run: ShownRun) -> list[tuple[str, str, bool]]:
    """Give every setting, its value, and whether the command line gave it."""
    typed = {text.partition("=")[0].lstrip("+") for text in run.overrides}
    return [(key, value, key in typed) for key, value in run.settings.items()]


def _provenance(record: Mapping[str, Any]) -> Table:
    packages = record.get("packages")
    resumed = record.get("resumed")
    patch = text_of(record, "code", "patch")
    rows = [
        ("made with", machine(record) if record else ""),
        ("commit", text_of(record, "code", "commit")),
        ("changed since that commit", f"{patch.count(chr(10))} lines of a patch" if patch else ""),
        ("SHA-256 of the code", text_of(record, "code", "sha256")),
        ("SHA-256 of the data", text_of(record, "dataset", "fingerprint")),
        ("working folder", text_of(record, "working_directory")),
        ("threads", text_of(record, "threads")),
        ("resumed", f"{len(resumed)} times" if isinstance(resumed, list) and resumed else ""),
    ]
    if isinstance(packages, Mapping):
        versions = (f"{name} {version}" for name, version in packages.items())
        rows.insert(1, ("versions", ", ".join(versions)))
    return [(label, value) for label, value in rows if value]


def command_of(record: Mapping[str, Any]) -> str:
    """Give the command that was typed, without the interpreter; an empty text if it is unknown."""
    words = record.get("command")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return ""
    starts = [i for i, word in enumerate(words) if Path(word).name.startswith("sae-")]
    shown = [Path(words[starts[0]]).name, *words[starts[0] + 1 :]] if starts else words
    return shlex.join(shown)


def text_of(record: Any, *keys: str) -> str:
    """Give a value of a record as text, an empty one where it is missing or null."""
    for key in keys:
        record = record.get(key) if isinstance(record, Mapping) else None
    return "" if record is None else str(record)
