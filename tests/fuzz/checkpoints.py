"""Checkpoints from a stranger: read, compared with a run, and loaded into it."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from sae_cli.assembly.compute import build_gradients
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.prepare import prepare
from sae_cli.core.signals import Stop
from sae_cli.run_folder.checkpoints import DIGEST_BYTES, pack, unpack
from sae_cli.run_folder.folder import RunFolder
from sae_cli.runs.active_run import Progress, activate
from sae_cli.runs.length import check_length
from sae_cli.runs.resume import _check_config, _check_data
from sae_cli.runs.saver import Saver, restore_run
from sae_cli.runs.train import train
from sae_cli.training.loop import Position
from sae_cli.training.optimizers import OPTIMIZERS, Optimizer
from sae_cli.training.step import Step
from tests.configured import configured
from tests.fuzz.mutations import NUMBERS, damage


def write_checkpoint(folder: Path) -> bytes:
    """Train a small run there, and give its last checkpoint."""
    train(_config(), folder, [])
    return (folder / "checkpoints" / "last.pt").read_bytes()


def make_reader(folder: Path) -> Callable[[bytes], object]:
    """Make a function that does all that is done with a checkpoint before the training resumes."""
    config = _config()
    made = prepare(config, build_parts(config))
    (stage,) = made.training.stages
    run_folder = RunFolder(folder)

    def read(content: bytes) -> object:
        state = unpack(content, "last.pt")
        _check_config(made.config, state)
        _check_data(made, state)
        check_length(made, state)
        run = activate(made, run_folder, Progress(), Stop(), state, {})
        restore_run(run, state)
        gradients = build_gradients(made.config, made.training.device, stage)
        optimizer = OPTIMIZERS.build(made.config.parts["optimizer"], gradients.parameters)
        assert isinstance(optimizer, Optimizer)
        step = Step(gradients, optimizer, None, run.generators.noise, 32)
        position = Position(0, 0, run.generators.order.get_state())
        Saver(run, stage, optimizer, step, position).restore(state)
        return position

    return read


def checkpoint_faults(valid: bytes, rng: random.Random) -> Iterator[bytes]:
    """Endless files whose digest is right and whose content is not."""
    state = unpack(valid, "valid").state_dict()
    while True:
        chance = rng.random()
        if chance < 0.6:
            yield pack(_replace(state, rng))
        elif chance < 0.7:
            yield pack({"format": rng.choice([0, 2, "1", None, [1], 1.0])})
        elif chance < 0.8:
            yield seal(_with_pickle(valid, rng.choice(PICKLES)))
        elif chance < 0.9:
            yield seal(_rezip(valid, rng))
        else:
            yield seal(damage(valid[:-DIGEST_BYTES], rng) + struct.pack("<H", DIGEST_BYTES))


def torch_faults(valid: bytes, rng: random.Random) -> Iterator[bytes]:
    """Endless files of ``torch.save`` with something else in them."""
    state = torch.load(io.BytesIO(valid), weights_only=True)
    while True:
        chance = rng.random()
        if chance < 0.6:
            buffer = io.BytesIO()
            torch.save(_replace(state, rng), buffer)
            yield buffer.getvalue()
        else:
            # What is left out is room for the digest of a checkpoint.
            changed = (
                _rezip(valid, rng) if chance < 0.8 else _with_pickle(valid, rng.choice(PICKLES))
            )
            yield changed[:-2] + bytes(2)


def seal(body: bytes) -> bytes:
    """Add the digest that a whole checkpoint has."""
    return body + hashlib.sha256(body).digest()


class _Shell:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


class _Write:
    def __reduce__(self) -> Any:
        return Path.write_text, (Path("marker"), "x")


PICKLES = [
    pickle.dumps(_Shell(), 2),
    pickle.dumps({"format": 1, "model": _Write()}, 2),
    b"cbuiltins\neval\n(S'1'\ntR.",
    b"ctorch\nload\n(S'x'\ntR.",
    b"cposix\nsystem\n.",
    b"cbuiltins\nbytearray\n(I100000000000\ntR.",
    b"\x80\x02" + b"(" * 100_000,
    b"",
    b".",
    pickle.dumps([1, 2, 3], 2),
    pickle.dumps({"format": 1}, 2),
]


def _replace(state: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Replace one entry, or one within it, by another kind, size or number."""
    key = rng.choice(sorted(state))
    value = state[key]
    if isinstance(value, dict) and value and rng.random() < 0.8:
        return {**state, key: _replace(value, rng)}
    if isinstance(value, list) and value and rng.random() < 0.5:
        value = value[1:]
    others = [
        *NUMBERS[:-3],
        None,
        "",
        "x\ny",
        [],
        {},
        [value],
        {"a": value},
        b"x",
        torch.ones(3),
        torch.ones(()),
        torch.ones(1).expand(10**9),
        torch.full((4, 4), torch.nan),
        torch.arange(5056, dtype=torch.uint8),
        '{"stage": 1}\n[]\n',
        "[" * 10_000,
    ]
    return {**state, key: rng.choice(others)} if rng.random() < 0.9 else _without(state, key)


def _without(state: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name != key}


def _with_pickle(valid: bytes, content: bytes) -> bytes:
    def exchange(name: str, old: bytes) -> bytes:
        return content if name.endswith("data.pkl") else old

    return _zip(valid, exchange, zipfile.ZIP_STORED)


def _rezip(valid: bytes, rng: random.Random) -> bytes:
    """Damage, blow up or pack members of the archive."""

    def exchange(name: str, old: bytes) -> bytes:
        if rng.random() < 0.3:
            return damage(old, rng)
        return bytes(10**7) if rng.random() < 0.02 else old

    return _zip(valid, exchange, rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))


def _zip(valid: bytes, exchange: Callable[[str, bytes], bytes], compression: int) -> bytes:
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(valid)) as old,
        zipfile.ZipFile(target, "w", compression) as new,
    ):
        for name in old.namelist():
            new.writestr(name, exchange(name, old.read(name)))
    return target.getvalue()[:-2] + struct.pack("<H", DIGEST_BYTES)


def _config() -> Any:
    words = ("model=sparse_kl", "dataset.test=1500", "epochs=1", "pictures=false", "device=cpu")
    return configured(*words, "architecture.n_latents=5")
