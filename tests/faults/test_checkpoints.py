"""Checkpoints that are damaged, foreign or made up."""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import CheckpointError, ConfigError
from sae_cli.run_folder.checkpoints import DIGEST_BYTES
from sae_cli.run_folder.train_state import KINDS
from sae_cli.runs.resume import begin_or_resume, resume
from tests.faults.runs import (
    LAST,
    PREVIOUS,
    SAVED_BEFORE,
    config_of,
    contents,
    finish_like,
    rewrite,
    saved_state,
    stop,
)
from tests.forked import Forked


def truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def empty(content: bytes) -> bytes:
    return b""


def garbage(content: bytes) -> bytes:
    return os.urandom(len(content))


def flip(content: bytes) -> bytes:
    """Flip one bit in the middle, where the weights are."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = [truncate, empty, garbage, flip]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint(
    damage: Callable[[bytes], bytes],
    stopped: Path,
    whole: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = damage((stopped / LAST).read_bytes())
    (stopped / LAST).write_bytes(bad)
    finish_like(stopped, whole)
    said = capsys.readouterr().out
    assert f"{LAST} is damaged (its SHA-256 differs); resuming from previous.pt" in said
    assert f"resumed at step {SAVED_BEFORE} (epoch 2)" in said
    assert (stopped / "checkpoints" / "damaged.pt").read_bytes() == bad


def test_no_checkpoint_but_the_one_before(stopped: Path, whole: Path) -> None:
    """As after a kill between the two renamings of a save, or after somebody deleted it."""
    (stopped / LAST).unlink()
    finish_like(stopped, whole)


def test_no_checkpoint_at_all(
    stopped: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run begins anew, which takes longer and changes no number."""
    for file in (stopped / "checkpoints").iterdir():
        file.unlink()
    finish_like(stopped, whole)
    assert "resumed at" not in capsys.readouterr().out


def test_every_checkpoint_damaged(stopped: Path, forked: Forked) -> None:
    for name in (LAST, PREVIOUS):
        (stopped / name).write_bytes(truncate((stopped / name).read_bytes()))
    before = contents(stopped)
    done = forked("resume=run")
    assert done.code == 6
    assert re.search(
        r"no usable checkpoint: \S+last.pt is damaged .*previous.pt is dam", done.error
    )
    assert contents(stopped) == before


def test_a_checkpoint_of_another_configuration(
    stopped: Path, tmp_path: Path, forked: Forked
) -> None:
    other = config_of("architecture.n_latents=7", "optimizer=sgd")
    stop(other, tmp_path / "other")
    (stopped / LAST).write_bytes((tmp_path / "other" / LAST).read_bytes())
    before = contents(stopped)
    done = forked("resume=run")
    assert done.code == 6
    assert "architecture.n_latents: 7 then, " in done.error
    assert "optimizer.name: sgd then, adam now" in done.error
    assert contents(stopped) == before


def test_a_checkpoint_of_another_network(stopped: Path, forked: Forked) -> None:
    """Its configuration is right and its tensors are not."""
    model = {name: tensor[:7] for name, tensor in saved_state(stopped / LAST).model.items()}
    rewrite(stopped / LAST, model=model)
    before = contents(stopped / "checkpoints")
    done = forked("resume=run")
    assert done.code == 6
    assert "the checkpoint does not fit what the configuration builds: " in done.error
    assert contents(stopped / "checkpoints") == before


def test_a_configuration_edited_after_the_stop(stopped: Path, whole: Path, forked: Forked) -> None:
    page = (stopped / "config.yaml").read_text()
    edited = yaml.safe_load(page)
    edited["optimizer"]["learning_rate"], edited["seed"] = 0.5, 1
    (stopped / "config.yaml").write_text(yaml.safe_dump(edited))
    before = contents(stopped)
    done = forked("resume=run")
    assert done.code == 6
    assert "(seed: 0 then, 1 now; optimizer.learning_rate: 0.003 then, 0.5 now)" in done.error
    assert contents(stopped) == before
    (stopped / "config.yaml").write_text(page)
    finish_like(stopped, whole)


def test_a_configuration_that_is_damaged(stopped: Path) -> None:
    page = (stopped / "config.yaml").read_text()
    for damaged in ("", page[: len(page) // 2], page + "penalty: [", "\x00"):
        (stopped / "config.yaml").write_text(damaged)
        before = contents(stopped)
        with pytest.raises(ConfigError):
            resume(stopped, {})
        assert contents(stopped) == before


def test_a_checkpoint_of_another_format(stopped: Path, forked: Forked) -> None:
    for name in (LAST, PREVIOUS):
        rewrite(stopped / name, format=3)
    before = contents(stopped)
    done = forked("resume=run")
    assert done.code == 6
    assert "written by another version of sae-train (format 3, this one reads 2)" in done.error
    assert contents(stopped) == before


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_a_malicious_checkpoint(stopped: Path, tmp_path: Path, forked: Forked) -> None:
    """Its digest is right: whoever can write the file can write that, too."""
    marker = tmp_path / "marker"
    for name in (LAST, PREVIOUS):
        buffer = io.BytesIO()
        torch.save(
            saved_state(stopped / name).state_dict() | {"seconds": Malicious(marker)}, buffer
        )
        body = buffer.getvalue()[:-2] + struct.pack("<H", DIGEST_BYTES)
        (stopped / name).write_bytes(body + sha256(body).digest())
    before = contents(stopped)
    done = forked("resume=run")
    assert done.code == 6
    assert "last.pt is not a checkpoint of sae-train (it holds more than tensors" in done.error
    assert not marker.exists()
    assert contents(stopped) == before


WRONG: dict[str, list[Any]] = {
    "config": [{}, {"epochs": "many"}],
    "model": [{}, {"decoder.bias": "text"}],
    "optimizer": [{}, {"steps": 1}, {"steps": []}],
    "sums": [{}, {"sums": torch.zeros(7), "finite": torch.zeros(7)}],
    "order": [torch.zeros(3), torch.zeros(3, dtype=torch.uint8)],
    "noise": [torch.zeros(3), torch.zeros(3, dtype=torch.uint8)],
    "stage": ["", "another"],
    "metrics": ["", "{", "[]\n", "1\n"],
    "stage_epoch": [-1],
    "batch": [-1, 5],
    "epoch": [-1],
    "step": [-1],
}
# Values are of another type, or of the right one with something wrong within.
CASES = [(key, None) for key in KINDS]
CASES += [(key, value) for key, values in WRONG.items() for value in values]


@pytest.mark.parametrize(("key", "value"), CASES, ids=lambda value: str(value)[:20])
def test_a_checkpoint_with_something_wrong_in_it(key: str, value: Any, stopped: Path) -> None:
    for name in (LAST, PREVIOUS):
        rewrite(stopped / name, **{key: value})
    before = contents(stopped / "checkpoints")
    with pytest.raises(CheckpointError) as caught:
        resume(stopped, {})
    assert "\n" not in str(caught.value)
    assert contents(stopped / "checkpoints") == before


def test_weights_alone_are_not_a_checkpoint(config: RunConfig, stopped: Path, whole: Path) -> None:
    """Not even a file of ``torch.save`` that loads."""
    for name in (LAST, PREVIOUS):
        torch.save(saved_state(stopped / name).model, stopped / name)
    with pytest.raises(CheckpointError, match="is damaged"):
        begin_or_resume(config, stopped, [])
