"""The page that runs and sweeps leave at their end, and what happens where they cannot."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from sae_cli.core.errors import DivergedError, MovedError
from sae_cli.results.page import write
from sae_cli.run_folder.layout import status_of
from sae_cli.runs import reporting
from sae_cli.runs.resume import resume
from sae_cli.runs.sweeps.jobs import OneByOne
from sae_cli.runs.sweeps.running import run_sweep
from sae_cli.runs.sweeps.sweep import sweep_of
from sae_cli.runs.train import train
from tests.conftest import SMALL, Command, Configure
from tests.faults.runs import config_of, stop
from tests.results.page.reading import check_sealed

QUICK = ("model=sparse_l1", *SMALL, "device=cpu")
REPORT = "report.html"


def test_a_run_leaves_its_page_with_its_pictures(configure: Configure, tmp_path: Path) -> None:
    summary = train(configure(*QUICK), tmp_path / "run", ["epochs=1"])
    page = check_sealed((tmp_path / "run" / REPORT).read_bytes())
    pictures = {path.stem for path in (tmp_path / "run" / "pictures").glob("*.png")}
    titles = {own["alt"].removesuffix(" of this run") for own in page.all("img")}
    assert titles == {name.replace("_", " ") for name in pictures}
    assert f"fvu {summary['train/fvu']:.4f} {summary['val/fvu']:.4f}" in page.text
    metrics = {key.partition("/")[2] for key in summary if "/" in key}
    assert {chart["name"] for chart in page.data["charts"]} >= metrics
    assert "run finished" in page.text


def test_report_false_leaves_none(configure: Configure, tmp_path: Path) -> None:
    config = configure(*QUICK, "pictures=false", "report=false")
    train(config, tmp_path / "run", [])
    assert not (tmp_path / "run" / REPORT).exists()
    run_sweep(sweep_of(tmp_path / "sweep", [["seed=0"]], [config]), OneByOne())
    assert not (tmp_path / "sweep" / REPORT).exists()


def test_the_jobs_of_a_sweep_share_a_page(configure: Configure, tmp_path: Path) -> None:
    configs = [configure(*QUICK, "pictures=false", f"seed={seed}") for seed in range(3)]
    broken = configs[2].changed({"optimizer.learning_rate": 1e30})
    overrides = [[f"seed={seed}"] for seed in range(3)]
    sweep = sweep_of(tmp_path / "sweep", overrides, [*configs[:2], broken])
    assert run_sweep(sweep, OneByOne()) == 1
    page = check_sealed((tmp_path / "sweep" / REPORT).read_bytes())
    assert [run["label"] for run in page.data["runs"]][2] == "2"
    assert "3 runs: 2 finished, 1 failed" in page.text
    assert not list(tmp_path.glob("sweep/*/report.html"))


def test_a_run_that_diverges_leaves_a_page(configure: Configure, tmp_path: Path) -> None:
    config = configure(*QUICK, "pictures=false", "optimizer.learning_rate=1e30")
    with pytest.raises(DivergedError) as error:
        train(config, tmp_path / "run", [])
    page = check_sealed((tmp_path / "run" / REPORT).read_bytes())
    assert "run failed" in page.text
    assert str(error.value)[:40] in page.text


def test_a_run_that_was_stopped_writes_it_at_its_end(tmp_path: Path) -> None:
    run = tmp_path / "run"
    stop(config_of(), run)
    assert not (run / REPORT).exists()
    resume(run, {})
    assert "run finished" in check_sealed((run / REPORT).read_bytes()).text
    resume(run, {"epochs": 6})
    assert "epochs done 6" in check_sealed((run / REPORT).read_bytes()).text


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "report.html"), "No space left on"),
        (KeyError("a bug"), "'a bug'"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_page_that_cannot_be_written_fails_no_run(
    error: Exception,
    says: str,
    configure: Configure,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(target: Path, content: bytes) -> None:
        raise error

    monkeypatch.setattr(write, "write_atomically", fail)
    # A quiet run says so, too.
    config = configure(*QUICK, "pictures=false", "quiet=true")
    train(config, tmp_path / "run", [])
    assert status_of(tmp_path / "run") == "finished"
    (line,) = (one for one in capsys.readouterr().out.splitlines() if "report.html:" in one)
    assert line.startswith("no report.html: ") and says in line
    assert line in (tmp_path / "run" / "train.log").read_text()
    assert run_sweep(sweep_of(tmp_path / "sweep", [["seed=0"]], [config]), OneByOne()) == 0
    assert "no report.html: " in capsys.readouterr().out


def test_a_folder_that_has_moved_is_no_fault_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, status: str) -> Path:
        raise MovedError("moved")

    monkeypatch.setattr(reporting, "write_run_page", fail)
    with pytest.raises(MovedError):
        reporting.report_run(Path("run"), "finished", print)


def test_the_command_writes_pages(
    command: Command, reporting: Command, configure: Configure, tmp_path: Path
) -> None:
    quick = (*QUICK, "pictures=false")
    assert command("-m", "seed=0,1", *quick, "hydra.sweep.dir=sweep").returncode == 0
    assert command(*quick, "report=false", "hydra.run.dir=run").returncode == 0
    assert not (tmp_path / "run" / REPORT).exists()
    (job, _) = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    done = reporting(f"sweep/{job.name}", "--into", "one.md")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"page: sweep/{job.name}/report.html"
    assert "charts" in check_sealed((job / REPORT).read_bytes()).data
    assert reporting("sweep").returncode == 0
    sweep = check_sealed((tmp_path / "sweep" / REPORT).read_bytes())
    assert any(own["href"].endswith(f"/{REPORT}") for own in sweep.all("a"))
    assert reporting("sweep", "run").returncode == 0
    assert len(check_sealed((tmp_path / REPORT).read_bytes()).data["runs"]) == 3
    assert reporting("sweep", "--page", "mine.html").returncode == 0
    assert len(check_sealed((tmp_path / "mine.html").read_bytes()).data["runs"]) == 2

    status = (tmp_path / "run" / "status.json").read_bytes()
    (tmp_path / "run" / "status.json").write_text('{"status": "failed", "error": "why"}')
    assert reporting("run").returncode == 2
    done = reporting("run", "--page", "failed.html")
    assert (done.returncode, done.stdout) == (0, "page: failed.html\n")
    assert done.stderr.startswith("no table: no finished run in run")
    assert "why" in check_sealed((tmp_path / "failed.html").read_bytes()).text
    (tmp_path / "run" / "status.json").write_bytes(status)

    (tmp_path / "run" / REPORT).write_text("mine")
    done = reporting("run")
    assert done.returncode == 0
    assert done.stderr.startswith("no page: run/report.html is not a page of sae-train")
    for words in (("--page", "run/report.html"), ("--page", "nowhere/x.html")):
        done = reporting("sweep", *words)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert done.stdout == ""
    assert (tmp_path / "run" / REPORT).read_text() == "mine"


def test_a_run_still_at_work_is_shown_as_such(tmp_path: Path) -> None:
    run = tmp_path / "run"
    stop(config_of(), run)
    content = write.write_page_of([run]).read_bytes()
    assert "run interrupted" in check_sealed(content).text
    assert json.loads((run / "status.json").read_text())["status"] == "interrupted"
