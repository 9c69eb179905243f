"""The benchmark of errors at equal L0: who takes part."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import equal_l0


def test_libraries_that_an_interpreter_lacks_are_left_out_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peers = tmp_path / "python"
    peers.write_text('#!/bin/sh\ncase "$*" in *sae_lens*) echo True;; *) echo False;; esac\n')
    peers.chmod(0o755)
    took_part: list[dict[str, str]] = []

    def table(variant: str, pythons: dict[str, str], *given: object) -> str:
        took_part.append(pythons)
        return variant

    monkeypatch.setattr(equal_l0, "table", table)
    words = ["--python", f"peers={peers}", "--variants", "topk", "--data", "x.npy"]
    monkeypatch.setattr(sys, "argv", ["equal_l0", *words])
    equal_l0.main()
    assert took_part == [{"sae-train": sys.executable, "saelens": str(peers)}]
    assert capsys.readouterr().err.splitlines() == [
        f"{name} is left out: {peers} does not have it"
        for name in ("sparsify", "dictionary_learning")
    ]


def test_an_interpreter_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["equal_l0", "--python", "peers=/nowhere/python"])
    with pytest.raises(SystemExit) as caught:
        equal_l0.main()
    assert caught.value.code == 2
    assert "/nowhere/python is not an interpreter; give peers=" in capsys.readouterr().err
