"""``--plugin`` and ``SAE_PLUGINS``: parts of the user's own, loaded before all else is done."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sae_cli.core.plugins.loaded import VARIABLE


def load_plugins(given: Sequence[str], *, any_version: bool = False) -> None:
    """Load the plug-ins that the command line and the environment name, if any.

    Args:
        given: files and packages of the command line.
        any_version: whether they may have changed since a run was made with them.

    Raises:
        ConfigError: one line on the first fault.
    """
    if given or os.environ.get(VARIABLE):
        # Where there are none, no command waits for what loads them.
        from sae_cli.core.plugins.loading import load_given

        load_given(given, any_version=any_version)
