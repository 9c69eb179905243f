"""The page of a run: whole, sealed, and made from whatever its folder still holds."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest

from sae_cli.core.errors import ConfigError
from sae_cli.results.page.write import MARKER, check_page, write_page_of, write_run_page
from tests.results.page.made_runs import ENVIRONMENT, METRICS, make_run
from tests.results.page.reading import Page, check_sealed

WORDS = ("model=sparse_kl", "penalty.weight=0.05", "penalty.target=0.15")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", WORDS, picture_bytes=5000)


def made(run: Path) -> Page:
    return check_sealed(write_run_page(run).read_bytes())


def test_it_says_what_was_run_and_how_it_went(run: Path) -> None:
    page = made(run)
    for words in (
        *("sparse_kl", "made-up data", "sae-train -m seed=0,1", "finished", "torch 2.11.0"),
        *("f00d" * 16, "a processor", "2026-01-02T03:04:05+00:00", "penalty.weight 0.05"),
        "the mean is 4.1 times the spread: dataset.centre=mean would remove it",
        "penalty.target_l0=8: val/l0 is 7.17, more than 5% from it; train longer",
    ):
        assert words in page.text, words
    summary = json.loads((run / "summary.json").read_text())
    for name in METRICS:
        values = " ".join(f"{summary[f'{split}/{name}']:.4f}" for split in ("train", "val", "test"))
        target = " (target 0.15)" if name == "mean_activity" else ""
        assert f"{name}{target} {values}" in page.text


def test_it_has_every_curve_and_every_picture(run: Path) -> None:
    page = made(run)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    charts = {chart["name"]: chart for chart in page.data["charts"]}
    assert set(charts) == set(METRICS)
    assert len(page.all("canvas")) == len(METRICS)
    curves = {curve["label"]: curve["points"] for curve in charts["loss"]["curves"]}
    assert set(curves) == {"train", "validation"}
    expected = [[line["epoch"], line["val/loss"]] for line in lines]
    assert curves["validation"] == [pytest.approx(point, rel=1e-4) for point in expected]
    assert [epoch for epoch, _ in curves["train"]] == [1, 2, 3, 4]
    assert charts["mean_activity"]["target"] == 0.15
    assert charts["loss"]["target"] is None
    pictures = [own for own in page.all("img") if own["src"].startswith("data:image/png;base64,")]
    names = [own["alt"].split()[0] for own in pictures]
    assert names == ["reconstructions", "atoms"]
    for name, own in zip(names, pictures, strict=True):
        content = base64.b64decode(own["src"].partition(",")[2])
        assert content == (run / "pictures" / f"{name}.png").read_bytes()


def test_a_curve_has_a_gap_between_stages(run: Path) -> None:
    text = "".join(
        json.dumps({"stage": stage, "epoch": epoch, "val/loss": 1.0}) + "\n"
        for stage, epoch in (("layer_1", 0), ("layer_1", 1), ("joint", 1), ("joint", 2))
    )
    (run / "metrics.jsonl").write_text(text)
    (chart,) = made(run).data["charts"]
    (curve,) = chart["curves"]
    assert curve["points"] == [[0, 1], [1, 1], [None, None], [1, 1], [2, 1]]


def test_it_is_the_same_each_time(run: Path) -> None:
    first = write_run_page(run).read_bytes()
    assert write_run_page(run).read_bytes() == first


def test_without_pictures_it_is_small(run: Path) -> None:
    shutil.rmtree(run / "pictures")
    page = write_run_page(run)
    assert not made(run).all("img")
    assert page.stat().st_size < 300_000


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_a_run_that_has_not_finished(status: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", WORDS, status=status)
    error = "the loss is NaN <b>at step 3</b>"
    (run / "status.json").write_text(json.dumps({"status": status, "error": error}))
    page = made(run)
    assert f"run {status}" in page.text
    assert error in page.text
    assert "Metrics of the last epoch" in page.text
    assert "fvu - 0.2167 -" in page.text


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"val/loss": "x", "train/loss": [1]}', b"\xff"])
@pytest.mark.parametrize(
    "name",
    [
        *("overrides.yaml", "environment.json", "metrics.jsonl", "summary.json", "status.json"),
        *("train.log", "pictures/atoms.png"),
    ],
)
def test_a_folder_with_a_damaged_file(name: str, content: bytes, run: Path) -> None:
    (run / name).write_bytes(content)
    made(run)
    (run / name).unlink()
    made(run)


def test_a_file_that_is_no_page_is_left_as_it_is(run: Path, tmp_path: Path) -> None:
    (run / "report.html").write_text("mine")
    with pytest.raises(ConfigError, match="is not a page of sae-train and is left as it is"):
        write_run_page(run)
    assert (run / "report.html").read_text() == "mine"
    (run / "report.html").write_bytes(MARKER)
    check_page(run / "report.html")
    (run / "report.html").unlink()
    (run / "report.html").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is a link"):
        write_page_of([run])
    (run / "report.html").unlink()
    (run / "report.html.1.tmp").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is a link"):
        check_page(run / "report.html")
    assert not (tmp_path / "elsewhere").exists()


def test_the_command_is_the_one_of_its_record(run: Path) -> None:
    record = ENVIRONMENT | {"command": ["python", "script.py", "a b"]}
    (run / "environment.json").write_text(json.dumps(record))
    assert "python script.py 'a b'" in made(run).text
