"""Checks of a part that is not ours: its options must be a schema, as those of our parts are."""

from __future__ import annotations

import inspect
import re
from inspect import Parameter
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic

from sae_cli.core.errors import ConfigError
from sae_cli.core.registry import ENTRIES, STRICT, Entry, validate

NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
PLAIN = (bool, int, float, str, NoneType)
OPTIONS = (
    "bool, int, float, str, Literal[...], list[...] and X | None of these, or a type of "
    "sae_cli.plugins such as NonNegative"
)
# The program itself asks for these options.
ASKED_FOR = {"optimizer": ("learning_rate",), "logger": ("log_every",)}


def check_part(entry: Entry) -> None:
    """Refuse a part that pages and command line could not be checked against.

    Raises:
        ConfigError: with the name of the part, what is wrong with it, and what would do.
    """
    which = f"{entry.kind}={entry.name}"
    if NAME.fullmatch(entry.name) is None:
        raise ConfigError(f"{which!r} is not a name; names are letters, digits and _")
    if entry.registry is None:
        return
    try:
        parameters = [*inspect.signature(entry.made_by, eval_str=True).parameters.values()]
    except Exception as error:
        # Annotations are evaluated, and anything may come of that.
        raise ConfigError(
            f"the options of {which} cannot be read: {type(error).__name__}: {error}; annotations "
            "have to be names that the file itself imports"
        ) from error
    _check_given(entry, parameters, which)
    options = [one for one in parameters if one.kind is Parameter.KEYWORD_ONLY]
    for one in options:
        _check_option(one, which)
    if entry.kind == "format" and options:
        raise ConfigError(
            f"{which} has options, which sae-export gives to no format; leave them out"
        )
    missing = [name for name in ASKED_FOR.get(entry.kind, ()) if name not in map(_name, options)]
    if missing:
        raise ConfigError(f"{which} needs an option {missing[0]}, as every {entry.kind} has one")
    _check_defaults(entry, options, which)


def _name(parameter: Parameter) -> str:
    return parameter.name


def _check_given(entry: Entry, parameters: list[Parameter], which: str) -> None:
    """Check what stands before the options, which is given to every part of a kind."""
    for one in parameters:
        if one.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            raise ConfigError(
                f"{which} takes {str(one).partition(':')[0]}; its options have to be named one by "
                "one, after a *"
            )
    own = _given(parameters)
    ours = _given_to_ours(entry)
    if len(own) > len(ours):
        raise ConfigError(
            f"{which}: its parameter {own[len(ours)]} is not an option, because it can be given by "
            "its place; put a * before the options"
        )
    if len(own) < len(ours):
        raise ConfigError(f"{which} has to take {', '.join(ours)} before its options")


def _given(parameters: list[Parameter]) -> list[str]:
    by_place = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return [one.name for one in parameters if one.kind in by_place]


def _given_to_ours(entry: Entry) -> list[str]:
    """Give what a part of ours of that kind takes before its options; all take the same."""
    ours = next(one for one in ENTRIES if one.registry is entry.registry)
    return _given([*inspect.signature(ours.made_by).parameters.values()])


def _check_option(option: Parameter, which: str) -> None:
    if option.annotation is Parameter.empty:
        raise ConfigError(
            f"{which}: its option {option.name} has no annotation; options are {OPTIONS}"
        )
    if not _is_supported(option.annotation):
        given = getattr(option.annotation, "__name__", str(option.annotation))
        raise ConfigError(
            f"{which}: its option {option.name} is annotated {given}; options are {OPTIONS}"
        )


def _is_supported(annotation: Any) -> bool:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _is_supported(arguments[0])
    if origin in (Union, UnionType) or (origin is list and arguments):
        return all(map(_is_supported, arguments))
    if origin is Literal:
        return all(isinstance(one, (str, bool, int)) for one in arguments)
    return annotation in PLAIN or annotation is None


def _check_defaults(entry: Entry, options: list[Parameter], which: str) -> None:
    """Check that defaults are values that a page could give."""
    assert entry.registry is not None
    given = {one.name: one.default for one in options if one.default is not Parameter.empty}
    fields: dict[str, Any] = {one.name: (one.annotation, ...) for one in options}
    try:
        entry.registry.schema(entry.name)
        of_defaults = pydantic.create_model(
            entry.name, __config__=STRICT, **{name: fields[name] for name in given}
        )
    except Exception as error:
        # pydantic has many errors for annotations that it makes nothing of.
        text = str(error).partition("\n")[0]
        raise ConfigError(
            f"the options of {which} are not a schema: {type(error).__name__}: {text}; options are "
            f"{OPTIONS}"
        ) from error
    try:
        validate(of_defaults, given, entry.kind, f"{entry.name} takes")
    except ConfigError as error:
        raise ConfigError(f"{which}: the default of an option is not allowed: {error}") from None
