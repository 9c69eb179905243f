"""Pages as texts: their comments, which explain them, and their values as they are written.

Nothing of a page is evaluated, so this needs neither Hydra nor YAML, and a page from a stranger can
do nothing but be shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from sae_cli.config.conf_folder import CONF

# A page of settings is far smaller.
MOST_BYTES = 1 << 20
DEFAULTS = "defaults"
# A setting, or an option of a part below its group.
KEY = re.compile(r"(?P<indent>(?:  )?)(?P<key>[\w.]+):(?: +(?P<value>.*))?$")
CHOICE = re.compile(r" +- (?:override +)?/?(?P<group>[\w/]+): *(?P<name>\S+)$")
# "2.5", "train.log" and "et al. 2011" do not end a sentence.
SENTENCE_END = re.compile(r"(?<!\bal)\.(?= |$)")
# Comments have paragraphs that begin so.
LABEL = re.compile(r"[A-Z][a-z]+: ")


@dataclass(frozen=True)
class OptionText:
    """An option as its page states it.

    Attributes:
        key: its name; dotted where a page of a run sets the option of a part.
        comment: the lines of the comment above it.
        value: as it is written.
    """

    key: str
    comment: list[str]
    value: str

    @property
    def meaning(self) -> str:
        """The first sentence of its comment, without a stop."""
        return SENTENCE_END.split(" ".join(self.comment), maxsplit=1)[0]


@dataclass(frozen=True)
class PageText:
    """A page as it is written.

    Attributes:
        comment: the lines of the comment that it begins with, of which the first is its title.
        choices: group -> page, of its defaults.
        options: in their order.
    """

    comment: list[str] = field(default_factory=list)
    choices: dict[str, str] = field(default_factory=dict)
    options: list[OptionText] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return self.comment[0].rstrip(".") if self.comment else ""

    def option(self, key: str) -> OptionText | None:
        """Find an option by its name."""
        return next((option for option in self.options if option.key == key), None)


def join_paragraphs(comment: Sequence[str]) -> list[str]:
    """Join the lines of a comment to paragraphs; those that it indents, such as equations, stay
    lines, and keep their indent.

    A line such as ``Source: ...`` begins a paragraph, which then goes on in indented lines.
    """
    paragraphs: list[str] = []
    for line in comment:
        before = paragraphs[-1] if paragraphs else " "
        apart = line.startswith(" ") or before.startswith(" ")
        labelled = LABEL.match(before) is not None
        if LABEL.match(line) or (apart and not labelled) or before == " ":
            paragraphs.append(line)
        else:
            paragraphs[-1] += f" {line.strip()}"
    return paragraphs


@final
class Pages:
    """The pages of a command line.

    Args:
        own: the user's own folder of pages, whose pages come before ours.
    """

    def __init__(self, own: Path | None = None) -> None:
        self._folders = [CONF] if own is None else [own, CONF]

    def names(self, group: str) -> list[str]:
        """List the pages of a group; none where there is no such group."""
        return sorted({page.stem for folder in self._folders for page in _pages(folder / group)})

    def read(self, group: str, name: str) -> PageText:
        """Read a page; an empty one where there is none, or it cannot be read."""
        for folder in self._folders:
            if (page := folder / group / f"{name}.yaml") in _pages(folder / group):
                return read_page(page)
        return PageText()

    def settings(self) -> PageText:
        """Read the page of the settings of a run."""
        return read_page(CONF / "train.yaml")


def _pages(folder: Path) -> Sequence[Path]:
    return [path for path in folder.glob("*.yaml") if path.is_file()]


def read_page(path: Path) -> PageText:
    """Read a page; what is not understood is left out."""
    try:
        with path.open("rb") as file:
            lines = file.read(MOST_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return PageText()
    page = PageText()
    section, comment, begun = "", list[str](), False
    for line in lines:
        if line.startswith("# @package"):
            continue
        if line.lstrip().startswith("#"):
            comment.append(line.lstrip()[1:].removeprefix(" "))
            continue
        if not begun:
            # The comment that a page begins with is its own.
            page.comment.extend(comment)
            begun, comment = True, []
        if section == DEFAULTS and (choice := CHOICE.fullmatch(line)):
            page.choices[choice["group"]] = choice["name"]
        elif found := KEY.fullmatch(line):
            value = (found["value"] or "").strip()
            if not found["indent"]:
                section = "" if value else found["key"]
            if value and found["key"] != "name":
                key = f"{section}.{found['key']}" if section else found["key"]
                page.options.append(OptionText(key, comment, value))
        comment = []
    return page
