"""What does not go together with an optimizer that sees the whole training set at once.

Its line search compares values of the loss at different parameters, so the loss must be one
function of them from one pass over the examples to the next.
"""

from __future__ import annotations

from sae_cli.assembly.network import NetworkParts
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.model.activations.activation import Learning
from sae_cli.model.penalties import Penalty
from sae_cli.model.penalties.roles import Adjusted, Tuned, WarmUp
from sae_cli.training.optimizers.lbfgs import iterations_of


def check_whole_set(config: RunConfig, made: NetworkParts) -> None:
    """Refuse what would change the loss from one pass to the next, and what acts on single steps.

    Raises:
        ConfigError: with the reason, and what would do.
    """
    if not iterations_of(config.parts["optimizer"]):
        return
    name = f"optimizer={config.parts['optimizer']['name']}"
    for given, why, instead in _faults(config, made):
        raise ConfigError(f"{name} {why}, and {given}; choose {instead}, or another optimizer")


def _faults(config: RunConfig, made: NetworkParts) -> list[tuple[str, str, str]]:
    """What was given, what the optimizer does or needs, and what would do instead."""
    chosen = {group: part["name"] for group, part in config.parts.items()}
    settings, schedule = config.settings, config.parts["lr_schedule"]
    same = "needs a loss that is the same in each pass over the data"
    lengths = "finds the length of each step itself"
    activation, penalty = chosen["activation"], chosen["penalty"]
    faults = [
        (
            chosen["corruption"] != "none",
            (f"corruption={chosen['corruption']} draws noise anew", same, "corruption=none"),
        ),
        (
            made.activation.samples,
            (f"activation={activation} draws codes anew", same, "another activation"),
        ),
        (
            isinstance(made.activation, Learning),
            (f"activation={activation} learns in each step", same, "another activation"),
        ),
        (
            _changes(made.penalty),
            (
                f"penalty={penalty} changes its weight in training",
                same,
                "its options so that it does not",
            ),
        ),
        (
            made.inference is not None,
            (
                f"inference={chosen['inference']} finds other codes in each",
                same,
                "inference=none",
            ),
        ),
        (
            chosen["revival"] != "none",
            (f"revival={chosen['revival']} acts on single steps", same, "revival=none"),
        ),
        (
            settings.clip_norm is not None,
            (f"clip_norm={settings.clip_norm} shortens gradients", lengths, "clip_norm=null"),
        ),
        (
            schedule != {"name": "constant", "warmup_steps": 0},
            (
                f"lr_schedule={schedule['name']} with lr_schedule.warmup_steps="
                f"{schedule.get('warmup_steps')} changes it",
                lengths,
                "lr_schedule=constant without a warm-up",
            ),
        ),
        (
            settings.compile == "on",
            ("compile=on compiles the step of a batch", "takes no batches", "compile=off"),
        ),
    ]
    return [texts for at_fault, texts in faults if at_fault]


def _changes(penalty: Penalty | None) -> bool:
    """Whether a penalty is another one after a step."""
    if isinstance(penalty, WarmUp):
        tuned = isinstance(penalty, Tuned) and penalty.factor() is not None
        return tuned or penalty.growth() is not None
    return isinstance(penalty, Adjusted)
