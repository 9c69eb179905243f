"""Tapes: what is recorded, and what others cannot repeat."""

from __future__ import annotations

import torch

from sae_cli.training.gradients.tape import Tape


def test_a_step_that_changes_what_is_not_the_models_is_nobody_elses() -> None:
    given, elsewhere = torch.ones(3), torch.zeros(2, 2)
    tape = Tape([given])
    with tape:
        elsewhere.add_(given.sum())
    assert not tape.steady
    assert tape.slot(elsewhere) == -1
    assert elsewhere.tolist() == [[3.0, 3.0], [3.0, 3.0]]
