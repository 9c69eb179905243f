"""The command ``sae-evaluate``."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_cli.commands.arguments import changes, own_pages
from sae_cli.commands.exits import DONE, run_guarded
from sae_cli.commands.limits import check_limits
from sae_cli.commands.parser import Parser
from sae_cli.commands.plugins import load_plugins
from sae_cli.core.errors import ConfigError, nearest
from sae_cli.core.paths import full_path
from sae_cli.core.text import say, short

if TYPE_CHECKING:
    from sae_cli.results.evaluation.subject import Subject
    from sae_cli.results.run import Run

OPTIONS = ("checkpoint", "dataset", "device", "out", "split")
# The number of a job may begin the name of its folder, as in 1_seed=1.
SETTING = re.compile(r"(dataset\.[a-z_]*|[a-z]+)=")
# The model has its own, those of its training data.
OF_MODEL = ("dataset.centre", "dataset.scale")


def run(arguments: Sequence[str]) -> int:
    """Run a command line: 0 done, 2 wrong input; the other codes as ``sae-train`` has them."""
    return run_guarded(lambda: _run(arguments), show_traceback="--traceback" in arguments)


@dataclass(frozen=True)
class _Asked:
    """A command line taken apart.

    Attributes:
        paths: folders or files.
        options: by name.
        data: the words on the data.
        pages: the folder of pages of one's own, for them.
    """

    paths: list[Path]
    options: dict[str, str]
    data: list[str]
    pages: Path | None

    @property
    def data_name(self) -> str | None:
        """A name for data other than the runs' own: that of the file, or of the data set."""
        named = dict(word.split("=", 1) for word in self.data)
        # A leave to download changes no data.
        named.pop("dataset.download", None)
        path = named.get("dataset.path")
        return Path(path).name if path else named.get("dataset", "others" if named else None)


def _run(arguments: Sequence[str]) -> int:
    parsed = _parser().take_apart(arguments)
    asked = _take_apart(parsed.words, own_pages(parsed.config_dir))
    check_limits()
    load_plugins(parsed.plugin)
    # torch takes its time, and a typo should not wait for it.
    from sae_cli.assembly.compute import AVAILABLE_THREADS, use_threads
    from sae_cli.results.evaluation.evaluation import compare_atoms, evaluate, title
    from sae_cli.results.evaluation.record import lines_of, target_of, write
    from sae_cli.results.load import read_run
    from sae_cli.results.tables import terminal_width

    for path in asked.paths:
        if path.is_file():
            _refuse_data(short(path), path.suffix.lower())
    given = asked.options.get("out")
    file = None if given is None else full_path(given)
    target = target_of(file, asked.paths[0], asked.data_name)
    _check_writable(target)
    use_threads(AVAILABLE_THREADS)
    loaded = [read_run(path, asked.options.get("checkpoint")) for path in asked.paths]
    found = []
    for number, (one, notes) in enumerate(loaded, start=1):
        one.to(_device(asked.options.get("device", "auto")))
        subject = _subject(one, asked, notes)
        beginning = f"{number}: " if len(loaded) > 1 else ""
        say(f"{beginning}{title(one)}")
        say(f"data: {subject.data.source}; {len(subject.examples):,} examples of {subject.split}")
        found.append(evaluate(subject))
    together, notes = compare_atoms([one for one, _ in loaded]) if len(found) > 1 else ({}, [])
    say()
    width = None if parsed.wide else terminal_width()
    for line in lines_of(found, together, notes, width):
        say(line)
    write(target, found, together, notes)
    say(f"written: {short(target)}")
    return DONE


def _take_apart(words: Sequence[str], pages: Path | None) -> _Asked:
    asked = _Asked([], {}, [], pages)
    for word in words:
        key, _, value = word.partition("=")
        path = full_path(word)
        if SETTING.match(word) is None or (path.exists() and key not in OPTIONS):
            if not path.exists():
                raise ConfigError(f"{word}: no such folder or file; give that of a run")
            asked.paths.append(path)
            continue
        if not value:
            raise ConfigError(f"{word} gives no value; write {key}=VALUE")
        if key in OF_MODEL:
            raise ConfigError(
                f"{word}: the model has the centre and the scale of the data that it was trained "
                f"on; leave {key} out"
            )
        if key == "dataset" or key.startswith("dataset."):
            asked.data.append(word)
        elif key in OPTIONS:
            asked.options[key] = value
        else:
            raise ConfigError(
                f"{word}: {key} is not an option; the options are {', '.join(OPTIONS)} and "
                f"dataset.OPTION{nearest(key, OPTIONS)}"
            )
    if not asked.paths:
        raise ConfigError("give the folder of a run: sae-evaluate RUN")
    return asked


def _refuse_data(word: str, ending: str) -> None:
    """Refuse a file that only data are read from, where a run or a dictionary is wanted."""
    from sae_cli.datasets.formats.array_file import OPENERS as DATA
    from sae_cli.results.interchange.given import OPENERS as DICTIONARIES

    if ending in DATA and ending not in DICTIONARIES:
        raise ConfigError(
            f"{word} is a file of data, not a run; dataset=array "
            f"{shlex.quote(f'dataset.path={word}')} evaluates on it"
        )


def _subject(one: Run, asked: _Asked, notes: Sequence[str]) -> Subject:
    """Give a run beside its own data, or those that the command line names."""
    from sae_cli.results.evaluation.subject import on_other_data, on_own_data
    from sae_cli.results.loaded_data import split_name

    split = split_name(asked.options.get("split", "test"))
    if not asked.data:
        subject = on_own_data(one, split)
    else:
        subject = on_other_data(one, _section(one, asked.data, asked.pages), split)
    subject.notes.extend(notes)
    return subject


def _section(one: Run, words: Sequence[str], pages: Path | None) -> Mapping[str, Any]:
    """Give the checked options of the data that the words ask for.

    Without ``dataset=`` they change those of the run's own.
    """
    from sae_cli.assembly.data import locate
    from sae_cli.config.schema import GROUPS

    chosen = [word for word in words if word.startswith("dataset=")]
    if chosen:
        from sae_cli.config.asked import read

        section = read(words, multirun=False, pages=pages).runs[0].run["dataset"]
        return GROUPS["dataset"].check(section)
    if one.is_dictionary:
        raise ConfigError(
            f"{words[0]}: name the kind of data, too: dataset=array {shlex.quote(words[0])}"
        )
    # Only the command line may ask for a download, because a folder may come from anyone.
    own = one.config.parts["dataset"]
    stay = {"dataset.download": False} if "download" in own else {}
    return locate(one.config.changed(stay | changes(words))).parts["dataset"]


def _device(name: str) -> str:
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _check_writable(target: Path) -> None:
    """Find out before the work, and not after it."""
    if not os.access(target.parent, os.W_OK):
        raise ConfigError(
            f"{short(target)} cannot be written, because the folder is read-only; give out=FILE"
        )


def _parser() -> Parser:
    parser = Parser(
        "sae-evaluate",
        "Measure saved runs on their own data or on others: metrics, principal components as a "
        "reference, probes, latents; of several runs also how alike their atoms are. Runs are only "
        "read. Exit code 0: done, 2: wrong input, 6: no such checkpoint.",
        plugins=True,
    )
    parser.add_argument(
        "words",
        nargs="+",
        metavar="RUN | KEY=VALUE",
        help="the folder of a run, or the file of a dictionary (SAELens, dictionary_learning, "
        "sparsify, Gemma Scope), one or more; and checkpoint=best or last, split=test (train, "
        "val), device=auto (cpu, cuda), out=FILE (RUN.evaluation.json beside the run, "
        "RUN.on_DATA.evaluation.json for other data), "
        "dataset=NAME and dataset.OPTION=VALUE as sae-train takes them, for other data",
    )
    parser.add_argument(
        "-cd", "--config-dir", metavar="FOLDER", help="pages of your own, for dataset=NAME"
    )
    parser.add_argument(
        "--wide", action="store_true", help="all runs in one table, however wide it gets"
    )
    return parser
