"""Every option has an effect: with another value, a small training comes out otherwise.

Parts, their options and other values for these are found in the registries. A model page that has
the part comes first, then the others with the part put in; where a value is refused, or changes
nothing there, the next is tried.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest

from sae_cli.config.schema import GROUPS, RunConfig, check
from sae_cli.config.settings import FREE, Settings
from sae_cli.core.errors import ConfigError, DivergedError
from sae_cli.runs.train import train
from tests.contracts.small import MODELS, of_model, part_of, with_parts

# They choose pages, or how the same numbers are computed (tests/assembly/test_compute.py).
NOT_ALONE = ("model", "experiment", "compile", "threads")
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
        for name in ("weight", "k_aux", "dead_after")
    },
    **{
        f"revival.resample.{name}": {"every": 1, "dead_after": 20, "until": 3}
        for name in ("every", "until", "encoder_scale", "dead_after")
    },
    "reconstruction.nested.prefixes": {"prefixes": [0.4]},
    "penalty.lateral_learned.bound": {"bound": 0.127},
}
# Of another part.
ELSEWHERE = {"reconstruction.bce": {"architecture": {"output_activation": "sigmoid"}}}
NUMBERS = (0.5, 0.3, 2.0, 0.1, 0.01)
COUNTS = (9, 50)
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


def others(annotation: Any, value: Any) -> Iterator[Any]:
    """Other values of that type, which may be out of its range; far ones first."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from others(arguments[0], value)
    elif origin in (Union, UnionType):
        yield from chain(*(others(one, value) for one in arguments if one is not NoneType))
    elif origin is Literal:
        yield from (choice for choice in arguments if choice != value)
    elif origin is list:
        first = value[0] if value else None
        yield from ([one] * max(1, len(value or ())) for one in others(arguments[0], first))
        if value and len(value) == 2 and isinstance(first, int):
            # Of the same product: the sides of a sheet.
            yield [first // 2, value[1] * 2]
    elif annotation is bool:
        yield not value
    elif annotation is int:
        near = () if value is None else (value + 1, value * 2, value // 2, value + 3)
        yield from (count for count in (*near, *COUNTS) if count != value)
    else:
        assert annotation is float, annotation
        yield from (number for number in NUMBERS if number != value)


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
        for other in others(Settings.model_fields[option].annotation, value):
            yield config, {option: other}
        return
    field = GROUPS[group].schema(name).model_fields[key]
    for base in bases(group, name):
        plain = base.as_dict()
        for elsewhere, section in ELSEWHERE.get(f"{group}.{name}", {}).items():
            plain[elsewhere] = plain[elsewhere] | section
        plain[group] = plain[group] | BESIDE.get(key, BESIDE.get(option, {}))
        try:
            config = check(plain)
        except ConfigError:
            continue
        for other in others(field.annotation, plain[group][key]):
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
