"""What an exported dictionary is for: the examples it takes, told beside its tensors."""

from __future__ import annotations

from typing import Any, NamedTuple

import safetensors.torch
from torch import Tensor

from sae_cli.results.interchange.dictionary import Dictionary


class Exported(NamedTuple):
    """A dictionary to write, and what its user has to know of the examples.

    Attributes:
        dictionary: takes examples ``(batch, d)`` as the data file has them, divided by nothing.
        input_shape: of one example before it is made a row, channels first.
        unit_norm: whether rows are scaled to an L2 norm of 1 first.
    """

    dictionary: Dictionary
    input_shape: tuple[int, ...]
    unit_norm: bool

    def about(self) -> dict[str, Any]:
        """Give plain values that say the same."""
        return {"input_shape": list(self.input_shape), "unit_norm": self.unit_norm}


def matrices(dictionary: Dictionary) -> dict[str, Tensor]:
    """Give the tensors under the names that SAELens and most others have for them."""
    gated = dictionary.kind == "gated"
    names = {"w_enc": "W_enc", "b_enc": "b_gate" if gated else "b_enc", "w_dec": "W_dec"}
    return {names.get(name, name): tensor for name, tensor in dictionary.tensors.items()}


def as_safetensors(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Pack tensors as copies, because safetensors takes neither views nor shared memory."""
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    content: bytes = safetensors.torch.save(whole, metadata)
    return content
