"""The table of results on a terminal, and what a pipe gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from sae_cli.commands.report import run
from sae_cli.core.text import with_sd
from sae_cli.results.gather import gather, rows
from sae_cli.results.printed import printed
from tests.results.page.made_runs import make_run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with runs of two weights and two seeds in ``a``, and of a VAE in ``b``."""
    for weight in ("0.01", "0.2"):
        for seed in "01":
            words = ["model=sparse_l1", f"penalty.weight={weight}", f"seed={seed}"]
            make_run(tmp_path / "a" / f"{weight}_{seed}", words)
    make_run(tmp_path / "b" / "0", ["model=vae"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_rows_fit_a_terminal(here: Path) -> None:
    found = rows(gather([here / "a", here / "b"])[0])
    lines = printed(found, 80)
    assert all(len(line) <= 80 for line in lines)
    header = lines[0].split()
    assert header[:3] == ["system", "variant", "metric"] and "ours" in header
    # The rows alone are as many as those of the page; all metrics are of the validation.
    body = [line for line in lines[1:] if " on digits" in line]
    assert len(body) == len(found)
    for line, row in zip(body, found, strict=True):
        assert with_sd(row.measured) in line
        weight = row.variant.get("penalty.weight")
        assert f"weight={weight} " in line if weight is not None else " -  " in line
    assert "metric = val/..." in " ".join(printed(found, 24))
    assert lines[-1].startswith("commands and single seeds: --wide ")


@pytest.mark.parametrize("width", [40, 60])
def test_what_tells_rows_apart_stays_on_a_narrow_terminal(width: int, here: Path) -> None:
    """As lines of their own: the rows below such a line are those of its system and variant."""
    found = rows(gather([here / "a", here / "b"])[0])
    *lines, _ = printed(found, width)
    assert all(len(line) <= width for line in lines)
    above, body = "", []
    for line in lines:
        if line.startswith("  ") and "ours" not in line:
            body.append((above, line))
        elif not line.startswith("  "):
            above = line
    assert len(body) == len(found)
    for (name, line), row in zip(body, found, strict=True):
        weight = row.variant.get("penalty.weight")
        assert name == f"{row.system}: {'-' if weight is None else f'weight={weight}'}"
        assert with_sd(row.measured) in line


@pytest.mark.parametrize("terminal", [True, False])
def test_a_pipe_gets_the_page(
    terminal: bool, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["a", "b"]) == 0
    found = capsys.readouterr()
    assert found.out.startswith("system " if terminal else "<!-- Made by sae-report")
    # The page of several folders lies here, and one is told so beside the table.
    assert found.err == "page: report.html\n" and (here / "report.html").is_file()
    assert run(["a", "--wide"]) == 0
    found = capsys.readouterr()
    assert found.out.startswith("<!-- Made by sae-report")
    assert found.err == "page: a/report.html\n" and (here / "a" / "report.html").is_file()
