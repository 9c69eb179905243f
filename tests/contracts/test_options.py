"""Every option has an effect: with another value, a small training comes out otherwise.

Parts, their options and other values for these are found in the registries. A model page that has
the part comes first, then the others with the part put in; where a value is refused, or changes
nothing there, the next is tried.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from sae_cli.config.schema import GROUPS, RunConfig, check
from sae_cli.config.settings import FREE, Settings
from sae_cli.core.errors import ConfigError, DivergedError
from sae_cli.runs.train import train
from sae_cli.testing.other_values import other_values
from tests.contracts.small import MODELS, of_model, page_of, part_of, with_parts

# They choose pages, or how the same numbers are computed (tests/assembly/test_compute.py,
# tests/runs/test_latents.py).
NOT_ALONE = ("model", "experiment", "compile", "threads", "share")
# Data that are in the package; the others are tried in tests/datasets.
DATASETS = ("digits",)
# What an option has to be tried with, to matter at all.
BESIDE: dict[str, dict[str, Any]] = {
    "expansion_factor": {"n_latents": None, "expansion_factor": 0.25},
    **{
        f"architecture.{name}.n_latents": {"n_latents": 64, "expansion_factor": None}
        for name in ("dictionary", "predictive_dictionary", "sae", "unrolled")
    },
    "follow_encoder": {"prediction_weight": 0.5},
    "architecture.conv.strides": {"pools": [1]},
    "architecture.conv_group.pool": {"channels": [9, 9]},
    **{
        f"revival.auxk.{name}": {"k_aux": 2, "dead_after": 20}
        for name in ("weight", "k_aux", "dead_after", "scale_free")
    },
    **{
        f"revival.resample.{name}": {"every": 1, "dead_after": 20, "until": 3}
        for name in ("every", "until", "encoder_scale", "dead_after")
    },
    "reconstruction.nested.prefixes": {"prefixes": [0.4]},
    **{f"head.classifier.{name}": {"classes": [2, 4]} for name in ("classes", "self_taught")},
    "optimizer.lbfgs.history": {"history": 1},
    "penalty.lateral_learned.bound": {"bound": 0.127},
}
# Of another part; one with a name takes its place.
ELSEWHERE = {
    "reconstruction.bce": {"architecture": {"output_activation": "sigmoid"}},
    "head.classifier": {"corruption": page_of("corruption/masking.yaml")},
    "penalty.tanh": {"activation": page_of("activation/jumprelu.yaml")},
    "schedule.greedy": {"corruption": page_of("corruption/masking.yaml")},
}
MOST_TRAININGS = 70


def options() -> list[Any]:
    """Settings, and ``group.name.option`` of every part."""
    found: list[Any] = [one for one in Settings.model_fields if one not in (*FREE, *NOT_ALONE)]
    for group, registry in GROUPS.items():
        for name in DATASETS if group == "dataset" else registry.names:
            gpu = pytest.mark.gpu if name == "cuda" else ()
            found += [
                pytest.param(f"{group}.{name}.{option}", marks=gpu)
                for option in registry.schema(name).model_fields
                if option not in NOT_ALONE
            ]
    return found


def bases(group: str, name: str) -> Iterator[RunConfig]:
    """Trainings that have the part."""
    having = [model for model in MODELS if part_of(model, group) == name]
    yield from map(of_model, having)
    for model in ["sparse_kl", *(model for model in MODELS if model not in having)]:
        try:
            yield with_parts(of_model(model), **{group: name})
        except ConfigError:
            continue


def changes(option: str) -> Iterator[tuple[RunConfig, dict[str, Any]]]:
    """A training, and what of its plain configuration becomes another value."""
    group, _, rest = option.partition(".")
    name, _, key = rest.partition(".")
    if not name:
        config = of_model("sparse_kl")
        value = getattr(config.settings, option)
        for other in other_values(Settings.model_fields[option].annotation, value):
            yield config, {option: other}
        return
    field = GROUPS[group].schema(name).model_fields[key]
    for base in bases(group, name):
        plain = base.as_dict()
        for elsewhere, section in ELSEWHERE.get(f"{group}.{name}", {}).items():
            plain[elsewhere] = section if "name" in section else plain[elsewhere] | section
        plain[group] = plain[group] | BESIDE.get(key, BESIDE.get(option, {}))
        try:
            config = check(plain)
        except ConfigError:
            continue
        for other in other_values(field.annotation, plain[group][key]):
            yield config, {group: plain[group] | {key: other}}


@pytest.mark.parametrize("option", options())
def test_every_option_has_an_effect(option: str, tmp_path: Path) -> None:
    for number, (config, change) in enumerate(islice(changes(option), MOST_TRAININGS)):
        before = outcome(config.as_dict(), tmp_path / f"{number}_before")
        after = outcome(config.as_dict() | change, tmp_path / f"{number}_after")
        if before is not None and after is not None and before != after:
            return
    raise AssertionError(f"{option} changes nothing")


OUTCOMES: dict[str, Any] = {}


def outcome(plain: dict[str, Any], folder: Path) -> Any:
    """The model and the metrics of a training, None where it is refused; remembered, for many
    options are tried against the same one."""
    key = json.dumps(plain)
    if key not in OUTCOMES:
        try:
            summary = train(check(plain), folder, [])
            model = (folder / "model.safetensors").read_bytes()
            OUTCOMES[key] = model, summary | {"seconds": 0}
        except (ConfigError, DivergedError):
            OUTCOMES[key] = None
    return OUTCOMES[key]
