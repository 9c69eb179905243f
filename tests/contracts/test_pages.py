"""The pages of ``conf/``: each fits its part, each model trains, each experiment composes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from sae_cli.assembly.parts import build_parts
from sae_cli.config.compose import compose_run, hydra_ready
from sae_cli.config.conf_folder import CONF
from sae_cli.config.schema import GROUPS, check
from sae_cli.runs.train import train
from tests.conftest import SMALL, Configure
from tests.contracts.small import MODELS, one_of_each_architecture, page_of

PARTS = sorted(path.relative_to(CONF) for group in GROUPS for path in (CONF / group).glob("*.yaml"))
QUICK = one_of_each_architecture()
# Where earlier versions were wrong, a page is right, and what was written for them is as it was.
MENDED = {"revival/auxk.yaml": {"scale_free": True}}
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("page", PARTS, ids=str)
def test_a_page_states_every_option_of_its_part_in_order(page: Path) -> None:
    content = page_of(page)
    assert content["name"] == page.stem
    schema = GROUPS[page.parent.name].schema(page.stem)
    assert list(content) == ["name", *schema.model_fields]


@pytest.mark.parametrize("page", PARTS, ids=str)
def test_a_page_has_the_defaults_that_its_part_has(page: Path) -> None:
    """What a page of the user's own leaves out comes from here."""
    content = page_of(page)
    fields = GROUPS[page.parent.name].schema(page.stem).model_fields
    given = {name: field.default for name, field in fields.items() if not field.is_required()}
    assert {name: content[name] for name in given} == given | MENDED.get(str(page), {})


def test_every_part_has_a_page_and_every_page_a_part() -> None:
    for group, registry in GROUPS.items():
        assert registry.names == sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_page_names_itself_and_trains(
    name: str, configure: Configure, tmp_path: Path
) -> None:
    # Pictures take ten times as long.
    pictures = f"pictures={name in QUICK}"
    config = configure(f"model={name}", pictures, *SMALL)
    assert config.settings.model == name
    summary = train(config, tmp_path / "run", [])
    assert summary["val/fvu"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name not in QUICK])
def test_every_model_page_has_its_pictures(name: str, configure: Configure, tmp_path: Path) -> None:
    train(configure(f"model={name}", *SMALL), tmp_path / "run", [])
    assert list((tmp_path / "run" / "pictures").glob("*.png"))


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


def test_a_chosen_part_leaves_nothing_of_the_page_behind() -> None:
    with hydra_ready():
        swapped = compose_run(["model=sparse_kl", "penalty=l1"])[0]
        page = compose_run(["experiment=hands_on_sparse_kl", "penalty=l1", "penalty.weight=0.3"])[0]
        denoised = compose_run(["experiment=hands_on_denoising", "corruption=masking"])[0]
    own = page_of("penalty/l1.yaml")
    assert swapped["penalty"] == own
    assert page["penalty"] == own | {"weight": 0.3}
    assert denoised["corruption"] == {"name": "masking", "fraction": 0.25}


def test_the_command_line_wins_over_an_experiment_page() -> None:
    with hydra_ready():
        found = compose_run(["experiment=hands_on_sparse_kl", "penalty.weight=0.3", "epochs=2"])[0]
    assert found["penalty"]["weight"] == 0.3
    assert found["penalty"]["target"] == 0.1
    assert found["epochs"] == 2


def test_a_saved_configuration_checks_as_it_was(configure: Configure, tmp_path: Path) -> None:
    """But for what was left to the program, which is decided there and stays so."""
    config = configure("model=stacked", *SMALL)
    summary = train(config, tmp_path / "run", [])
    saved = check(yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()))
    assert train(saved, tmp_path / "again", []) | {"seconds": 0} == summary | {"seconds": 0}
    models = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("run", "again")]
    assert models[0] == models[1]
    again = check(yaml.safe_load((tmp_path / "again" / "config.yaml").read_text()))
    assert saved == again
    plain = saved.as_dict()
    assert (plain["compile"], plain["device"]["threads"]) == ("off", 1)
    left_open = {"name": "auto", "threads": None}
    assert plain | {"compile": "auto", "device": plain["device"] | left_open} == config.as_dict()
