"""The content of a checkpoint: all that the rest of a training depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_origin, get_type_hints

from torch import Tensor

from sae_cli.core.errors import CheckpointError

# A checkpoint of another format is not read.
FORMAT = 2


@dataclass(frozen=True)
class TrainState:
    """A training at one step, as tensors and plain values.

    Attributes:
        config: the configuration of the run.
        data: the fingerprint of its data.
        model: the auto-encoder's tensors by name.
        objectives: the tensors of each stage's objective, by the stage's name.
        optimizer: moments and the like.
        sums: the sum of each term of the loss since the last means.
        order: the generator of orders, as it was at the beginning of the present epoch.
        noise: the generator of noise, as it is now.
        stage: the name of the present stage.
        stage_epoch: epochs of that stage that are done.
        batch: batches of its next epoch that are done.
        epoch, step: numbers of epochs and steps that are done, over all stages.
        best_epoch, best_loss: the lowest validation loss of the present stage, and its epoch.
        metrics: the text of ``metrics.jsonl`` so far.
        seconds: the time taken so far.
    """

    config: dict[str, Any]
    data: str
    model: dict[str, Tensor]
    objectives: dict[str, dict[str, Tensor]]
    optimizer: dict[str, Any]
    sums: dict[str, Tensor]
    order: Tensor
    noise: Tensor
    stage: str
    stage_epoch: int
    batch: int
    epoch: int
    step: int
    best_epoch: int
    best_loss: float
    metrics: str
    seconds: float

    def state_dict(self) -> dict[str, Any]:
        """Give the format, and every attribute by its name, to be saved."""
        copies: Copies = {}
        state = {"format": FORMAT} | {key: getattr(self, key) for key in KINDS}
        return state | {
            "model": _alone(self.model, copies),
            "objectives": {stage: _alone(own, copies) for stage, own in self.objectives.items()},
        }

    @staticmethod
    def from_state_dict(state: object, name: str) -> TrainState:
        """Check what was saved, which may come from a stranger.

        Args:
            name: the file's name, for the message.

        Raises:
            CheckpointError: it is of another format, or something in it is missing or wrong.
        """
        if not isinstance(state, Mapping) or "format" not in state:
            raise CheckpointError(f"{name} is not a checkpoint of sae-train")
        if type(state["format"]) is not int or state["format"] != FORMAT:
            raise CheckpointError(
                f"{name} was written by another version of sae-train (format {state['format']!r}, "
                f"this one reads {FORMAT})"
            )
        for key, kind in KINDS.items():
            value = state.get(key)
            if not isinstance(value, kind) or (isinstance(value, int) and value < 0):
                raise CheckpointError(
                    f"{name} is not a checkpoint of sae-train: its {key} is wrong"
                )
        return TrainState(**{key: state[key] for key in KINDS})


# These types say nothing of what is inside: a state is checked deeper where it is loaded.
KINDS: dict[str, type] = {
    key: get_origin(hint) or hint for key, hint in get_type_hints(TrainState).items()
}


Copies = dict[tuple[int, tuple[int, ...]], Tensor]


def _alone(tensors: Mapping[str, Tensor], copies: Copies) -> dict[str, Tensor]:
    """Copy tensors that are part of larger ones, because PyTorch would save all of these.

    Args:
        copies: by address and shape, so that a tensor of several stages is saved once, as alone.
    """
    return {
        name: one
        if one.untyped_storage().nbytes() == one.nbytes
        else copies.setdefault((one.data_ptr(), one.shape), one.clone()).detach()
        for name, one in tensors.items()
    }
