"""The pages of papers on MNIST, shortened: killed and resumed they come out to the bit, and so
does ``sae-reproduce``. Digits are made up, layers and codes are as wide as on the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sae_cli.config.conf_folder import CONF
from sae_cli.datasets.mnist import FILES
from sae_cli.runs.reproduce import reproduce
from tests.configured import configured
from tests.conftest import slow
from tests.contracts.small import page_of
from tests.datasets.test_mnist import idx
from tests.killing import finish, results, start

N_TRAIN, N_VAL, N_TEST = 240, 40, 40
# Stages have epochs of their own.
GREEDY = ("schedule.layer_epochs=[2]",)
FINE_TUNED = ("head.fine_tune_epochs=2",)
SHORTER = {
    "conv_2d_code_mnist": ("lr_schedule.warmup_steps=4",),
    "gregor_lecun_2010": (),
    "hinton_salakhutdinov_2006": GREEDY,
    "kavukcuoglu_2008": (),
    "rolfe_lecun_2013": FINE_TUNED,
    "theano_sda": (*GREEDY, *FINE_TUNED),
    "ufldl_self_taught": ("head.epochs=2", "head.n_labels=40"),
    "ufldl_stacked": (*GREEDY, *FINE_TUNED, "head.epochs=2"),
    "vincent_2010": (*GREEDY, *FINE_TUNED),
}
# Which renaming each process is killed at; a checkpoint takes two.
KILLS = (3, 5, 6)
QUICK = ["ufldl_self_taught"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four files, with few images."""
    folder, rng = tmp_path_factory.mktemp("digits"), np.random.default_rng(0)
    for n, (images, labels) in zip((N_TRAIN, N_TEST), (FILES[:2], FILES[2:]), strict=True):
        (folder / images).write_bytes(idx(rng.integers(0, 256, (n, 28, 28), np.uint8)))
        (folder / labels).write_bytes(idx((np.arange(n) % 10).astype(np.uint8)))
    return folder


def test_every_page_on_all_of_mnist_is_tried() -> None:
    pages = {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    on_mnist = {
        name
        for name in pages
        if {"override /dataset": "mnist"} in page_of(f"experiment/{name}.yaml")["defaults"]
    }
    assert on_mnist == set(SHORTER)


@pytest.mark.parametrize("name", [*QUICK, *slow(one for one in SHORTER if one not in QUICK)])
def test_killed_resumed_and_reproduced(name: str, digits: Path, tmp_path: Path) -> None:
    config = configured(
        *(f"experiment={name}", *SHORTER[name], "epochs=2", "batch_size=25", "checkpoint_steps=2"),
        *(f"dataset.root={digits}", "dataset.verify=false", f"dataset.val={N_VAL}"),
        *("pictures=false", "device=cpu"),
    )
    finish(config, tmp_path / "whole")
    for count in KILLS:
        process = start(config, tmp_path / "run", "at a renaming", count)
        process.join()
        assert process.exitcode == -9, count
    finish(config, tmp_path / "run")
    assert results(tmp_path / "run") == results(tmp_path / "whole")
    assert reproduce(tmp_path / "run", tmp_path / "again", {})
    assert results(tmp_path / "again") == results(tmp_path / "whole")
