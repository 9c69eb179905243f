"""Every link from one page of the documentation to another, or to a file, leads somewhere."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT
from tests.documents.pages import PAGES, headings_of, name_of, prose_of

LINK = re.compile(r"\]\(([^)\s]+)\)")
ELSEWHERE = ("https://", "http://")
MOST_BYTES = 300_000


def anchors_of(page: Path) -> set[str]:
    """Give the anchors of a page, as GitHub makes them: spaces are dashes, other signs go."""
    kept = [re.sub(r"[^\w\- ]", "", one.lower()) for one in headings_of(page.read_text("utf-8"))]
    return {one.replace(" ", "-") for one in kept}


def links_of(page: Path) -> list[str]:
    found = LINK.findall(prose_of(page.read_text("utf-8").replace("[`", "[").replace("`]", "]")))
    return [link for link in found if not link.startswith(ELSEWHERE)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_and_anchor_leads_somewhere(page: Path) -> None:
    for link in links_of(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_relative_to(CHECKOUT) and target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_links_are_found() -> None:
    assert sum(len(links_of(page)) for page in PAGES) > 150


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_two_headings_of_a_page_have_the_same_anchor(page: Path) -> None:
    if page.name != "CHANGELOG.md":
        headings = headings_of(page.read_text("utf-8"))
        assert len(anchors_of(page)) == len(headings)


def test_every_page_of_docs_is_in_its_index() -> None:
    pages = {page.name for page in PAGES if page.parent.name == "docs"} - {"README.md"}
    assert pages <= set(links_of(CHECKOUT / "docs" / "README.md"))


def test_pictures_are_small_and_shown() -> None:
    shown = {(page.parent / link).resolve() for page in PAGES for link in links_of(page)}
    pictures = list((CHECKOUT / "docs" / "images").iterdir())
    assert pictures and set(pictures) <= shown
    for picture in pictures:
        content = picture.read_bytes()
        assert content.startswith(b"\x89PNG") and len(content) <= MOST_BYTES
        width, _ = struct.unpack(">II", content[16:24])
        assert width <= 1600
