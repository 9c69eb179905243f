"""What the fork server imports before it forks: all of the package, and what that imports late."""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil

import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401

import sae_cli
from sae_cli.config.compose import compose_run, hydra_ready
from tests.forked import no_fsync

for module in pkgutil.walk_packages(sae_cli.__path__, "sae_cli."):
    importlib.import_module(module.name)

# Hydra's first composition takes several times as long as the next, and what it has composed of
# these choices is kept for the forks: many tests begin with them.
with hydra_ready():
    for choices in ([], ["model=ae"], ["model=denoising", "optimizer=adam", "device=cpu"]):
        compose_run(choices)

# The memory stays shared with the forks, which would otherwise copy it at their first collection.
gc.collect()
gc.freeze()


os.fsync = no_fsync  # type: ignore[assignment]
