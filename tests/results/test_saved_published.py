"""Published figures in a configuration: checked as they are read, kept in ``config.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sae_cli.config.schema import check
from sae_cli.core.errors import ConfigError
from sae_cli.results.saved_config import read_config
from sae_cli.runs.train import train
from tests.conftest import SMALL, Configure

ENTRY: dict[str, Any] = {
    "metric": "val/loss",
    "value": 0.25,
    "tolerance": None,
    "source": "a paper, table 1",
}


def test_a_run_folder_keeps_them(configure: Configure, tmp_path: Path) -> None:
    config = configure(*SMALL, "pictures=false").changed({"published": [ENTRY]})
    train(config, tmp_path / "run", [])
    assert read_config(tmp_path / "run" / "config.yaml").as_dict()["published"] == [ENTRY]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"metric": "val/los"}, r"published\.0\.metric=val/los is not a metric; .*mean val/loss"),
        ({"value": "a lot"}, r"published\.0\.value=a lot"),
        ({"tolerance": -0.1}, r"published\.0\.tolerance=-0\.1"),
        ({"source": "two\nlines"}, r"published\.0\.source=two.*lines: must be a line of text"),
        ({"page": 3}, r"published\.0\.page"),
    ],
)
def test_a_wrong_entry_is_refused(changed: dict[str, Any], says: str, configure: Configure) -> None:
    plain = configure().as_dict() | {"published": [ENTRY | changed]}
    with pytest.raises(ConfigError, match=says):
        check(plain)
