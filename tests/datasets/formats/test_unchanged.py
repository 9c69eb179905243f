"""Files that become others between the look at them and their reading."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats import unpacked
from sae_cli.datasets.formats.array_file import open_array_file
from sae_cli.datasets.formats.packed import Packed
from sae_cli.datasets.rows import Part
from tests.datasets.formats.packed_forms import FORMS, on_disk
from tests.datasets.test_array_formats import X


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("to_disk", [False, True])
def test_a_file_that_becomes_another_before_it_is_unpacked(
    tmp_path: Path, form: str, to_disk: bool
) -> None:
    """One of fewer rows, one of other values and the same size, and none."""
    ending, save = FORMS[form]
    path, other = tmp_path / f"x.{ending}", tmp_path / f"other.{ending}"
    says = re.escape(f"{path} was replaced or written to while it was read; begin again")
    with on_disk() if to_disk else contextlib.nullcontext():
        for rows in (X[:25], X[::-1]):
            save(path, X)
            found = one_array(path)
            save(other, np.ascontiguousarray(rows))
            other.replace(path)
            with pytest.raises(ConfigError, match=says):
                unpacked.unpack(found, "x")
        path.unlink()
        with pytest.raises(ConfigError, match="cannot be read"):
            unpacked.unpack(found, "x")


def test_a_file_that_becomes_another_while_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    FORMS["csv"][1](path, X)
    (found,) = one_array(path)
    assert isinstance(found, Packed)
    with on_disk(), pytest.raises(ConfigError, match=r"x\.csv was replaced or written to while"):
        for number, _ in enumerate(found.pieces()):
            if number == 0:
                path.write_text(path.read_text() + "1,2,3,4,5,6\n")


def one_array(path: Path) -> Sequence[Part | Packed]:
    file = open_array_file(str(path), "")
    return file.read(file.default or (file.keys[0] if file.keys else None))
