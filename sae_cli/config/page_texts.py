"""Pages as texts: their comments, which explain them, and their values as they are written.

Nothing of a page is evaluated, so this needs neither Hydra nor YAML, and a page from a stranger can
do nothing but be shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

from sae_cli.config.conf_folder import CONF
from sae_cli.core.plugins.loaded import page_folders

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
        part: that it is an option of, where the page does not have the part's own name.
    """

    key: str
    comment: list[str]
    value: str
    part: str = ""

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
        part: that it sets the options of, where it is the page of one.
    """

    comment: list[str] = field(default_factory=list)
    choices: dict[str, str] = field(default_factory=dict)
    options: list[OptionText] = field(default_factory=list)
    part: str = ""

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
        own: the user's own folder of pages, which are read where we have none of that name, as in
            a run; then come those of plug-ins.
    """

    def __init__(self, own: Path | None = None) -> None:
        self._folders = [CONF, *page_folders(own)]

    def names(self, group: str) -> list[str]:
        """List the pages of a group; none where there is no such group."""
        return sorted({page.stem for folder in self._folders for page in _pages(folder / group)})

    def read(self, group: str, name: str) -> PageText:
        """Read a page; an empty one where there is none, or it cannot be read."""
        for folder in self._folders:
            if (page := folder / group / f"{name}.yaml") in _pages(folder / group):
                text = read_page(page)
                return text if folder == CONF else _completed(group, name, text)
        return PageText()

    def settings(self) -> PageText:
        """Read the page of the settings of a run."""
        return read_page(CONF / "train.yaml")


def _completed(group: str, name: str, page: PageText) -> PageText:
    """Add the options that a page of the user's own leaves out, as a run does."""
    if not page.part or page.option(DEFAULTS):
        return page
    # This takes the time of imports, which a help on our own pages is spared.
    from sae_cli.config.omitted import omitted_options

    given = {one.key: None if one.value == "null" else one.value for one in page.options}
    added = omitted_options(f"{group}/{name}", {"name": page.part, **given})
    ours = CONF / group / f"{page.part}.yaml"
    texts = {one.key: one.comment for one in read_page(ours).options} if ours.is_file() else {}
    options = [
        *(replace(one, comment=one.comment or texts.get(one.key, [])) for one in page.options),
        *(OptionText(k, texts.get(k, []), _written(value)) for k, value in added.items()),
    ]
    return replace(page, options=[replace(one, part=page.part) for one in options])


def _written(value: Any) -> str:
    """Write a value as a page has it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


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
    section, comment, begun, part = "", list[str](), False, ""
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
            if found["key"] == "name" and not found["indent"]:
                part = value
            elif value and found["key"] != "name":
                key = f"{section}.{found['key']}" if section else found["key"]
                page.options.append(OptionText(key, comment, value))
        comment = []
    return replace(page, part=part)
