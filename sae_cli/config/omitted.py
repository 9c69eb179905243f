"""The options that a page of the user's own leaves out, as their part has them.

Such a page names only what it changes. The rest comes from our own page of the part, or from the
defaults of a part that a plug-in brings.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from sae_cli.config.conf_folder import CONF
from sae_cli.config.settings import GROUP_NAMES, LOGGER
from sae_cli.config.widths import GROUP, taken_back
from sae_cli.core.plugins.loaded import plugin_of

MISSING = "???"


def omitted_options(config_path: str, page: Mapping[Any, Any]) -> dict[str, Any]:
    """Give what is to be added to a page.

    Args:
        config_path: its group and name, as in ``penalty/gentle``.
        page: its content; one with defaults of its own has all that it is to have.
    """
    group = config_path.partition("/")[0]
    if "defaults" in page:
        return {}
    if group == LOGGER:
        return {
            str(name): (section or {}) | added
            for name, section in page.items()
            if section is None or isinstance(section, dict)
            if (added := _added(LOGGER, str(name), section or {})) or section is None
        }
    return _added(group, str(page.get("name")), page) if group in GROUP_NAMES else {}


def _added(group: str, name: str, given: Mapping[Any, Any]) -> dict[str, Any]:
    options = options_of_part(group, name)
    added = {key: value for key, value in options.items() if key not in given}
    if group == GROUP:
        # Whoever gives a width in one way does not want it in the other.
        added |= taken_back(given, added)
    return added


def options_of_part(group: str, name: str) -> dict[str, Any]:
    """Give the options of a part with their defaults; ``???`` for one that has to be given."""
    if plugin_of(group, name) is None:
        return dict(_of_our_page(group, name))
    from sae_cli.core.plugins.loading import entry_of

    entry = entry_of(group, name)
    assert entry is not None and entry.registry is not None
    fields = entry.registry.schema(name).model_fields
    return {k: MISSING if field.is_required() else field.default for k, field in fields.items()}


@cache
def _of_our_page(group: str, name: str) -> Mapping[str, Any]:
    file = CONF / group / f"{name}.yaml"
    if not file.is_file():
        return {}
    content = yaml.safe_load(file.read_text("utf-8"))
    found: dict[str, Any] = content[name] if group == LOGGER and name in content else content
    return {key: value for key, value in found.items() if key != "name"}


def without_page(group: str, name: str) -> str:
    """Word the error of a part of a plug-in that no page chooses."""
    content = f"{name}:" if group == LOGGER else f"name: {name}"
    return (
        f"{group}={name}: the plug-in has this part, and no page chooses it; write {group}/{name}"
        f".yaml in a folder of your own, with the line '{content}', and give --config-dir FOLDER"
    )
