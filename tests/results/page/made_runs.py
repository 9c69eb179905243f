"""Run folders that nothing has trained: as many as wanted, with figures that follow a rule."""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sae_cli.run_folder.plain_yaml import as_yaml
from tests.configured import configured

MODELS, WEIGHTS = ("sparse_l1", "sparse_kl"), (0.01, 0.02, 0.05, 0.1, 0.2)
METRICS = ("loss", "reconstruction", "penalty", "mse", "fvu", "l0", "mean_activity", "dead_latents")
ENVIRONMENT: dict[str, Any] = {
    "started": "2026-01-02T03:04:05+00:00",
    "command": ["/usr/bin/python", "/usr/bin/sae-train", "-m", "seed=0,1"],
    "working_directory": "/somewhere",
    "python": "3.12.1",
    "packages": {"sae-train": "0.1.0", "torch": "2.11.0", "numpy": "2.0.0"},
    "code": {"sha256": "c0de" * 16, "commit": "c0ffee", "patch": None},
    "hardware": {"platform": "Linux", "processor": "a processor", "cores": 2, "gpu": None},
    "threads": 1,
    "dataset": {"source": "made-up data", "fingerprint": "f00d" * 16, "input_shape": [1, 8, 8]},
}
LOG = (
    "data: made-up data; 10 train, 10 val, 10 test",
    "note: the mean is 4.1 times the spread: dataset.centre=mean would remove it",
    "Metrics of the final weights; for l0 and dead_latents, ...",
    "note: the validation loss still fell by 2.4% in the last epoch: try more epochs",
    "penalty.target_l0=8: val/l0 is 7.17, more than 5% from it; train longer",
    "run folder: run",
)


def png(n_bytes: int = 0, seed: int = 0) -> bytes:
    """A grey PNG of 8 x 8, with so many bytes of something that no viewer shows."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    rows = b"".join(b"\0" + bytes(8 * [30 * (seed % 8)]) for _ in range(8))
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)),
            chunk(b"IDAT", zlib.compress(rows, 0)),
            chunk(b"npTh", random.Random(seed).randbytes(n_bytes)) if n_bytes else b"",
            chunk(b"IEND", b""),
        ]
    )


def make_run(
    folder: Path,
    overrides: Sequence[str] = (),
    *,
    epochs: int = 4,
    pictures: Sequence[str] = ("reconstructions", "atoms"),
    picture_bytes: int = 0,
    status: str = "finished",
) -> Path:
    """Make the folder of a run of these overrides; its figures follow from its settings."""
    config = configured(*overrides).as_dict()
    (folder / "pictures").mkdir(parents=True)
    weight, seed = float(config["penalty"].get("weight", 0.0)), int(config["seed"])
    lines = []
    for epoch in range(epochs + 1):
        values = {name: 1.0 + weight * 10 + 5.0 / (1 + epoch) + 0.01 * seed for name in METRICS}
        values |= {"l0": 60.0 / (1.0 + 20.0 * weight) + seed, "fvu": weight + 1.0 / (2 + epoch)}
        line: dict[str, Any] = {"stage": "joint", "epoch": epoch, "step": 10 * epoch}
        if epoch:
            line |= {f"train/{name}": values[name] + 0.1 for name in METRICS[:3]}
        lines.append(line | {f"val/{name}": value for name, value in values.items()})
    last = {key: value for key, value in lines[-1].items() if key.startswith("val/")}
    closing = {f"{split}/{key[4:]}": last[key] for split in ("train", "test") for key in last}
    summary = {"status": status, "best_epoch": epochs, "n_latents": 64, "seconds": 1.5}
    (folder / "config.yaml").write_bytes(as_yaml(config))
    (folder / "overrides.yaml").write_bytes(as_yaml(list(overrides)))
    (folder / "environment.json").write_text(json.dumps(ENVIRONMENT))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "status.json").write_text(json.dumps({"status": status, "pid": 1}))
    if status == "finished":
        content = summary | {"active_above": 0.0} | closing | last
        (folder / "summary.json").write_text(json.dumps(content))
    (folder / "train.log").write_text("\n".join(LOG) + "\n")
    for number, name in enumerate(pictures):
        (folder / "pictures" / f"{name}.png").write_bytes(png(picture_bytes, seed + number))
    return folder


def make_sweep(folder: Path, n: int, **options: Any) -> Path:
    """Make the jobs of a sweep over models, weights of their penalties and seeds."""
    cells = ((seed, w, model) for seed in range(n) for w in WEIGHTS for model in MODELS)
    for number, (seed, weight, model) in zip(range(n), cells, strict=False):
        overrides = [f"model={model}", f"penalty.weight={weight}", f"seed={seed}"]
        make_run(folder / f"{number}_{','.join(overrides)}", overrides, **options)
    return folder
