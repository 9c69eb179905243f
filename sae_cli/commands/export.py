"""The command ``sae-export``."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sae_cli.commands.exits import DONE, run_guarded
from sae_cli.commands.parser import Parser
from sae_cli.commands.plugins import load_plugins
from sae_cli.core.errors import ConfigError, nearest
from sae_cli.core.paths import full_path
from sae_cli.core.plugins.loaded import names_of_plugins
from sae_cli.core.text import counted, say, short

FORMATS = ("saelens", "dictionary_learning", "safetensors", "onnx")


def run(arguments: Sequence[str]) -> int:
    """Run a command line: 0 done, 2 wrong input; the other codes as ``sae-train`` has them."""
    return run_guarded(lambda: _run(arguments), show_traceback="--traceback" in arguments)


def _run(arguments: Sequence[str]) -> int:
    given = _parser().take_apart(arguments)
    for option in ("format", "to"):
        if getattr(given, option) is None:
            raise ConfigError(f"--{option} is missing; {USAGE}")
    load_plugins(given.plugin)
    formats = [*FORMATS, *names_of_plugins("format")]
    if given.format not in formats:
        raise ConfigError(
            f"--format {given.format} is not a format; formats are {', '.join(formats)}"
            + nearest(given.format, formats)
        )
    source, target = full_path(given.run), full_path(given.to)
    if os.path.lexists(target):
        raise ConfigError(f"--to {given.to} is there already; give a folder that is not")
    if not source.exists():
        raise ConfigError(f"{short(source)}: no such folder; give that of a finished run")
    # torch takes its time, and a typo should not wait for it.
    from sae_cli.results.interchange.export import EXPORTERS, export, notes
    from sae_cli.results.load import read_run
    from sae_cli.run_folder.files import write_new_folder

    loaded, said = read_run(source)
    exported = export(loaded)
    write_new_folder(target, EXPORTERS.build({"name": given.format}, exported))
    say(
        f"{counted(exported.dictionary.n_latents, 'latent')} of "
        f"{counted(exported.dictionary.n_features, 'feature')}, {given.format}: {short(target)}"
    )
    for note in [*(f"note: {line}" for line in said), *notes(loaded)]:
        say(note)
    return DONE


USAGE = f"sae-export RUN --format {'|'.join(FORMATS)} --to FOLDER"


def _parser() -> Parser:
    parser = Parser(
        "sae-export",
        "Write the dictionary of a finished run as the files of another library. Exit code 0: "
        "done, 2: wrong input.",
        examples={
            "sae-export outputs/RUN --format saelens --to mine": "for SAELens",
            "sae-export outputs/RUN --format onnx --to net": "as a graph of ONNX",
        },
        plugins=True,
    )
    # Both options are needed, and are asked for with the whole line, as argparse would not.
    parser.usage = (
        "sae-export RUN --format FORMAT --to FOLDER\n"
        "                  [-h] [--traceback] [--plugin FILE] [--version]"
    )
    parser.add_argument("run", metavar="RUN", help="the folder of a finished run")
    parser.add_argument("--format", metavar="FORMAT", help=", ".join(FORMATS))
    parser.add_argument("--to", metavar="FOLDER", help="a folder that is not there yet")
    return parser
