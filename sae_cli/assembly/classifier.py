"""What does not go together with a classifier, or with having none."""

from __future__ import annotations

from sae_cli.assembly.network import NetworkParts
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.training.heads import Supervision
from sae_cli.training.optimizers import OPTIMIZERS


def check_classifier(config: RunConfig, made: NetworkParts) -> None:
    """Refuse what contradicts how the classifier is trained.

    Raises:
        ConfigError: with the reason, and what would do.
    """
    untrained = config.parts["schedule"]["name"] == "none"
    if made.supervision is None:
        if untrained:
            raise ConfigError(
                "schedule=none leaves training to a classifier, and head=none is not one; choose "
                "head=classifier, or another schedule"
            )
        return
    if made.supervision.self_taught:
        _check_self_taught(made.supervision, untrained)
    if made.inference is not None and made.supervision.fine_tune_epochs:
        raise ConfigError(
            f"head.fine_tune_epochs={made.supervision.fine_tune_epochs} trains the encoder by the "
            "classes of its codes, and inferred codes do not depend on it; give 0, or "
            "inference=none"
        )
    if made.supervision.corrupted and config.parts["corruption"]["name"] == "none":
        raise ConfigError(
            "head.corrupted=true has the classifier learn from corrupted examples, and "
            "corruption=none leaves them clean; choose corruption=masking, or another, or "
            "head.corrupted=false"
        )
    _check_weight_decay(config.parts["optimizer"]["name"], made.supervision)


def _check_self_taught(head: Supervision, untrained: bool) -> None:
    if untrained:
        raise ConfigError(
            "head.self_taught=true has the auto-encoder learn from other classes, and "
            "schedule=none does not train it; choose another schedule, or head.self_taught=false"
        )
    if head.unsupervised_terms and head.fine_tune_epochs:
        raise ConfigError(
            "head.self_taught=true has the auto-encoder learn from other classes alone, and "
            "head.unsupervised_terms=true trains its reconstruction on all examples; give false "
            "for one of them, or head.fine_tune_epochs=0"
        )


def _check_weight_decay(optimizer: str, head: Supervision) -> None:
    takes = OPTIMIZERS.schema(optimizer).model_fields
    if head.weight_decay is not None and "weight_decay" not in takes:
        raise ConfigError(
            f"head.weight_decay={head.weight_decay:g} is an option of the optimizer, and "
            f"optimizer={optimizer} takes {', '.join(takes) or 'no options'}; give "
            "head.weight_decay=null, or choose another optimizer"
        )
