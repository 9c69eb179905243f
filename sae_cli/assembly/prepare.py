"""The preparation of a run: all that it needs is built and checked before anything is written."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from sae_cli.assembly import compute
from sae_cli.assembly.compute import prepare_process, settle, use_threads
from sae_cli.assembly.data import check_data, locate, read_dataset
from sae_cli.assembly.environment import environment
from sae_cli.assembly.latents import check_shares, shares_of
from sae_cli.assembly.network import check_target
from sae_cli.assembly.parts import Parts
from sae_cli.assembly.plugins import record_plugins
from sae_cli.assembly.ranks import check_ranks
from sae_cli.assembly.stages import Training, build_training, lr_schedule
from sae_cli.config.schema import RunConfig
from sae_cli.core.bar import bars_shown
from sae_cli.core.company import crowded
from sae_cli.core.errors import ConfigError
from sae_cli.core.signals import stopping_at_once
from sae_cli.datasets import Dataset
from sae_cli.datasets.formats.bus_errors import bus_errors_raised
from sae_cli.datasets.formats.mapped import Look as FileLook
from sae_cli.datasets.formats.mapped import MappedFile
from sae_cli.datasets.look import Look, look_at
from sae_cli.pictures.codes.projected import check_projection


@dataclass(frozen=True)
class Prepared:
    """All that a run needs, before anything is written.

    Attributes:
        config: the configuration, with all that it left open decided.
        about: the environment, the data and the device, as ``environment.json`` records them.
        labels: of the training data as they were read, before a head was to see fewer; or None.
        look: at the training examples, where these are flat numbers.
        looks: the last at each file that is still read; other runs may read it, and look as well.
    """

    config: RunConfig
    training: Training
    about: dict[str, Any]
    labels: Tensor | None
    look: Look | None
    looks: dict[MappedFile, FileLook] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the data."""
        return str(self.about["dataset"]["fingerprint"])


def prepare(
    config: RunConfig,
    parts: Parts,
    *,
    download: bool = True,
    threads: int | None = None,
    is_new: bool = True,
) -> Prepared:
    """Read the data, build the training from the parts, and decide how to compute.

    Args:
        parts: of this configuration; they become those of the training.
        download: whether data that are missing may be downloaded where the configuration says so.
        threads: how many a long step takes; None for all that this process may use.
        is_new: whether a run begins, and not one that has begun is resumed or reproduced.

    Raises:
        ConfigError: the data are missing or unfit, or change while they are read; or the network
            does not fit them.
        MachineError: the data cannot be read to their end.
        Stopped: a signal asked to; at once, because nothing is lost and large data take minutes.
    """
    with stopping_at_once(), bus_errors_raised(), crowded():
        return _prepare(config, parts, download, threads, is_new)


def _prepare(
    config: RunConfig, parts: Parts, download: bool, threads: int | None, is_new: bool
) -> Prepared:
    check_pictures(config)
    if is_new:
        check_shares(config)
    # An earlier run of this process may have computed on fewer.
    use_threads(threads or compute.AVAILABLE_THREADS)
    with bars_shown(config.settings.progress and not config.settings.quiet):
        data = read_dataset(config, download=download)
    check_data(config, parts, data, is_new=is_new)
    training = build_training(config, parts, data)
    if is_new:
        check_target(config, training.autoencoder)
    if shares_of(config) == "rows":
        check_ranks(config, training)
    for stage in training.stages:
        # A warm-up that is longer than its stage is found now, not hours later.
        lr_schedule(config, stage, len(stage.examples(training.dataset.train)))
    config = settle(locate(config), training, threads)
    prepare_process(config)
    about = environment() | {"dataset": _about(data), "device": str(training.device.torch)}
    if plugins := record_plugins(config):
        about["plugins"] = plugins
    look = look_at(data.train) if len(data.shape.input_shape) == 1 else None
    if look is not None:
        about["look"] = asdict(look)
    for file in data.files:
        if file.look().differs(file.first):
            raise ConfigError(
                f"{file.path} was written to while it was read; begin when it is complete"
            )
    return Prepared(config, training, about, data.train.labels, look)


def check_pictures(config: RunConfig) -> None:
    """Raise ConfigError if the pictures need a package that is not installed."""
    if config.settings.pictures:
        check_projection(config.settings.projection)


def _about(data: Dataset) -> dict[str, Any]:
    """Describe the data for the run folder."""
    return {
        "source": data.source,
        "fingerprint": data.fingerprint(),
        "input_shape": list(data.shape.input_shape),
        "n_classes": data.n_classes,
        "train": len(data.train),
        "val": len(data.val),
        "test": len(data.test),
    }
