"""What the help says is what pages hold: each has a title, and each option a line of meaning."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from sae_cli.commands.help_words import GROUPS as EXPLAINED
from sae_cli.config.allowed import read_allowed, word_all
from sae_cli.config.conf_folder import CONF, PAGES
from sae_cli.config.page_texts import Pages, PageText
from sae_cli.config.schema import GROUPS
from sae_cli.config.settings import LOGGER, Settings

ALL = sorted(path.relative_to(CONF).with_suffix("") for path in CONF.glob("*/*.yaml"))
PARTS = [page for page in ALL if page.parent.name not in PAGES]
SCREEN = 80
# A meaning may take two lines, no more.
LONGEST = 125


def text_of(page: Any) -> PageText:
    return Pages().read(page.parent.name, page.name)


def content_of(page: Any) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CONF / f"{page}.yaml").read_text())
    return found


@pytest.mark.parametrize("page", ALL, ids=str)
def test_a_page_begins_with_a_title_that_fits_beside_its_name(page: Any) -> None:
    first = text_of(page).comment[0]
    assert first.endswith(".")
    width = max(len(name) for name in Pages().names(page.parent.name))
    assert 10 <= len(first) <= SCREEN - width - 4


@pytest.mark.parametrize("page", PARTS, ids=str)
def test_every_option_of_a_page_has_a_line_of_meaning(page: Any) -> None:
    text, content = text_of(page), content_of(page)
    if page.parent.name == LOGGER:
        content = {f"{name}.{key}": one for name in content for key, one in content[name].items()}
    assert [option.key for option in text.options] == [key for key in content if key != "name"]
    for option in text.options:
        assert 12 <= len(option.meaning) <= LONGEST, f"{page}: {option.key} needs a line of meaning"
        assert option.comment[-1].endswith("."), f"{page}: {option.key}"
        # The help shows an option alone: nothing stands above or below it.
        said = " ".join(option.comment)
        assert not re.search(r"\b(as|given|said) (above|below)", said), f"{page}: {option.key}"
        assert yaml.safe_load(option.value) == content[option.key]


def test_every_setting_has_a_line_of_meaning() -> None:
    settings = Pages().settings()
    own = [key for key in Settings.model_fields if key not in {*PAGES, LOGGER}]
    assert sorted(option.key for option in settings.options) == sorted(own)
    for option in settings.options:
        assert 12 <= len(option.meaning) <= LONGEST, option.key


@pytest.mark.parametrize("page", [page for page in ALL if page not in PARTS], ids=str)
def test_the_text_of_a_page_of_a_run_is_its_content(page: Any) -> None:
    text, content = text_of(page), content_of(page)
    chosen = [entry for entry in content["defaults"] if isinstance(entry, dict)]
    assert text.choices == {
        key.removeprefix("override /"): name for entry in chosen for key, name in entry.items()
    }
    flat = {key: value for key, value in content.items() if not isinstance(value, dict | list)}
    flat |= {
        f"{group}.{key}": value
        for group, section in content.items()
        if isinstance(section, dict)
        for key, value in section.items()
    }
    found = {option.key: yaml.safe_load(option.value) for option in text.options}
    assert {key: found[key] for key in flat} == flat
    assert all(key in flat or key.startswith("published.") for key in found)


def test_every_group_is_explained() -> None:
    folders = {folder.name for folder in CONF.iterdir() if folder.is_dir()}
    assert set(EXPLAINED) == folders == {*GROUPS, *PAGES, LOGGER}


def test_what_options_take_is_worded_as_their_parts_say() -> None:
    assert read_allowed() == word_all(), "run python -m sae_cli.config.allowed"


@pytest.mark.parametrize(
    ("key", "option", "words"),
    [
        ("penalty.kl", "target", "a number, above 0, below 1"),
        ("settings", "seed", "a whole number, 0 or more"),
        ("settings", "clip_norm", "a number, above 0; or null"),
        ("settings", "compile", "one of auto, on, off"),
        ("head.classifier", "normalise", "true or false"),
        ("dataset.array", "key", "text; or null"),
        ("logger.wandb", "mode", "one of offline, online"),
        ("architecture.dense", "hidden_sizes", "a list; each is a whole number, 1 or more"),
        ("inference.ista", "n_steps", "a whole number, 1 or more, at most 100,000"),
    ],
)
def test_what_an_option_takes_in_words(key: str, option: str, words: str) -> None:
    assert read_allowed()[key][option] == words
