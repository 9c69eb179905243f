"""Reports of runs that were made before some groups and options came."""

from __future__ import annotations

from pathlib import Path

import yaml

from sae_cli.config.schema import GROUPS
from sae_cli.config.settings import EARLIER_GROUPS, EARLIER_OPTIONS
from sae_cli.results.gather import gather, rows
from sae_cli.runs.train import train
from tests.conftest import SMALL, Configure


def test_what_is_filled_in_is_what_the_registries_take_by_default() -> None:
    came_later = {
        (group, name): {
            key: field.default
            for key, field in registry.schema(name).model_fields.items()
            if not field.is_required()
        }
        for group, registry in GROUPS.items()
        for name in registry.names
    }
    assert {key: options for key, options in came_later.items() if options} == EARLIER_OPTIONS
    assert all(GROUPS[group].check(part) == part for group, part in EARLIER_GROUPS.items())


def test_an_earlier_run_is_a_seed_of_the_same_row(configure: Configure, tmp_path: Path) -> None:
    words = ("model=sparse_l1", "epochs=1", "pictures=false", *SMALL)
    for seed in (0, 1):
        train(configure(*words, f"seed={seed}"), tmp_path / str(seed), [f"seed={seed}"])
    page = tmp_path / "0" / "config.yaml"
    config = yaml.safe_load(page.read_text())
    del config["revival"], config["clip_norm"]
    config["penalty"] = {"name": "l1", "weight": config["penalty"]["weight"]}
    page.write_text(yaml.safe_dump(config))
    runs, left_out = gather([tmp_path])
    assert left_out == []
    assert [sorted(row.values) for row in rows(runs)] == [[0, 1]] * len(rows(runs))
