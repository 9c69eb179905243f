"""The help on one word: a group, a page, an option or a setting."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import final

from sae_cli.commands.help_words import COMMAND, GROUPS
from sae_cli.config.allowed import SETTINGS, takes
from sae_cli.config.chosen_parts import read_chosen
from sae_cli.config.conf_folder import PAGES
from sae_cli.config.page_texts import OptionText, Pages, PageText, join_paragraphs
from sae_cli.core.errors import ConfigError, nearest

NARROW, WIDE = 60, 100


@final
class HelpTopics:
    """The help on words, from the texts of pages."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._width = min(max(shutil.get_terminal_size().columns, NARROW), WIDE)

    def explain(self, word: str) -> list[str]:
        """Give the lines on one word, such as ``model``, ``model=vae`` or ``penalty.target=0.1``.

        Raises:
            ConfigError: there is nothing of that name; the nearest one is suggested.
        """
        key, _, value = word.lstrip("+~").partition("=")
        if key in GROUPS:
            return self._group(key) if not value else self._chosen(key, value)
        if key == SETTINGS:
            return self._settings()
        if key in COMMAND:
            shown, meaning = COMMAND[key]
            return [shown, *self._wrapped([meaning], "  ")]
        if setting := self._pages.settings().option(key):
            return self._option(key, {SETTINGS: setting})
        group, _, option = key.partition(".") if "." in key else ("", "", key)
        groups = [group] if group else [group for group in GROUPS if group not in PAGES]
        found = {f"{one}.{option}": self._having(one, option) for one in groups if one in GROUPS}
        lines = [self._option(name, having) for name, having in found.items() if having]
        if not group:
            lines += [self._page(one, key) for one in GROUPS if key in self._pages.names(one)]
        if not lines:
            raise ConfigError(
                f"--help {key}: nothing has that name{nearest(key, self._names())}; sae-train "
                "--help lists groups and settings"
            )
        return [line for one in lines for line in ("", *one)][1:]

    def _names(self) -> list[str]:
        pages = {group: self._pages.names(group) for group in GROUPS}
        options = [
            f"{group}.{option.key}"
            for group, names in pages.items()
            if group not in PAGES
            for name in names
            for option in self._pages.read(group, name).options
        ]
        settings = [option.key for option in self._pages.settings().options]
        named = [name for names in pages.values() for name in names]
        return list(dict.fromkeys([*GROUPS, SETTINGS, *settings, *COMMAND, *options, *named]))

    def _group(self, group: str) -> list[str]:
        names = self._pages.names(group)
        width = max(map(len, names))
        lines = [f"{group}: {GROUPS[group]}", ""]
        for name in names:
            lines.append(f"  {name:{width}}  {self._pages.read(group, name).title}".rstrip())
        default = self._pages.settings().choices.get(group)
        return [*lines, "", f"{group}={default} by itself. More: --help {group}={names[0]}"]

    def _chosen(self, group: str, value: str) -> list[str]:
        """Explain pages that are chosen by name, several for a sweep."""
        allowed = self._pages.names(group)
        lines = []
        for name in value.split(","):
            if name not in allowed:
                raise ConfigError(
                    f"--help {group}={name}: there is no such page; choose one of "
                    f"{', '.join(allowed)}{nearest(name, allowed)}"
                )
            lines += ["", *self._page(group, name)]
        return lines[1:]

    def _page(self, group: str, name: str) -> list[str]:
        page = self._pages.read(group, name)
        lines = self._columns(f"{group}={name}  ", page.title)
        lines += ["", *self._wrapped(page.comment[1:], "  ")] if page.comment[1:] else []
        if group not in PAGES:
            own = [(f"{group}.{option.key}", name, option) for option in page.options]
            return lines + self._listed(own)
        return lines + self._run(group, page)

    def _run(self, group: str, page: PageText) -> list[str]:
        """Say what a page of a run chooses, and list the options of the chosen parts."""
        run = read_chosen(self._pages, page, GROUPS)
        lines = []
        if run.model:
            lines = ["", f"  It changes model={run.model}: see --help model={run.model}."]
        for part in run.parts:
            lines += ["", *self._columns(f"{part.group}={part.name}  ", part.title)]
            options = [(f"{part.group}.{one.key}", part.name, one) for one in part.options]
            lines += self._listed(options, gaps=False)
        settings = [
            (option.key, SETTINGS, OptionText(option.key, option.comment, run.given[option.key]))
            for option in self._pages.settings().options
            if option.key in run.given
        ]
        return lines + self._listed(settings)

    def _listed(
        self, options: Iterable[tuple[str, str, OptionText]], *, gaps: bool = True
    ) -> list[str]:
        """List options by their dotted keys, with the part that each belongs to."""
        lines = []
        for key, part, option in options:
            taken = takes(key, option.part or part)
            lines += [""] if gaps else []
            lines += self._columns(f"  {key}={option.value}  ", f"({taken})" if taken else "")
            meaning = option.comment if gaps or not option.comment else [f"{option.meaning}."]
            lines += self._wrapped(meaning, "      ")
        return lines

    def _settings(self) -> list[str]:
        settings = self._pages.settings().options
        return [
            "settings of a run, KEY=VALUE",
            *self._listed([(option.key, SETTINGS, option) for option in settings]),
        ]

    def _having(self, group: str, option: str) -> dict[str, OptionText]:
        pages = {name: self._pages.read(group, name) for name in self._pages.names(group)}
        return {n: found for n, page in pages.items() if (found := page.option(option))}

    def _option(self, key: str, having: dict[str, OptionText]) -> list[str]:
        """Explain an option, once for the pages that say the same of it.

        Args:
            having: what each page says that has it.
        """
        group, lines = key.partition(".")[0] if "." in key else "", [key]
        same: dict[tuple[str, str], list[str]] = {}
        for name, option in having.items():
            same.setdefault(
                ("\n".join(option.comment), takes(key, option.part or name)), []
            ).append(name)
        for (comment, taken), names in same.items():
            defaults: dict[str, list[str]] = {}
            for name in names:
                defaults.setdefault(having[name].value, []).append(name)
            lines += ["", *self._wrapped(comment.split("\n"), "  ")]
            lines += self._columns("  takes    ", taken) if taken else []
            for default, of in defaults.items():
                choices = ", ".join(f"{group}={name}" for name in of)
                lines += self._columns("  default  ", default + (f"  ({choices})" if group else ""))
        return lines

    def _columns(self, start: str, text: str) -> list[str]:
        """Write text after a start, and further lines below it."""
        indent = " " * (len(start) if len(start) < self._width // 2 else 6)
        if not text:
            return [start.rstrip()]
        return textwrap.wrap(
            start + text, self._width, subsequent_indent=indent, drop_whitespace=True,
            break_on_hyphens=False,
        )  # fmt: skip

    def _wrapped(self, comment: Sequence[str], indent: str) -> list[str]:
        """Fill the lines of a comment; those that it indents, such as equations, stay lines."""
        lines = []
        for text in join_paragraphs(comment):
            inner = indent + " " * (len(text) - len(text.lstrip()))
            lines += textwrap.wrap(
                text.strip(), self._width, initial_indent=inner,
                subsequent_indent=inner if inner == indent else f"{inner}  ",
                break_on_hyphens=False,
            )  # fmt: skip
        return lines
