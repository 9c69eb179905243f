"""The emitter in C, against the one in Python: the same bytes of whatever a run folder holds."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import yaml

from sae_cli.run_folder import plain_yaml
from sae_cli.run_folder.plain_yaml import as_yaml
from tests.conftest import Configure

LETTERS = "".join(map(chr, range(32, 127)))
AWKWARD = [
    *("", " ", "  a", "a ", "a: b", "a #b", "- a", "? a", "'", '"', "\\", "#", "%", "@", "`"),
    *("1e3", "08", "on", "~", "null", "<<", "=", "2001-01-01", "${a}", "{a}", "[a", "---", "..."),
    *("a\nb", "\n", "a\n\n", "\t", "\0", "\x7f", "\x85", "\xa0", "\u2028", "\ufeff", "\ufffe"),
    *("é", "😀", "\ud800", "a\udcffb", "é" * 70, "word " * 40, "x" * 129, "y" * 300, "  \n" * 50),
]


def in_python(content: Any) -> bytes:
    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    Dumper.add_representer(str, plain_yaml._represent_text)
    return yaml.dump(content, Dumper=Dumper, sort_keys=False).encode()


@pytest.mark.parametrize("text", AWKWARD)
def test_awkward_texts(text: str) -> None:
    for content in (
        *([text], [[text]], {"key": text}, {text: 1}, {text: [text]}, [{"a": {text: text}}]),
        *([text, 1.5, "b"], {"a": {"b": {"c": [text] * 3}}}, {text: {text: None}}),
    ):
        assert as_yaml(content) == in_python(content)


def test_any_text_of_plain_letters() -> None:
    random = Random(0)

    def text() -> str:
        letters = random.choice((LETTERS, "ab: #'\"-,{}[]  ", "a "))
        return "".join(random.choices(letters, k=random.choice((1, 2, 5, 30, 79, 80, 81, 100))))

    def value(depth: int) -> Any:
        kind = random.random()
        if depth < 4 and kind < 0.25:
            return [value(depth + 1) for _ in range(random.randrange(4))]
        if depth < 4 and kind < 0.5:
            return {text(): value(depth + 1) for _ in range(random.randrange(4))}
        return random.choice((text(), None, True, -3, 1e-8, 1e22, float("nan"), 10**30))

    for _ in range(1000):
        content = {text(): value(0)}
        assert as_yaml(content) == in_python(content)


def test_a_configuration_needs_no_emitter_in_python(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure("model=sparse_kl").as_dict()
    expected = in_python({"jobs": [{"config": config}] * 2})
    if yaml.__with_libyaml__:
        monkeypatch.setattr(plain_yaml, "_IN_PYTHON", None)
    assert as_yaml({"jobs": [{"config": config}] * 2}) == expected
