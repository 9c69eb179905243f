"""Registries: the names a configuration may use, and the options that each name takes.

A part is registered with a name; its **keyword-only parameters are its options** and their
annotations are the schema that YAML and command line are checked against. An option that came later
has a default, so that pages of users without it stay valid. Positional parameters are what the
builder supplies (an input shape, say).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pydantic

from sae_cli.core.errors import ConfigError, nearest
from sae_cli.core.faults import describe

T = TypeVar("T")

MISSING = "???"
# What is unknown may be a part of the user's own.
OF_PLUGINS = "; a part of your own comes with --plugin FILE"
STRICT = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class TakenError(ValueError):
    """A name is to be registered that another part has."""


@dataclass(frozen=True)
class Entry:
    """Something that was registered.

    Attributes:
        kind, name: what it is, and its name among those of its kind.
        made_by: the class or function.
        withdraw: takes it back.
        registry: that it has options in; None for a picture, which has none.
    """

    kind: str
    name: str
    made_by: Callable[..., Any]
    withdraw: Callable[[], None]
    registry: Registry[Any] | None


# All that was registered, in its order; what a plug-in brings is what its import adds.
ENTRIES: list[Entry] = []


class Registry(Generic[T]):
    """The parts of one kind (one config group): name -> factory."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._factories: dict[str, Callable[..., T]] = {}
        self._schemas: dict[str, type[pydantic.BaseModel]] = {}

    def register(self, name: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Enter the decorated class or function under ``name``."""

        def enter(factory: Callable[..., T]) -> Callable[..., T]:
            if name in self._factories:
                raise TakenError(f"{self.kind}={name} is registered twice; choose another name")
            self._factories[name] = factory
            ENTRIES.append(Entry(self.kind, name, factory, lambda: self._withdraw(name), self))
            return factory

        return enter

    def _withdraw(self, name: str) -> None:
        del self._factories[name]
        self._schemas.pop(name, None)

    @property
    def names(self) -> list[str]:
        return sorted(self._factories)

    def made_by(self, name: str) -> Callable[..., T]:
        """The class or function that was registered under ``name``."""
        return self._factories[name]

    def schema(self, name: str) -> type[pydantic.BaseModel]:
        """The options of ``name`` as a pydantic model, derived from its signature."""
        if name not in self._schemas:
            parameters = inspect.signature(self._factories[name], eval_str=True).parameters
            fields: dict[str, Any] = {
                p.name: (p.annotation, ... if p.default is p.empty else p.default)
                for p in parameters.values()
                if p.kind is inspect.Parameter.KEYWORD_ONLY
            }
            self._schemas[name] = pydantic.create_model(name, __config__=STRICT, **fields)
        return self._schemas[name]

    def check(self, section: Any) -> dict[str, Any]:
        """Return ``section`` (``name`` and options) with checked, converted values.

        Raises:
            ConfigError: unknown name or option, missing option, wrong type or value.
        """
        if not isinstance(section, Mapping) or not isinstance(section.get("name"), str):
            raise ConfigError(
                f"{self.kind}={section!r} is not a part with a name; choose one of "
                f"{', '.join(self.names)}"
            )
        name = section["name"]
        if name not in self._factories:
            raise ConfigError(
                f"{self.kind}={name} is unknown; choose one of {', '.join(self.names)}"
                + (nearest(name, self.names) or OF_PLUGINS)
            )
        options = {key: value for key, value in section.items() if key != "name"}
        return {"name": name} | validate(self.schema(name), options, self.kind, f"{name} takes")

    def build(self, section: Mapping[str, Any], *given: Any) -> T:
        """Call the factory of a checked section with what the builder gives and its options."""
        options = {key: value for key, value in section.items() if key != "name"}
        return self._factories[section["name"]](*given, **options)


def load_all(package: str) -> None:
    """Import every module of a package, so that the parts in them register themselves.

    Args:
        package: its dotted name; its own import must have begun.
    """
    for found in pkgutil.iter_modules(sys.modules[package].__path__):
        importlib.import_module(f"{package}.{found.name}")


def validate(
    schema: type[pydantic.BaseModel], options: Mapping[str, Any], path: str, takes: str
) -> dict[str, Any]:
    """Check ``options`` against ``schema``; ``path`` and ``takes`` word the error.

    Raises:
        ConfigError: one line on the first fault.
    """
    prefix = f"{path}." if path else ""
    for key, value in options.items():
        if value == MISSING:
            raise ConfigError(f"{prefix}{key} needs a value; give {prefix}{key}=VALUE")
    try:
        return schema.model_validate(dict(options)).model_dump()
    except pydantic.ValidationError as error:
        raise ConfigError(describe(error, options, schema, prefix, takes)) from None
