"""The parts that a page of a run chooses, as texts: what its help and the docs list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sae_cli.config.conf_folder import PAGES
from sae_cli.config.page_texts import OptionText, Pages, PageText
from sae_cli.config.widths import EITHER, taken_back
from sae_cli.config.widths import GROUP as WIDTHS


@dataclass(frozen=True)
class ChosenPart:
    """A part of a run.

    Attributes:
        options: all that it has, with the values of the run.
    """

    group: str
    name: str
    title: str
    options: list[OptionText]


@dataclass(frozen=True)
class ChosenParts:
    """What a page of a run chooses.

    Attributes:
        model: the model that the page changes, if it is not a model's own.
        parts: in the order of their groups, without those that are ``none``.
        given: dotted key -> value, of all options and settings that the page sets.
    """

    model: str | None
    parts: list[ChosenPart]
    given: dict[str, str]


def read_chosen(pages: Pages, page: PageText, groups: Iterable[str]) -> ChosenParts:
    """Read what a page of a run chooses, and what it leaves to the model that it changes.

    Args:
        groups: of parts, in the order to list them.
    """
    base = pages.settings().choices
    model = page.choices.get("model")
    layers = [*([pages.read("model", model)] if model else []), page]
    chosen = {g: n for layer in layers for g, n in layer.choices.items() if g != "model"}
    given: dict[str, str] = {}
    for layer in layers:
        given |= _given(layer)
    found = []
    for group in groups:
        if group in PAGES or not (
            group in chosen or any(key.startswith(f"{group}.") for key in given)
        ):
            continue
        name = chosen.get(group, base[group])
        if name != "none":
            found.append(_part(pages, group, name, given))
    return ChosenParts(model, found, given)


def _part(pages: Pages, group: str, name: str, given: dict[str, str]) -> ChosenPart:
    part = pages.read(group, name)
    options = [
        replace(one, value=given.get(f"{group}.{one.key}", one.value)) for one in part.options
    ]
    return ChosenPart(group, name, part.title, options)


def _given(page: PageText) -> dict[str, str]:
    """Give the options that a page sets; one of the two ways to give a width unsets the other."""
    found = {option.key: option.value for option in page.options}
    start = f"{WIDTHS}."
    own = {k.removeprefix(start): v for k, v in found.items() if k.startswith(start)}
    values = {k: None if v == "null" else v for k, v in own.items()}
    return found | {start + other: "null" for other in taken_back(values, EITHER)}
