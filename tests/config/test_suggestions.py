"""What is suggested for an unknown key is taken by the very run that the key was given to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest
import yaml

from sae_cli.config.asked import read
from sae_cli.config.conf_folder import CONF
from sae_cli.config.schema import GROUPS, check
from sae_cli.config.settings import Settings
from sae_cli.config.suggestions import suggest
from sae_cli.core.errors import nearest
from sae_cli.core.synonyms import LACKING, SYNONYMS, meanings

MODELS = ("ae", "conv", "local_filters", "psd", "vae")
# These are no keys of a configuration.
OTHERS = ("hydra.run.dir", "hydra.sweep.dir", "resume")


@cache
def _run(*words: str) -> dict[str, Any]:
    return read(words, multirun=False, pages=None).runs[0].run


def _keys(run: Mapping[str, Any]) -> Iterator[str]:
    for key, value in run.items():
        yield key
        if isinstance(value, Mapping):
            yield from (f"{key}.{option}" for option in value)


@pytest.mark.parametrize(
    "model", ["sparse_kl", *(pytest.param(one, marks=pytest.mark.slow) for one in MODELS)]
)
def test_the_table_leads_to_what_the_run_takes(model: str) -> None:
    run = _run(f"model={model}")
    keys = {*_keys(run), "hydra.run.dir", "resume"}
    for name in SYNONYMS:
        found = suggest(name, run, multirun=False)
        assert found.startswith(("; did you mean ", ": ")), name
        if found.startswith(": "):
            assert found == f": {LACKING[name]}"
            continue
        for word in re.findall(r"[\w.]+(?:=\w+)?", found.partition("did you mean")[2]):
            key, equals, choice = word.partition("=")
            if word in {"or", "with", "another", "of"} or word.isdecimal():
                continue
            if not equals:
                assert key in {*keys, *_options_of_choices(found)}, (name, word)
            elif "." in key:
                check(_run(f"model={model}", word))
            else:
                assert (CONF / key / f"{choice}.yaml").is_file(), (name, word)


def _options_of_choices(text: str) -> Iterator[str]:
    for group, choice in re.findall(r"(?<![\w.])(\w+)=(\w+)", text):
        page = yaml.safe_load((CONF / group / f"{choice}.yaml").read_text())
        yield from (f"{group}.{option}" for option in page)


def test_the_table_speaks_of_what_exists() -> None:
    options = {*Settings.model_fields, *GROUPS, *OTHERS}
    for group, registry in GROUPS.items():
        options |= {
            f"{group}.{option}"
            for name in registry.names
            for option in registry.schema(name).model_fields
        }
    for name, meant in SYNONYMS.items():
        words = " ".join(meant).split()
        known = [word for word in words if word.partition("=")[0] in options]
        assert known == words or name in LACKING, name
    assert not set(SYNONYMS) & {option for option in options if "." not in option}


def test_an_option_of_another_choice_is_named_with_it() -> None:
    assert suggest("block_size", _run("model=ae"), multirun=False) == (
        "; did you mean penalty.block_size, with penalty=lateral?"
    )


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("early_stopping", "best.pt"),
        ("patience", "best.pt"),
        ("penalty.wieght", "penalty.weight"),
        ("trainer.max_epochs", "; did you mean epochs?"),
        ("sae.d_sae", "; did you mean architecture.n_latents?"),
        ("N-Hidden", "; did you mean architecture.n_latents?"),
        ("bacth_size", "; did you mean batch_size?"),
        ("max_grad_norm", "; did you mean clip_norm?"),
        ("mean_centering", "; did you mean dataset.centre, with dataset=array?"),
        ("l1", "; did you mean penalty=l1 penalty.weight?"),
    ],
)
def test_suggestions(key: str, says: str) -> None:
    assert says in suggest(key, _run("model=sparse_kl"), multirun=False)


@pytest.mark.parametrize("key", ["early", "qwerty", "foo", "a", "x.y", "name", "run.name"])
def test_nonsense_is_not_suggested(key: str) -> None:
    assert suggest(key, _run("model=sparse_kl"), multirun=False) == ""


def test_an_experiment_is_not_offered_another_model() -> None:
    run = _run("experiment=hands_on_tied")
    assert "model=" not in suggest("rho", run, multirun=False)


def test_a_sweep_is_offered_its_own_folder() -> None:
    run = _run("model=ae")
    assert suggest("output_dir", run, multirun=True) == "; did you mean hydra.sweep.dir?"
    assert suggest("output_dir", run, multirun=False) == "; did you mean hydra.run.dir?"


@pytest.mark.parametrize(
    ("given", "allowed", "suggested"),
    [
        ("gpu", ["auto", "cpu", "cuda"], "cuda"),
        ("linear", ["identity", "relu"], "identity"),
        ("xavier", ["glorot_uniform", "he_normal"], "glorot_uniform"),
        ("sparse_kll", ["sparse_kl", "ae"], "sparse_kl"),
        ("sparse_lk", ["sparse_kl", "sparse_l1", "sparse_l2"], "sparse_kl"),
        ("spares_kl", ["sparse_l2", "sparse_kl", "spares_l2"], "sparse_kl"),
        ("sparse_k", ["sparse_l2", "sparse_kl"], "sparse_kl"),
        ("vae_conv", ["conv", "conv_vae", "vae"], "conv_vae"),
        ("VAE", ["ae", "conv_vae", "vae"], "vae"),
        ("l1", ["L1", "L2"], "L1"),
        ("cosine_annealing", ["constant", "cosine", "linear_decay"], "cosine"),
        ("sparse_kl_norms", ["sparse", "sparse_kl"], "sparse_kl"),
        ("fvu", ["test/fvu", "train/fvu", "val/fvu", "val/fva"], "val/fvu"),
        ("n_latents", ["architecture.n_latents", "n_layers"], "architecture.n_latents"),
    ],
)
def test_choices_are_near_in_meaning(given: str, allowed: list[str], suggested: str) -> None:
    assert nearest(given, allowed) == f"; did you mean {suggested}?"
    assert nearest("early_stopping", ["penalty.stride", "epochs"]) == ""
    assert nearest("k_of_all_examples", ["k", "epochs"]) == ""


def test_names_are_compared_without_their_group() -> None:
    assert meanings("trainer.LR") == meanings("lr") == ("optimizer.learning_rate",)
