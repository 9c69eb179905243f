"""Readers of files that may come from a stranger, each a function from bytes to an object.

To try another, add a ``Reader`` to ``make_readers``, and to ``COUNTS`` the number of inputs that
``-m soak`` makes for it.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import random
import struct
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from sae_cli import load_run
from sae_cli.assembly.environment import changes_of_environment, environment
from sae_cli.assembly.network import build_network, build_network_parts
from sae_cli.core.errors import CheckpointError, ConfigError
from sae_cli.core.shapes import DataShape, Interval
from sae_cli.datasets import DATASETS
from sae_cli.datasets.formats import packed, unpacked
from sae_cli.datasets.formats.array_file import open_array_file
from sae_cli.datasets.formats.idx import read_idx
from sae_cli.datasets.inputs import DataRecord, Inputs
from sae_cli.results.finished_run import machine, read_finished
from sae_cli.results.gather import rows
from sae_cli.results.listing.details import compare, show
from sae_cli.results.listing.listed import read_listed
from sae_cli.results.listing.table import as_csv, lines_of
from sae_cli.results.markdown import page
from sae_cli.results.page.run_page import run_page
from sae_cli.results.page.runs_page import runs_page
from sae_cli.results.page.shown_run import read_run
from sae_cli.run_folder.files import read_json
from sae_cli.run_folder.folder import RunFolder
from sae_cli.run_folder.plain_yaml import MAX_CONFIG_BYTES, read_texts
from sae_cli.runs.reproduce import describe
from sae_cli.runs.sweeps.sweep import read_sweep, sweep_of
from tests.configured import configured
from tests.fuzz.array_formats import array_formats
from tests.fuzz.checkpoints import (
    checkpoint_faults,
    make_reader,
    torch_faults,
    write_checkpoint,
)
from tests.fuzz.mutations import (
    damage,
    idx_faults,
    npy_faults,
    npz_faults,
    replace_one,
    safetensors_faults,
    yaml_faults,
)
from tests.results.interchange import layouts
from tests.results.interchange.layouts import Write

Faults = Callable[[bytes, random.Random], Iterator[bytes]]


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader to try.

    Attributes:
        read: reads bytes.
        valid: bytes that it reads without an error.
        faults: makes inputs by the format's structure.
        error: the errors that it may raise, with a text of one line.
    """

    read: Callable[[bytes], object]
    valid: bytes
    faults: Faults
    error: tuple[type[Exception], ...] = (ConfigError,)


COUNTS = {
    "config.yaml": 600,
    "model.safetensors": 500,
    "report of config.yaml": 300,
    "report of summary.json": 100,
    "report of environment.json": 100,
    "page of config.yaml": 200,
    "page of metrics.jsonl": 200,
    "page of summary.json": 100,
    "page of environment.json": 100,
    "summary.json": 200,
    "metrics.jsonl": 200,
    "npy": 500,
    "npz": 500,
    "safetensors": 400,
    "array of npy": 400,
    "array of npz": 300,
    "array of safetensors": 300,
    "array of pt": 300,
    "array of h5": 300,
    "array of parquet": 300,
    "array of arrow": 300,
    "array of csv": 300,
    **{f"unpacked {kind}": 300 for kind in ("npz", "h5", "parquet", "csv")},
    "labels": 200,
    "idx": 400,
    "idx.gz": 400,
    "png": 150,
    "jpg": 150,
    "ppm": 150,
    "tif": 150,
    "gif": 150,
    "webp": 150,
    "sweep.yaml": 200,
    "environment.json": 200,
    "overrides.yaml": 200,
    "last.pt": 800,
    "loaded last.pt": 300,
    "dictionary.safetensors": 300,
    "sae_weights.safetensors": 300,
    "cfg.json": 200,
    "ae.pt": 500,
    "params.npz": 300,
}


def write_run(path: Path) -> None:
    """Write a run folder as a training leaves it, with initial weights."""
    config = configured("model=stacked", "architecture.hidden_sizes=[8]")
    shape = DataShape((1, 2, 3), None)
    model = build_network(config, build_network_parts(config), shape).saved
    run = RunFolder(path)
    run.write_config(config.as_dict())
    inputs = Inputs(None, 255.0, centre=torch.rand(1, 2, 3), scale=2.0)
    record = DataRecord(inputs, True, Interval(0.0, 1.0))
    run.save_model(model.state_dict() | record.tensors, shape, record.as_dict())
    for epoch in range(3):
        run.append_metrics({"stage": "fine_tune", "epoch": epoch, "val/loss": 0.25 * epoch})
    run.write_environment(environment())
    run.write_overrides(["model=stacked", "architecture.hidden_sizes=[8]"])
    sweep_of(path, [["seed=0"], ["seed=1"]], [config, config]).write()
    run.write_summary({"val/loss": 0.5, "seconds": 1.25, "best_epoch": 2})
    run.set_status("finished")


def make_readers(folder: Path) -> dict[str, Reader]:
    """Make every reader, on files in ``folder``, which holds a run."""
    x = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    npy, npz, labels = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(npy, x)
    np.savez_compressed(npz, x=x)
    np.save(labels, np.arange(50) % 3)
    tensors = safetensors.torch.save({"x": torch.from_numpy(x)})
    np.save(folder / "x.npy", x)
    idx = bytes([0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 8]) + bytes(range(64)) * 5
    packed_formats = array_formats(x) | {"npz": (npz.getvalue(), npz_faults)}
    for kind in ("pt", "arrow"):
        del packed_formats[kind]
    run = load_run(folder)
    pictures = folder / "pictures" / "one"
    pictures.mkdir(parents=True)
    now = environment()

    def _environment() -> object:
        then = read_json(folder / "environment.json")
        changed = [str(one) for one in changes_of_environment(then, now)]
        return describe(then), changed, machine(then)

    def _list() -> object:
        # A list refuses nothing, so that it goes along with a reader that does.
        run = read_listed(folder)
        lines = [
            *lines_of([run, run], ["seed"], datetime.now(UTC), 80),
            *as_csv([run]).splitlines(),
        ]
        return [*lines, *show(run), *compare(run, run, 80)]

    def _report() -> object:
        _list()
        run = read_finished(folder)
        return page(rows([run]), [run], 0, "sae-report")

    def _page() -> object:
        run = read_run(folder, "finished")
        made = run_page(run, folder), runs_page([run, run], folder, "runs")
        if run.faults:
            # A page says them, and shows what is left.
            raise ConfigError(run.faults[0])
        return made

    def of_picture(ending: str, form: str) -> Reader:
        content = io.BytesIO()
        image = Image.fromarray((x[:30].reshape(12, 5, 3) * 50 + 128).astype(np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6
        options = {"exif": exif} if form in {"JPEG", "WEBP"} else {}
        image.save(content, form, **options)
        valid, name = content.getvalue(), f"pictures/one/x.{ending}"
        return of_file(name, lambda path: _pictures(path), valid, picture_faults)

    def of_run(name: str, read: Callable[[], object], faults: Faults) -> Reader:
        valid = (folder / name).read_bytes()

        def of_content(content: bytes) -> object:
            try:
                return _in_file(folder / name, content, lambda path: read())
            finally:
                (folder / name).write_bytes(valid)

        return Reader(of_content, valid, faults)

    def of_file(name: str, read: Callable[[Path], object], valid: bytes, faults: Faults) -> Reader:
        return Reader(lambda content: _in_file(folder / name, content, read), valid, faults)

    return {
        "config.yaml": of_run("config.yaml", lambda: load_run(folder), yaml_faults),
        "report of config.yaml": of_run("config.yaml", _report, yaml_faults),
        "report of summary.json": of_run("summary.json", _report, json_faults),
        "report of environment.json": of_run("environment.json", _report, json_faults),
        "page of config.yaml": of_run("config.yaml", _page, yaml_faults),
        **{
            f"page of {name}": of_run(name, _page, json_faults)
            for name in ("metrics.jsonl", "summary.json", "environment.json")
        },
        "model.safetensors": of_run(
            "model.safetensors", lambda: load_run(folder), safetensors_faults
        ),
        "summary.json": of_run(
            "summary.json", lambda: dataclasses.replace(run).summary, json_faults
        ),
        "metrics.jsonl": of_run(
            "metrics.jsonl", lambda: (_list(), dataclasses.replace(run).metrics), json_faults
        ),
        "npy": of_file("y.npy", _load, npy.getvalue(), npy_faults),
        "npz": of_file("y.npz", _load, npz.getvalue(), npz_faults),
        "safetensors": of_file("y.safetensors", _load, tensors, safetensors_faults),
        **{
            f"array of {kind}": of_file(f"y.{kind}", _build, content, faults)
            for kind, (content, faults) in array_formats(x).items()
        },
        **{
            f"unpacked {kind}": of_file(f"y.{kind}", _unpack, content, faults)
            for kind, (content, faults) in packed_formats.items()
        },
        "array of npy": of_file("y.npy", _build, npy.getvalue(), npy_faults),
        "array of npz": of_file("y.npz", _build, npz.getvalue(), npz_faults),
        "array of safetensors": of_file("y.safetensors", _build, tensors, safetensors_faults),
        "labels": of_file(
            "y.npy", lambda path: _build(folder / "x.npy", path), labels.getvalue(), npy_faults
        ),
        "idx": of_file("y", _idx, idx, idx_faults),
        "idx.gz": of_file("y.gz", _idx, gzip.compress(idx, mtime=0), gzip_faults),
        "png": of_picture("png", "PNG"),
        "jpg": of_picture("jpg", "JPEG"),
        "ppm": of_picture("ppm", "PPM"),
        "tif": of_picture("tif", "TIFF"),
        "gif": of_picture("gif", "GIF"),
        "webp": of_picture("webp", "WEBP"),
        "sweep.yaml": of_run("sweep.yaml", lambda: read_sweep(folder), yaml_faults),
        "environment.json": of_run("environment.json", _environment, json_faults),
        "overrides.yaml": of_run(
            "overrides.yaml",
            lambda: read_texts(folder / "overrides.yaml", MAX_CONFIG_BYTES),
            yaml_faults,
        ),
        **dictionaries(folder),
        "last.pt": Reader(
            make_reader(folder / "run"),
            write_checkpoint(folder / "run"),
            checkpoint_faults,
            (ConfigError, CheckpointError),
        ),
        "loaded last.pt": _loaded(folder / "loaded"),
    }


def _loaded(folder: Path) -> Reader:
    """Make the reader of a checkpoint that is loaded, not resumed from."""
    valid, path = write_checkpoint(folder), folder / "checkpoints" / "last.pt"
    # It would be read in place of one that is damaged.
    (folder / "checkpoints" / "previous.pt").unlink()

    def read(content: bytes) -> object:
        return _in_file(path, content, lambda _: load_run(folder, checkpoint="last"))

    return Reader(read, valid, checkpoint_faults, (ConfigError, CheckpointError))


def dictionaries(folder: Path) -> dict[str, Reader]:
    """Make the readers of other libraries' files, each in a folder of its own."""

    def of_file(name: str, write: Write, faults: Faults) -> Reader:
        inside = folder / f"of {name}"
        inside.mkdir()
        write(inside)
        path = inside / name
        return Reader(
            lambda content: _in_file(path, content, lambda _: load_run(inside)),
            path.read_bytes(),
            faults,
        )

    def plain(inside: Path) -> Path:
        about = {"activation": "relu", "k": None, "input_shape": [3], "unit_norm": False}
        metadata = {"sae_train_dictionary": json.dumps(about)}
        path = inside / "dictionary.safetensors"
        safetensors.torch.save_file(dict(layouts.MATRICES), path, metadata)
        return path

    topk = layouts.saelens(layouts.MATRICES, architecture="topk", k=1)
    learned = layouts.learned(layouts.LAYERS | {"bias": layouts.B_DEC}, "AutoEncoder")
    return {
        "dictionary.safetensors": of_file("dictionary.safetensors", plain, safetensors_faults),
        "sae_weights.safetensors": of_file("sae_weights.safetensors", topk, safetensors_faults),
        "cfg.json": of_file("cfg.json", topk, json_faults),
        "ae.pt": of_file("ae.pt", learned, torch_faults),
        "params.npz": of_file("params.npz", layouts.gemma(), npz_faults),
    }


def json_faults(valid: bytes, rng: random.Random) -> Iterator[bytes]:
    """Endless faults of JSON, or of lines of JSON."""
    try:
        rows = [json.loads(valid)]
    except ValueError:
        rows = [json.loads(line) for line in valid.splitlines()]
    texts = ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, '"\\ud800"', "\xff", "", "1e999", "{}{}"]
    while True:
        lines = [json.dumps(replace_one(row, rng)) for row in rows]
        if rng.random() < 0.2:
            lines[-1] = rng.choice(texts)
        yield "\n".join(lines).encode("latin1")


def gzip_faults(valid: bytes, rng: random.Random) -> Iterator[bytes]:
    """Endless gzip files: whole ones of hostile IDX files, and some that unpack to a lot."""
    faults = idx_faults(gzip.decompress(valid), rng)
    bomb = gzip.compress(bytes([0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 8]) + bytes(10**8))
    while True:
        packed = gzip.compress(next(faults), 1, mtime=0)
        chance = rng.random()
        yield bomb if chance < 0.05 else packed + packed if chance < 0.1 else packed


def picture_faults(valid: bytes, rng: random.Random) -> Iterator[bytes]:
    """Endless pictures that announce far more pixels than they have, or none."""
    while True:
        sides = [rng.choice([0, 1, 5, 12, 2000, 2**16, 2**26, 2**31, 10**30]) for _ in range(2)]
        ppm = f"P6 {sides[0]} {sides[1]} {rng.choice([255, 0, 65535])} ".encode()
        png = valid.replace(
            struct.pack(">II", 5, 12), struct.pack(">II", *(s % 2**32 for s in sides))
        )
        yield ppm + valid[-180:] if valid[:2] == b"P6" else damage(png, rng)


def _in_file(path: Path, content: bytes, read: Callable[[Path], object]) -> object:
    # The file is a new one each time, because the one before may still be mapped.
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    return read(path)


def _load(path: Path) -> list[torch.Tensor]:
    file = open_array_file(str(path), "dataset.path")
    return [file.load(key) for key in ([None] if file.keys is None else file.keys)]


def _build(path: Path, labels: Path | None = None) -> object:
    section: dict[str, Any] = {"name": "array", "path": str(path), "key": None, "divisor": 1.0}
    section |= {"labels": None if labels is None else str(labels)}
    section |= {"val": 0.1, "test": 0.2, "shuffle_seed": None}
    return DATASETS.build(DATASETS.check(section))


def _unpack(path: Path) -> object:
    """Read an array by way of a file, a few rows at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpacked, "MOST_IN_MEMORY", 0)
        patch.setattr(packed, "PIECE_BYTES", 200)
        return _build(path)


def _pictures(path: Path) -> object:
    # The two other pictures that a split needs are whole.
    for name in "ab":
        Image.new("RGB", (4, 4)).save(path.with_name(f"{name}.bmp"))
    section = {"name": "image_folder", "path": str(path.parent.parent), "size": 4, "channels": 3}
    section |= {"val": 0.3, "test": 0.3, "split_seed": 0}
    try:
        with warnings.catch_warnings():
            # Pillow warns of what it makes up for.
            warnings.simplefilter("ignore")
            return DATASETS.build(DATASETS.check(section))
    finally:
        path.unlink()


def _idx(path: Path) -> object:
    return read_idx(path, (None, 8, 8), "get a fresh copy")
