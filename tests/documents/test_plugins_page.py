"""``docs/plugins.md``, word for word: its files are written, its lines are typed one by one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sae_cli.plugins
from sae_cli.core.registry import Registry
from tests.documents.pages import blocks_of
from tests.documents.test_commands import command_lines, take_apart
from tests.forked import Forked, start
from tests.plugins import TEXT, write_documented

LOADS = "from sae_cli import load_run\n"


@pytest.mark.slow
def test_its_commands_and_its_python(tmp_path: Path) -> None:
    write_documented(tmp_path)
    lines = command_lines(TEXT)
    assert len(lines) == 9
    for line, below in lines:
        name, *words = take_apart(line)
        done = Forked(tmp_path, name.replace("-", "_"))(*words)
        says = below.partition("...")[0]
        assert (done.code, done.err[: len(says)]) == (2 if says else 0, says), (line, done.err)
    (program,) = [text for language, text in blocks_of(TEXT) if text.startswith(LOADS)]
    process = start(_execute, program, tmp_path)
    process.join()
    assert process.exitcode == 0


def _execute(program: str, folder: Path) -> None:
    import os

    os.chdir(folder)
    exec(compile(program, "plugins.md", "exec"), {})


def test_its_table_has_every_registry_and_its_list_every_type() -> None:
    facade = vars(sae_cli.plugins)
    registries = {name for name, found in facade.items() if isinstance(found, Registry)}
    table = {word for row in re.findall(r"^\| `(\w+)", TEXT, re.M) for word in [row]}
    assert table == registries | {"register_picture"}
    (types,) = re.findall(r"a type with a range:\n`([\w ]+)`", TEXT)
    assert set(types.split()) <= set(sae_cli.plugins.__all__)
    assert all(hasattr(sae_cli.plugins, name) for name in sae_cli.plugins.__all__)
