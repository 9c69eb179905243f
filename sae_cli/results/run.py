"""A loaded run: what was trained, and what can be done with it in Python."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from sae_cli.assembly.network import Network
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError, in_one_line
from sae_cli.core.text import counted, short
from sae_cli.datasets.inputs import DataRecord
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.results.computing import (
    as_frame,
    atoms_of,
    code_batches,
    device_of,
    draw_codes,
    joined,
    move_to,
)
from sae_cli.results.examples import Sight
from sae_cli.results.loaded_data import Rows, rows_of
from sae_cli.results.loaded_picture import draw_picture
from sae_cli.results.saved_model import FINAL, Weights
from sae_cli.run_folder.files import read_json
from sae_cli.run_folder.layout import SUMMARY, read_metrics
from sae_cli.training.loop import EVALUATION_BATCH

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@final
@dataclass(frozen=True, repr=False)
class Run:
    """A run, or the dictionary of another library.

    What is given as NumPy's arrays comes back as such; all else is tensors, on the device of those
    that were given.

    Attributes:
        path: the run folder, or the file of a dictionary.
        network: all that was trained, in evaluation mode; on the CPU until ``to``.
        input_shape: the shape of one example.
        record: how the values that the model was trained on were made of stored ones.
        weights: where they come from.
    """

    path: Path
    _config: RunConfig | None
    network: Network
    input_shape: tuple[int, ...]
    record: DataRecord
    weights: Weights = FINAL
    _warned: set[str] = field(default_factory=set, compare=False)

    def __repr__(self) -> str:
        model = "dictionary" if self._config is None else self._config.settings.model
        return f"Run({str(self.path)!r}, {model}, {counted(self.n_latents, 'latent')})"

    @property
    def config(self) -> RunConfig:
        """The checked configuration; raise ConfigError for a dictionary."""
        if self._config is None:
            raise ConfigError(
                f"{self.path} is a dictionary from elsewhere and has no configuration; encode, "
                "decode and reconstruct work"
            )
        return self._config

    @property
    def is_dictionary(self) -> bool:
        """Whether it is the dictionary of another library, which has no configuration."""
        return self._config is None

    @property
    def n_latents(self) -> int:
        """The width of the code."""
        return self.autoencoder.n_latents

    @property
    def autoencoder(self) -> AutoEncoder:
        """The trained auto-encoder."""
        return self.network.autoencoder

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return device_of(self.autoencoder)

    @property
    def dictionary(self) -> Tensor:
        """The atoms, one a row: a copy, ``(n_latents, n_features)``, in the units of ``decode``.

        One more of a latent adds its atom to what is decoded, before any output activation. Raise
        ConfigError if the decoder is not one linear layer.
        """
        return atoms_of(self.autoencoder, short(self.path)) * self.record.inputs.scale

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The closing metrics, as in ``summary.json``; raise ConfigError if that is missing or
        damaged."""
        return read_json(self.path / SUMMARY)

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """One entry for each evaluation, as in ``metrics.jsonl``; raise ConfigError if that is
        missing or damaged."""
        return read_metrics(self.path)

    def metrics_frame(self) -> Any:
        """Give ``metrics`` as a ``pandas.DataFrame``; raise ConfigError without pandas."""
        return as_frame(self.metrics)

    def to(self, device: str | torch.device) -> Run:
        """Move the network to a device, as PyTorch moves modules, and give the run back; raise
        ConfigError if there is no such device."""
        move_to(self.network.saved, device)
        return self

    def encode(
        self, x: Any, *, as_stored: bool | None = None, batch_size: int = EVALUATION_BATCH
    ) -> Any:
        """Encode examples to codes ``(batch, n_latents)``; no rows give no rows.

        Fractions are values as the model sees them (images: 0 to 1), integers values as the data
        file has them (images: 0 to 255), which are divided as in training. Values that the model
        was not trained on are warned of, once for a loaded run.

        Where ``dataset.centre`` or ``dataset.scale`` was set, values come before both, and are
        centred and scaled as in training; with ``as_stored=False`` they come after.

        Args:
            x: a tensor or array ``(batch, *input_shape)`` or ``(batch, n_features)``; or of the
                shape that the data file has, where ``dataset.axes`` is ``channels_last``.
            as_stored: whether ``x`` is as in the data file (True) or as the model sees it (False).
            batch_size: so many examples are encoded at a time.

        Raises:
            ValueError: the shape is wrong; or the data file has fractions that are divided, or
                channels that can be first or last, so that ``as_stored`` must tell what ``x`` is.
        """
        nothing = torch.zeros(0, self.n_latents)
        return self._apply(self.autoencoder.encode, x, as_stored, batch_size, nothing)

    def decode(self, codes: Any, *, batch_size: int = EVALUATION_BATCH) -> Any:
        """Decode codes ``(batch, n_latents)`` to reconstructions ``(batch, *input_shape)``.

        They are as the model sees its data, but for ``dataset.centre`` and ``dataset.scale``, which
        are undone: ``decode(encode(x))`` is near ``x``. A norm that was scaled to 1 stays 1. Raise
        ValueError if the shape is wrong.
        """
        pieces = code_batches(codes, self.n_latents, batch_size)
        nothing = torch.zeros(0, *self.input_shape)
        return joined(codes, pieces, self._decode, self.device, nothing)

    def reconstruct(
        self, x: Any, *, as_stored: bool | None = None, batch_size: int = EVALUATION_BATCH
    ) -> Any:
        """Reconstruct examples: ``(batch, *input_shape)``, in the units of ``decode``; as
        ``encode`` takes them, and raising what it raises."""

        def reconstruct(seen: Tensor) -> Tensor:
            return self._decode(self.autoencoder.encode(seen))

        nothing = torch.zeros(0, *self.input_shape)
        return self._apply(reconstruct, x, as_stored, batch_size, nothing)

    def classify(
        self, x: Any, *, as_stored: bool | None = None, batch_size: int = EVALUATION_BATCH
    ) -> Any:
        """Classify examples, as ``encode`` takes them, with the head: int64 ``(batch,)``, 0 to
        ``n_classes - 1``; raise ValueError as ``encode``, or without a head."""
        head = self.network.head
        if head is None:
            raise ValueError("this run has no classifier; train one with head=classifier")

        def classify(seen: Tensor) -> Tensor:
            classes: Tensor = head(self.autoencoder.encode(seen)).argmax(1)
            return classes

        nothing = torch.zeros(0, dtype=torch.int64)
        return self._apply(classify, x, as_stored, batch_size, nothing)

    def sample(self, n: int, *, seed: int | None = None) -> Tensor:
        """Decode ``n`` draws from the prior N(0, 1) of a variational auto-encoder: ``(n,
        *input_shape)``, in the units of ``decode``.

        Args:
            seed: draws the same codes each time; None draws others, by PyTorch's own generator.

        Raises:
            ConfigError: the model is not variational.
        """
        drawn: Tensor = self.decode(draw_codes(self.autoencoder, n, seed, short(self.path)))
        return drawn

    def data(self, split: str, *, as_stored: bool = False) -> Rows:
        """Read a split, ``train``, ``val`` or ``test``, of the data that the run was trained on.

        Nothing is downloaded. Data that are no longer those of the run are warned of.

        Args:
            as_stored: values as the data file has them, for ``encode(x, as_stored=True)``; in
                place of those in the units of ``decode``, which ``encode`` takes, too.

        Raises:
            ConfigError: there is no such split, the data are missing or unfit, or there are none.
        """
        found, notes = rows_of(self.path, self.config, self.record, split, as_stored)
        self._warn(dict(zip(notes, notes, strict=True)), 3)
        return found

    def plot(self, name: str) -> Figure:
        """Draw a registered picture, such as ``loss_curves``, anew; raise ConfigError if none of
        that name applies to the run, or its data are missing or unfit."""
        return draw_picture(self.path, self.config, self.network, self.device, self.metrics, name)

    def _decode(self, codes: Tensor) -> Tensor:
        return self.record.inputs.to(codes.device).with_centre_back(self.autoencoder.decode(codes))

    def _apply(
        self,
        network: Callable[[Tensor], Tensor],
        x: Any,
        as_stored: bool | None,
        batch_size: int,
        nothing: Tensor,
    ) -> Any:
        sight = Sight(x, self.record, self.input_shape, as_stored)
        made = joined(x, sight.batches(batch_size), network, self.device, nothing)
        self._warn(sight.doubts, 4)
        return made

    def _warn(self, doubts: dict[str, str], level: int) -> None:
        for kind, text in doubts.items():
            if kind not in self._warned:
                self._warned.add(kind)
                # The line is that of whoever called a method of the run.
                warnings.warn(in_one_line(text), UserWarning, stacklevel=level)
