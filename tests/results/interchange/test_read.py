"""Dictionaries of other libraries: the codes that those gave, and files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sae_cli import load_run
from tests.results.interchange.layouts import GIVEN, Rows, Write, X


@pytest.mark.parametrize(("write", "codes", "x_hat"), GIVEN.values(), ids=GIVEN)
def test_codes_and_reconstructions_are_those_of_the_library(
    tmp_path: Path, write: Write, codes: Rows, x_hat: Rows
) -> None:
    run = load_run(write(tmp_path))
    assert run.n_latents == 4
    np.testing.assert_allclose(run.encode(X).numpy(), codes, atol=1e-6)
    np.testing.assert_allclose(run.decode(codes), x_hat, atol=1e-6)
    np.testing.assert_allclose(run.reconstruct(X.numpy()), x_hat, atol=1e-6)
    assert run.encode(np.zeros((0, 3))).shape == (0, 4)
