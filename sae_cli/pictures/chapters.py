"""The registered pictures, in the order in which a run shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum

from sae_cli.core.registry import ENTRIES, Entry
from sae_cli.pictures.picture import Picture
from sae_cli.pictures.view import View

KIND = "picture"
Draw = Callable[[View], Iterator[Picture]]


class Chapter(Enum):
    """The subject of a picture. Chapters are shown in this order, the files of each by name."""

    OVERVIEW = "overview"
    EXAMPLES = "examples"
    WEIGHTS = "weights"
    ACTIVITY = "activity of the codes"
    CODES = "codes, and what they decode to"
    PENALTY = "penalty"
    LATENTS = "latents: how they lie, what they stand for"
    TRAINING = "course of the training"


CHAPTERS: dict[Chapter, list[Draw]] = {chapter: [] for chapter in Chapter}


def register(chapter: Chapter) -> Callable[[Draw], Draw]:
    """Register the decorated function: it yields those pictures of its file that fit a view."""

    def enter(draw: Draw) -> Draw:
        drawn = CHAPTERS[chapter]
        drawn.append(draw)
        drawn.sort(key=lambda entered: entered.__module__)
        ENTRIES.append(Entry(KIND, draw.__name__, draw, lambda: drawn.remove(draw), None))
        return draw

    return enter


def pictures_of(view: View) -> Iterator[Picture]:
    """Yield all pictures that apply, each drawn when it is asked for."""
    for draws in CHAPTERS.values():
        for draw in draws:
            yield from draw(view)
