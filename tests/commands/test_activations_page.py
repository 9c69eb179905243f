"""The commands of ``docs/activations.md`` in the order of the page, on a few made-up examples."""

from __future__ import annotations

import gzip
import re
import shlex
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import CHECKOUT, Command

BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.M | re.S)
INSTALLED = "/usr/share/datasets/fashion-mnist"
# What only makes a command shorter, by the option that it replaces.
SHORTER = {"epochs": "1", "head.fine_tune_epochs": "1", "architecture.n_latents": "64"}
QUICK = ("pictures=false", "progress=false", "device=cpu")


def parts() -> list[list[tuple[str, str]]]:
    """The blocks of code, ``(language, text)``, of each part of the page."""
    page = (CHECKOUT / "docs" / "activations.md").read_text()
    return [BLOCK.findall(part) for part in re.split(r"^## ", page, flags=re.M)[1:]]


def shorter(word: str) -> str:
    key, given, _ = word.partition("=")
    return f"{key}={SHORTER[key]}" if given and key in SHORTER else word


def train(line: str, command: Command, *more: str) -> None:
    """Type a line of the page."""
    name, *words = shlex.split(line)
    assert name == "sae-train"
    done = command(*map(shorter, words), *QUICK, *more)
    assert done.returncode == 0, done.stderr


def calculate(code: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a block of Python in this process; give what it prints."""
    exec(compile(code, "docs/activations.md", "exec"), {})
    return capsys.readouterr().out


def write_images(folder: Path) -> None:
    """Files as those of Fashion-MNIST, with 400 images to train and 30 to test."""
    random = np.random.default_rng(0)

    def save(name: str, array: NDArray[np.uint8]) -> None:
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        (folder / f"{name}.gz").write_bytes(gzip.compress(header + array.tobytes()))

    for split, n in (("train", 400), ("t10k", 30)):
        save(f"{split}-images-idx3-ubyte", random.integers(0, 256, (n, 28, 28), np.uint8))
        save(f"{split}-labels-idx1-ubyte", (np.arange(n) % 10).astype(np.uint8))


def test_a_layer_of_a_small_network(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(tmp_path)
    monkeypatch.chdir(tmp_path)
    (_, network), (_, layer), (_, sweeps), (_, seeds), (_, latents) = parts()[0]
    train(network, command, "dataset.root=.", "dataset.verify=false", "dataset.val=60")
    assert INSTALLED in layer
    calculate(layer.replace(INSTALLED, "."), capsys)
    assert np.load("layer.npy").shape == (400, 64)
    for line in (*sweeps.splitlines(), *seeds.splitlines()):
        train(line, command)
    printed = calculate(latents, capsys)
    assert len(re.findall(r"^\d+ active on [\d.]+%: \{'.*': \d+\}$", printed, re.M)) >= 3


def test_a_sentence_embedding_model(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without the model itself, which is installed from the network."""
    monkeypatch.chdir(tmp_path)
    np.save("sentences.npy", np.random.default_rng(0).normal(size=(400, 12)).astype(np.float32))
    Path("texts.txt").write_text("\n".join(f"noun {row}: a thing" for row in range(400)))
    _, (_, embeddings), (_, sweeps), (_, latents) = parts()[1]
    compile(embeddings, "docs/activations.md", "exec")
    for line in sweeps.splitlines():
        train(line, command)
    printed = calculate(latents, capsys)
    assert len(re.findall(r"^    [\d.]+  noun \d+: a thing$", printed, re.M)) >= 12
