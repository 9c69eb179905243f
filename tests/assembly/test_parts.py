"""Parts that go together and parts that do not, before any data is read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sae_cli.assembly.parts import build_parts
from sae_cli.core.errors import ConfigError
from sae_cli.training.optimizers import OPTIMIZERS
from tests.conftest import Configure


@pytest.mark.parametrize(
    "given",
    [
        # No network here suits images of 64 x 64.
        ("model=conv_group_sparse", "architecture.channels=[8,8]", "architecture.pool=3"),
        ("model=conv", "architecture.channels=[4,4,4,4,4,4,4]"),
        ("model=conv", "architecture.channels=[4]", "architecture.pools=[100]"),
        ("model=local_filters", "architecture.field=80"),
    ],
    ids=" ".join,
)
def test_what_suits_other_sizes_of_images_is_not_refused(
    given: tuple[str, ...], configure: Configure
) -> None:
    build_parts(configure(*given))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("model=vae", "schedule=greedy"), "hidden_activations=relu draws none"),
        (("model=ae", "penalty=gaussian_kl"), "activation=identity draws none"),
        (("model=ae", "architecture=dictionary"), "architecture=dictionary has no encoder"),
        (
            ("model=psd", "inference.prediction_weight=0.0"),
            "has no effect with inference.prediction",
        ),
        (("model=recurrent", "schedule=greedy"), "schedule=greedy stacks layers"),
        (("schedule=none",), "schedule=none leaves training to a classifier"),
        (
            ("schedule=none", "head=classifier", "head.classes=[0,1]", "head.self_taught=true"),
            "schedule=none does not train it",
        ),
        (
            (
                *("head=classifier", "head.classes=[0,1]", "head.self_taught=true"),
                *("head.fine_tune_epochs=1", "head.unsupervised_terms=true"),
            ),
            "head.unsupervised_terms=true trains its reconstruction on all examples; give false",
        ),
        (("head=classifier", "head.corrupted=true"), "corruption=none leaves them clean"),
        (("head=classifier", "head.self_taught=true"), "head.classes=null leaves none"),
        (("head=classifier", "head.classes=[3]"), "give two classes or more, each once"),
        (("head=classifier", "head.classes=[3,3]"), "give two classes or more, each once"),
        (
            ("model=lista", "head=classifier", "head.fine_tune_epochs=1"),
            "inferred codes do not depend on it",
        ),
        (("model=sparse_coding", "reconstruction.reduction=mean"), "reconstruction.reduction=sum"),
        (("model=ae", "inference=fista", "architecture.hidden_sizes=[9]"), "one linear layer"),
    ],
)
def test_what_does_not_go_together_is_refused(
    given: tuple[str, ...], says: str, configure: Configure
) -> None:
    with pytest.raises(ConfigError, match=says):
        build_parts(configure(*given))


def test_weight_decay_of_an_optimizer_that_has_none(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of a plug-in, which is not asked for it otherwise."""

    def plain(parameters: Any, *, learning_rate: float) -> Any:
        raise AssertionError("it is not to be built")

    monkeypatch.setitem(OPTIMIZERS._factories, "plain", plain)
    given = configure("head=classifier", "head.weight_decay=0.1")
    chosen = {"optimizer": {"name": "plain", "learning_rate": 0.1}}
    says = "head.weight_decay=0.1 .* optimizer=plain takes learning_rate; give head.weight_decay=nu"
    with pytest.raises(ConfigError, match=says):
        build_parts(replace(given, parts=given.parts | chosen))
    none = {"head": given.parts["head"] | {"weight_decay": None}}
    build_parts(replace(given, parts=given.parts | chosen | none))
    monkeypatch.delitem(OPTIMIZERS._schemas, "plain")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("corruption=gaussian",), "corruption=gaussian draws noise anew; choose corruption=none"),
        (("model=vae",), "activation=gaussian draws codes anew"),
        (("model=batch_topk",), "activation=batch_topk learns in each step"),
        (("model=jumprelu", "penalty.warmup_steps=3"), "penalty=l0 changes"),
        (("model=jumprelu", "penalty.target_l0=3.0"), "penalty=l0 changes"),
        (("penalty=lateral_learned", "model=lateral_inhibition"), "changes in training"),
        (("model=sparse_coding",), "inference=fista finds other codes"),
        (("model=topk", "revival=auxk"), "revival=auxk acts on single steps"),
        (("clip_norm=1.0",), "clip_norm=1 shortens gradients"),
        (("lr_schedule=cosine",), "lr_schedule=cosine changes it"),
        (("penalty.divide_by_batch_size=true",), "true divides by the size of one"),
        (("lr_schedule.warmup_steps=2",), "warmup_steps=2 changes it"),
        (("compile=on",), "compile=on compiles the step of one"),
    ],
)
def test_what_an_optimizer_of_the_whole_set_cannot_have(
    given: tuple[str, ...], says: str, configure: Configure
) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        build_parts(configure(*given, "optimizer=lbfgs"))
    assert "\n" not in str(refused.value) and "optimizer=lbfgs " in str(refused.value)


def test_a_penalty_that_stays_the_same_suits_an_optimizer_of_the_whole_set(
    configure: Configure,
) -> None:
    build_parts(configure("model=jumprelu", "optimizer=lbfgs"))


def test_sorting_by_what_only_a_classifier_has_is_refused(configure: Configure) -> None:
    assert configure("head=classifier", "sort_by=val/accuracy").settings.sort_by == "val/accuracy"
    with pytest.raises(ConfigError, match="needs a classifier, and head=none is not one"):
        configure("sort_by=val/accuracy")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("model=ae", "activation=gated"), "choose architecture=sae"),
        (("model=topk", "activation.k=11", "architecture.n_latents=10"), "at most that many"),
        (("model=batch_topk", "activation.k=11", "architecture.n_latents=10"), "at most that many"),
    ],
)
def test_an_activation_that_does_not_fit_is_refused_without_data(
    words: tuple[str, ...], says: str, configure: Configure
) -> None:
    """The jobs of a sweep are checked before the first one reads its data."""
    with pytest.raises(ConfigError, match=says):
        build_parts(configure(*words))


def test_how_many_latents_there_are_may_be_up_to_the_data(configure: Configure) -> None:
    build_parts(configure("model=topk", "activation.k=1000000"))
