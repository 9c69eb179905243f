"""Pages that somebody sent set options and do nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.conftest import Command

GLOBAL = "# @package _global_\n"
MAKES = "{_target_: os.mkdir, path: marker}"
LOGS = "{class: logging.FileHandler, filename: marker}"
OTHERS = "Hydra's own settings are given on the command line only"
NOT_RUN = "functions are not run; write the value itself"


def refused(command: Command, tmp_path: Path, page: str, words: str) -> str:
    """The one line that a page, which holds ``# file: PATH`` lines for others, is refused with."""
    for part in ("# file: experiment/evil.yaml\n" + page).split("# file: ")[1:]:
        name, _, text = part.partition("\n")
        file = tmp_path / "sent" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    before = sorted(tmp_path.rglob("*"))
    done = command("--config-dir", "sent", *words.split())
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
    return done.stderr


HYDRA: list[tuple[str, str]] = [
    (f"sweeper: {{params: {MAKES}}}", "hydra.sweeper.params"),
    (f"sweeper: {MAKES}", "hydra.sweeper"),
    (f"callbacks: {{x: {MAKES}}}", f"hydra.callbacks.x._target_ is set by a page; {OTHERS}"),
    (f"launcher: {{x: {MAKES}}}", "hydra.launcher"),
    ("launcher: {setup: [touch marker]}", "hydra.launcher.setup"),
    ("launcher: {_target_: os.getcwd}", "hydra.launcher._target_ is set by a page"),
    (f"job_logging: {{root: {{handlers: [x]}}, handlers: {{x: {LOGS}}}}}", "hydra.job_logging"),
    (f"hydra_logging: {{root: {{handlers: [x]}}, handlers: {{x: {LOGS}}}}}", "hydra.hydra_logging"),
    ("run: {dir: marker}", "hydra.run.dir is set by a page"),
    ("sweep: {dir: marker}", "hydra.sweep.dir is set by a page"),
    ("sweep: {subdir: ../../marker}", "hydra.sweep.subdir is set by a page"),
    ("searchpath: [file:///]", "hydra.searchpath is only supported"),
    ("output_subdir: marker", "hydra.output_subdir is set by a page"),
    ("mode: MULTIRUN", "hydra.mode is set by a page"),
    ("verbose: true", "hydra.verbose is set by a page"),
    ("job: {env_set: {PATH: marker}}", "hydra.job.env_set.PATH is set by a page"),
    ("job: {env_copy: [PATH]}", "hydra.job.env_"),
    ("job: {env_copy: [NO_SUCH_NAME]}", "hydra.job.env_copy is set by a page"),
    ("job: {num: 3}", "hydra.job.num is set by a page"),
    ("job: {id: x}", "hydra.job.id is set by a page"),
    ("job: {chdir: true}", "hydra.job.chdir is set by a page"),
    ("job: {config: {override_dirname: {kv_sep: /}}}", "hydra.job.config.override_dirname.kv_sep"),
    ("runtime: {output_dir: marker}", "hydra.runtime.output_dir is set by a page"),
    # Given to the jobs of a sweep, were they not refused.
    (
        "overrides: {hydra: [+hydra.callbacks.x._target_=os.getcwd]}",
        "hydra.overrides.hydra is set by a page",
    ),
    ("overrides: {task: [seed=3]}", "hydra.overrides.task is set by a page"),
    ("help: {template: x}", "hydra.help.template is set by a page"),
]


@pytest.mark.parametrize(("hydra", "says"), HYDRA, ids=[case for case, _ in HYDRA])
def test_a_page_cannot_change_hydra(
    command: Command, tmp_path: Path, hydra: str, says: str
) -> None:
    page = f"{GLOBAL}hydra: {{{hydra}}}\n"
    assert says in refused(command, tmp_path, page, "-m experiment=evil seed=1,2")


WAYS: list[tuple[str, str, str]] = [
    ("hydra: 3\n", "experiment=evil", f"hydra is set by a page; {OTHERS}"),
    ("hydra: null\n", "experiment=evil", "hydra is set by a page"),
    ("hydra: ???\n", "experiment=evil", "hydra is set by a page"),
    ("hydra: ${nothing}\n", "experiment=evil", "Interpolation key 'nothing' not found"),
    ("<<: {hydra: {run: {dir: marker}}}\n", "experiment=evil", "hydra.run.dir is set by a page"),
    ("hydra.run.dir: marker\n", "experiment=evil", "unknown key hydra.run.dir"),
    ("# @package hydra.job\nname: marker\n", "experiment=evil", "hydra.job.name is set"),
    ("# @package ${oc.env:PATH}\nname: marker\n", "experiment=evil", "${oc"),
    ("defaults: [override /hydra/launcher: joblib]\n", "experiment=evil", "hydra.launcher"),
    (
        "defaults: [x@_global_.hydra.run]\n# file: experiment/x.yaml\ndir: marker\n",
        *("experiment=evil", "hydra.run is set by a page"),
    ),
    # By the name of a folder, or a package that Hydra puts together from names.
    (
        "defaults: [/hy/x@_group_dra]\n# file: hy/x.yaml\nrun: {dir: marker}\n",
        *("experiment=evil", "hy/x: hydra.run.dir is set by a page"),
    ),
    (
        "defaults: [x@_global_xhydra]\n# file: experiment/x.yaml\nrun: {dir: marker}\n",
        *("experiment=evil", "experiment/x: hydra.run.dir is set by a page"),
    ),
    (
        "defaults: [/penalty@_global_xhydra: l1]\n",
        *("experiment=evil", "penalty/l1: hydra.name is set by a page"),
    ),
    (
        "defaults: [run: x]\n# file: experiment/run/x.yaml\n# @package _global_.hydra.run\n"
        "dir: marker\n",
        *("experiment=evil", "experiment/run/x: hydra.run.dir is set by a page"),
    ),
    (
        "defaults: [hydra: x]\n# file: experiment/hydra/x.yaml\nrun: {dir: marker}\n",
        *("experiment=evil", "hydra is set by a page"),
    ),
    (
        "# file: a/_global_/hydra/x.yaml\nrun: {dir: marker}\n",
        *("+a/_global_/hydra=x", "hydra.run.dir is set by a page"),
    ),
    ("# file: hydra.yaml\nrun: {dir: marker}\n", "+hydra=x", "hydra is not for a page"),
    ("defaults: [/hydra]\n# file: hydra.yaml\nx: 1\n", "experiment=evil", "hydra is set"),
    ("defaults: [/hydra/config]\n", "experiment=evil", "hydra.config is set by a page"),
    ("defaults: [/hydra/launcher@x: joblib]\n", "experiment=evil", "hydra.launcher is set"),
    # In the place of pages that Hydra reads unasked.
    ("# file: hydra/launcher/basic.yaml\nx: 1\n", "seed=1", "basic is a launcher"),
    ("# file: hydra/launcher/joblib.yaml\nx: 1\n", "hydra/launcher=joblib", "another name"),
    ("# file: hydra/sweeper/basic.yaml\nx: 1\n", "seed=1", "hydra/sweeper/basic: of Hydra"),
    ("# file: hydra/config.yaml\nx: 1\n", "seed=1", "hydra/config: of Hydra"),
    ("# file: hydra/launcher/x.yaml\n_target_: os.getcwd\n", "hydra/launcher=x", "os.getcwd"),
    (
        f"# file: hydra/callbacks/x.yaml\nx: {MAKES}\n",
        "+hydra/callbacks=x",
        "hydra.callbacks is not for",
    ),
    # What Hydra would evaluate while it composes, and what it would read.
    ("defaults: [override /penalty: '${oc.env:HOME}']\n", "experiment=evil", NOT_RUN),
    ("defaults: ['${oc.env:HOME}']\n", "experiment=evil", NOT_RUN),
    ("defaults: [override /penalty: '${model}']\n", "experiment=evil", "write the name"),
    ("defaults: [/etc/../../x]\n", "experiment=evil", "in the folders of pages"),
    ("defaults: [../../../x]\n", "experiment=evil", "in the folders of pages"),
    ("defaults: [//etc/x]\n", "experiment=evil", "in the folders of pages"),
    ("defaults: [override /penalty: [../x, l1]]\n", "experiment=evil", "in the folders of pages"),
    ("seed: {_target_: os.getcwd}\n", "experiment=evil", "seed"),
    (f"penalty: {MAKES}\n", "experiment=evil", "unknown option penalty._target_"),
    ("seed: !!python/object/apply:os.mkdir [marker]\n", "experiment=evil", "not valid YAML"),
    ("seed: !!python/name:os.mkdir ''\n", "experiment=evil", "not valid YAML"),
    ("# " + "x" * (1 << 20) + "\n", "experiment=evil", "larger than 1 MiB"),
    # What is small, and large once it is read.
    ("seed: " + "[" * 5000 + "]" * 5000 + "\n", "experiment=evil", "too large or too deep"),
    ("seed: " + "[" * 150 + "]" * 150 + "\n", "experiment=evil", "RecursionError"),
    ("seed: &a [*a]\n", "experiment=evil", "too large or too deep"),
    (
        "a0: &a0 {x: 1}\n"
        + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
        *("experiment=evil", "too large or too deep"),
    ),
    (
        "a0: &a0 {x: 1}\n"
        + "".join(f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12)),
        *("experiment=evil", "too large or too deep"),
    ),
    (
        "a0: lol\n" + "".join(f"a{i}: '{f'${{a{i - 1}}}' * 9}'\n" for i in range(1, 12)),
        *("experiment=evil", "more than 20 references"),
    ),
    ("seed: ${epochs${oc.env:HOME}}\n", "experiment=evil", "experiment/evil: "),
    ("seed: ${epochs}\nepochs: ${seed}\n", "experiment=evil", "ecursi"),
    ("penalty: {weight: '${penalty}'}\n", "experiment=evil", "penalty"),
]


@pytest.mark.parametrize(("page", "words", "says"), WAYS, ids=[f"{p[:40]!r}" for p, *_ in WAYS])
def test_ways_round_about(
    command: Command, tmp_path: Path, page: str, words: str, says: str
) -> None:
    page = page if page.startswith("# @package") else GLOBAL + page
    assert says in refused(command, tmp_path, page, words)


FUNCTIONS = (
    *("${oc.env:HOME}", "${oc.env:NO_SUCH_NAME,1}", "${ oc.decode:'1' }", "${now:%Y}"),
    *("${unique_stamp:}", "${epochs.${oc.env:HOME}}", "${${model}:x}", "[1, '${oc.env:HOME}']"),
    *("{a: {b: '${oc.env:HOME}'}}", "{'${oc.env:HOME}': 1}", '"\\u0024{oc.env:HOME}"'),
    *("\\${oc.env:HOME}", "\\\\${oc.env:HOME}", "${epochs}${oc.create:[1]}", "${hydra:job.num}"),
    "!!python/object/apply:pathlib.Path ['${oc.env:HOME', '}']",
)


@pytest.mark.parametrize("value", FUNCTIONS)
def test_a_page_calls_no_function(command: Command, tmp_path: Path, value: str) -> None:
    page = f"{GLOBAL}penalty:\n  weight: {value}\n"
    line = refused(command, tmp_path, page, "--cfg job experiment=evil")
    assert line.startswith("error: experiment/evil: penalty.weight")
    assert NOT_RUN in line
    assert str(Path.home()) not in line


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("penalty.weight=${oc.env:HOME}", "penalty.weight=${oc.env:HOME}: functions are not run"),
        ("penalty.weight='${oc.env:HOME}'", NOT_RUN),
        ("+x={a:[1,'${oc.env:HOME}']}", f"x.a=${{oc.env:HOME}}: {NOT_RUN}"),
        (r"penalty.weight=$\{oc.env\:HOME\}", NOT_RUN),
        ("penalty=${oc.env:HOME}", NOT_RUN),
        ("penalty.weight=${now:}", NOT_RUN),
        ("hydra.run.dir=${oc.env:HOME}", NOT_RUN),
        ("hydra.run.dir=${hydra:job.name}/${oc.env:HOME}", NOT_RUN),
        ("~hydra", "hydra"),
        ("hydra={}", "error: "),
        ("hydra.job.num=3", "hydra.job.num is not for a page or the command line to change"),
        ("hydra.searchpath=[file:///]", "hydra.searchpath is not for a page or the command line"),
        ("+penalty@hydra.run=l1", "hydra is not for a page or the command line to change"),
        ("+penalty@_global_xhydra=l1", "hydra is not for a page or the command line to change"),
        ("+hydra/sweeper=basic", "hydra.sweeper is not for a page or the command line to change"),
        ("hydra.run.dir=[a,b]", "give the name of one folder, hydra.run.dir=FOLDER"),
        ("+hydra.run.dir=a", "give the name of one folder, hydra.run.dir=FOLDER"),
        ("hydra.run.dir=${nothing}", "Interpolation key 'nothing' not found"),
        ("hydra/launcher=joblib,basic", "the same for every job; give one value"),
        ("hydra.launcher.n_jobs=2", "the launcher has no such option; choose one that has"),
    ],
)
def test_nor_does_the_command_line(command: Command, tmp_path: Path, word: str, says: str) -> None:
    assert says in refused(command, tmp_path, "", word)


SHOWING = ("--hydra-help", "--cfg all", "--cfg hydra", "--cfg job", "-c=all")


@pytest.mark.parametrize("showing", SHOWING)
def test_what_is_shown_is_checked_first(command: Command, tmp_path: Path, showing: str) -> None:
    logging = f"{{version: 1, root: {{handlers: [x]}}, handlers: {{x: {LOGS}}}}}"
    page = f"{GLOBAL}hydra: {{hydra_logging: {logging}}}\n"
    line = refused(command, tmp_path, page, f"{showing} experiment=evil")
    assert f"is set by a page; {OTHERS}" in line


def test_completion_evaluates_nothing(command: Command, tmp_path: Path) -> None:
    """It composes the pages that the line so far asks for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMP_LINE", "sae-train --config-dir sent experiment=evil penalty.wei")
        patch.setenv("COMP_POINT", "55")
        page = f"{GLOBAL}penalty: {{weight: '${{oc.env:HOME}}'}}\n"
        assert NOT_RUN in refused(command, tmp_path, page, "-sc query=bash")


def test_launchers_of_the_user_are_chosen_on_the_command_line(
    command: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "mine" / "hydra" / "launcher"
    folder.mkdir(parents=True)
    (folder / "two.yaml").write_text("defaults: [joblib]\nn_jobs: 2\n")
    words = ("hydra/launcher=two", "hydra.launcher.verbose=1", "hydra.run.dir=${now:%Y}/${seed}")
    done = command("--config-dir", "mine", "--cfg", "hydra", *words)
    assert done.returncode == 0, done.stderr
    launcher = yaml.safe_load(done.stdout)["hydra"]["launcher"]
    assert (launcher["n_jobs"], launcher["verbose"]) == (2, 1)


def test_aliases_and_references_within_reason(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    page = f"{GLOBAL}seed: &n 3\nepochs: *n\nbatch_size: ${{seed}}\n"
    (folder / "plain.yaml").write_text(page)
    done = command("--config-dir", "mine", "--cfg", "job", "experiment=plain")
    assert done.returncode == 0, done.stderr
    shown = yaml.safe_load(done.stdout)
    assert [shown[key] for key in ("seed", "epochs", "batch_size")] == [3, 3, 3]


def test_an_error_does_not_repeat_a_page(command: Command, tmp_path: Path) -> None:
    page = f"{GLOBAL}penalty: {{weight: {'x' * 300_000}}}\n"
    assert len(refused(command, tmp_path, page, "experiment=evil")) < 2100


def test_a_page_in_another_encoding_is_named(command: Command, tmp_path: Path) -> None:
    (tmp_path / "sent" / "experiment").mkdir(parents=True)
    (tmp_path / "sent/experiment/old.yaml").write_bytes(
        f"{GLOBAL}seed: 1 # \xe9\n".encode("latin1")
    )
    done = command("--config-dir", "sent", "experiment=old")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: experiment/old: the page is not UTF-8 text; save it as UTF-8\n"
