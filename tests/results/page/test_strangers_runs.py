"""Runs from a stranger, whose every text tries to be more than text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sae_cli.results.page.write import write_page_of
from tests.results.page.made_runs import make_run, png
from tests.results.page.reading import Page, check_sealed

HOSTILE = (
    "</script><script>alert(1)</script><!--<script>\"'><img src=x onerror=alert(2)> &lt;"
    "\x1b]0;title\x07\u202e{{ 7 * 7 }}{% raw %}]]>"
)
# A folder's name has no slash.
NAME = HOSTILE.replace("/", "_")[:200]
SHOWN = HOSTILE.replace("\x1b", "\\x1b").replace("\x07", "\\x07").replace("\u202e", "\\u202e")


def poisoned(folder: Path) -> Path:
    """Put the text wherever a file of a run can hold one."""
    run = make_run(folder / NAME, ["seed=1"])
    config = yaml.safe_load((run / "config.yaml").read_text())
    config |= {"model": HOSTILE, "sort_by": HOSTILE, HOSTILE: HOSTILE}
    config["penalty"] |= {"name": HOSTILE, HOSTILE: [HOSTILE]}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "overrides.yaml").write_text(yaml.safe_dump([f"model={HOSTILE}", HOSTILE]))
    record = {
        "started": HOSTILE,
        "command": [HOSTILE],
        "packages": {HOSTILE: HOSTILE},
        "code": {"patch": HOSTILE, "commit": HOSTILE, "sha256": HOSTILE},
        "dataset": {"source": HOSTILE, "fingerprint": HOSTILE},
        "hardware": HOSTILE,
    }
    (run / "environment.json").write_text(json.dumps(record))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    more = {"stage": HOSTILE, f"val/{HOSTILE}": 1.0, HOSTILE: 2.0, "val/half": "\ud800"}
    text = "".join(json.dumps(line | more) + "\n" for line in lines)
    (run / "metrics.jsonl").write_text(text)
    edit(run / "summary.json", {f"val/{HOSTILE}": 3.0, f"test/{HOSTILE}": 4.0})
    (run / "train.log").write_text(f"note: {HOSTILE}\n{HOSTILE}\n")
    (run / "pictures" / f"{NAME}.png").write_bytes(png())
    return run


def edit(file: Path, changes: dict[str, Any]) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def check_harmless(page: Page) -> None:
    assert not any(own.get("src") == "x" for own in page.all("img"))
    assert "{{ 7 * 7 }}" in page.text and "49{%" not in page.text
    everything = page.text + json.dumps(page.data, ensure_ascii=False)
    everything += "".join(value for _, own in page.elements for value in own.values())
    assert not {"\x1b", "\x07", "\u202e"} & set(everything)
    assert SHOWN in page.text


@pytest.mark.parametrize("status", ["finished", "failed"])
def test_the_page_of_a_run(status: str, tmp_path: Path) -> None:
    run = poisoned(tmp_path)
    edit(run / "status.json", {"status": status, "error": HOSTILE})
    check_harmless(check_sealed(write_page_of([run]).read_bytes()))


def test_the_page_of_several(tmp_path: Path) -> None:
    run = poisoned(tmp_path)
    make_run(tmp_path / "other", ["seed=0"])
    damaged = make_run(tmp_path / "x" / NAME, ["seed=2"])
    (damaged / "config.yaml").write_text("[")
    edit(run / "status.json", {"status": "failed", "error": HOSTILE})
    page = check_sealed(write_page_of([tmp_path]).read_bytes())
    check_harmless(page)
    assert len(page.data["runs"]) == 2


def test_half_a_letter(tmp_path: Path) -> None:
    """JSON can hold one, and a file's name can hold bytes that are no text."""
    run = make_run(tmp_path / "run")
    edit(run / "environment.json", {"started": "\ud800"})
    (run / "pictures" / "a\udcff.png").write_bytes(png())
    page = check_sealed(write_page_of([run]).read_bytes())
    assert "\\ud800" in page.text


@pytest.mark.parametrize("name", ["config.yaml", "pictures/atoms.png", "train.log"])
def test_links_are_refused(name: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "run")
    make_run(tmp_path / "runs" / "other")
    (run / name).unlink()
    (run / name).symlink_to(tmp_path / "runs" / "other" / name)
    page = check_sealed(write_page_of([tmp_path / "runs"]).read_bytes())
    assert len(page.data["charts"]) if "charts" in page.data else len(page.data["runs"]) == 1
    assert "is a link" in page.text
