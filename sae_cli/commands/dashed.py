"""Settings that were given as other tools take them: ``--epochs 3`` in place of ``epochs=3``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from sae_cli.config.conf_folder import PAGES

# These are no settings of a run, and are written like them.
RESUME, SECTIONS = "resume", ("hydra", "sweep")


def as_setting(given: str, following: Sequence[str]) -> str | None:
    """Write an argument with dashes as the setting of that name; None where there is none.

    Args:
        given: such as ``--epochs`` or ``--batch-size``, without a value.
        following: the arguments after it; the first may be its value.
    """
    # Only a command line that is wrong waits for this import.
    from sae_cli.config.settings import GROUP_NAMES, LOGGER, Settings

    key = given.lstrip("-").replace("-", "_")
    group, dot, _ = key.partition(".")
    settings = Settings.model_fields
    if dot:
        if group not in {*GROUP_NAMES, LOGGER, *SECTIONS}:
            return None
    elif key not in {*GROUP_NAMES, *PAGES, *settings, RESUME}:
        return None
    # A number may be below 0.
    if following and "=" not in following[0] and not re.match(r"-\D", following[0]):
        return shlex.quote(f"{key}={following[0]}")
    if key in settings and settings[key].annotation is bool:
        return f"{key}=true"
    return f"{key}={'FOLDER' if key == RESUME else 'VALUE'}"
