"""What each option takes, in words: ``a number, 0 or more``.

The words are made from the annotations of the parts, which take seconds to import, so they are kept
in ``allowed.json``; ``python -m sae_cli.config.allowed`` writes it anew, and a test says when that
is due.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from sae_cli.core.plugins.loaded import plugin_of

if TYPE_CHECKING:
    import pydantic

FILE = Path(__file__).with_name("allowed.json")
SETTINGS = "settings"
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
# The bounds of tensors are not worth saying.
LARGE = 1e9


@cache
def read_allowed() -> dict[str, dict[str, str]]:
    """Read the words: ``settings`` or ``GROUP.PART`` -> option -> what it takes."""
    found: dict[str, dict[str, str]] = json.loads(FILE.read_text("utf-8"))
    return found


def takes(key: str, part: str) -> str:
    """Word what an option takes, such as ``penalty.weight`` of ``kl``; nothing where there is no
    such option."""
    group, _, option = key.rpartition(".")
    # The options of a tracker have its name between: several are chosen at once.
    place = group if "." in group else f"{group}.{part}"
    words = read_allowed().get(place if group else SETTINGS) or _words_of_plugin(place)
    return words.get(option, "")


def _words_of_plugin(place: str) -> dict[str, str]:
    """Word what the options of a part take that a plug-in has brought, if one has."""
    kind, _, name = place.partition(".")
    if plugin_of(kind, name) is None:
        return {}
    from sae_cli.core.plugins.loading import entry_of

    entry = entry_of(kind, name)
    assert entry is not None and entry.registry is not None
    return _words(entry.registry.schema(name))


def _words(schema: type[pydantic.BaseModel]) -> dict[str, str]:
    fields = schema.model_fields.items()
    return {option: word(field.annotation, field.metadata) for option, field in fields}


def word_all() -> dict[str, dict[str, str]]:
    """Word what every setting and every option of every part takes."""
    from sae_cli.config.schema import GROUPS
    from sae_cli.config.settings import LOGGER, Settings
    from sae_cli.trackers import TRACKERS

    schemas: dict[str, type[pydantic.BaseModel]] = {SETTINGS: Settings}
    for group, registry in (*GROUPS.items(), (LOGGER, TRACKERS)):
        schemas |= {f"{group}.{name}": registry.schema(name) for name in registry.names}
    return {key: _words(schema) for key, schema in schemas.items()}


def word(annotation: Any, metadata: Any = ()) -> str:
    """Word what an annotation takes.

    Args:
        metadata: its bounds, as pydantic keeps them.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return word(arguments[0], [*metadata, *_bounds(arguments[1:])])
    if origin in (Union, UnionType):
        others = [word(one, metadata) for one in arguments if one is not NoneType]
        return "; or ".join([*others, *(["null"] if NoneType in arguments else [])])
    if origin is Literal:
        return f"one of {', '.join(map(_typed, arguments))}"
    if origin is list:
        return f"a list; each is {word(arguments[0])}"
    kind = KINDS.get(annotation, "an entry")
    return ", ".join([kind, *_range(_limits(metadata))])


def _bounds(metadata: Any) -> list[Any]:
    """Give the bounds among what annotates a type; a ``Field`` keeps its own."""
    return [one for given in metadata for one in getattr(given, "metadata", [given])]


def _limits(metadata: Any) -> dict[str, float]:
    names = ("ge", "gt", "le", "lt")
    return {n: getattr(one, n) for one in metadata for n in names if hasattr(one, n)}


def _range(limits: dict[str, float]) -> list[str]:
    words = []
    if "ge" in limits:
        words.append(f"{limits['ge']:g} or more")
    if "gt" in limits:
        words.append(f"above {limits['gt']:g}")
    if limits.get("le", LARGE) < LARGE:
        words.append(f"at most {limits['le']:,}")
    if limits.get("lt", LARGE) < LARGE:
        words.append(f"below {limits['lt']:g}")
    return words


def _typed(choice: Any) -> str:
    return str(choice).lower() if isinstance(choice, bool) else str(choice)


if __name__ == "__main__":
    FILE.write_text(json.dumps(word_all(), indent=1) + "\n", "utf-8")
