"""Pages read back by Python's own parser of HTML."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

# Elements that have no end.
VOID = {"meta", "input", "img", "br", "link"}


class Page(HTMLParser):
    """A page: its elements with their attributes, and the text of each ``id`` and each script.

    Attributes:
        elements: name and attributes of each, in their order.
        scripts: attributes and text of each ``script``.
        styles: the text of each ``style``.
        text: all text that is shown.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.styles: list[str] = []
        self._open: list[str] = []
        self._shown: list[str] = []
        self.feed(content.decode())
        self.close()
        assert self._open == []
        self.text = " ".join(" ".join(self._shown).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = {key: value or "" for key, value in attrs}
        self.elements.append((tag, own))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append((own, ""))
        if tag == "style":
            self.styles.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside == "script":
            own, text = self.scripts.pop()
            self.scripts.append((own, text + data))
        elif inside == "style":
            self.styles[-1] += data
        else:
            self._shown.append(data)

    @property
    def data(self) -> Any:
        """What the scripts are given."""
        (text,) = (text for own, text in self.scripts if own.get("id") == "data")
        return json.loads(text)

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every such element."""
        return [own for name, own in self.elements if name == tag]


def check_sealed(content: bytes) -> Page:
    """Check that a page runs its own scripts alone and asks no network for anything."""
    page = Page(content)
    (policy,) = (
        own["content"] for own in page.all("meta") if own.get("http-equiv", "").startswith("Cont")
    )
    running = [text for own, text in page.scripts if own.get("type") != "application/json"]
    for text in (*running, *page.styles):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert len(running) == policy.count("'sha256-") - len(page.styles)
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert all("src" not in own for own, _ in page.scripts)
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.elements}
    for tag, own in page.elements:
        assert not [key for key in own if key.startswith("on") or key == "style"], (tag, own)
        for key in {"src", "href", "action", "srcset"} & own.keys():
            assert re.match(r"\./|#|data:image/png;base64,", own[key]), (tag, key, own[key][:80])
    for text in (*running, *page.styles):
        assert not re.search(r"fetch\(|XMLHttpRequest|@import|url\(|importScripts|eval\(", text)
    return page
