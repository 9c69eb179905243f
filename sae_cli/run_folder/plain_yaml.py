"""Plain YAML: numbers, text, lists and keys, read as data because a stranger may have sent it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from sae_cli.core.errors import ConfigError
from sae_cli.run_folder.files import read_file

# A configuration has a level for its parts and one for their lists; a sweep's has two more.
MAX_DEPTH = 8
MAX_DIGITS = 100
# A run writes about 2 kB.
MAX_CONFIG_BYTES = 1 << 16
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
HALF_LETTER = re.compile(r"\\u[dD][89a-fA-F]")
# YAML merges mappings with ``<<``, and has a use for ``=``.
NO_VALUES = ("tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")
# The emitter in C writes these as the one in Python does; in others it breaks lines in other
# places, escapes other characters, and refuses halves of letters.
ALIKE = re.compile("[ -~]{1,100}")
# The parser in C, where it is installed, takes a tenth of the time.
_EVENTS: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# These rules say what a text without quotes stands for.
_RULES: Any = yaml.SafeLoader("")


def read_yaml(path: Path, max_bytes: int) -> dict[str, Any]:
    """Read the keys and values of a YAML file.

    Nothing is executed, and an interpolation stays the text that it is.

    Raises:
        ConfigError: it cannot be read, is too large, or is more than plain YAML.
    """
    values = _read(path, max_bytes)
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is not a configuration: it holds no keys")
    return values


def read_texts(path: Path, max_bytes: int) -> list[str]:
    """Read the texts that a YAML file lists, as ``read_yaml`` does.

    Raises:
        ConfigError: it cannot be read, is too large, or is more than a plain list of texts.
    """
    values = _read(path, max_bytes)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ConfigError(f"{path} is not a list of texts; give the file as a run wrote it")
    return values


def _read(path: Path, max_bytes: int) -> Any:
    try:
        content = read_file(path, max_bytes + 1)
        if len(content) > max_bytes:
            raise ConfigError(
                f"{path} is not a configuration: it has more than {max_bytes} bytes; give the file "
                "as a run wrote it"
            )
        return _load(content.decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    # Numbers of too many digits and dates that no calendar has raise plain ValueErrors.
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{path} is not a configuration: {reason}; give the file as a run wrote it"
        ) from None


def as_yaml(content: Any) -> bytes:
    """Write YAML as ``read_yaml`` and ``read_texts`` read it.

    A repeated value is written again instead of an alias.
    """
    dumper = _IN_C if all(map(ALIKE.fullmatch, _texts(content))) else _IN_PYTHON
    return yaml.dump(content, Dumper=dumper, sort_keys=False).encode()


def _texts(content: Any) -> Iterator[str]:
    """Give every text, those of keys as well."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _texts(value)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    """Quote names that another reader of YAML would take for numbers: 1e3, 08."""
    try:
        float(text)
    except ValueError:
        style = None
    else:
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _plain_dumper(base: Any) -> Any:
    """Make a dumper that writes no aliases."""
    dumper: Any = type("PlainDumper", (base,), {"ignore_aliases": lambda self, data: True})
    dumper.add_representer(str, _represent_text)
    return dumper


_IN_PYTHON = _plain_dumper(yaml.SafeDumper)
# The emitter in C, where it is installed, takes a third of the time.
_IN_C = _plain_dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper))


def _load(content: str) -> Any:
    """Build the values of a document from its events.

    Refuse what a run's configuration never has and a hostile one may: aliases multiply (a "billion
    laughs"), tags ask for conversions, depth fills the stack, and readers disagree which of two
    equal keys counts.
    """
    # The parser in C refuses halves of letters, which names of files can have.
    loader = yaml.SafeLoader if HALF_LETTER.search(content) else _EVENTS
    events = iter(yaml.parse(content, Loader=loader))
    # The document begins, unless there is none.
    if not isinstance(next(islice(events, 1, None)), yaml.DocumentStartEvent):
        return None
    value = _build(events, 0)
    following = next(islice(events, 1, None))
    if not isinstance(following, yaml.StreamEndEvent):
        raise _refused("only one document is read", following)
    return value


def _build(events: Iterator[Any], depth: int) -> Any:
    """Build the next value."""
    return _built(next(events), events, depth)


def _built(event: Any, events: Iterator[Any], depth: int) -> Any:
    """Build the value that begins with an event."""
    if isinstance(event, yaml.AliasEvent):
        raise _refused("aliases are not read", event)
    if event.tag is not None:
        raise _refused("tags are not read", event)
    if depth == MAX_DEPTH:
        raise _refused(f"more than {MAX_DEPTH} levels are not read", event)
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event)
    values: list[Any] = []
    if isinstance(event, yaml.SequenceStartEvent):
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            values.append(_built(event, events, depth + 1))
        return values
    mapping: dict[str, Any] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key = _built(event, events, depth + 1)
        if not isinstance(key, str):
            raise _refused("only text can be a key", event)
        if key in mapping:
            raise _refused(f"the key {key} is given twice", event)
        mapping[key] = _build(events, depth + 1)
    return mapping


def _scalar(event: Any) -> Any:
    """Give the value of a text: without quotes it may be a number, a truth value or nothing."""
    if not event.implicit[0]:
        return event.value
    # A long text is not kept.
    value = _value if len(event.value) <= MAX_DIGITS else _value.__wrapped__
    try:
        return value(event.value)
    except ValueError as error:
        raise _refused(str(error), event) from None


# The same few texts stand in every configuration.
@lru_cache(1 << 12)
def _value(text: str) -> Any:
    tag = _RULES.resolve(yaml.ScalarNode, text, (True, False))
    if tag in NUMBERS and len(text) > MAX_DIGITS:
        raise ValueError(f"numbers of more than {MAX_DIGITS} digits are not read")
    if tag in NO_VALUES:
        raise ValueError(f"{text} is not read without quotes")
    return _RULES.construct_document(yaml.ScalarNode(tag, text))


def _refused(problem: str, at: Any) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)
