"""The settings of a run as a whole, and the names of its groups, known without importing torch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import pydantic

from sae_cli.config.published import Published
from sae_cli.core.options import Count, Natural, Positive
from sae_cli.core.registry import STRICT

# The groups of parts; ``schema.GROUPS`` has their registries.
GROUP_NAMES = (
    *("dataset", "architecture", "activation", "penalty", "corruption", "reconstruction"),
    *("inference", "head", "revival", "schedule", "optimizer", "lr_schedule", "device"),
)
# Groups and options that earlier versions did not have, as what they did without them.
EARLIER_GROUPS: dict[str, Any] = {"revival": {"name": "none"}}
EARLIER_OPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("penalty", "l1"): {"decoder_norms": False, "warmup_steps": 0, "target_l0": None},
    ("penalty", "l0"): {"target_l0": None},
    ("penalty", "tanh"): {"target_l0": None},
    ("architecture", "unrolled"): {"rate_by_uses": False},
    ("revival", "auxk"): {"scale_free": False},
    ("schedule", "greedy"): {"layer_corruptions": None},
    ("head", "classifier"): {
        **{"classes": None, "self_taught": False, "weight_decay": None},
        "corrupted": False,
    },
    **{("device", name): {"share": "rows"} for name in ("auto", "cpu", "cuda")},
    ("dataset", "array"): {"axes": None, "centre": False, "scale": "none"},
}
# The group of trackers, which is a setting: several may be chosen, or none.
LOGGER = "logger"
# ``sort_by`` may be this in place of a metric.
AUTO = "auto"
# These keys change no number of a run: what it says, saves and draws, and where its data are.
FREE = (
    *("checkpoint_steps", "checkpoint_minutes", "profile", "progress", "log_every", "log_steps"),
    *("quiet", "pictures", "projection", "report", "sort_by"),
    *("published", "dataset.path", "dataset.root", "dataset.download", LOGGER),
)
# These say how much a run prints; they may change when a sweep is resumed, for all of its jobs.
PRINTING = ("progress", "log_every", "log_steps", "quiet")
# These keys may change when a run is resumed.
RESUMABLE = ("epochs", *FREE)


def stands_in(key: str, keys: Collection[str]) -> bool:
    """Tell whether a dotted key is one of these keys, or an option of one."""
    return key in keys or (key.rpartition(".")[0] != "" and stands_in(key.rpartition(".")[0], keys))


class Settings(pydantic.BaseModel):
    """The settings of the run as a whole; ``conf/train.yaml`` explains each key."""

    model_config = STRICT

    model: str
    experiment: str | None
    seed: Natural
    epochs: Count
    batch_size: Count
    unit_norm: bool
    # A configuration that was saved before this setting came has none.
    clip_norm: Positive | None = None
    compile: Literal["auto", "on", "off"]
    checkpoint_steps: Count | None
    checkpoint_minutes: Positive | None
    profile: bool
    progress: bool
    # A configuration that was saved before these settings came has none of them.
    log_every: Count = 1
    log_steps: Count | None = None
    quiet: bool = False
    pictures: bool
    # As for clip_norm.
    projection: Literal["pca", "tsne", "umap"] = "pca"
    # As for clip_norm; earlier versions wrote no page.
    report: bool = True
    sort_by: str
    published: list[Published]
    # Name -> options; a configuration that was saved before trackers came has none.
    logger: dict[str, dict[str, Any]] = {}

    @pydantic.field_validator("compile", mode="before")
    @classmethod
    def _yaml_switch(cls, given: Any) -> Any:
        """Turn truth values back into words, because YAML reads on and off as truth values."""
        return {True: "on", False: "off"}[given] if isinstance(given, bool) else given
