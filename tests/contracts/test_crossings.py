"""Models crossed with penalties and corruptions: each training runs, or says why it cannot.

By default every architecture meets every other penalty and every corruption; ``-m slow`` crosses
every model page with all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from sae_cli.config.schema import GROUPS, RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.runs.train import train
from tests.contracts.small import MODELS, of_model, part_of, with_parts

PENALTIES, CORRUPTIONS = GROUPS["penalty"].names, GROUPS["corruption"].names
# Of what a penalty may ask: a range of codes, a distribution, as many latents as its sheet has
# places or its blocks can share, a proximal step for the page's inference.
REASON = r"(needs|cannot|does not|compares|with .* each).*; (choose|give)"


def quick() -> set[tuple[str, str]]:
    """Each architecture with every other penalty, its models taking turns.

    Architectures take turns as well, so that half of them meet a penalty.
    """
    models = {
        name: [model for model in MODELS if part_of(model, "architecture") == name]
        for name in GROUPS["architecture"].names
    }
    return {
        (models[name][number // 2 % len(models[name])], penalty)
        for (turn, name), (number, penalty) in product(enumerate(models), enumerate(PENALTIES))
        if (turn + number) % 2 == 0
    }


def corruption_for(model: str, penalty: str) -> str:
    """They take turns, too, so that each architecture meets all of them."""
    architecture = part_of(model, "architecture")
    turn = GROUPS["architecture"].names.index(str(architecture)) + PENALTIES.index(penalty)
    return CORRUPTIONS[turn % len(CORRUPTIONS)]


def marked(pairs: Iterable[tuple[str, str]], quick: set[tuple[str, str]]) -> list[Any]:
    """All but the quick ones are slow."""
    return [pytest.param(*pair, marks=() if pair in quick else pytest.mark.slow) for pair in pairs]


def test_every_architecture_meets_every_corruption_by_default() -> None:
    met = {(part_of(pair[0], "architecture"), corruption_for(*pair)) for pair in quick()}
    assert met == set(product(GROUPS["architecture"].names, CORRUPTIONS))


def trains_or_is_refused(config: RunConfig, folder: Path) -> bool:
    """Whether it trains; what does not says why, and leaves nothing."""
    try:
        assert train(config, folder, [])["status"] == "finished"
    except ConfigError as error:
        assert re.search(REASON, str(error)), str(error)
        assert not folder.exists()
        return False
    return True


@pytest.mark.parametrize(("model", "penalty"), marked(product(MODELS, PENALTIES), quick()))
def test_every_crossing_trains_or_says_why_not(model: str, penalty: str, tmp_path: Path) -> None:
    corruption = corruption_for(model, penalty)
    config = with_parts(of_model(model), penalty=penalty, corruption=corruption)
    trained = trains_or_is_refused(config, tmp_path / "run")
    codes = config.parts["activation"]["name"]
    at_least_0 = ["sigmoid", "relu", "topk", "batch_topk", "jumprelu", "gated"]
    needed = {"kl": ["sigmoid"], "squared_target": at_least_0, "gaussian_kl": ["gaussian"]}
    greedy = config.parts["schedule"]["name"] == "greedy"
    # The hidden activation of the stack is selu.
    fits = codes in needed.get(penalty, [codes]) and not (greedy and penalty in needed)
    fits = fits and not (greedy and corruption == "salt_and_pepper")
    inferred = config.parts["inference"]["name"] != "none"
    if penalty in {"none", "l1", "l2"} or (penalty in needed and not inferred):
        assert trained == fits
    elif penalty in needed:
        assert not trained


IN_TURN = {(model, CORRUPTIONS[number % len(CORRUPTIONS)]) for number, model in enumerate(MODELS)}


@pytest.mark.parametrize(("model", "corruption"), marked(product(MODELS, CORRUPTIONS), IN_TURN))
def test_every_model_takes_every_corruption(model: str, corruption: str, tmp_path: Path) -> None:
    config = with_parts(of_model(model), corruption=corruption)
    refused = model == "stacked" and corruption == "salt_and_pepper"
    assert trains_or_is_refused(config, tmp_path / "run") != refused
