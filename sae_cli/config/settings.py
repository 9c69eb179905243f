"""The settings of a run as a whole, and the names of its groups, known without importing torch."""

from __future__ import annotations

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
    ("dataset", "array"): {"axes": None, "centre": False, "scale": "none"},
}
# These keys change no number of a run: what it says, saves and draws, and where its data are.
FREE = (
    *("checkpoint_steps", "checkpoint_minutes", "profile", "progress", "pictures", "report"),
    *("sort_by", "published", "dataset.path", "dataset.root", "dataset.download"),
)
# These keys may change when a run is resumed.
RESUMABLE = ("epochs", *FREE)


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
    pictures: bool
    # As for clip_norm; earlier versions wrote no page.
    report: bool = True
    sort_by: str
    published: list[Published]

    @pydantic.field_validator("compile", mode="before")
    @classmethod
    def _yaml_switch(cls, given: Any) -> Any:
        """Turn truth values back into words, because YAML reads on and off as truth values."""
        return {True: "on", False: "off"}[given] if isinstance(given, bool) else given
