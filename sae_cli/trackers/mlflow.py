"""MLflow: a run in a database or on a server, found again by a tag when the run resumes."""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, final

from sae_cli.core.options import Count
from sae_cli.trackers.tracker import NEEDS, TRACKERS, About, Line, Needs, Tracker

SQLITE = "sqlite:"
EXPERIMENT = "sae-train"
ID = "sae_train_id"
# MLflow takes no more in one request.
MOST_METRICS, MOST_PARAMETERS = 1000, 100
LONGEST = 500
STATUSES = {"finished": "FINISHED", "failed": "FAILED"}


def _modules(options: Mapping[str, Any]) -> Sequence[str]:
    uri = options["tracking_uri"]
    of_database = uri is None or str(uri).startswith(SQLITE)
    return ("mlflow", "sqlalchemy", "alembic") if of_database else ("mlflow",)


NEEDS["mlflow"] = Needs(_modules, ("tracking_uri", None))


@TRACKERS.register("mlflow")
@final
class MLflow(Tracker):
    """Metrics, parameters, and pictures as artifacts, by the client alone.

    Nothing of MLflow's global state is used, and its environment variables choose no server.

    Args:
        tracking_uri: None for an SQLite database in the folder of all runs.
    """

    def __init__(
        self, about: About, *, log_every: Count = 50, tracking_uri: str | None = None
    ) -> None:
        # MLflow reports its use to its makers unless it is told not to before it is imported.
        os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        from mlflow import MlflowClient

        self.log_every = log_every
        database = about.store / "mlflow.db"
        self._lock = about.store / "mlflow.db.lock" if tracking_uri is None else None
        with self._alone():
            self._client = MlflowClient(tracking_uri=tracking_uri or f"{SQLITE}///{database}")
            experiment = self._experiment(
                f"{about.store.as_uri()}/mlflow-artifacts" if tracking_uri is None else None
            )
            self._run = self._find(about, experiment)
            stored = self._client.get_run(self._run).data
            self._tell(about, stored.params)
            # How many points of each metric the store has already.
            self._left_out = Counter({key: self._count(key) for key in stored.metrics})

    def log(self, lines: Sequence[Line]) -> None:
        from mlflow.entities import Metric

        metrics = []
        for line in lines:
            for key, value in line.values.items():
                if self._left_out[key] > 0:
                    self._left_out[key] -= 1
                else:
                    metrics.append(Metric(key, value, int(1000 * line.time), line.step))
        with self._alone():
            for begin in range(0, len(metrics), MOST_METRICS):
                some = metrics[begin : begin + MOST_METRICS]
                self._client.log_batch(self._run, metrics=some)

    def show(self, name: str, png: Path, line: Line) -> None:
        with self._alone():
            self._client.log_artifact(self._run, str(png), "pictures")

    def end(self, status: str) -> None:
        with self._alone():
            self._client.set_terminated(self._run, STATUSES.get(status, "KILLED"))

    def _experiment(self, artifacts: str | None) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        # Without a place of its own, MLflow would put artifacts into the current folder.
        return str(self._client.create_experiment(EXPERIMENT, artifact_location=artifacts))

    def _find(self, about: About, experiment: str) -> str:
        """Find the run that this one resumes, or make one."""
        found = self._client.search_runs([experiment], f"tags.{ID} = '{about.id}'")
        if found:
            run = str(found[0].info.run_id)
            self._client.update_run(run, status="RUNNING")
            return run
        tags = about.tags | {ID: about.id}
        made = self._client.create_run(experiment, run_name=about.name, tags=tags)
        return str(made.info.run_id)

    def _count(self, key: str) -> int:
        return len(self._client.get_metric_history(self._run, key))

    def _tell(self, about: About, stored: Mapping[str, str]) -> None:
        """Log the configuration; MLflow refuses another value for a parameter, so that is a tag."""
        from mlflow.entities import Param

        given = {key: _text(value)[:LONGEST] for key, value in about.config.items()}
        new = [Param(key, value) for key, value in given.items() if key not in stored]
        for begin in range(0, len(new), MOST_PARAMETERS):
            self._client.log_batch(self._run, params=new[begin : begin + MOST_PARAMETERS])
        for key, value in given.items():
            if stored.get(key, value) != value:
                self._client.set_tag(self._run, key, value)

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _alone(self) -> Any:
        """Keep the jobs of a sweep from each other: two cannot set up or write one database."""
        return nullcontext() if self._lock is None else self._locked(self._lock)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
