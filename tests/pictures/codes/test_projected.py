"""Projections of codes: neighbours stay together, the same seed gives the same points."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from sae_cli import load_run
from sae_cli.core.errors import ConfigError
from sae_cli.pictures.codes import projected
from sae_cli.pictures.codes.projected import check_projection, draw, project
from sae_cli.runs.train import train
from tests.conftest import SMALL, Configure
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random


def groups() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Three clouds that lie far apart, 20 codes each."""
    codes = random(60, 8)
    codes[20:40] += 5.0
    codes[40:] -= 5.0
    return codes


def test_neighbours_stay_together() -> None:
    codes = groups()
    points = project(codes, "tsne", 0)
    assert points.shape == (60, 2)
    assert trustworthiness(codes, points, n_neighbors=5) > 0.9
    nearest = NearestNeighbors(n_neighbors=5).fit(points).kneighbors(return_distance=False)
    assert (nearest // 20 == np.arange(60)[:, None] // 20).all()
    np.testing.assert_array_equal(points, project(codes, "tsne", 0))


def test_it_is_drawn_where_it_was_asked_for() -> None:
    codes = groups()
    view = make_view((7,), 8, codes=codes, labels=None, projection="tsne")
    (picture,) = draw(view)
    assert picture.name == "code_tsne"
    np.testing.assert_array_equal(picture.numbers["points"], project(codes, "tsne", view.seed))
    check_looks(picture)
    assert not pictures(draw, make_view((7,), 8, codes=codes, labels=None))
    assert not pictures(draw, make_view((7,), 2, projection="tsne"))
    for unfit in (codes[:5], np.zeros_like(codes), np.full_like(codes, np.nan)):
        assert not pictures(draw, make_view((7,), 8, codes=unfit, labels=None, projection="tsne"))


def test_umap_is_asked_as_it_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in for it takes the same words, because it is no package of the tests."""
    asked: dict[str, Any] = {}

    class UMAP:
        def __init__(self, **options: Any) -> None:
            asked.update(options)

        def fit_transform(self, codes: Any) -> Any:
            return codes[:, :2]

    module = ModuleType("umap")
    module.UMAP = UMAP  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", module)
    monkeypatch.setattr(projected, "find_spec", lambda name: object())
    (picture,) = draw(make_view((7,), 8, codes=groups(), labels=None, projection="umap", seed=7))
    assert picture.name == "code_umap"
    assert asked == {"n_neighbors": 15, "random_state": 7, "n_jobs": 1}


def test_a_missing_package_is_one_line(
    monkeypatch: pytest.MonkeyPatch, configure: Configure, tmp_path: Path
) -> None:
    monkeypatch.setattr(projected, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"projection=umap needs umap-learn; run `pip install"):
        check_projection("umap")
    check_projection("pca")
    with pytest.raises(ConfigError, match="or give projection=pca"):
        train(configure("model=ae", "projection=tsne", *SMALL), tmp_path / "run", [])
    assert not (tmp_path / "run").exists()
    train(configure("model=ae", "projection=tsne", "pictures=false", *SMALL), tmp_path / "run", [])
    with pytest.raises(ConfigError, match="needs scikit-learn"):
        load_run(tmp_path / "run").plot("code_tsne")
