"""What the first of several processes calls the others to, where each holds some of the latents.

It alone writes, and decides when: the others evaluate, or send what they hold, as it asks.
"""

from __future__ import annotations

from enum import IntEnum

from sae_cli.assembly.data import baseline_of
from sae_cli.assembly.data_files import check_files
from sae_cli.assembly.prepare import Prepared
from sae_cli.core.ranks.latents import sharing_latents
from sae_cli.runs.slices import find_broken, whole_model, whole_moments
from sae_cli.training.loop import evaluate
from sae_cli.training.optimizers import Mover
from sae_cli.training.stage import Stage


class Call(IntEnum):
    """What is asked of all processes; the names of splits are to evaluate them."""

    GO_ON = 0
    STATE = 1
    MODEL = 2
    TRAIN = 3
    VAL = 4
    TEST = 5


def call(what: Call) -> None:
    """Call the others; nothing where this process has all latents."""
    ranks = sharing_latents()
    if ranks is not None:
        ranks.number_of_first(what)


def obey(made: Prepared, stage: Stage, optimizer: Mover) -> None:
    """Do what the first process calls to, until it is to go on.

    Raises:
        LeftAlone: it has ended.
        ConfigError, MachineError: this process's own data changed, or can no longer be read.
    """
    ranks = sharing_latents()
    while ranks is not None and (what := Call(ranks.number_of_first(0))) != Call.GO_ON:
        if what == Call.STATE:
            if find_broken(optimizer) is None:
                whole_model(stage.autoencoder, stage.autoencoder.state_dict())
                whole_moments(stage, optimizer.state_dict())
        elif what == Call.MODEL:
            whole_model(stage.autoencoder, stage.autoencoder.state_dict())
        else:
            data = made.training.dataset
            split = {Call.TRAIN: data.train, Call.VAL: data.val, Call.TEST: data.test}[what]
            baseline = baseline_of(made.config, split)
            evaluate(stage.autoencoder, stage.objective, split, baseline, made.training.device)
            check_files(made)
