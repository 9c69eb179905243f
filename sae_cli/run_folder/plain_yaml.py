"""Plain YAML: numbers, text, lists and keys, read as data because a stranger may have sent it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sae_cli.core.errors import ConfigError
from sae_cli.run_folder.files import read_file

# A configuration has a level for its parts and one for their lists; a sweep's has two more.
MAX_DEPTH = 8
MAX_DIGITS = 100
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


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
        return yaml.load(content.decode("utf-8"), Loader=_PlainLoader)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    # Numbers of too many digits and dates that no calendar has raise plain ValueErrors.
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{path} is not a configuration: {reason}; give the file as a run wrote it"
        ) from None


def as_yaml(content: Any) -> bytes:
    """Write YAML as ``read_yaml`` and ``read_texts`` read it."""
    return yaml.dump(content, Dumper=_PlainDumper, sort_keys=False).encode()


class _PlainDumper(yaml.SafeDumper):
    """SafeDumper that writes a repeated value again instead of an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader without what a run's configuration never has and a hostile one may.

    Aliases multiply (a "billion laughs"), tags ask for conversions, depth fills the stack, and
    readers disagree which of two equal keys counts.
    """

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _refused("aliases are not read", event)
        if getattr(event, "tag", None) is not None:
            raise _refused("tags are not read", event)
        if self._depth == MAX_DEPTH:
            raise _refused(f"more than {MAX_DEPTH} levels are not read", event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and node.tag in NUMBERS and len(node.value) > MAX_DIGITS:
            raise _refused(f"numbers of more than {MAX_DIGITS} digits are not read", node)
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        given: set[str] = set()
        for key, _ in node.value:
            if key.tag != yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG:
                raise _refused("only text can be a key", key)
            if key.value in given:
                raise _refused(f"the key {key.value} is given twice", key)
            given.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _refused(problem: str, at: Any) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)
