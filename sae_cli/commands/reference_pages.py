"""``docs/models.md`` and ``docs/options.md``, made from the texts of the pages, as the help is.

``python -m sae_cli.commands.reference_pages`` writes both anew, and a test says when that is due.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

from sae_cli.commands.help_words import GROUPS
from sae_cli.config.allowed import SETTINGS, takes
from sae_cli.config.chosen_parts import ChosenPart, read_chosen
from sae_cli.config.conf_folder import PAGES
from sae_cli.config.page_texts import OptionText, Pages, join_paragraphs

DOCS = Path(__file__).parents[2] / "docs"
WIDTH = 110
COLUMNS = ["| option | default | takes | meaning |", "|---|---|---|---|"]
MADE = """\
<!-- Made from the comments of conf/ by `python -m sae_cli.commands.reference_pages`:
what is changed by hand will be lost. -->
"""
MODELS = f"""\
{MADE}
# Models

Every model is a page of [conf/model/](../conf/model), a choice of parts and nothing else. Below
are the equation and the source of each, the parts that it chooses, and the options that it sets;
all other options of the parts are in [options.md](options.md). [family.md](family.md) compares the
models, and `sae-train --help model=NAME` says all this in the terminal.
"""
OPTIONS = f"""\
{MADE}
# Options

Every setting of a run and every option of every part, as `sae-train --help WORD` explains them. A
setting is given as `KEY=VALUE`, an option as `GROUP.OPTION=VALUE`, such as `penalty.weight=0.1`.
The pages themselves are in [conf/](../conf).
"""


def models_page() -> str:
    """Give the text of ``docs/models.md``: an entry for each model."""
    pages = Pages()
    names = pages.names("model")
    lines = [*MODELS.splitlines(), "", "| model | what it is |", "|---|---|"]
    lines += [f"| [`{name}`](#{name}) | {pages.read('model', name).title} |" for name in names]
    for name in names:
        lines += ["", *_model(pages, name)]
    return "\n".join(lines) + "\n"


def options_page() -> str:
    """Give the text of ``docs/options.md``: a section for each group."""
    pages = Pages()
    groups = [group for group in GROUPS if group not in PAGES]
    links = " · ".join(f"[{group}](#{group})" for group in (SETTINGS, *groups))
    lines = [*OPTIONS.splitlines(), "", links, "", f"## {SETTINGS}", ""]
    settings = [(one.key, SETTINGS, one) for one in pages.settings().options]
    lines += [*COLUMNS, *_rows(settings)]
    for group in groups:
        default = pages.settings().choices.get(group)
        lines += ["", f"## {group}", "", f"{group}: {GROUPS[group]}. By itself `{default}`."]
        for name in pages.names(group):
            lines += ["", *_part(pages, group, name)]
    return "\n".join(lines) + "\n"


def _model(pages: Pages, name: str) -> list[str]:
    page = pages.read("model", name)
    chosen = read_chosen(pages, page, GROUPS)
    lines = [f"## {name}", "", *_prose(page.comment[1:] or page.comment), ""]
    lines += [f"    sae-train model={name}", ""]
    lines += [_choice(part, page.options) for part in chosen.parts]
    settings = [option for option in page.options if "." not in option.key]
    lines += [f"- [settings](options.md#{SETTINGS}): {_values(settings)}"] if settings else []
    return lines


def _choice(part: ChosenPart, options: Iterable[OptionText]) -> str:
    """Give the line of a part, with the options of it that the page sets."""
    words, start = f"{part.group}={part.name}", f"{part.group}."
    own = [
        OptionText(option.key.removeprefix(start), option.comment, option.value)
        for option in options
        if option.key.startswith(start)
    ]
    return f"- [`{words}`](options.md#{anchor(words)})" + (f": {_values(own)}" if own else "")


def _values(options: Iterable[OptionText]) -> str:
    return ", ".join(f"`{option.key}={option.value}`" for option in options)


def _part(pages: Pages, group: str, name: str) -> list[str]:
    page = pages.read(group, name)
    lines = [f"### {group}={name}", "", f"{page.title}."]
    lines += ["", *_prose(page.comment[1:])] if page.comment[1:] else []
    options = [(f"{group}.{option.key}", name, option) for option in page.options]
    return [*lines, "", *COLUMNS, *_rows(options)] if options else lines


def _rows(options: Iterable[tuple[str, str, OptionText]]) -> list[str]:
    return [
        f"| `{key}` | `{option.value}` | {takes(key, part)} | {_cell(option.comment)} |"
        for key, part, option in options
    ]


def _cell(comment: Iterable[str]) -> str:
    return " ".join(line.strip() for line in comment).replace("|", r"\|")


def _prose(comment: list[str]) -> list[str]:
    """Give paragraphs that are filled, and what the comment indents, such as equations, as code."""
    lines: list[str] = []
    code = False
    for text in join_paragraphs(comment):
        was, code = code, text.startswith(" ")
        lines += [] if not lines or (was and code) else [""]
        lines += [f"    {text.strip()}"] if code else textwrap.wrap(text, WIDTH)
    return lines


def anchor(heading: str) -> str:
    """Give the anchor that GitHub and site generators make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


if __name__ == "__main__":
    (DOCS / "models.md").write_text(models_page(), "utf-8")
    (DOCS / "options.md").write_text(options_page(), "utf-8")
