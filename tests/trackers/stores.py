"""What trackers have stored, read by the packages' own readers where they have one."""

from __future__ import annotations

import json
import struct
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

Points = dict[str, list[tuple[int, float]]]


@dataclass
class Stored:
    """One run in a store.

    Attributes:
        points: name -> steps and values, as they were stored.
        about: its name, group, status, and number of configuration keys, where the store has them.
    """

    points: Points
    pictures: set[str] = field(default_factory=set)
    about: dict[str, Any] = field(default_factory=dict)


def in_run_folder(run: Path, log_every: int) -> Points:
    """Give what ``metrics.jsonl`` holds, and the steps whose loss is to be stored."""
    points: Points = defaultdict(list)
    steps = 0
    for text in (run / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        steps = line["step"]
        for key, value in line.items():
            if key not in {"stage", "epoch", "step"} and value is not None:
                points[key].append((steps, value))
    losses = {
        line["step"]: line["step/loss"]
        for line in map(json.loads, (run / "trackers" / "record.jsonl").read_text().splitlines())
        if "epoch" not in line
    }
    wanted = range(log_every, steps + 1, log_every)
    points["step/loss"] = [(step, losses[step]) for step in wanted]
    return dict(points)


def of_tensorboard(run: Path) -> list[Stored]:
    """By TensorBoard's own ``EventAccumulator``, which gives values of float32."""
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    everything = {"scalars": 0, "images": 0, "tensors": 0}
    (events,) = run.glob("events.out.tfevents.*")
    found = module.EventAccumulator(str(events), size_guidance=everything).Reload()
    tags = found.Tags()
    points = {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in tags["scalars"]}
    sessions = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    return [Stored(points, set(tags["images"]), {"hparams": sessions})]


def of_mlflow(run: Path) -> list[Stored]:
    """By MLflow's own client."""
    with warnings.catch_warnings():
        # MLflow 3.17 uses what SQLAlchemy 2.1 warns of; as an error that would break its tables.
        warnings.simplefilter("ignore")
        return _of_mlflow(run)


def _of_mlflow(run: Path) -> list[Stored]:
    pytest.importorskip("sqlalchemy")
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{run.parent}/mlflow.db")
    found = []
    for one in client.search_runs([client.get_experiment_by_name("sae-train").experiment_id]):
        number = one.info.run_id
        points = {
            key: sorted((m.step, m.value) for m in client.get_metric_history(number, key))
            for key in one.data.metrics
        }
        pictures = {Path(file.path).stem for file in client.list_artifacts(number, "pictures")}
        about = {"name": one.info.run_name, "status": one.info.status} | one.data.params
        found.append(Stored(points, {f"pictures/{name}" for name in pictures}, about))
    return found


def of_wandb(run: Path) -> list[Stored]:
    """By W&B's own messages: since 0.31 its Python has no reader of the files around them."""
    messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    found = []
    for file in sorted((run.parent / "wandb").glob("offline-run-*/*.wandb")):
        stored = Stored(defaultdict(list))
        for content in _blocks(file.read_bytes()):
            record = messages.Record.FromString(content)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                stored.about |= {"name": record.run.display_name, "group": record.run.run_group}
                stored.about |= {
                    one.key: json.loads(one.value_json) for one in record.run.config.update
                }
            elif kind == "exit":
                stored.about["exit"] = record.exit.exit_code
            elif kind == "history":
                items = {
                    one.key or "/".join(one.nested_key): json.loads(one.value_json)
                    for one in record.history.item
                }
                # Of a picture, each property is an item.
                deep = {one.nested_key[0] for one in record.history.item if one.nested_key[1:]}
                stored.pictures |= deep
                for key, value in items.items():
                    if "/" in key and not deep:
                        stored.points[key].append((items["step"], value))
        found.append(stored)
    return found


def _blocks(content: bytes) -> Iterator[bytes]:
    """Read the records of LevelDB's log format, after W&B's header."""
    size, header, place, record = 32768, 7, 7, b""
    while place + header <= len(content):
        left = size - place % size
        if left < header:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        record += content[place + header : place + header + length]
        place += header + length
        if kind in (1, 4):
            yield record
            record = b""


READERS = {"tensorboard": of_tensorboard, "mlflow": of_mlflow, "wandb": of_wandb}
