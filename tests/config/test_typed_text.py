"""Names are text as they are typed, whatever Hydra's grammar would make of them."""

from __future__ import annotations

import itertools
import types
from typing import Any, Union, get_args, get_origin

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from sae_cli.config.asked import read
from sae_cli.config.schema import GROUPS
from sae_cli.config.settings import Settings
from sae_cli.config.texts import TEXTS, read_text
from sae_cli.config.typed_text import quote, quote_texts
from sae_cli.run_folder.plain_yaml import as_yaml
from sae_cli.trackers import TRACKERS

NAMES = [
    *("2024_11_05", "1e3", "0", "1.50", "true", "false", "on", "None", "~", "08", "0x10", "-1"),
    *("inf", "nan", "~/x", "a b", "a=b", "bob's", "photos(1)", "é/ü", "a#b", "a;b", "a&b", "{a}"),
    *("2024-11-05", "12:30:45", "1_000", "C:/x", "+1", ".5", "1.", "yes", "a\\b"),
]


def _run(*words: str) -> dict[str, Any]:
    return read(["dataset=array", *words], multirun=False, pages=None).runs[0].run


@pytest.mark.parametrize("name", NAMES)
def test_hydra_reads_a_name_as_it_was_typed(name: str) -> None:
    assert _read(f"dataset.key={name}") == name
    assert _read(f"++dataset.key={name}") == name
    assert _read(f"hydra.run.dir={name}") == name
    assert _read(f"dataset.root=[{name},b]") == [name, "b"]
    assert read_text("dataset.key", name) == name


def _read(word: str) -> Any:
    (override,) = OverridesParser.create().parse_overrides([quote_texts(word)])
    return override.value()


@pytest.mark.parametrize("name", ["1e3", "2024_11_05", "true", "08", "~/x"])
def test_a_name_stays_as_it_was_typed(name: str) -> None:
    words = ["dataset=array", f"dataset.path={name}", f"dataset.key={name}", f"sort_by={name}"]
    (run,) = read(words, multirun=False, pages=None).runs
    assert [run.run["dataset"]["path"], run.run["dataset"]["key"], run.run["sort_by"]] == [name] * 3
    # What a run records of its command line composes the same run.
    assert compose_again(run.overrides) == run.run


def compose_again(overrides: list[str]) -> dict[str, Any]:
    return read(overrides, multirun=False, pages=None).runs[0].run


@pytest.mark.parametrize("name", NAMES)
def test_every_reader_of_yaml_reads_the_same_name(name: str) -> None:
    written = as_yaml({"key": name}).decode()
    assert yaml.safe_load(written)["key"] == name
    assert OmegaConf.to_container(OmegaConf.create(written)) == {"key": name}


def test_null_is_no_name_where_there_may_be_none() -> None:
    assert _run("dataset.path=x", "dataset.key=null")["dataset"]["key"] is None
    assert _run("dataset.path=x", "dataset.key='null'")["dataset"]["key"] == "null"
    assert read_text("dataset.key", "null") is None
    assert read_text("dataset.key", "'null'") == "null"
    asked = read(["hydra.run.dir=null"], multirun=False, pages=None)
    assert asked.hydra.folder("run") == "null"


def test_names_in_sweeps() -> None:
    words = ["dataset=array", "dataset.path=x"]
    for swept in ("dataset.key=0,1e3,b", "dataset.key=choice(0,1e3,b)"):
        asked = read([*words, swept], multirun=True, pages=None)
        assert [job.run["dataset"]["key"] for job in asked.runs] == ["0", "1e3", "b"]
    asked = read([*words, "dataset.key=range(0,3)"], multirun=True, pages=None)
    assert [job.run["dataset"]["key"] for job in asked.runs] == ["0", "1", "2"]
    asked = read(["dataset=array", "dataset.path=~/a,~/b c"], multirun=True, pages=None)
    assert [job.run["dataset"]["path"] for job in asked.runs] == ["~/a", "~/b c"]


def test_references_work_in_names() -> None:
    assert _run("dataset.path=~/x_${seed}", "seed=3")["dataset"]["path"] == "~/x_3"


def test_other_values_stay_as_they_are() -> None:
    for word in ("seed=1e3", "penalty.weight=0.1,1e3", "~penalty", "a", "model=ae", "+a=~/x"):
        assert quote_texts(word, ["model"]) == word


@pytest.mark.parametrize(
    "text", ["".join(three) for three in itertools.product("\\'\"a,", repeat=3)], ids=repr
)
def test_quotes_hold_any_text(text: str) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"key={quote(text)}"])
    assert override.value() == text


def test_the_keys_of_texts_are_those_that_the_schema_annotates_so() -> None:
    found = {("sort_by", False)} if Settings.model_fields["sort_by"].annotation is str else set()
    schemas = [
        *((group, parts.schema(name)) for group, parts in GROUPS.items() for name in parts.names),
        *((f"logger.{name}", TRACKERS.schema(name)) for name in TRACKERS.names),
    ]
    for group, schema in schemas:
        for option, field in schema.model_fields.items():
            if (nullable := _of_text(field.annotation)) is not None:
                found.add((f"{group}.{option}", nullable))
    folders = {"hydra.run.dir", "hydra.sweep.dir"}
    assert {key for key, _ in found} == set(TEXTS) - folders
    assert {key for key, nullable in found if nullable} == {k for k, v in TEXTS.items() if v}
    # The other texts among the settings choose pages.
    texts = {
        k for k, field in Settings.model_fields.items() if _of_text(field.annotation) is not None
    }
    assert texts == {"model", "experiment", "sort_by"}


def _of_text(annotation: Any) -> bool | None:
    """Tell whether a text, or a list of texts, may be null; None for another type."""
    if get_origin(annotation) in {types.UnionType, Union}:
        inner = [_of_text(one) for one in get_args(annotation) if one is not type(None)]
        return True if False in inner or True in inner else None
    if annotation is str or (get_origin(annotation) is list and get_args(annotation) == (str,)):
        return False
    return None
