"""Train the same job with every contender, in turn, and print Markdown tables.

python benchmarks/compare.py                      the table `job`
python benchmarks/compare.py --table pages --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import gpu_sweep_table
import gpu_table
import growth_table
import load_table
import start_table
import sweep_table
import training_tables
from contenders import ENVIRONMENTS, NAMES, interpreters
from plan import Plan
from processes import FailedError
from rounds import RAW

TABLES: dict[str, Callable[[Plan], str]] = {
    "job": training_tables.job,
    "whole": training_tables.whole,
    "batches": training_tables.batches,
    "pages": training_tables.pages,
    "growth": growth_table.growth,
    "load": load_table.load,
    "sweep": sweep_table.sweep,
    "small_sweep": sweep_table.small_sweep,
    "start": start_table.start,
    "gpu": gpu_table.gpu,
    "gpu_sweep": gpu_sweep_table.gpu_sweep,
}


def at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return int(text)

    return number


def interpreter(text: str) -> tuple[str, str]:
    """Read NAME=PATH."""
    name, _, path = text.partition("=")
    known = {*NAMES, *ENVIRONMENTS.values()}
    if name not in known:
        raise argparse.ArgumentTypeError(f"{name}: not one of {', '.join(sorted(known))}")
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{path or text}: no such interpreter")
    return name, path


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--table", choices=[*TABLES, "all"], default="job")
    made.add_argument("--rounds", type=at_least(1), default=5)
    made.add_argument("--epochs", type=at_least(2), help="default: 4; 10 for the table `whole`")
    made.add_argument("--batch-sizes", type=at_least(1), nargs="+", default=[32, 256, 4096])
    made.add_argument("--contenders", nargs="+", choices=NAMES, default=[], metavar="NAME")
    made.add_argument(
        "--python",
        type=interpreter,
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="the interpreter of a contender, or of the environment lightning or keras",
    )
    made.add_argument(
        "--sweep-flags", type=shlex.split, default=[], help="further words for sae-train -m"
    )
    made.add_argument("--output", type=Path, help="also write the raw figures here, as JSON")
    return made


def main() -> int:
    given = parser().parse_args()
    tables = list(TABLES) if given.table == "all" else [given.table]
    compares = any(TABLES[name].__module__ == training_tables.__name__ for name in tables)
    wanted = (given.contenders or NAMES) if compares else ()
    pythons = interpreters(dict(given.python), wanted)
    plan = Plan(
        given.rounds, given.epochs, given.batch_sizes, given.contenders, pythons, given.sweep_flags
    )
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    print(f"{machine}, Python {platform.python_version()}, rounds: {plan.rounds}", flush=True)
    try:
        for name in tables:
            print(TABLES[name](plan), flush=True)
    except FailedError as error:
        print(f"a process failed: {error}", file=sys.stderr)
        return 1
    finally:
        if given.output:
            given.output.write_text(json.dumps(RAW, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
