"""Names on the command line, which are text as typed: ``1e3``, ``2024_11_05``, ``true``, ``~/x``.

Hydra's grammar would read some of them as numbers or truth values and refuse others. Such words
are put in the quotes of its grammar before it reads them.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from sae_cli.config.texts import QUOTES, TEXTS

# Hydra's functions take values of any type.
FUNCTION = re.compile(r"(choice|range|interval|glob|sort|shuffle|tag|str|int|float|bool)\(.*\)")
OPENING, CLOSING = "[{(", "]})"
# A quote within a word is an apostrophe.
BEFORE_QUOTES = f",:={OPENING}"


def quote_texts(word: str, groups: Collection[str] = ()) -> str:
    """Give an override whose text Hydra reads as it was typed.

    Args:
        word: ``KEY=VALUE`` and the like; others than those of texts stay as they are.
        groups: names of groups, whose choices are names of pages.
    """
    key, equals, value = word.partition("=")
    name = key.lstrip("+")
    if not equals or not (name in TEXTS or name in groups):
        return word
    return f"{key}={_quote_elements(value, TEXTS.get(name, True))}"


def quote(text: str) -> str:
    """Quote a value for Hydra's grammar."""
    # A backslash counts as one unless it stands before a quote.
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", "\\'"), text)
    return f"'{escaped}'"


def _quote_elements(value: str, nullable: bool) -> str:
    return ",".join(_quote_element(element, nullable) for element in split_elements(value))


def _quote_element(element: str, nullable: bool) -> str:
    text = element.strip()
    if not text or text[0] in QUOTES:
        return element
    if text[0] == "[" and text[-1] == "]":
        return f"[{_quote_elements(text[1:-1], nullable)}]"
    if text.startswith("choice(") and text.endswith(")"):
        return f"choice({_quote_elements(text[len('choice(') : -1], nullable)})"
    if FUNCTION.fullmatch(text) or (nullable and text.lower() == "null"):
        return element
    return element if _read_as_text(text) else quote(text)


def _read_as_text(text: str) -> bool:
    """Tell whether Hydra reads this as text, or as a dictionary, which no text looks like."""
    try:
        value = OverridesParser.create().parse_override(f"key={text}").value()
    except HydraException:
        return False
    return isinstance(value, (str, dict))


def split_elements(value: str) -> list[str]:
    """Split at the commas that are in neither quotes nor brackets; whole where these do not fit."""
    elements, depth, quoted, begin = [], 0, "", 0
    escaped, before = False, ","
    for place, letter in enumerate(value):
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif quoted:
            quoted = "" if letter == quoted else quoted
        elif letter in QUOTES and before in BEFORE_QUOTES:
            quoted = letter
        elif letter in OPENING + CLOSING:
            depth += 1 if letter in OPENING else -1
        elif letter == "," and depth == 0:
            elements.append(value[begin:place])
            begin = place + 1
        before = before if letter == " " else letter
    return [value] if quoted or depth else [*elements, value[begin:]]
