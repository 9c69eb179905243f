"""A finished run from its folder: its configuration, metrics and trained auto-encoder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from sae_cli.assembly.network import Network
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.core.paths import open_home
from sae_cli.core.shapes import DataShape
from sae_cli.datasets.dataset import unit_norm
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.results.saved_config import read_config
from sae_cli.results.saved_model import read_model
from sae_cli.run_folder.files import read_json
from sae_cli.run_folder.layout import CONFIG, MODEL, SUMMARY, read_metrics


@final
@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: the run folder.
        config: the checked configuration.
        network: all that was trained, on the CPU, in evaluation mode.
        input_shape: the shape of one example.
    """

    path: Path
    config: RunConfig
    network: Network
    input_shape: tuple[int, ...]

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
    def encode(self, x: Any) -> Tensor:
        """Encode examples to codes ``(batch, n_latents)``.

        Args:
            x: a tensor or array ``(batch, *input_shape)`` or ``(batch, n_features)``, in the range
                the model was trained on (images: 0 to 1).

        Raises:
            ValueError: the shape is wrong.
        """
        return self.autoencoder.encode(self._examples(x))

    @torch.no_grad()
    def decode(self, codes: Any) -> Tensor:
        """Decode codes ``(batch, n_latents)`` to reconstructions ``(batch, *input_shape)``.

        Raises:
            ValueError: the shape is wrong.
        """
        given = torch.as_tensor(codes, dtype=torch.float32)
        if given.ndim != 2 or given.shape[1] != self.autoencoder.n_latents:
            raise ValueError(
                f"codes have shape {tuple(given.shape)}; expected (batch, "
                f"{self.autoencoder.n_latents})"
            )
        return self.autoencoder.decode(given)

    @torch.no_grad()
    def classify(self, x: Any) -> Tensor:
        """Classify examples with the head: int64 ``(batch,)``, 0 to ``n_classes - 1``.

        Args:
            x: as ``encode`` takes it.

        Raises:
            ValueError: the shape is wrong, or the run has trained no head.
        """
        if self.network.head is None:
            raise ValueError("this run has no classifier; train one with head=classifier")
        classes: Tensor = self.network.head(self.encode(x)).argmax(1)
        return classes

    def _examples(self, x: Any) -> Tensor:
        given = torch.as_tensor(x, dtype=torch.float32)
        n_features = DataShape(self.input_shape, None).n_features
        if given.ndim < 2 or given[0].numel() != n_features:
            raise ValueError(
                f"x has shape {tuple(given.shape)}; expected (batch, "
                f"{', '.join(map(str, self.input_shape))}) or (batch, {n_features})"
            )
        shaped = given.reshape(len(given), *self.input_shape)
        return unit_norm(shaped) if self.config.settings.unit_norm else shaped


def load_run(folder: str | Path) -> Run:
    """Load a run from its folder. YAML and safetensors are read as data; nothing is executed.

    Raises:
        ConfigError: the folder does not hold a finished run, or holds a damaged one.
    """
    path = open_home(folder)
    for name in (CONFIG, MODEL):
        if not (path / name).is_file():
            raise ConfigError(f"{path} holds no finished run: there is no {name} in it")
    config = read_config(path / CONFIG)
    network, shape = read_model(path, config)
    return Run(path, config, network, shape.input_shape)
