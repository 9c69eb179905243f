"""What does not go together with an optimizer that sees the whole training set at once.

Its line search compares values of the loss at different parameters, so the loss must be one
function of them from one pass over the examples to the next.
"""

from __future__ import annotations

from collections.abc import Iterator

from sae_cli.assembly.network import NetworkParts
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.model.activations.activation import Learning
from sae_cli.model.penalties import Penalty
from sae_cli.model.penalties.roles import Adjusted, Tuned, WarmUp
from sae_cli.training.optimizers.lbfgs import iterations_of

SAME = "needs a loss that is the same in each pass over the data"
ITSELF = "finds the length of each step itself"
NO_BATCHES = "takes no batches"


def check_whole_set(config: RunConfig, made: NetworkParts) -> None:
    """Refuse what would change the loss from one pass to the next, and what acts on single steps.

    Raises:
        ConfigError: with the reason, and what would do.
    """
    if not iterations_of(config.parts["optimizer"]):
        return
    name = config.parts["optimizer"]["name"]
    for why, given, instead in (*_of_loss(config, made), *_of_steps(config)):
        raise ConfigError(
            f"optimizer={name} {why}, and {given}; choose {instead}, or another optimizer"
        )


def _of_loss(config: RunConfig, made: NetworkParts) -> Iterator[tuple[str, str, str]]:
    """Give what changes the loss: what the optimizer needs, what was given, what would do."""
    chosen = {group: f"{group}={part['name']}" for group, part in config.parts.items()}
    if chosen["corruption"] != "corruption=none":
        yield SAME, f"{chosen['corruption']} draws noise anew", "corruption=none"
    if made.activation.samples:
        yield SAME, f"{chosen['activation']} draws codes anew", "another activation"
    if isinstance(made.activation, Learning):
        yield SAME, f"{chosen['activation']} learns in each step", "another activation"
    if _changes(made.penalty):
        yield SAME, f"{chosen['penalty']} changes in training", "options that keep it as it is"
    if made.inference is not None:
        yield SAME, f"{chosen['inference']} finds other codes in each", "inference=none"
    if chosen["revival"] != "revival=none":
        yield SAME, f"{chosen['revival']} acts on single steps", "revival=none"


def _of_steps(config: RunConfig) -> Iterator[tuple[str, str, str]]:
    """Give what acts on the steps of batches, in the same way."""
    settings, schedule = config.settings, config.parts["lr_schedule"]
    if settings.clip_norm is not None:
        yield ITSELF, f"clip_norm={settings.clip_norm:g} shortens gradients", "clip_norm=null"
    if schedule["name"] != "constant":
        yield ITSELF, f"lr_schedule={schedule['name']} changes it", "lr_schedule=constant"
    elif schedule["warmup_steps"]:
        given = f"lr_schedule.warmup_steps={schedule['warmup_steps']}"
        yield ITSELF, f"{given} changes it", "lr_schedule.warmup_steps=0"
    if config.parts["architecture"].get("rate_by_uses"):
        given, instead = (f"architecture.rate_by_uses={one}" for one in ("true", "false"))
        yield ITSELF, f"{given} divides it", instead
    if config.parts["penalty"].get("divide_by_batch_size"):
        given, instead = (f"penalty.divide_by_batch_size={one}" for one in ("true", "false"))
        yield NO_BATCHES, f"{given} divides by the size of one", instead
    if settings.compile == "on":
        yield NO_BATCHES, "compile=on compiles the step of one", "compile=off"


def _changes(penalty: Penalty | None) -> bool:
    """Whether a penalty is another one after a step."""
    if isinstance(penalty, WarmUp):
        tuned = isinstance(penalty, Tuned) and penalty.factor() is not None
        return tuned or penalty.growth() is not None
    return isinstance(penalty, Adjusted)
