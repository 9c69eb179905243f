"""Parts of the user's own: trained, swept, resumed, reproduced, exported and loaded with their
plug-in, and refused in one line without it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import yaml

from sae_cli.core.errors import ConfigError
from sae_cli.results.load import load_run
from tests.conftest import SMALL, Command, fresh_command
from tests.forked import Forked, start
from tests.plugins import MARK, write_documented

GIVEN = ("--plugin", "my_parts.py")
WITH = (*GIVEN, "--config-dir", "pages")
# Of the documented data set, in place of digits.
QUICK = (*SMALL, "pictures=false", "report=false", "quiet=true")
MINE = ("model=sparse_l1", "penalty=huber", *QUICK)
LACKS = (
    r"has penalty=huber of the plug-in my_parts (1.0, SHA-256 ",
    "which is not loaded; give --plugin my_parts.py",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The working folder, with the documented plug-in and its pages."""
    write_documented(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder: Path, command: Command) -> Path:
    """A run of it."""
    done = command(*WITH, *MINE, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def edit(folder: Path) -> None:
    """Change the code of the plug-in, which trains as before."""
    with (folder / "my_parts.py").open("a") as file:
        file.write("\n# Something else.\n")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_a_run_keeps_what_its_plugin_was(run: Path, folder: Path) -> None:
    (about,) = json.loads((run / "environment.json").read_text())["plugins"].items()
    name, record = about
    assert (name, record["version"], record["parts"]) == ("my_parts", "1.0", ["penalty=huber"])
    (copy,) = (run / "plugins").iterdir()
    assert copy.name == f"my_parts.{record['sha256'][:12]}.py"
    assert copy.read_bytes() == (folder / "my_parts.py").read_bytes()
    saved = yaml.safe_load((run / "config.yaml").read_text())["penalty"]
    # The page says nothing of the width.
    assert saved == {"name": "huber", "weight": 0.05, "width": 0.5}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sae_train", ("resume=run",)),
        ("sae_train", ("resume=run", "epochs=2")),
        ("sae_reproduce", ("run",)),
        ("sae_reproduce", ("run", "--check")),
        ("sae_evaluate", ("run",)),
        ("sae_export", ("run", "--format", "onnx", "--to", "x")),
    ],
)
def test_without_it_a_command_says_what_is_missing(
    run: Path, folder: Path, name: str, words: tuple[str, ...]
) -> None:
    before = contents(folder)
    done = Forked(folder, name)(*words)
    assert (done.code, done.out) == (2, "")
    assert all(text in done.error for text in LACKS)
    assert f"what ran is kept as run/plugins/my_parts." in done.error  # noqa: F541
    assert contents(folder) == before
    given = Forked(folder, name)(*GIVEN, *words)
    assert given.code == 0, given.err


def test_it_is_resumed_and_reproduced_to_the_same_bits(
    run: Path, folder: Path, command: Command, reproducing: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAE_PLUGINS", str(folder / "my_parts.py"))
    longer = command("resume=run", "epochs=3", "quiet=true")
    assert longer.returncode == 0, longer.stderr
    whole = command("--config-dir", "pages", *MINE, "epochs=3", "hydra.run.dir=whole")
    assert whole.returncode == 0, whole.stderr
    model = (run / "model.safetensors").read_bytes()
    assert model == (folder / "whole" / "model.safetensors").read_bytes()
    again = reproducing("run", "--into", "again")
    assert again.returncode == 0 and "\nidentical: " in again.stdout
    assert list((folder / "again" / "plugins").iterdir())


def test_a_run_is_loaded_in_python(run: Path, folder: Path) -> None:
    process = start(_load, run, folder)
    process.join()
    assert process.exitcode == 0


def _load(run: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"has penalty=huber of the plug-in my_parts"):
        load_run(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_run(run, plugins=[folder / "my_parts.py"])
    assert loaded.config.parts["penalty"]["name"] == "huber"


def test_other_code_is_warned_of_where_nothing_is_trained(run: Path, folder: Path) -> None:
    edit(folder)
    done = Forked(folder, "sae_evaluate")(*GIVEN, "run")
    assert done.code == 0, done.err
    assert "the plug-in my_parts is not the one of the run: my_parts (1.0, SHA-256 " in done.out
    process = start(_load_other, run, folder)
    process.join()
    assert process.exitcode == 0


def _load_other(run: Path, folder: Path) -> None:
    with pytest.warns(UserWarning, match="the plug-in my_parts is not the one of the run"):
        load_run(run, plugins=[folder / "my_parts.py"])


@pytest.mark.parametrize(
    ("name", "words"),
    [("sae_train", ("resume=run", "epochs=2")), ("sae_reproduce", ("run", "--into", "again"))],
)
def test_other_code_is_refused_where_it_would_train(
    run: Path, folder: Path, name: str, words: tuple[str, ...]
) -> None:
    edit(folder)
    before = contents(folder)
    done = Forked(folder, name)(*GIVEN, *words)
    assert (done.code, done.out) == (2, "")
    assert "the plug-in my_parts is not the one of the run" in done.error
    assert "or give --changed-plugin to go on with what is there" in done.error
    assert contents(folder) == before
    # The copy in the run is what ran.
    kept = Forked(folder, name)("--plugin", str(next((run / "plugins").iterdir())), *words)
    assert kept.code == 0, kept.err


def test_other_code_that_is_allowed_is_recorded(run: Path, folder: Path, command: Command) -> None:
    edit(folder)
    done = command(*GIVEN, "--changed-plugin", "resume=run", "epochs=2")
    assert done.returncode == 0, done.stderr
    assert "changed since the run began: plugins.my_parts.sha256: " in done.stdout
    about = json.loads((run / "environment.json").read_text())
    assert any("plugins.my_parts.sha256" in line for line in about["resumed"][0]["differs"])
    assert len(list((run / "plugins").iterdir())) == 2


def test_a_sweep_one_by_one(folder: Path, command: Command) -> None:
    sweep = ("-m", "penalty=huber,l1", "penalty.weight=0.1,0.3", *QUICK, "hydra.sweep.dir=sweep")
    done = command(*WITH, *sweep)
    assert done.returncode == 0 and done.stdout.startswith("4 of 4 jobs finished"), done.stderr
    bare = command("resume=sweep")
    assert bare.returncode == 2
    assert "sweep has penalty=huber of the plug-in my_parts" in bare.stderr
    assert command(*GIVEN, "resume=sweep").returncode == 0
    edit(folder)
    changed = command(*WITH, *sweep)
    assert changed.returncode == 2 and "is not the one of the run" in changed.stderr
    assert command(*WITH, "--changed-plugin", *sweep).returncode == 0
    again = Forked(folder, "sae_reproduce")("sweep")
    assert again.code == 2 and "give --plugin my_parts.py" in again.error


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_sweep_of_a_launcher(folder: Path, launcher: str) -> None:
    # The pool of joblib does not end in a forked process.
    command = fresh_command(folder)
    sweep = ("-m", "penalty=huber", "penalty.weight=0.1,0.3", *QUICK, "hydra.sweep.dir=sweep")
    done = command(*WITH, *sweep, f"hydra/launcher={launcher}")
    assert done.returncode == 0 and done.stdout.startswith("2 of 2 jobs finished"), done.stderr
    one_by_one = command(*WITH, *sweep[:-1], "hydra.sweep.dir=other")
    assert one_by_one.returncode == 0, one_by_one.stderr
    models = [
        [path.read_bytes() for path in sorted((folder / name).glob("*/model.safetensors"))]
        for name in ("sweep", "other")
    ]
    assert len(models[0]) == 2 and models[0] == models[1]


def test_help_and_completion_know_its_parts(
    folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = command(*WITH, "--help", "penalty", "penalty=huber", "architecture=normed").stdout
    assert "  huber            Squares of small codes, sizes of large ones\n" in shown
    assert "  penalty.weight=0.05  (a number, 0 or more)\n" in shown
    assert "  penalty.width=0.5  (a number, above 0)\n" in shown
    assert "  architecture.affine=true  (true or false)\n" in shown
    line = "sae-train --plugin my_parts.py --config-dir pages penalty=huber penalty."
    monkeypatch.setenv("COMP_LINE", line)
    completed = command("-sc", "query=bash").stdout.split()
    assert completed == ["penalty.name=", "penalty.weight=", "penalty.width="]


def test_a_page_of_ours_may_be_as_short(folder: Path, command: Command) -> None:
    page = folder / "pages" / "architecture" / "slim.yaml"
    page.write_text("# Few latents.\nname: dense\nexpansion_factor: 0.25\n")
    done = command("--config-dir", "pages", "architecture=slim", "--cfg", "job")
    given = yaml.safe_load(done.stdout)["architecture"]
    assert given | {"name": "dense"} == given
    assert (given["n_latents"], given["expansion_factor"], given["tied"]) == (None, 0.25, False)
    shown = command("--config-dir", "pages", "--help", "architecture=slim").stdout
    assert "architecture.tied=false  (true or false)\n      The decoder's weights are" in shown


def test_a_run_is_evaluated_on_data_of_a_plugin(folder: Path, command: Command) -> None:
    """Its own page gives what the command line does not; more noise is harder to learn."""
    small = ("epochs=5", "batch_size=32", "pictures=false", "report=false", "progress=false")
    words = (*WITH, "model=ae", "architecture=normed", "dataset=rings", *small)
    trained = command(*words, "hydra.run.dir=run")
    assert trained.returncode == 0, trained.stderr
    evaluating = Forked(folder, "sae_evaluate")
    found = []
    for noise in ([], ["dataset.noise=3.0"]):
        done = evaluating(*WITH, "run", "dataset=rings", *noise, "out=found.json")
        assert done.code == 0, done.err
        found += json.loads((folder / "found.json").read_text())["runs"]
    assert [one["data"] for one in found] == ["two rings"] * 2
    # The squares of noise with this spread come on top.
    assert found[1]["metrics"]["mse"] > found[0]["metrics"]["mse"] + 1.0


def test_a_part_without_a_page(folder: Path, command: Command) -> None:
    done = command(*GIVEN, "penalty=huber")
    assert done.returncode == 2
    assert "penalty=huber: the plug-in has this part, and no page chooses it; write " in done.stderr
    unknown = command("--config-dir", "pages", "penalty=huber")
    assert unknown.returncode == 2
    assert unknown.stderr.endswith("; a part of your own comes with --plugin FILE\n")


def test_a_package_brings_its_pages(folder: Path, command: Command) -> None:
    package = folder / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("from mine import parts\n")
    (package / "parts.py").write_text((folder / "my_parts.py").read_text())
    (folder / "pages").rename(package / "conf")
    given = ("--plugin", "mine/", "penalty=huber", *QUICK, "hydra.run.dir=run")
    done = command(*given)
    assert done.returncode == 0, done.stderr
    assert not (folder / "run" / "plugins").exists()
    assert "give --plugin mine/, " in command("resume=run").stderr
    assert "has finished" in command("--plugin", "mine/", "resume=run").stdout
    (package / "parts.py").write_text((package / "parts.py").read_text() + "\n# More.\n")
    changed = Forked(folder, "sae_reproduce")("--plugin", "mine/", "run")
    assert changed.code == 2 and "is not the one of the run" in changed.error


def test_a_strangers_folder_runs_nothing(run: Path, folder: Path, command: Command) -> None:
    """Whatever it holds, and whatever it says of plug-ins; nor does the working folder."""
    record = json.loads((run / "environment.json").read_text())
    for name in (
        *("my_parts.py", "huber.py", "sae_plugins.py", "conftest.py", "__init__.py"),
        *(
            "sitecustomize.py",
            "conf/__init__.py",
            f"plugins/{next((run / 'plugins').iterdir()).name}",
        ),
    ):
        for place in (run, folder):
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(MARK)
    (folder / "setup.cfg").write_text("[options.entry_points]\nsae_train.plugins =\n  x = huber\n")
    info = folder / "x.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: x\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[sae_train.plugins]\nmy_parts = my_parts\n")
    for file in ("my_parts.py", "run/my_parts.py", "/etc/passwd", "../x; touch ran"):
        record["plugins"]["my_parts"] |= {"file": file, "given": file, "source": file}
        (run / "environment.json").write_text(json.dumps(record))
        for name, words in (
            ("sae_train", ("resume=run", "epochs=2")),
            ("sae_reproduce", ("run",)),
            ("sae_export", ("run", "--format", "onnx", "--to", "x")),
            ("sae_evaluate", ("run",)),
        ):
            done = Forked(folder, name)(*words)
            assert done.code == 2 and all(text in done.error for text in LACKS[:1])
            assert "touch" not in done.error and "passwd" not in done.error
        for name in ("sae_report", "sae_runs"):
            assert Forked(folder, name)("run").code == 0
    assert command("penalty=l1", "plugins=my_parts.py").returncode == 2
    (run / "config.yaml").write_text((run / "config.yaml").read_text() + "plugins: my_parts.py\n")
    assert command("resume=run").returncode == 2
    assert not [*folder.rglob("ran")]


@pytest.mark.parametrize("plugins", [3, [], "x", {"a b": {}}, {"x": 3}, {"x": {"sha256": "y"}}])
def test_a_damaged_record_is_read_as_none(run: Path, command: Command, plugins: object) -> None:
    record = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps(record | {"plugins": plugins}))
    done = command("resume=run")
    assert done.returncode == 2
    assert "penalty=huber is unknown; choose one of " in done.stderr
    assert done.stderr.endswith("; a part of your own comes with --plugin FILE\n")
