"""Our own file: five tensors in one ``dictionary.safetensors``, with what is needed to use them."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic

from sae_cli.core.options import MAX_WIDTH, Width
from sae_cli.core.registry import STRICT
from sae_cli.core.shapes import DataShape
from sae_cli.results.interchange.dictionary import Dictionary, Kind
from sae_cli.results.interchange.given import Given
from sae_cli.results.interchange.written import Exported, as_safetensors, matrices

FILE = "dictionary.safetensors"
# There is only one key, because safetensors writes several in a random order.
KEY = "sae_train_dictionary"
MAX_TEXT = 1000
# Tensors that only some activations have.
OTHERS = ("threshold", "b_mag", "r_mag")


class _About(pydantic.BaseModel):
    """What the file says of its tensors."""

    model_config = STRICT

    activation: Kind
    k: Width | None
    input_shape: Annotated[list[Width], pydantic.Field(min_length=1, max_length=8)]
    unit_norm: bool


def owns(given: Given) -> bool:
    """Tell whether a file is one of these."""
    return KEY in given.metadata


def read(given: Given) -> Dictionary:
    """Read the dictionary; raise ValueError if the file is damaged."""
    about = _about(given)
    others: dict[str, Any] = {name: given.load(name) for name in OTHERS if name in given.names}
    return Dictionary(*given.matrices(), about.activation, about.k, **others)


def read_exported(given: Given, dictionary: Dictionary) -> Exported:
    """Add what the file says of the examples; raise ValueError if that does not fit."""
    about = _about(given)
    shape = DataShape(tuple(about.input_shape), None)
    if shape.n_features != dictionary.n_features:
        raise ValueError(f"examples of shape {about.input_shape} have other than its features")
    return Exported(dictionary, shape.input_shape, about.unit_norm)


def write(exported: Exported) -> dict[str, bytes]:
    """Give the file's content, with the bias that is subtracted in the encoder's."""
    dictionary = exported.dictionary.with_bias_subtracted(False)
    about = _About(activation=dictionary.kind, k=dictionary.k, **exported.about())
    return {FILE: as_safetensors(matrices(dictionary), {KEY: about.model_dump_json()})}


def _about(given: Given) -> _About:
    text = given.metadata[KEY]
    try:
        about = _About.model_validate_json(text[:MAX_TEXT])
    except pydantic.ValidationError:
        raise ValueError(f"its metadata are {text[:100]}") from None
    if DataShape(tuple(about.input_shape), None).n_features > MAX_WIDTH:
        raise ValueError(f"its metadata are {text[:100]}")
    return about
