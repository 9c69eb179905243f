"""A loaded run as the files of another library."""

from __future__ import annotations

import math

from sae_cli.core.errors import ConfigError
from sae_cli.core.registry import Registry
from sae_cli.core.text import short
from sae_cli.results.interchange import dictionary_learning, onnx_graph, plain, saelens
from sae_cli.results.interchange.model import take_dictionary
from sae_cli.results.interchange.written import Exported
from sae_cli.results.load import Run

# Each makes of what is exported the files of a format, name -> content.
EXPORTERS: Registry[dict[str, bytes]] = Registry("format")
EXPORTERS.register("saelens")(saelens.write)
EXPORTERS.register("dictionary_learning")(dictionary_learning.write)
EXPORTERS.register("safetensors")(plain.write)
EXPORTERS.register("onnx")(onnx_graph.write)


def export(run: Run) -> Exported:
    """Make of a run what is written: weights as they are used, on values as the data file has them.

    Raises:
        ConfigError: the model is not a dictionary.
    """
    try:
        dictionary = take_dictionary(run.autoencoder)
    except ConfigError as error:
        raise ConfigError(f"{short(run.path)} cannot be exported: {error}") from None
    inputs = run.record.inputs
    if inputs.unit_norm and inputs.centre is not None:
        raise ConfigError(
            f"{short(run.path)} cannot be exported: its examples were centred and then scaled to "
            "an L2 norm of 1, which no weights can do; train with unit_norm=false"
        )
    # Examples of unit norm are the same whatever they were divided by.
    if not inputs.unit_norm and not inputs.is_plain:
        centre = None if inputs.centre is None else inputs.centre.flatten() * inputs.divisor
        dictionary = dictionary.of_values(inputs.divisor * inputs.scale, centre)
    return Exported(dictionary, run.input_shape, inputs.unit_norm)


def notes(run: Run) -> list[str]:
    """Say what a user of the files has to do with examples first."""
    inputs, said = run.record.inputs, []
    if inputs.unit_norm:
        said.append(
            "note: unit_norm=true cannot be part of the weights; scale each example to an L2 norm "
            "of 1 first"
        )
    elif not inputs.is_plain:
        said.append(
            "note: dataset.divisor, centre and scale are part of the weights; give values as the "
            "data file has them"
        )
    if len(run.input_shape) > 1:
        shape = ", ".join(map(str, run.input_shape))
        said.append(
            f"note: an example ({shape}) is given as a row of {math.prod(run.input_shape)} values"
        )
    return said
