"""What several processes can train together, and what only one can."""

from __future__ import annotations

from sae_cli.assembly.stages import Training
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.core.ranks.messages import launched
from sae_cli.model.activations.activation import Learning
from sae_cli.model.activations.topk import BatchTopK


def check_ranks(config: RunConfig, training: Training) -> None:
    """Check that the processes that ``torchrun`` has started can share this training.

    A batch is shared by its rows, so everything in a step must be a mean or a sum over examples, or
    know of the other processes.

    Raises:
        ConfigError: a part looks at a batch as a whole, or there are fewer rows than processes.
    """
    launch = launched()
    if launch is None:
        return
    size, chosen = config.settings.batch_size, config.parts
    if size < launch.size:
        raise ConfigError(
            f"batch_size={size} cannot be shared by {launch.size} processes; give a larger one, or "
            f"--nproc-per-node {size}"
        )
    whole = []
    activation = training.autoencoder.activation
    if isinstance(activation, Learning) and not isinstance(activation, BatchTopK):
        whole.append((f"activation={chosen['activation']['name']}", "activation=batch_topk"))
    if config.settings.compile == "on":
        whole.append(("compile=on", "compile=off"))
    if whole:
        given, instead = whole[0]
        raise ConfigError(
            f"{given} trains in one process, and torchrun has started {launch.size}; choose "
            f"{instead}, or leave torchrun out"
        )
