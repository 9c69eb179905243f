"""A finished run from its folder: its configuration, metrics and trained auto-encoder.

A dictionary that another library has trained is loaded as one without a configuration.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from sae_cli.assembly.network import Network
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.core.paths import open_home
from sae_cli.core.shapes import REALS
from sae_cli.datasets.inputs import DataRecord, Inputs
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.results.examples import as_seen
from sae_cli.results.interchange.load import find_weights, read_dictionary
from sae_cli.results.interchange.model import build_autoencoder
from sae_cli.results.saved_config import earlier_record, read_config
from sae_cli.results.saved_model import read_model
from sae_cli.run_folder.files import read_json
from sae_cli.run_folder.layout import CONFIG, MODEL, SUMMARY, read_metrics


@final
@dataclass(frozen=True)
class Run:
    """A finished run, or the dictionary of another library.

    Attributes:
        path: the run folder, or the file of a dictionary.
        network: all that was trained, on the CPU, in evaluation mode.
        input_shape: the shape of one example.
        record: how the values that the model was trained on were made of stored ones.
    """

    path: Path
    _config: RunConfig | None
    network: Network
    input_shape: tuple[int, ...]
    record: DataRecord
    _warned: set[str] = field(default_factory=set, repr=False, compare=False)

    @property
    def config(self) -> RunConfig:
        """The checked configuration.

        Raises:
            ConfigError: it is a dictionary, which was not trained here.
        """
        if self._config is None:
            raise ConfigError(
                f"{self.path} is a dictionary from elsewhere and has no configuration; encode, "
                "decode and reconstruct work"
            )
        return self._config

    @property
    def n_latents(self) -> int:
        """The width of the code."""
        return self.autoencoder.n_latents

    @property
    def autoencoder(self) -> AutoEncoder:
        """The trained auto-encoder."""
        return self.network.autoencoder

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The closing metrics, as in ``summary.json``.

        Raises:
            ConfigError: the file is missing or damaged.
        """
        return read_json(self.path / SUMMARY)

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """One entry for each evaluation, as in ``metrics.jsonl``.

        Raises:
            ConfigError: the file is missing or damaged.
        """
        return read_metrics(self.path)

    @torch.no_grad()
    def encode(self, x: Any, *, as_stored: bool | None = None) -> Tensor:
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

        Raises:
            ValueError: the shape is wrong; or the data file has fractions that are divided, or
                channels that can be first or last, so that ``as_stored`` must tell what ``x`` is.
        """
        return self._encode(x, as_stored)

    @torch.no_grad()
    def decode(self, codes: Any) -> Tensor:
        """Decode codes ``(batch, n_latents)`` to reconstructions ``(batch, *input_shape)``.

        They are as the model sees its data, but for ``dataset.centre`` and ``dataset.scale``, which
        are undone: ``decode(encode(x))`` is near ``x``. A norm that was scaled to 1 stays 1.

        Raises:
            ValueError: the shape is wrong.
        """
        given = torch.as_tensor(codes, dtype=torch.float32)
        if given.ndim != 2 or given.shape[1] != self.autoencoder.n_latents:
            raise ValueError(
                f"codes have shape {tuple(given.shape)}; expected (batch, "
                f"{self.autoencoder.n_latents})"
            )
        if not len(given):
            return torch.zeros(0, *self.input_shape)
        return self.record.inputs.with_centre_back(self.autoencoder.decode(given))

    def reconstruct(self, x: Any, *, as_stored: bool | None = None) -> Tensor:
        """Reconstruct examples: ``(batch, *input_shape)``, as the model sees its data.

        Args:
            x, as_stored: as ``encode`` takes them.

        Raises:
            ValueError: as ``encode``.
        """
        return self.decode(self._encode(x, as_stored))

    @torch.no_grad()
    def classify(self, x: Any, *, as_stored: bool | None = None) -> Tensor:
        """Classify examples with the head: int64 ``(batch,)``, 0 to ``n_classes - 1``.

        Args:
            x, as_stored: as ``encode`` takes them.

        Raises:
            ValueError: the shape is wrong, or the run has trained no head.
        """
        if self.network.head is None:
            raise ValueError("this run has no classifier; train one with head=classifier")
        classes: Tensor = self.network.head(self._encode(x, as_stored)).argmax(1)
        return classes

    def _encode(self, x: Any, as_stored: bool | None) -> Tensor:
        seen, doubts = as_seen(x, self.record, self.input_shape, as_stored)
        for kind, text in doubts.items():
            if kind not in self._warned:
                self._warned.add(kind)
                # The line of whoever called encode or classify, which torch wraps.
                warnings.warn(text, UserWarning, stacklevel=4)
        if not len(seen):
            return torch.zeros(0, self.autoencoder.n_latents)
        return self.autoencoder.encode(seen)


def load_run(folder: str | Path) -> Run:
    """Load a run from its folder, or a dictionary of SAELens, dictionary_learning, sparsify, Gemma
    Scope or ``sae-export`` from its folder or file.

    YAML, JSON and tensors are read as data; nothing is executed.

    Raises:
        ConfigError: the folder does not hold a finished run or a dictionary, or holds a damaged
            one.
    """
    path = open_home(folder)
    missing = next((name for name in (CONFIG, MODEL) if not (path / name).is_file()), None)
    if missing is not None:
        weights = None if (path / CONFIG).is_file() else find_weights(path)
        if weights is None:
            raise ConfigError(f"{path} holds no finished run: there is no {missing} in it")
        return _load_dictionary(weights)
    config = read_config(path / CONFIG)
    model = read_model(path, config)
    record = model.record or earlier_record(config)
    return Run(path, config, model.network, model.shape.input_shape, record)


def _load_dictionary(weights: Path) -> Run:
    found = read_dictionary(weights)
    model = build_autoencoder(found.dictionary, found.input_shape)
    record = DataRecord(Inputs(unit_norm=found.unit_norm), None, REALS)
    return Run(weights, None, Network(model, None, None), found.input_shape, record)
