"""The output of a run: the bar, the line of an epoch, tables."""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path

import pytest
import torch

from sae_cli.core.text import number, short, table
from sae_cli.runs.console import Console, Saying, epoch_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def draw_bar(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, bar: bool) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    console = Console(lambda line: None, Saying(bar=bar), True)
    console.begin("layer_1", 3, 1)
    weight = torch.ones(1, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(3):
            # The bar is drawn again because it was last drawn long ago.
            if console._bar is not None:
                console._bar.last_print_t = 0.0
                console._bar.miniters = 0
            console.step({"loss": (weight * (step + 0.5)).sum()})
    console.begin("layer_2", 3, 1, first=1)
    console.end()
    return stream.getvalue()


def test_the_bar_shows_stage_steps_and_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = draw_bar(monkeypatch, Terminal(), True)
    assert "layer_1" in printed
    assert "epoch 1/1" in printed
    assert "loss 1.5000" in printed
    assert "layer_2" in printed


@pytest.mark.parametrize(("stream", "bar"), [(io.StringIO(), True), (Terminal(), False)])
def test_no_bar_without_a_terminal_or_by_the_flag(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, bar: bool
) -> None:
    assert draw_bar(monkeypatch, stream, bar) == ""


def test_lines_are_printed_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    kept: list[str] = []
    console = Console(kept.append, Saying(), False)
    console.say("a line")
    console.say("one", "an\nother")
    console.say()
    assert kept == ["a line", "one\nan\\nother"]
    assert capsys.readouterr().out == "a line\none\nan\\nother\n"


def test_the_line_of_an_epoch() -> None:
    metrics = {"train/loss": 0.5, "val/loss": 0.25, "val/fvu": 1e-5, "val/dead_latents": 3}
    assert epoch_line("", 3, 10, metrics, {"val/dead_latents": "dead"}) == (
        "epoch  3/10  train loss 0.5000  val loss 0.2500  fvu 1.00e-05  dead 3"
    )
    assert epoch_line("layer_1", 0, 5, {"val/loss": 0.25}, {}).startswith(
        "layer_1  epoch 0/5  train loss      -  val loss 0.2500"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0.0000"), (0.12345, "0.1235"), (-2e-5, "-2.00e-05"), (123.45, "123.5"), (7, "7")],
)
def test_numbers(value: float, shown: str) -> None:
    assert number(value) == shown


def test_tables_are_aligned() -> None:
    assert table(["metric", "val"], [["loss", 0.5], ["dead_latents", 12], ["bce", None]]) == [
        "metric           val",
        "loss          0.5000",
        "dead_latents      12",
        "bce                -",
    ]


def test_short_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert short(tmp_path / "outputs" / "run") == "outputs/run"
    assert short(tmp_path.parent) == str(tmp_path.parent)
