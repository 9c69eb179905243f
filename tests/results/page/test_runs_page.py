"""The page of several runs: its table, means, data for charts, budgets."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from urllib.parse import unquote

import pytest

from sae_cli.results.page import curves, pictures
from sae_cli.results.page.comparison import in_natural_order, labels_of, names_of
from sae_cli.results.page.write import write_page_of
from tests.results.page.made_runs import make_run, make_sweep
from tests.results.page.reading import Page, check_sealed

N = 12
# What 500 runs of 50 epochs may come to, and their pictures in it.
MOST_MEGABYTES = 16


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return make_sweep(tmp_path / "sweep", N)


def made(*folders: Path) -> Page:
    return check_sealed(write_page_of(folders, folders[0].parent / "page.html").read_bytes())


def test_its_table_has_what_differs_then_the_metrics_best_first(sweep: Path) -> None:
    page = made(sweep)
    data = page.data
    assert data["columns"] == ["model", "penalty.weight", "seed"]
    assert data["metrics"][0].startswith("train/")
    assert (data["x"], data["y"]) == ("val/l0", "val/fvu")
    values = [run["metrics"]["val/fvu"] for run in data["runs"]]
    assert values == sorted(values)
    # Settings that are not asked for say "auto".
    assert "Sorted by val/fvu, the best first" in page.text
    assert len(page.all("template")) == 2 * N
    header = "run model penalty.weight seed status val/fvu val/loss val/mse val/l0"
    assert header in page.text
    best = data["runs"][0]
    assert best["name"].startswith(f"{best['label']}_")
    assert best["settings"]["model"] == "sparse_l1"


def test_pictures_that_say_most_come_first(tmp_path: Path) -> None:
    names = ["atoms", "angles", "overview", "reconstructions", "filters"]
    run = make_run(tmp_path / "run", pictures=names)
    found = [file.stem for file in pictures.find_pictures(run)]
    assert found == ["overview", "reconstructions", "atoms", "filters", "angles"]


def test_means_are_over_seeds(tmp_path: Path) -> None:
    for weight, seeds in ((0.01, 3), (0.2, 1)):
        for seed in range(seeds):
            words = [f"penalty.weight={weight}", f"seed={seed}"]
            make_run(tmp_path / "s" / ",".join(words), words)
    page = made(tmp_path / "s")
    l0 = [60.0 / 1.2 + seed for seed in range(3)]
    assert f"0.01 0, 1, 2 0.1767 ± 0.0000 {statistics.fmean([2.1, 2.11, 2.12]):.4f}" in page.text
    assert f"{statistics.fmean(l0):.4f} ± {statistics.stdev(l0):.4f}" in page.text
    assert "0.2 0 0.3667" in page.text


def test_a_run_that_was_made_again_counts_once(tmp_path: Path) -> None:
    for name, seed, epochs in (("a", 0, 4), ("b", 1, 4), ("again", 0, 9)):
        run = make_run(tmp_path / "s" / name, [f"seed={seed}"], epochs=epochs, pictures=())
        record = json.loads((run / "environment.json").read_text())
        day = 2 if name == "again" else 1
        record["started"] = f"2026-11-0{day}T00:00:00+00:00"
        (run / "environment.json").write_text(json.dumps(record))
    text = made(tmp_path / "s").text
    values = [
        json.loads((tmp_path / "s" / n / "summary.json").read_text())["val/fvu"] for n in "ba"
    ]
    again = json.loads((tmp_path / "s" / "again" / "summary.json").read_text())["val/fvu"]
    assert again != values[1]
    mean, sd = statistics.fmean([again, values[0]]), statistics.stdev([again, values[0]])
    assert f" 0, 1 {mean:.4f} ± {sd:.4f} " in text
    # With nothing but repeats there is no seed to take a mean over.
    (tmp_path / "s" / "b").rename(tmp_path / "b")
    assert "over seeds" not in made(tmp_path / "s").text


def test_many_seeds_are_counted(tmp_path: Path) -> None:
    for seed in range(11):
        make_run(tmp_path / "s" / str(seed), [f"seed={seed}"], pictures=())
    assert "11: 0 to 10 0." in made(tmp_path / "s").text


def test_without_two_seeds_there_are_no_means(tmp_path: Path) -> None:
    make_run(tmp_path / "s" / "a", ["penalty.weight=0.01"])
    make_run(tmp_path / "s" / "b", ["penalty.weight=0.02"])
    assert "over seeds" not in made(tmp_path / "s").text


def test_runs_that_were_not_typed_are_told_apart_by_their_settings(tmp_path: Path) -> None:
    for name, words in (("a", ["batch_size=16"]), ("b", ["batch_size=32"])):
        make_run(tmp_path / "s" / name, words)
        (tmp_path / "s" / name / "overrides.yaml").write_text("[]\n")
    assert made(tmp_path / "s").data["columns"] == ["batch_size"]


def test_a_damaged_run_is_named_and_an_unfinished_one_shown(sweep: Path) -> None:
    first, second = sorted(sweep.iterdir())[:2]
    (first / "config.yaml").write_text("[")
    (second / "status.json").write_text('{"status": "failed", "error": "the loss is NaN"}')
    page = made(sweep)
    assert "1 left out" in page.text and "is not a configuration" in page.text
    assert f"{N - 1} runs: {N - 2} finished, 1 failed" in page.text
    assert any("the loss is NaN" in own.get("title", "") for own in page.all("span"))


def test_a_job_that_never_began_is_named(sweep: Path) -> None:
    (sweep / "sweep.yaml").write_text("")
    (sweep / "99_seed=9").mkdir()
    (sweep / "99_seed=9" / "status.json").write_text('{"status": "failed", "error": "no <data>"}')
    (sweep / "notes").mkdir()
    page = made(sweep)
    assert "99_seed=9: failed: no <data>" in page.text
    assert "1 left out" in page.text


def test_folders_far_apart(sweep: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "x" / "other: run", ["seed=7"], picture_bytes=10)
    page = check_sealed(write_page_of([sweep, other], sweep / "p.html").read_bytes())
    names = [run["name"] for run in page.data["runs"]]
    assert "x/other: run" in names and len(names) == N + 1
    links = [own["href"] for own in page.all("a") if "other" in own["href"]]
    assert [(sweep / unquote(link)).resolve() for link in links] == [other]


def test_pictures_beyond_the_budget_stay_where_they_are(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = {path.stat().st_size for path in sweep.rglob("*.png")}
    monkeypatch.setattr(pictures, "MOST_BYTES", (N + 3) * file)
    page = made(sweep)
    sources = [own["src"] for own in page.all("img")]
    inside = [source for source in sources if source.startswith("data:")]
    assert len(inside) == N + 3
    outside = [sweep.parent / unquote(one) for one in sources if not one.startswith("data:")]
    assert len(outside) == N - 3
    assert all(path.is_file() and path.stem == "atoms" for path in outside)
    assert f"{N - 3} of {2 * N} pictures are shown from the run folders" in page.text


def test_long_curves_are_thinned(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made(sweep)
    monkeypatch.setattr(curves, "MOST_VALUES", 1)
    monkeypatch.setattr(curves, "FEWEST_POINTS", 3)
    page = made(sweep)
    assert "thinned to" not in whole.text and "Longer curves are thinned to 3 points" in page.text
    assert whole.data["runs"][0]["curves"]["epochs"] == [0, 1, 2, 3, 4]
    thin = page.data["runs"][0]["curves"]
    assert thin["epochs"] == [0, 2, 4]
    assert thin["values"]["train/loss"][0] is None


def test_five_hundred_runs(tmp_path: Path) -> None:
    """The pictures of 500 runs are more than the page carries."""
    sweep = make_sweep(tmp_path / "sweep", 500, epochs=50, picture_bytes=30_000)
    file = write_page_of([sweep])
    assert file == sweep / "report.html"
    assert file.stat().st_size < MOST_MEGABYTES * 1e6
    page = check_sealed(file.read_bytes())
    assert len(page.data["runs"]) == 500
    assert file.stat().st_size > pictures.MOST_BYTES
    assert "500 runs: 500 finished" in page.text
    assert "pictures are shown from the run folders" in page.text


def test_names_and_their_order() -> None:
    assert sorted(["10_a", "2_b", "1_c", "x"], key=in_natural_order) == ["1_c", "2_b", "10_a", "x"]
    assert labels_of(["1_a", "2_a"]) == ["1", "2"]
    assert labels_of(["1_a", "1_b"]) == ["1_a", "1_b"]
    assert labels_of(["1_a", "b"]) == ["1_a", "b"]
    sweep, run = "2026-11-28_20-11-59_b3c6b393_sweep", "2026-11-29_20-10-58_3d83dd05_ae_digits"
    assert labels_of([f"{sweep}/0_k=1", f"{sweep}/12_k=2", run]) == [
        *("b3c6b393_sweep/0", "b3c6b393_sweep/12"),
        "3d83dd05_ae_digits",
    ]
    assert labels_of([f"{sweep}/0_k=1", f"{sweep}/0_k=2", run])[0] == f"{sweep}/0_k=1"
    # The same sweep twice.
    twice = [f"2026-11-{day}_10-00-00_a" for day in (28, 29)]
    assert labels_of([f"{folder}/{n}_k=1" for folder in twice for n in range(2)]) == [
        f"{folder}/{n}" for folder in twice for n in range(2)
    ]
    assert labels_of([run, run[1:], run[:-1] + "/1"]) == [
        *("3d83dd05_ae_digits", run[1:]),
        "3d83dd05_ae_digit/1",
    ]
    assert names_of([Path("/a/b"), Path("/a/c/d")]) == ["b", "c/d"]
    assert names_of([Path("/a/b")]) == ["b"]


def test_metrics_that_no_float_holds(sweep: Path) -> None:
    folder = sorted(sweep.iterdir())[0]
    content = json.loads((folder / "summary.json").read_text())
    made_up = {"val/fvu": 10**400, "val/l0": True, "val/mse": float("nan"), "val/loss": "9"}
    (folder / "summary.json").write_text(json.dumps(content | made_up))
    run = made(sweep).data["runs"][-1]
    assert [run["metrics"][key] for key in made_up] == [None] * 4


def test_a_search_begins_with_what_it_makes_best(sweep: Path) -> None:
    """Its trade-off has the objectives as axes, and its table the first of them in front."""
    search = {"objectives": ["val/mse", "val/dead_latents"], "dimensions": []}
    (sweep / "sweep.yaml").write_text(f"threads: 1\nsearch: {json.dumps(search)}\n")
    page = made(sweep)
    assert (page.data["x"], page.data["y"]) == ("val/dead_latents", "val/mse")
    assert "Sorted by val/mse, the best first" in page.text
    assert "seed status val/mse val/dead_latents val/loss" in page.text
    values = [run["metrics"]["val/mse"] for run in page.data["runs"]]
    assert values == sorted(values)


def test_one_objective_is_not_drawn_against_itself(sweep: Path) -> None:
    (sweep / "sweep.yaml").write_text("threads: 1\nsearch: {objectives: [val/l0]}\n")
    page = made(sweep)
    assert (page.data["x"], page.data["y"]) == ("val/mean_activity", "val/l0")


@pytest.mark.parametrize("search", ["3", "{objectives: 3}", "{objectives: [x, [y], 1]}", "["])
def test_a_search_that_cannot_be_read_is_none(sweep: Path, search: str) -> None:
    (sweep / "sweep.yaml").write_text(f"threads: 1\nsearch: {search}\n")
    page = made(sweep)
    assert (page.data["x"], page.data["y"]) == ("val/l0", "val/fvu")
