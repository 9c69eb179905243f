"""ONNX: ``model.onnx``, a graph from ``x`` to ``codes`` and ``x_hat`` for any runtime.

The graph is written node by node, of operators that every runtime has had for years.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sae_cli.core.errors import ConfigError
from sae_cli.results.interchange.dictionary import Dictionary
from sae_cli.results.interchange.written import Exported, matrices

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE = "model.onnx"
OPSET, IR_VERSION = 17, 8
# A file of protocol buffers holds no more; the graph itself takes a few kilobytes.
MAX_BYTES = 2**31 - 2**20


class Node(NamedTuple):
    """An operator with the names of what it takes and gives; options are its own."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    options: dict[str, Any] = {}  # noqa: RUF012


def write(exported: Exported) -> dict[str, bytes]:
    """Give the file's content.

    Raises:
        ConfigError: onnx is not installed, or the model is too large for one file.
    """
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        raise ConfigError(
            "--format onnx needs the package onnx, which is not installed; run "
            "`pip install 'sae-train[export]'`, or give another format"
        ) from None
    dictionary = exported.dictionary.with_bias_subtracted(False)
    constants = _constants(dictionary)
    size = sum(array.nbytes for array in constants.values())
    if size > MAX_BYTES:
        raise ConfigError(
            f"the model has {size:,} bytes, and a file of ONNX holds {MAX_BYTES:,}; give another "
            "format"
        )
    axes = {"x": dictionary.n_features, "codes": dictionary.n_latents}
    axes["x_hat"] = axes["x"]
    shown = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
        for name, width in axes.items()
    }
    bias = "b_gate" if dictionary.kind == "gated" else "b_enc"
    nodes = [
        Node("Gemm", ["x", "W_enc", bias], ["pre_codes"]),
        *_activation(dictionary),
        Node("Gemm", ["codes", "W_dec", "b_dec"], ["x_hat"]),
    ]
    graph = helper.make_graph(
        [helper.make_node(one.operator, one.inputs, one.outputs, **one.options) for one in nodes],
        "dictionary",
        [shown["x"]],
        [shown["codes"], shown["x_hat"]],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="sae-train",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    for key, value in exported.about().items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, str(value)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return {FILE: content}


def _activation(dictionary: Dictionary) -> list[Node]:
    """Give the operators from ``pre_codes`` to ``codes``."""
    if dictionary.threshold is not None:
        return [
            Node("Greater", ["pre_codes", "threshold"], ["active"]),
            Node("Where", ["active", "pre_codes", "zero"], ["codes"]),
        ]
    if dictionary.kind == "gated":
        return [
            Node("MatMul", ["x", "W_enc"], ["inner"]),
            Node("Mul", ["inner", "gain"], ["gained"]),
            Node("Add", ["gained", "b_mag"], ["magnitude"]),
            Node("Relu", ["magnitude"], ["positive"]),
            Node("Greater", ["pre_codes", "zero"], ["active"]),
            Node("Where", ["active", "positive", "zero"], ["codes"]),
        ]
    if dictionary.k is None:
        return [Node("Relu", ["pre_codes"], ["codes"])]
    return [
        Node("TopK", ["pre_codes", "k"], ["largest", "places"]),
        Node("Relu", ["largest"], ["kept"]),
        Node("Shape", ["pre_codes"], ["shape"]),
        Node("ConstantOfShape", ["shape"], ["zeros"]),
        Node("ScatterElements", ["zeros", "places", "kept"], ["codes"], {"axis": 1}),
    ]


def _constants(dictionary: Dictionary) -> dict[str, NDArray[Any]]:
    """Give the constants by their names in the graph."""
    tensors = matrices(dictionary)
    if "threshold" in tensors:
        tensors["threshold"] = tensors["threshold"].clamp_min(0.0)
    if "r_mag" in tensors:
        tensors["gain"] = tensors.pop("r_mag").exp()
    arrays: dict[str, NDArray[Any]] = {name: tensor.numpy() for name, tensor in tensors.items()}
    if dictionary.kind == "gated" or dictionary.threshold is not None:
        arrays["zero"] = np.zeros((), np.float32)
    elif dictionary.k is not None:
        arrays["k"] = np.array([dictionary.k], np.int64)
    return arrays
