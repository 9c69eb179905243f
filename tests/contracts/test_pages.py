"""The pages of ``conf/``: each fits its part, each model trains, each crossing trains or says why
it does not, and every option does something."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from sae_cli.assembly.parts import build_parts
from sae_cli.config.compose import CONF, composed, hydra_ready
from sae_cli.config.schema import GROUPS, RunConfig, Settings, check
from sae_cli.core.errors import ConfigError
from sae_cli.runs.train import train
from tests.conftest import SMALL, Configure

PARTS = sorted(path.relative_to(CONF) for group in GROUPS for path in (CONF / group).glob("*.yaml"))
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
PENALTIES = GROUPS["penalty"].names
CORRUPTIONS = GROUPS["corruption"].names


@pytest.mark.parametrize("page", PARTS, ids=str)
def test_a_page_states_every_option_of_its_part_in_order(page: Path) -> None:
    content = yaml.safe_load((CONF / page).read_text())
    assert content["name"] == page.stem
    schema = GROUPS[page.parent.name].schema(page.stem)
    assert list(content) == ["name", *schema.model_fields]


def test_every_part_has_a_page_and_every_page_a_part() -> None:
    for group, registry in GROUPS.items():
        assert registry.names == sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_page_names_itself_and_trains(
    name: str, configure: Configure, tmp_path: Path
) -> None:
    config = configure(f"model={name}", *SMALL)
    assert config.settings.model == name
    summary = train(config, tmp_path / "run", [])
    assert summary["val/fvu"] > 0


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_page_composes_and_says_where_it_is_from(
    name: str, configure: Configure
) -> None:
    config = configure(f"experiment={name}")
    assert config.settings.experiment == name
    build_parts(config)
    head = (CONF / "experiment" / f"{name}.yaml").read_text().partition("defaults:")[0]
    for entry in ("Source:", "Equation:"):
        assert f"# {entry}" in head
    # Some results are pictures.
    assert re.search(r"# Published:[^#]*(\d\.\d{4}|no figure)", head)
    assert re.search(r"# Measured:[^#]*\d\.\d{4}", head)
    assert f"# Command: sae-train experiment={name}\n" in head
    published = head.partition("# Published:")[2].partition("# Measured:")[0]
    figures = [float(text) for text in re.findall(r"\d\.\d+", published)]
    for stated in config.settings.published:
        # Of a range, a value within it.
        assert stated.value is None or min(figures) <= stated.value <= max(figures)


# Of what a penalty may ask: a range of codes, a distribution, as many latents as its sheet has
# places or its blocks can share, a proximal step for the page's inference.
REASON = r"(needs|cannot|does not|compares|with .* each).*; (choose|give)"


COMPOSED: dict[str, RunConfig] = {}


def of_model(name: str, configure: Configure) -> RunConfig:
    """A short training of a model page; composed once, since that takes as long as to train."""
    if name not in COMPOSED:
        config = configure(f"model={name}", "pictures=false", *SMALL).as_dict()
        if config["head"]["name"] == "classifier":
            config["head"] |= {"epochs": 1, "fine_tune_epochs": 1}
        if config["schedule"]["name"] == "greedy":
            config["schedule"] |= {"layer_epochs": [1]}
        COMPOSED[name] = check(config)
    return COMPOSED[name]


def with_parts(config: RunConfig, **names: str) -> RunConfig:
    """With parts as their own pages have them."""
    sections = {
        group: yaml.safe_load((CONF / group / f"{name}.yaml").read_text())
        for group, name in names.items()
    }
    return check(config.as_dict() | sections)


def trains_or_is_refused(config: RunConfig, folder: Path) -> bool:
    """Whether it trains; what does not says why, and leaves nothing."""
    try:
        assert train(config, folder, [])["status"] == "finished"
    except ConfigError as error:
        assert re.search(REASON, str(error)), str(error)
        assert not folder.exists()
        return False
    return True


@pytest.mark.parametrize(("model", "penalty"), list(product(MODELS, PENALTIES)))
def test_every_crossing_trains_or_says_why_not(
    model: str, penalty: str, configure: Configure, tmp_path: Path
) -> None:
    """Each model with each penalty, and each corruption with some."""
    corruption = CORRUPTIONS[(MODELS.index(model) + PENALTIES.index(penalty)) % len(CORRUPTIONS)]
    config = with_parts(of_model(model, configure), penalty=penalty, corruption=corruption)
    trained = trains_or_is_refused(config, tmp_path / "run")
    codes = config.parts["activation"]["name"]
    needed = {"kl": ["sigmoid"], "squared_target": ["sigmoid", "relu"], "gaussian_kl": ["gaussian"]}
    greedy = config.parts["schedule"]["name"] == "greedy"
    # The hidden activation of the stack is selu.
    fits = codes in needed.get(penalty, [codes]) and not (greedy and penalty in needed)
    fits = fits and not (greedy and corruption == "salt_and_pepper")
    inferred = config.parts["inference"]["name"] != "none"
    if penalty in {"none", "l1", "l2"} or (penalty in needed and not inferred):
        assert trained == fits
    elif penalty in needed:
        assert not trained


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_takes_every_corruption(
    model: str, corruption: str, configure: Configure, tmp_path: Path
) -> None:
    config = with_parts(of_model(model, configure), corruption=corruption)
    refused = model == "stacked" and corruption == "salt_and_pepper"
    assert trains_or_is_refused(config, tmp_path / "run") != refused


def test_a_chosen_part_leaves_nothing_of_the_page_behind() -> None:
    with hydra_ready():
        swapped = composed(["model=sparse_kl", "penalty=l1"])[0]
        page = composed(["experiment=hands_on_sparse_kl", "penalty=l1", "penalty.weight=0.3"])[0]
        denoised = composed(["experiment=hands_on_denoising", "corruption=masking"])[0]
    assert swapped["penalty"] == {"name": "l1", "weight": 0.1}
    assert page["penalty"] == {"name": "l1", "weight": 0.3}
    assert denoised["corruption"] == {"name": "masking", "fraction": 0.25}


def test_the_command_line_wins_over_an_experiment_page() -> None:
    with hydra_ready():
        found = composed(["experiment=hands_on_sparse_kl", "penalty.weight=0.3", "epochs=2"])[0]
    assert found["penalty"]["weight"] == 0.3
    assert found["penalty"]["target"] == 0.1
    assert found["epochs"] == 2


def test_a_saved_configuration_checks_as_it_was(configure: Configure, tmp_path: Path) -> None:
    """But for what was left to the program, which is decided there and stays so."""
    config = configure("model=stacked", *SMALL)
    train(config, tmp_path / "run", [])
    saved = check(yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()))
    train(saved, tmp_path / "again", [])
    assert outcome(tmp_path / "run") == outcome(tmp_path / "again")
    again = check(yaml.safe_load((tmp_path / "again" / "config.yaml").read_text()))
    assert saved == again
    plain = saved.as_dict()
    assert (plain["compile"], plain["device"]["threads"]) == ("off", 1)
    left_open = {"name": "auto", "threads": None}
    assert plain | {"compile": "auto", "device": plain["device"] | left_open} == config.as_dict()


# The architecture without the penalty that is made for it, whose pools must fit its maps.
GROUP = ("penalty=none", "architecture=conv_group")
HEAD = ("head=classifier", "head.epochs=1", "head.fine_tune_epochs=1")
TREE = ("model=lateral_inhibition", "penalty=lateral_tree")
LEARNED = ("model=lateral_inhibition", "penalty=lateral_learned")
# For each option another value, and what it has to be tried with to matter.
CHANGES: dict[str, tuple[str, ...]] = {
    "seed": ("seed=1",),
    "epochs": ("epochs=2",),
    "batch_size": ("batch_size=16",),
    "unit_norm": ("unit_norm=true",),
    "dataset.digits.val": ("dataset.val=100",),
    "dataset.digits.test": ("dataset.test=1501",),
    "architecture.dense.hidden_sizes": ("architecture.hidden_sizes=[9]",),
    "architecture.dense.hidden_activations": (
        "architecture.hidden_sizes=[9]",
        "architecture.hidden_activations=[tanh]",
    ),
    "architecture.dense.n_latents": ("architecture.n_latents=9",),
    "architecture.dense.expansion_factor": (
        *("architecture.n_latents=null", "architecture.expansion_factor=0.25"),
        "architecture.expansion_factor=0.5",
    ),
    "architecture.dense.output_activation": ("architecture.output_activation=sigmoid",),
    "architecture.dense.tied": ("architecture.tied=true",),
    "architecture.dense.unit_norm_decoder": ("architecture.unit_norm_decoder=true",),
    "architecture.dense.init": ("architecture.init=he_normal",),
    "architecture.conv.channels": ("model=conv", "architecture.channels=[8]"),
    "architecture.conv.kernel_sizes": ("model=conv", "architecture.kernel_sizes=[5]"),
    "architecture.conv.strides": (
        *("model=conv", "architecture.pools=[1]"),
        "architecture.strides=[2]",
    ),
    "architecture.conv.pools": ("model=conv", "architecture.pools=[1]"),
    "architecture.conv.hidden_activations": (
        "model=conv",
        "architecture.hidden_activations=[relu]",
    ),
    "architecture.conv.n_latents": ("model=conv", "architecture.n_latents=9"),
    "architecture.conv.output_activation": ("model=conv", "architecture.output_activation=sigmoid"),
    "architecture.conv.tied": ("model=conv", "architecture.tied=true"),
    "architecture.conv.unit_norm_decoder": ("model=conv", "architecture.unit_norm_decoder=true"),
    "architecture.conv.init": ("model=conv", "architecture.init=he_normal"),
    "architecture.conv_group.channels": (*GROUP, "architecture.channels=[9]"),
    "architecture.conv_group.kernel_sizes": (*GROUP, "architecture.kernel_sizes=[5]"),
    "architecture.conv_group.pool": (
        *(*GROUP, "architecture.channels=[9,9]"),
        "architecture.pool=4",
    ),
    "architecture.conv_group.output_activation": (*GROUP, "architecture.output_activation=sigmoid"),
    "architecture.conv_group.init": (*GROUP, "architecture.init=he_normal"),
    "architecture.recurrent.hidden_sizes": ("model=recurrent", "architecture.hidden_sizes=[9]"),
    "architecture.recurrent.n_latents": ("model=recurrent", "architecture.n_latents=9"),
    "architecture.recurrent.output_activation": (
        "model=recurrent",
        "architecture.output_activation=sigmoid",
    ),
    "architecture.local.sheet": (
        *("model=local_filters", "penalty=none"),
        "architecture.sheet=[6,6]",
    ),
    "architecture.local.field": ("model=local_filters", "architecture.field=3"),
    "architecture.local.output_activation": (
        "model=local_filters",
        "architecture.output_activation=sigmoid",
    ),
    "architecture.local.unit_norm_decoder": (
        "model=local_filters",
        "architecture.unit_norm_decoder=false",
    ),
    "architecture.local.init": ("model=local_filters", "architecture.init=he_normal"),
    "penalty.group.weight": ("model=topographic", "penalty.weight=0.3"),
    "penalty.group.sheet": ("model=topographic", "penalty.sheet=[4,16]"),
    "penalty.group.size": ("model=topographic", "penalty.size=[2,2]"),
    "penalty.group.stride": ("model=topographic", "penalty.stride=[2,2]"),
    "penalty.group.wrap": ("model=topographic", "penalty.wrap=false"),
    "penalty.group.sigma": ("model=topographic", "penalty.sigma=1.0"),
    "penalty.group.epsilon": ("model=topographic", "penalty.epsilon=0.1"),
    "architecture.dictionary.n_latents": ("model=sparse_coding", "architecture.n_latents=9"),
    "architecture.dictionary.expansion_factor": (
        *(
            "model=sparse_coding",
            "architecture.n_latents=null",
            "architecture.expansion_factor=0.25",
        ),
        "architecture.expansion_factor=0.5",
    ),
    "architecture.dictionary.unit_norm_decoder": (
        "model=sparse_coding",
        "architecture.unit_norm_decoder=false",
    ),
    "architecture.dictionary.init": ("model=sparse_coding", "architecture.init=he_normal"),
    "architecture.predictive_dictionary.n_latents": ("model=psd", "architecture.n_latents=9"),
    "architecture.predictive_dictionary.expansion_factor": (
        *("model=psd", "architecture.n_latents=null", "architecture.expansion_factor=0.25"),
        "architecture.expansion_factor=0.5",
    ),
    "architecture.predictive_dictionary.unit_norm_decoder": (
        "model=psd",
        "architecture.unit_norm_decoder=false",
    ),
    "architecture.predictive_dictionary.init": ("model=psd", "architecture.init=he_normal"),
    "architecture.unrolled.n_latents": ("model=lista", "architecture.n_latents=9"),
    "architecture.unrolled.expansion_factor": (
        *("model=lista", "architecture.n_latents=null", "architecture.expansion_factor=0.25"),
        "architecture.expansion_factor=0.5",
    ),
    "architecture.unrolled.n_steps": ("model=lista", "architecture.n_steps=2"),
    "architecture.unrolled.l1_weight": ("model=lista", "architecture.l1_weight=0.1"),
    "architecture.unrolled.max_decoder_norm": ("model=lista", "architecture.max_decoder_norm=0.5"),
    "architecture.unrolled.max_encoder_norm": ("model=lista", "architecture.max_encoder_norm=0.1"),
    "architecture.unrolled.init": ("model=lista", "architecture.init=he_normal"),
    "inference.ista.n_steps": ("model=lateral_inhibition", "inference.n_steps=2"),
    "inference.ista.non_negative": ("model=lateral_inhibition", "inference.non_negative=false"),
    "inference.ista.prediction_weight": (
        *("model=psd", "inference=ista"),
        "inference.prediction_weight=0.5",
    ),
    "inference.ista.follow_encoder": (
        *("model=psd", "inference=ista", "inference.prediction_weight=0.5"),
        "inference.follow_encoder=true",
    ),
    "inference.fista.n_steps": ("model=sparse_coding", "inference.n_steps=2"),
    "inference.fista.non_negative": ("model=sparse_coding", "inference.non_negative=true"),
    "inference.fista.prediction_weight": ("model=psd", "inference.prediction_weight=0.5"),
    "inference.fista.follow_encoder": ("model=psd", "inference.follow_encoder=false"),
    "head.classifier.weight": (*HEAD, "head.weight=0.5"),
    "head.classifier.n_labels": (*HEAD, "head.n_labels=50"),
    "head.classifier.normalise": (*HEAD, "head.normalise=true"),
    "head.classifier.max_row_norm": (*HEAD, "head.max_row_norm=0.1"),
    "head.classifier.epochs": (*HEAD, "head.epochs=2"),
    "head.classifier.learning_rate": (*HEAD, "head.learning_rate=0.1"),
    "head.classifier.fine_tune_epochs": (*HEAD, "head.fine_tune_epochs=2"),
    "head.classifier.fine_tune_learning_rate": (*HEAD, "head.fine_tune_learning_rate=0.1"),
    "head.classifier.unsupervised_terms": (*HEAD, "head.unsupervised_terms=true"),
    "penalty.gaussian_kl.weight": ("model=vae", "penalty.weight=0.1"),
    "penalty.gaussian_kl.warmup_steps": ("model=vae", "penalty.warmup_steps=3"),
    "penalty.lateral.weight": ("model=lateral_inhibition", "penalty.weight=0.3"),
    "penalty.lateral.block_size": ("model=lateral_inhibition", "penalty.block_size=2"),
    "penalty.lateral_tree.weight": (*TREE, "penalty.weight=0.3"),
    "penalty.lateral_tree.branching": (*TREE, "penalty.branching=5"),
    "penalty.lateral_tree.n_trees": (*TREE, "penalty.n_trees=3"),
    "penalty.lateral_learned.weight": (*LEARNED, "penalty.weight=0.3"),
    "penalty.lateral_learned.bound": (*LEARNED, "penalty.bound=0.1275"),
    "penalty.lateral_learned.row_sum": (*LEARNED, "penalty.row_sum=2.0"),
    "penalty.lateral_learned.ascent_rate": (*LEARNED, "penalty.ascent_rate=0.01"),
    "penalty.l1.weight": ("penalty=l1", "penalty.weight=0.3"),
    "penalty.l2.weight": ("penalty=l2", "penalty.weight=0.3"),
    "penalty.kl.weight": ("penalty.weight=0.3",),
    "penalty.kl.target": ("penalty.target=0.3",),
    "penalty.kl.divide_by_batch_size": ("penalty.divide_by_batch_size=true",),
    "penalty.squared_target.weight": ("penalty=squared_target", "penalty.weight=0.3"),
    "penalty.squared_target.target": ("penalty=squared_target", "penalty.target=0.3"),
    "penalty.squared_target.divide_by_batch_size": (
        "penalty=squared_target",
        "penalty.divide_by_batch_size=true",
    ),
    "corruption.gaussian.std": ("corruption=gaussian", "corruption.std=0.5"),
    "corruption.gaussian.clip": ("corruption=gaussian", "corruption.clip=true"),
    "corruption.masking.fraction": ("corruption=masking", "corruption.fraction=0.5"),
    "corruption.dropout.fraction": ("corruption=dropout", "corruption.fraction=0.5"),
    "corruption.salt_and_pepper.fraction": (
        "corruption=salt_and_pepper",
        "corruption.fraction=0.5",
    ),
    "reconstruction.mse.reduction": ("reconstruction=mse", "reconstruction.reduction=mean"),
    "reconstruction.bce.reduction": (
        "architecture.output_activation=sigmoid",
        "reconstruction=bce",
        "reconstruction.reduction=sum",
    ),
    "schedule.greedy.layer_epochs": (
        *("model=stacked", "schedule.layer_learning_rates=[0.1]"),
        "schedule.layer_epochs=[2]",
    ),
    "schedule.greedy.layer_learning_rates": (
        *("model=stacked", "schedule.layer_epochs=[1]"),
        "schedule.layer_learning_rates=[0.1]",
    ),
    "device.auto.precision": ("device=auto", "device.precision=bfloat16"),
    "device.cpu.precision": ("device=cpu", "device.precision=bfloat16"),
    "device.cuda.precision": ("device=cuda", "device.precision=bfloat16"),
}
NEW_VALUES = {
    "active_above": 0.3,
    "weight": 0.3,
    "target": 0.3,
    "divide_by_batch_size": "true",
    "learning_rate": 0.02,
    "momentum": 0.5,
    "weight_decay": 0.5,
    "beta1": 0.5,
    "beta2": 0.5,
    "alpha": 0.5,
    "eps": 0.1,
    "warmup_steps": 2,
    "final": 0.7,
    "start": 0.5,
}
# Their effect is elsewhere: which files there are, what is printed, how a sweep is sorted.
SHOWN_ELSEWHERE = {
    *("model", "experiment", "progress", "pictures", "sort_by", "compile", "profile"),
    "published",
    *("checkpoint_steps", "checkpoint_minutes", "published"),
}


def options() -> list[Any]:
    settings = [key for key in Settings.model_fields if key not in SHOWN_ELSEWHERE]
    named = settings + [
        f"{group}.{name}.{option}"
        for group, registry in GROUPS.items()
        for name in registry.names
        if group != "dataset" or name == "digits"
        for option in registry.schema(name).model_fields
        # How many threads there are is seen in tests/assembly/test_compute.py.
        if option != "threads"
    ]
    gpu = [option for option in named if option.startswith("device.cuda")]
    marked = [pytest.param(option, marks=pytest.mark.gpu) for option in gpu]
    return [option for option in named if option not in gpu] + marked


def outcome(folder: Path) -> tuple[bytes, Any]:
    return (folder / "model.safetensors").read_bytes(), json.loads(
        (folder / "summary.json").read_text(), object_hook=lambda d: d | {"seconds": 0}
    )


@pytest.mark.parametrize("option", options())
def test_every_option_has_an_effect(option: str, configure: Configure, tmp_path: Path) -> None:
    group, _, rest = option.partition(".")
    name, _, key = rest.partition(".")
    change = CHANGES.get(option)
    if change is None:
        base_part = ("penalty=none",) if group == "activation" else ()
        change = (*base_part, f"{group}={name}", f"{group}.{key}={NEW_VALUES[key]}")
    base, changed = change[:-1], change
    if base not in OUTCOMES:
        OUTCOMES[base] = trained(base, configure, tmp_path / "base")
    assert trained(changed, configure, tmp_path / "changed") != OUTCOMES[base]


# Many options are tried against the same run.
OUTCOMES: dict[tuple[str, ...], Any] = {}


def trained(overrides: tuple[str, ...], configure: Configure, folder: Path) -> Any:
    given = {text.partition("=")[0] for text in overrides}
    small = [text for text in SMALL if text.partition("=")[0] not in given]
    train(configure("pictures=false", *small, *overrides), folder, [])
    return outcome(folder)
