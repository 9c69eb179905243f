"""Plug-ins that cannot be loaded: one line for each fault, and nothing of them is left behind."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import pytest

from sae_cli.core.errors import ConfigError
from sae_cli.core.plugins.loaded import LOADED, Plugin
from sae_cli.core.plugins.loading import load, load_again, load_given
from sae_cli.core.registry import ENTRIES
from sae_cli.model.penalties import PENALTIES
from tests.forked import Forked, start

HEAD = "from sae_cli.plugins import *\n"
PENALTY = HEAD + "@PENALTIES.register('mine')\nclass Mine(ExamplePenalty):\n"


def penalty(signature: str) -> str:
    return f"{PENALTY}    def __init__({signature}):\n        pass\n"


# Content, and what is said of it.
FAULTS = {
    "syntax": ("def x(:\n", "is not Python: invalid syntax (line 1)"),
    "binary": ("\x00\x01", "plug-in"),
    "raises": (
        HEAD + "x = 1 / 0\n",
        "cannot be imported: ZeroDivisionError: division by zero (line 2 of my_parts.py)",
    ),
    "exits": ("raise SystemExit(0)\n", "cannot be imported: SystemExit: 0 (line 1 of"),
    "needs a package": (
        "import nothing_of_that_name\n",
        "ModuleNotFoundError: No module named 'nothing_of_that_name' (line 1 of my_parts.py)",
    ),
    "a taken name": (
        HEAD + "@PENALTIES.register('l1')\ndef mine(): ...\n",
        "penalty=l1 is registered twice; choose another name",
    ),
    "nothing": ("x = 1\n", "registers nothing; write @PENALTIES.register('NAME')"),
    "a name that is none": (
        HEAD + "@PENALTIES.register('my part')\ndef mine(): ...\n",
        "'penalty=my part' is not a name; names are letters, digits and _",
    ),
    "a string that is no type": (
        penalty("self, *, weight: 'float' = 1.0, width: '3' = 3"),
        "its option width is annotated 3; options are",
    ),
    "no annotation": (
        penalty("self, *, weight=1.0"),
        "penalty=mine: its option weight has no annotation; options are bool, int, float, str, ",
    ),
    "an annotation that is none of ours": (
        penalty("self, *, weight: dict = {}"),
        "penalty=mine: its option weight is annotated dict; options are bool, int, ",
    ),
    "a list of anything": (
        penalty("self, *, weight: list = []"),
        "its option weight is annotated list; options are",
    ),
    "an annotation that is not there": (
        penalty("self, *, weight: 'Nothing' = 1"),
        "the options of penalty=mine cannot be read: NameError: name 'Nothing' is not defined",
    ),
    "an option by its place": (
        penalty("self, weight: NonNegative = 1.0"),
        "its parameter weight is not an option, because it can be given by its place; put a *",
    ),
    "any options": (
        penalty("self, **options: float"),
        "penalty=mine takes **options; its options have to be named one by one, after a *",
    ),
    "a default out of range": (
        penalty("self, *, weight: NonNegative = -1.0"),
        "the default of an option is not allowed: penalty.weight=-1.0: must be greater than or ",
    ),
    "too little that is given": (
        HEAD + "@ARCHITECTURES.register('mine')\ndef mine(shape, *, n: Width = 3): ...\n",
        "architecture=mine has to take shape, activation, generator before its options",
    ),
    "no learning rate": (
        HEAD + "@OPTIMIZERS.register('mine')\ndef mine(parameters): ...\n",
        "optimizer=mine needs an option learning_rate, as every optimizer has one",
    ),
    "a format with options": (
        HEAD + "@EXPORTERS.register('mine')\ndef mine(exported, *, n: int = 1): ...\n",
        "format=mine has options, which sae-export gives to no format; leave them out",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_and_leaves_nothing(fault: str, tmp_path: Path) -> None:
    content, says = FAULTS[fault]
    path = tmp_path / "my_parts.py"
    path.write_text(content)
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            load([str(path)])
        assert str(caught.value).startswith(f"plug-in {path}")
        assert says in str(caught.value)
    assert all(entry.made_by.__module__ != "my_parts" for entry in ENTRIES)
    assert "mine" not in PENALTIES.names
    assert "my_parts" not in {*sys.modules, *LOADED}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("gone.py", "plug-in gone.py: no such file; give a Python file or package"),
        ("./gone", "plug-in ./gone: no such file; give a Python file or package"),
        ("empty/", "plug-in empty/: there is no __init__.py in this folder"),
        ("./notes.txt", "is not a Python file; its name has to end in .py"),
        ("my-parts.py", "my-parts cannot be the name of a module; rename it, with letters, digits"),
        ("json.py", "another module has the name json; rename this one"),
        ("pytest.py", "another module has the name pytest; rename this one"),
        ("gone", "plug-in gone: no such plug-in is installed (there is none); give the path of a"),
        ("gone", "file, such as ./gone.py"),
    ],
)
def test_what_is_not_a_plugin(
    given: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for name in ("notes.txt", "my-parts.py", "json.py", "pytest.py"):
        Path(name).write_text("x = 1\n")
    before = {*sys.modules}
    with pytest.raises(ConfigError) as caught:
        load([given])
    assert says in str(caught.value)
    # The module that has the name already stays, and what is within it.
    assert before <= {*sys.modules}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sae_train", ()),
        ("sae_train", ("--help",)),
        ("sae_train", ("--cfg", "job")),
        ("sae_train", ("-m", "seed=0,1")),
        ("sae_train", ("resume=x",)),
        ("sae_export", ("x", "--format", "onnx", "--to", "y")),
        ("sae_evaluate", ("x",)),
        ("sae_reproduce", ("x",)),
    ],
)
def test_every_command_says_so_with_exit_2(
    name: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    done = Forked(tmp_path, name)("--plugin", "gone.py", *words)
    assert (done.code, done.out) == (2, "")
    assert done.error == "error: plug-in gone.py: no such file; give a Python file or package"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def in_a_process(function: object, *arguments: object) -> None:
    """What is loaded stays, so that it is loaded elsewhere."""
    process = start(function, *arguments)  # type: ignore[arg-type]
    process.join()
    assert process.exitcode == 0


GOOD = penalty("self, *, weight: NonNegative = 1.0")


def test_two_with_one_name_and_one_that_changes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    (tmp_path / "one" / "my_parts.py").write_text(GOOD)
    (tmp_path / "two" / "my_parts.py").write_text(GOOD.replace("'mine'", "'other'"))
    in_a_process(_load_two, tmp_path)


def _load_two(folder: Path) -> None:
    one, two = (str(folder / name / "my_parts.py") for name in ("one", "two"))
    load([one, one])
    with pytest.raises(ConfigError, match=r"has the name of .*one/my_parts\.py, which is loaded"):
        load([two])
    Path(one).write_text(GOOD + "\n# More.\n")
    with pytest.raises(ConfigError, match="has changed since it was loaded here; begin a new"):
        load([one])
    # The same code from elsewhere is the same plug-in.
    Path(two).write_text(GOOD)
    load([two])


def test_a_worker_loads_the_same_code_or_none(tmp_path: Path) -> None:
    path = tmp_path / "my_parts.py"
    path.write_text(GOOD)
    in_a_process(_load_and_work_for, path)


def _load_and_work_for(path: Path) -> None:
    load([str(path)], any_version=True)
    plugins = [*LOADED.values()]
    in_a_process(_work, plugins, "")
    path.write_text(GOOD + "# More.\n")
    # A process that is forked has the code already.
    load_again(plugins)
    in_a_process(_work, plugins, "the plug-in my_parts has changed since the sweep began")
    path.unlink()
    in_a_process(_work, plugins, "no such file")


def _work(plugins: list[Plugin], says: str) -> None:
    assert not LOADED
    try:
        load_again(plugins)
    except ConfigError as error:
        assert says and says in str(error)
    else:
        assert not says and LOADED["my_parts"].any_version


def test_one_that_was_imported_in_another_way(tmp_path: Path) -> None:
    (tmp_path / "my_parts.py").write_text(GOOD)
    in_a_process(_load_imported, tmp_path)


def _load_imported(folder: Path) -> None:
    sys.path.insert(0, str(folder))
    module = __import__("my_parts")
    load([str(folder / "my_parts.py")])
    assert LOADED["my_parts"].parts == (("penalty", "mine"),)
    assert PENALTIES._factories["mine"] is module.Mine


def test_a_corrected_one_is_loaded(tmp_path: Path) -> None:
    in_a_process(_load_corrected, tmp_path / "my_parts.py")


def _load_corrected(path: Path) -> None:
    path.write_text(GOOD + "1 / 0\n")
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        load([str(path)])
    path.write_text(GOOD)
    load([str(path)])
    assert "mine" in PENALTIES.names


def test_the_environment_names_several(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(GOOD.replace("'mine'", f"'{name}'"))
    in_a_process(_load_of_environment, tmp_path)


def _load_of_environment(folder: Path) -> None:
    os.environ["SAE_PLUGINS"] = f"{folder / 'one.py'}:{folder / 'two.py'}"
    load_given()
    assert [*LOADED] == ["one", "two"]


def test_an_installed_package_is_loaded_when_it_is_named(tmp_path: Path) -> None:
    """From a zip of files on the path, as a package manager would lay them out."""
    site = tmp_path / "site"
    with zipfile.ZipFile(tmp_path / "mine.whl", "w") as wheel:
        wheel.writestr("mine_of_mine/__init__.py", "")
        wheel.writestr("mine_of_mine/sae.py", GOOD)
        wheel.writestr("mine_of_mine/conf/penalty/mine.yaml", "name: mine\n")
        info = "mine_of_mine-2.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: mine\nVersion: 2.0\n")
        entry = "[sae_train.plugins]\nmine = mine_of_mine.sae\n"
        wheel.writestr(f"{info}/entry_points.txt", entry)
    with zipfile.ZipFile(tmp_path / "mine.whl") as wheel:
        wheel.extractall(site)
    in_a_process(_load_installed, site)


def _load_installed(site: Path) -> None:
    sys.path.insert(0, str(site))
    load_given()
    assert "mine" not in PENALTIES.names and "mine_of_mine" not in sys.modules
    with pytest.raises(ConfigError, match=r"\(there is mine\); .*; did you mean mine\?"):
        load(["mina"])
    load(["mine"])
    plugin = LOADED["mine"]
    assert (plugin.version, plugin.parts) == ("2.0", (("penalty", "mine"),))
    assert plugin.pages == site / "mine_of_mine" / "conf"
    assert plugin.content is None
