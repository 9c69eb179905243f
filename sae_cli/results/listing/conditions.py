"""Conditions on runs: ``model=sparse_kl and val/fvu<0.2``, taken apart here and never evaluated as
code.

::

    condition   = all { "or" all }
    all         = one { "and" one }
    one         = "not" one | "(" condition ")" | NAME OPERATOR VALUE
    OPERATOR    = "=" | "==" | "!=" | "<" | "<=" | ">" | ">="
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple, final

from sae_cli.core.errors import ConfigError
from sae_cli.results.listing.listed import Listed

Condition = Callable[[Listed], bool]

TOKEN = re.compile(
    r"""\s*(?: (?P<operator> == | != | <= | >= | = | < | > )
             | (?P<bracket> [()] )
             | "(?P<double> [^"]* )" | '(?P<single> [^']* )'
             | (?P<word> [^\s()=!<>"']+ ) )""",
    re.VERBOSE,
)
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    **{"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge},
}
EXAMPLE = "write NAME=VALUE, with =, !=, <, <=, >, >=, and, or, not and parentheses"
MAX_DEPTH = 50


class _Token(NamedTuple):
    kind: str
    text: str


def parse(text: str) -> tuple[Condition, set[str]]:
    """Take a condition apart.

    A comparison with what a run does not have is false, other than ``!=``. ``null`` is no value.

    Returns:
        what tells whether a run meets it, and the names in it.

    Raises:
        ConfigError: it is not a condition.
    """
    parser = _Parser(text)
    return parser.whole(), parser.names


@final
class _Parser:
    """Reads tokens from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._depth = 0
        self.names: set[str] = set()

    def whole(self) -> Condition:
        condition = self._any()
        if self._tokens:
            raise self._fault(f"{self._tokens[0].text!r} is one word too many")
        return condition

    def _any(self) -> Condition:
        found = [self._all()]
        while self._takes("or"):
            found.append(self._all())
        return lambda run: any(one(run) for one in found)

    def _all(self) -> Condition:
        found = [self._one()]
        while self._takes("and"):
            found.append(self._one())
        return lambda run: all(one(run) for one in found)

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._fault(f"it is more than {MAX_DEPTH} levels deep")
        try:
            if self._takes("not"):
                inner = self._one()
                return lambda run: not inner(run)
            if self._takes("("):
                inside = self._any()
                if not self._takes(")"):
                    raise self._fault("a parenthesis is not closed")
                return inside
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Condition:
        name = self._next("word", "a name")
        sign = self._next("operator", f"an operator after {name.text}")
        value = self._next("value", f"a value after {name.text}{sign.text}")
        self.names.add(name.text)
        return _compare(name.text, sign.text, value)

    def _next(self, kind: str, what: str) -> _Token:
        kinds = {"word", "double", "single"} if kind == "value" else {kind}
        if not self._tokens or self._tokens[0].kind not in kinds:
            raise self._fault(f"{what} is missing")
        return self._tokens.pop(0)

    def _takes(self, text: str) -> bool:
        """Take the next token if it is this word or bracket."""
        if self._tokens and self._tokens[0] in {_Token("word", text), _Token("bracket", text)}:
            self._tokens.pop(0)
            return True
        return False

    def _fault(self, what: str) -> ConfigError:
        return ConfigError(f"--where {self._text!r}: {what}; {EXAMPLE}")


def _tokens(text: str) -> list[_Token]:
    tokens, place = [], 0
    while text[place:].strip():
        found = TOKEN.match(text, place)
        if found is None:
            raise ConfigError(
                f"--where {text!r}: {text[place:].strip()[0]!r} is not read; {EXAMPLE}"
            )
        kind = found.lastgroup or ""
        tokens.append(_Token(kind, found[kind]))
        place = found.end()
    return tokens


def _compare(name: str, sign: str, token: _Token) -> Condition:
    given = token.text if token.kind != "word" else _value(token.text)

    def same(run: Listed) -> bool:
        found = run.value(name)
        # A text such as 1e3 looks like a number, and is the text that was typed.
        return _plain(found) == _plain(given) or (found is not None and _text(found) == token.text)

    def ordered(run: Listed) -> bool:
        found = run.value(name)
        comparable = (_is_number(found) and _is_number(given)) or (
            isinstance(found, str) and not _is_number(given)
        )
        return comparable and ORDERS[sign](found, given if _is_number(given) else token.text)

    if sign in ORDERS:
        return ordered
    return same if sign != "!=" else lambda run: not same(run)


def _value(text: str) -> Any:
    """Give the value that a word stands for: a number, a truth value, nothing, or itself."""
    words = {"true": True, "false": False, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return float(text)
    except ValueError:
        return text


def _plain(value: Any) -> tuple[bool, Any]:
    """Give what is equal only to what is the same: 1 is not true."""
    return isinstance(value, bool), value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    # Lists are compared as they are typed, [200,50].
    return json.dumps(value, separators=(",", ":"), default=str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
