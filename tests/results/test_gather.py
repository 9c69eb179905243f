"""The page of results: from real runs, against NumPy, and from folders that somebody sent."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sae_cli.config.schema import GROUPS
from sae_cli.config.settings import GROUP_NAMES
from sae_cli.core.errors import ConfigError
from sae_cli.results.gather import MAX_DEPTH, Row, gather, rows
from sae_cli.results.markdown import MARKER, NOTHING, check_target, page, write_page
from sae_cli.results.printed import printed
from sae_cli.run_folder.files import read_json
from sae_cli.runs.train import train
from tests.conftest import SMALL, Command, Configure
from tests.contracts.small import page_of

FAST = (*SMALL, "pictures=false", "device=cpu")
ENTRY: dict[str, Any] = {
    **{"metric": "val/fvu", "value": 2.0, "tolerance": 0.6},
    "source": "a | paper, <b>table_1</b>",
}


@pytest.fixture
def runs(configure: Configure, tmp_path: Path) -> Path:
    """Two seeds of one model, with a published figure."""
    for seed in (0, 1):
        config = configure("model=ae", f"seed={seed}", *FAST).changed({"published": [ENTRY]})
        train(config, tmp_path / "runs" / str(seed), [f"seed={seed}", "batch_size=32", *FAST])
    return tmp_path / "runs"


def made(*folders: Path) -> str:
    found, left_out = gather(folders)
    return page(rows(found), found, len(left_out), "sae-report")


def edit(path: Path, **changed: Any) -> None:
    path.write_text(json.dumps(read_json(path) | changed))


def table(text: str, number: int = 0) -> list[list[str]]:
    """The rows of a table below its header, cell by cell."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = [i for i, line in enumerate(lines) if line.startswith(("| system", "| front"))]
    start, stop = [*heads, len(lines)][number : number + 2]
    return [line.strip("| ").split(" | ") for line in lines[start + 2 : stop]]


def test_mean_and_sd_are_those_of_numpy(runs: Path) -> None:
    values = [read_json(runs / seed / "summary.json")["val/fvu"] for seed in "01"]
    found, _ = gather([runs])
    (row,) = rows(found)
    assert (row.metric, row.values) == ("val/fvu", dict(enumerate(values)))
    assert row.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert row.sd == pytest.approx(np.std(values, ddof=1), rel=1e-12)
    assert row.within is True
    text = made(runs)
    ((system, variant, metric, published, ours, within, command),) = table(text)
    assert (system, variant, metric) == ("`ae on digits`", NOTHING, "`val/fvu`")
    assert published == r"2.0000 ± 0.6 (a \| paper, \<b\>table\_1\</b\>)"
    assert ours == f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f} (2 seeds)"
    assert within == "yes"
    kept = "dataset.test=1500 epochs=1"
    assert command == f"`sae-train model=ae batch_size=32 {kept} device=cpu -m seed=0,1`"
    assert table(text, 1)[0][-1] == f"0: {values[0]:.4f}, 1: {values[1]:.4f}"
    environment = read_json(runs / "0" / "environment.json")
    assert f"2 runs: Python {environment['python']}, torch " in text


@pytest.mark.parametrize(
    ("value", "tolerance", "within"),
    [(0.5, 0.1, True), (0.5, 0.05, False), (0.7, 0.1, True), (0.5, None, None), (None, 0.1, None)],
)
def test_the_mean_is_held_against_the_tolerance(
    value: float | None, tolerance: float | None, within: bool | None, configure: Configure
) -> None:
    entry = ENTRY | {"value": value, "tolerance": tolerance}
    (published,) = configure().changed({"published": [entry]}).settings.published
    row = Row("s", {}, "val/fvu", published, {0: 0.5, 1: 0.7}, "")
    assert row.within is within
    assert Row("s", {}, "val/fvu", published, {0: 0.5, 1: None}, "").within is None


@pytest.mark.parametrize(
    ("metric", "published", "ours", "verdict"),
    [
        ("test/accuracy", 0.976, 0.9823, "no, better"),
        ("test/accuracy", 0.9823, 0.976, "no"),
        ("test/accuracy", 0.976, 0.979, "yes"),
        ("val/rounded_accuracy", 0.5, 0.6, "no, better"),
        ("val/loss", 0.3, 0.2, "no, better"),
        ("val/loss", 0.2, 0.3, "no"),
        ("test/reconstruction", 3.0, 2.93, "no, better"),
        ("val/fvu", 0.2, 0.1, "no, better"),
        # Fewer active codes and a smaller penalty are bought with a larger error.
        ("val/l0", 20.0, 10.0, "no"),
        ("val/l0", 10.0, 20.0, "no"),
        ("val/penalty", 0.2, 0.1, "no"),
    ],
)
def test_beyond_the_tolerance_on_the_good_side_is_better(
    metric: str, published: float, ours: float, verdict: str, configure: Configure
) -> None:
    entry = ENTRY | {"metric": metric, "value": published, "tolerance": 0.005}
    (known,) = configure().changed({"published": [entry]}).settings.published
    row = Row("s", {}, metric, known, {0: ours - 0.001, 1: ours + 0.001}, "")
    ((*_, in_page, _),) = table(page([row], [], 0, ""))[:1]
    assert in_page == verdict
    assert printed([row], 200)[1].endswith(f" {verdict}")


def test_one_run_has_no_sd(runs: Path) -> None:
    found, _ = gather([runs / "1"])
    (row,) = rows(found)
    assert row.sd is None
    assert "±" not in table(made(runs / "1"))[0][4]
    assert table(made(runs / "1"))[0][4].endswith("(1 seed)")
    assert row.command.endswith("device=cpu seed=1")


def test_without_published_figures_loss_and_fvu_are_shown(
    configure: Configure, tmp_path: Path
) -> None:
    train(configure("model=ae", *FAST), tmp_path / "run", [])
    assert [row[2] for row in table(made(tmp_path / "run"))] == ["`val/loss`", "`val/fvu`"]
    edit(tmp_path / "run" / "summary.json", **{"test/accuracy": 0.75})
    text = made(tmp_path / "run")
    assert [row[2:5] for row in table(text)][-1] == ["`test/accuracy`", NOTHING, "0.7500 (1 seed)"]


def test_variants_are_named_by_what_differs(configure: Configure, tmp_path: Path) -> None:
    for i, words in enumerate([(), ("penalty.weight=0.3",), ("penalty=l1",)]):
        config = configure("experiment=hands_on_sparse_kl", "dataset=digits", *FAST, *words)
        train(config, tmp_path / "runs" / str(i), list(words))
    found = table(made(tmp_path / "runs"))
    assert {row[0] for row in found} == {"`hands_on_sparse_kl`"}
    page = page_of("penalty/l1.yaml")
    l1 = {"penalty": page.pop("name")}
    l1 |= {f"penalty.{key}": json.dumps(value) for key, value in page.items()}
    kl = "`penalty.divide_by_batch_size=true`"
    assert [row[1] for row in found[::2]] == [
        f"`penalty=kl`, `penalty.weight=0.05`, `penalty.target=0.1`, {kl}",
        f"`penalty=kl`, `penalty.weight=0.3`, `penalty.target=0.1`, {kl}",
        ", ".join(f"`{key}={value}`" for key, value in l1.items()),
    ]
    assert found[2][-1] == ("`sae-train experiment=hands_on_sparse_kl penalty.weight=0.3 seed=0`")


def test_of_two_equal_runs_the_later_counts(runs: Path) -> None:
    shutil.copytree(runs / "0", runs / "2")
    edit(runs / "2" / "summary.json", **{"val/fvu": 0.125})
    edit(runs / "2" / "environment.json", started="1999-01-01T00:00:00+00:00")
    found, _ = gather([runs])
    assert rows(found)[0].values[0] != 0.125
    edit(runs / "2" / "environment.json", started="2999-01-01T00:00:00+00:00")
    found, _ = gather([runs])
    assert rows(found)[0].values[0] == 0.125
    assert len(rows(found)[0].values) == 2


def test_a_run_that_has_not_finished_is_left_out_and_counted(runs: Path) -> None:
    edit(runs / "1" / "status.json", status="interrupted")
    text = made(runs)
    assert "1 finished run by" in text and "Left out: 1 unfinished or damaged run." in text
    edit(runs / "0" / "status.json", status="failed")
    with pytest.raises(ConfigError, match=r"no finished run in .* \(2 that have not finished or "):
        gather([runs])


def test_a_folder_without_runs_is_said_in_few_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no finished run in \S+; give run folders, sweeps, or"):
        gather([tmp_path])


def test_a_missing_or_infinite_metric_is_not_a_number(runs: Path) -> None:
    edit(runs / "1" / "summary.json", **{"val/fvu": None})
    assert table(made(runs))[0][4].endswith("(1 of 2 seeds)")
    assert table(made(runs))[0][5] == NOTHING
    assert table(made(runs), 1)[0][-1].endswith(f", 1: {NOTHING}")
    for value in ("1e999", "NaN", "1" + "0" * 400, '"0.5"', "[]"):
        for seed in "01":
            (runs / seed / "summary.json").write_text(f'{{"val/fvu": {value}}}')
        assert table(made(runs))[0][4] == f"{NOTHING} (2 seeds)"


def test_folders_are_searched_to_a_depth_and_links_not_followed(runs: Path) -> None:
    outer = runs.parent / "outer"
    deep = outer.joinpath(*"abc")
    assert len((*deep.relative_to(outer).parts, "0")) == MAX_DEPTH
    shutil.copytree(runs, deep)
    (outer / "circle").symlink_to(outer)
    (outer / "again").symlink_to(runs)
    assert len(gather([outer])[0]) == 2
    assert len(gather([outer, deep / "0", outer])[0]) == 2
    (outer / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"in \S*empty; give run folders"):
        gather([outer / "empty"])


def test_a_folder_from_a_stranger_stays_within_its_cells(runs: Path) -> None:
    bad = "a | b\n| ``c`` <script>x</script> [d](javascript:1) \ud800 $(reboot)"
    for seed in "01":
        config = (runs / seed / "config.yaml").read_text()
        config = config.replace("experiment: null", f"experiment: {json.dumps(bad[:-10])}")
        (runs / seed / "config.yaml").write_text(config)
        record = {"python": bad, "packages": 3, "hardware": {"gpu": [bad]}, "code": None}
        (runs / seed / "environment.json").write_text(json.dumps(record))
        overrides = [
            "seed=1",
            "optimizer.learning_rate=1; reboot",
            f"batch_size={bad}",
            "hydra/launcher=x",
            "word",
        ]
        (runs / seed / "overrides.yaml").write_text(json.dumps(overrides))
    clean, text = made(runs / "0"), made(runs)
    text.encode()
    assert text.count("\n") == clean.count("\n")
    header, rule, row = (line for line in text.splitlines()[9:12])
    bars = [line.replace(r"\|", "").count("|") for line in (header, rule, row)]
    assert bars == [8, 8, 8]
    assert "'optimizer.learning_rate=1; reboot'" in row and "hydra" not in row and "word" not in row
    (machine,) = (line for line in text.splitlines() if line.startswith("- 2 runs"))
    assert r"\<script\>" in machine and r"\[d\]" in machine and r"\`\`c\`\`" in machine


def test_the_command_of_runs_that_were_trained_on_has_their_epochs(runs: Path) -> None:
    for seed in "01":
        page = runs / seed / "config.yaml"
        page.write_text(page.read_text().replace("epochs: 1\n", "epochs: 7\n"))
    assert " epochs=7 " in table(made(runs))[0][-1]


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (["array", "path=/mine/x.npy"], "array dataset.path=PATH"),
        (["image_folder", "path=/mine/pictures"], "image_folder dataset.path=PATH"),
        (["natural_patches", "path=null"], "natural_patches"),
        (
            ["array", "path=/mine/x.npy", "labels='/my own/y.NPY'"],
            "array dataset.labels=FILE dataset.path=PATH",
        ),
        (
            ["array", "path=/mine/x.npz", "labels=classes"],
            "array dataset.labels=classes dataset.path=PATH",
        ),
    ],
)
def test_the_command_says_what_data_are_needed_and_not_where_they_lay(
    given: list[str], asked: str, runs: Path
) -> None:
    for seed in "01":
        name, *options = given
        lines = ["model=ae", f"dataset={name}", *(f"dataset.{option}" for option in options)]
        (runs / seed / "overrides.yaml").write_text("".join(f'- "{line}"\n' for line in lines))
    command = table(made(runs))[0][-1]
    assert command.endswith(f" dataset={asked} -m seed=0,1`")


def test_options_from_a_stranger_are_shown_as_they_stand(runs: Path) -> None:
    """They are not held against the schema, and can be anything that YAML has."""
    for seed, option in (("0", "2001-01-01"), ("1", "{a | b: [.nan, null, x]}")):
        page = (runs / seed / "config.yaml").read_text()
        page = re.sub("n_latents: .*", f"n_latents: {option}", page)
        (runs / seed / "config.yaml").write_text(page)
    variants = {row[1] for row in table(made(runs).replace(r"\|", "¦"))}
    assert variants == {
        '`architecture.n_latents="2001-01-01"`',
        '`architecture.n_latents={"a ¦ b": [NaN, null, "x"]}`',
    }


def test_files_that_could_hang_or_lead_elsewhere_are_refused(runs: Path) -> None:
    (runs / "0" / "summary.json").unlink()
    (runs / "0" / "summary.json").symlink_to("/dev/zero")
    _, left_out = gather([runs])
    assert left_out == [f"{runs / '0'}: interrupted"]
    (runs / "0" / "summary.json").unlink()
    shutil.copy(runs / "1" / "summary.json", runs / "0" / "summary.json")
    (runs / "0" / "more").symlink_to("/dev/zero")
    _, (line,) = gather([runs])
    assert "more is a link" in line
    shutil.rmtree(runs / "0")
    (runs / "1" / "overrides.yaml").write_text("a: 1")
    with pytest.raises(ConfigError, match="is not a list of texts"):
        gather([runs])


def test_good_runs_are_gathered_and_the_others_named(
    runs: Path, reporting: Command, tmp_path: Path
) -> None:
    for name in ("interrupted", "damaged", "empty"):
        shutil.copytree(runs / "0", tmp_path / name)
    edit(tmp_path / "interrupted" / "status.json", status="interrupted")
    (tmp_path / "damaged" / "environment.json").write_text("{")
    (tmp_path / "empty" / "config.yaml").write_text("")
    done = reporting("runs", "interrupted", "damaged", "empty", "--into", "page.md")
    assert done.returncode == 0
    assert done.stdout == "1 rows from 2 finished runs: page.md\npage: report.html\n"
    one, two, three = done.stderr.splitlines()
    assert one == "left out: interrupted: interrupted"
    assert "damaged/environment.json cannot be read" in two
    assert "empty/config.yaml is not a configuration" in three
    assert "Left out: 3 unfinished or damaged runs." in (tmp_path / "page.md").read_text()


def test_a_report_does_not_wait_for_torch() -> None:
    """Thousands of runs are read in less time than torch and the whole schema take."""
    modules = "sae_cli.commands.report, sae_cli.results.markdown, sae_cli.results.page.write"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_names_of_groups_are_those_of_the_registries() -> None:
    assert tuple(GROUPS) == GROUP_NAMES


def test_only_its_own_page_is_overwritten(tmp_path: Path) -> None:
    for content in ("# My results\n", "", MARKER, f"{MARKER} \n", f"\n{MARKER}\n"):
        (tmp_path / "page.md").write_text(content)
        with pytest.raises(ConfigError, match=r"page\.md was not made by sae-report"):
            write_page(tmp_path / "page.md", "new")
        assert (tmp_path / "page.md").read_text() == content
    (tmp_path / "page.md").write_text(f"{MARKER}\nold")
    write_page(tmp_path / "page.md", f"{MARKER}\nnew")
    assert (tmp_path / "page.md").read_text() == f"{MARKER}\nnew"
    (tmp_path / "link.md").symlink_to(tmp_path / "page.md")
    for name, says in [("link.md", "is a link"), (".", "is not a file"), ("no/a.md", "no folder")]:
        with pytest.raises(ConfigError, match=says):
            check_target(tmp_path / name)


def test_the_command_on_a_sweep(reporting: Command, command: Command, tmp_path: Path) -> None:
    words = ("-m", "seed=0,1", "model=ae,linear", "hydra.sweep.dir=sweep", *FAST)
    assert command(*words).returncode == 0
    done = reporting("sweep", "--into", "results.md")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "4 rows from 4 finished runs: results.md",
        "page: sweep/report.html",
    ]
    first = (tmp_path / "results.md").read_bytes()
    text = first.decode()
    assert text.startswith(f"{MARKER}\n")
    assert "by `sae-report sweep --into results.md`." in text
    assert [row[0] for row in table(text)] == ["`ae on digits`"] * 2 + ["`linear on digits`"] * 2
    assert all(row[4].endswith("(2 seeds)") for row in table(text))
    assert reporting("sweep", "--into", "results.md").returncode == 0
    assert (tmp_path / "results.md").read_bytes() == first
    printed = reporting("sweep")
    assert printed.returncode == 0
    assert printed.stdout.splitlines()[6:] == text.splitlines()[6:]

    (tmp_path / "mine.md").write_text("mine\n")
    (tmp_path / "empty").mkdir()
    for wrong_words, says in [
        (("nowhere",), "nowhere: no such folder"),
        ((), "the following arguments are required: FOLDER"),
        (("sweep", "--nope"), "--nope is not an option; the options are"),
        (("empty",), "no finished run in empty"),
        (("sweep", "--into", "mine.md"), "mine.md was not made by sae-report"),
    ]:
        wrong = reporting(*wrong_words)
        assert wrong.returncode == 2, wrong.stdout
        assert says in wrong.stderr
        assert wrong.stderr.count("\n") == 1
    assert (tmp_path / "mine.md").read_text() == "mine\n"


def test_runs_on_other_files_are_others(configure: Configure, tmp_path: Path) -> None:
    """Moved files are the same, and another file at the same place is not."""
    x, y = np.random.default_rng(0).random((2, 100, 12), dtype=np.float32)
    saved = {"a/x.npy": x, "b/x.npy": y, "c/y.npy": y}
    for path, array in saved.items():
        (tmp_path / path).parent.mkdir()
        np.save(tmp_path / path, array)

    def run(name: str, path: str, seed: int) -> None:
        given = ("dataset=array", f"dataset.path={tmp_path / path}", f"seed={seed}", "epochs=1")
        config = configure("model=topk", *given, "pictures=false", "device=cpu")
        train(config, tmp_path / "runs" / name, [f"seed={seed}"])

    def variants() -> list[tuple[dict[str, Any], list[int]]]:
        found, _ = gather([tmp_path / "runs"])
        return [(row.variant, [*row.values]) for row in rows(found) if row.metric == "val/fvu"]

    run("0", "a/x.npy", 0)
    run("1", "c/y.npy", 0)
    # The same as y.npy.
    run("2", "b/x.npy", 1)
    assert variants() == [({"dataset.path": "x.npy"}, [0]), ({"dataset.path": "y.npy"}, [0, 1])]
    np.save(tmp_path / "a/x.npy", x + 1)
    run("3", "a/x.npy", 0)
    names = [variant for variant, _ in variants()]
    assert len(names) == 3 and {"dataset.path": "y.npy"} in names
    assert all([*one] == ["data"] for one in names if one != {"dataset.path": "y.npy"})
