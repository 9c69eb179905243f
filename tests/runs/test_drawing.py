"""What pictures see of a run, against the run itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_cli.datasets.rows import Part, Shards
from sae_cli.pictures.training import loss_curves
from sae_cli.results import drawing, passes
from sae_cli.results.drawing import RunView
from sae_cli.runs import train as training
from sae_cli.runs.active_run import ActiveRun
from tests.conftest import SMALL, Configure

Trained = Callable[..., ActiveRun]


@pytest.fixture
def trained(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    """Overrides to a trained run, at the moment when its pictures are drawn."""
    runs: list[ActiveRun] = []

    def keep(run: ActiveRun) -> list[object]:
        runs.append(run)
        return []

    def make(*overrides: str) -> ActiveRun:
        monkeypatch.setattr(training, "draw", keep)
        training.train(configure(*SMALL, "device=cpu", *overrides), tmp_path / "run", [])
        return runs[-1]

    return make


def test_codes_are_counted_in_two_passes(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained("model=sparse_kl")
    with torch.no_grad():
        values = torch.cat(list(run.training.dataset.val.batches(1000)))
        codes = run.training.autoencoder(values).codes.numpy()
    assert len(codes) > 32
    monkeypatch.setattr(passes, "BATCH", 16)
    with torch.no_grad():
        view = RunView(run)
        counts, edges = view.code_counts
        means, sizes, (firing, n_examples) = view.means, view.sizes, view.firing
    np.testing.assert_allclose(means, codes.mean(0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(sizes, np.sqrt((codes.astype(np.float64) ** 2).mean(0)), rtol=1e-6)
    assert n_examples == len(codes)
    # Codes near the threshold may be rounded to either side of it.
    assert np.abs(firing - (codes > 0.1).sum(0)).max() <= 1
    np.testing.assert_allclose([edges[0], edges[-1]], [codes.min(), codes.max()], rtol=1e-6)
    assert len(counts) == 60 and counts.sum() == codes.size
    # A code at an edge may be counted on either side of it, as the size of batches rounds it.
    assert np.abs(counts - np.histogram(codes, edges)[0]).sum() <= 4


def test_nothing_is_computed_that_no_picture_asks_for(trained: Trained) -> None:
    view = RunView(trained("model=ae"))
    before = set(vars(view))
    assert [picture.name for picture in loss_curves.draw(view)] == ["loss_curves"]
    assert set(vars(view)) == before
    assert not before & {"examples", "filters", "dictionary", "means", "code_counts", "codes"}


def test_examples_are_corrupted_alike_each_time(trained: Trained) -> None:
    run = trained("model=ae", "corruption=masking")
    with torch.no_grad():
        one, other = RunView(run).examples, RunView(run).examples
        assert one.corrupted is not None and other.corrupted is not None
        np.testing.assert_array_equal(one.corrupted, other.corrupted)
        kept = one.corrupted == one.x
        assert not kept.all() and not one.corrupted[~kept].any()
        x_hat = run.training.autoencoder(torch.from_numpy(one.corrupted)).x_hat.numpy()
    np.testing.assert_allclose(one.x_hat, x_hat, atol=1e-6)
    np.testing.assert_array_equal(one.x, next(run.training.dataset.test.batches(12)).numpy())


def test_without_corruption_examples_are_seen_as_they_are(trained: Trained) -> None:
    with torch.no_grad():
        assert RunView(trained("model=ae")).examples.corrupted is None


def test_codes_and_labels_are_of_the_first_test_examples(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained("model=ae", "architecture.n_latents=2")
    test = run.training.dataset.test
    monkeypatch.setattr(passes, "BATCH", 16)
    monkeypatch.setattr(drawing, "N_CODES", 40)
    with torch.no_grad():
        view = RunView(run)
        expected = run.training.autoencoder(next(test.batches(40))).codes.numpy()
        np.testing.assert_allclose(view.codes, expected, atol=1e-6)
    assert test.labels is not None
    assert view.labels is not None
    np.testing.assert_array_equal(view.labels, test.labels[test.rows[:40]].numpy())


def test_what_is_decoded_lies_in_the_range_of_the_data(trained: Trained) -> None:
    run = trained("model=ae")
    codes = np.random.default_rng(0).normal(0, 100, (5, run.training.autoencoder.n_latents))
    with torch.no_grad():
        decoded = RunView(run).decode(codes.astype(np.float32))
        far = run.training.autoencoder.decode(torch.from_numpy(codes.astype(np.float32)))
    np.testing.assert_allclose(decoded, far.flatten(1).numpy().clip(0, 1), atol=1e-6)
    assert decoded.min() == 0 and decoded.max() == 1


def test_weights_are_those_of_the_model(trained: Trained) -> None:
    run = trained("model=sparse_kl")
    matrices = {
        name.split(".")[0]: tensor.detach().numpy()
        for name, tensor in run.training.network.saved.named_parameters()
        if tensor.ndim == 2
    }
    view = RunView(run)
    assert view.filters is not None and view.dictionary is not None
    np.testing.assert_array_equal(view.filters, matrices["encoder"])
    np.testing.assert_array_equal(view.dictionary, matrices["decoder"].T)
    np.testing.assert_allclose(
        view.atoms(np.array([2, 0, 5])), matrices["decoder"].T[[2, 0, 5]], atol=1e-6
    )


def test_pictures_see_what_the_penalty_knows(trained: Trained) -> None:
    view = RunView(trained("model=sparse_kl", "penalty.target=0.07"))
    assert (view.target, view.sheet, view.wrap, view.parents) == (0.07, None, False, None)
    assert list(view.terms) == ["loss", "reconstruction", "penalty"]
    assert view.activation_name == "sigmoid" and not view.has_prior and not view.has_head


def test_pictures_see_where_latents_lie(trained: Trained) -> None:
    sheet = RunView(trained("model=topographic"))
    assert sheet.sheet is not None and np.prod(sheet.sheet) == sheet.n_latents and sheet.wrap


def test_pictures_see_the_tree_of_latents(trained: Trained) -> None:
    tree = RunView(trained("model=lateral_inhibition", "penalty=lateral_tree"))
    assert tree.parents is not None and tree.parents.shape == (tree.n_latents,)
    assert tree.parents.min() == -1


def test_no_penalty_has_nothing_to_see(trained: Trained) -> None:
    view = RunView(trained("model=ae"))
    assert (view.target, view.sheet, view.wrap, view.parents) == (None, None, False, None)


def test_worst_examples_are_those_of_the_largest_errors(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained("model=ae")
    monkeypatch.setattr(passes, "BATCH", 16)
    with torch.no_grad():
        worst = RunView(run).worst
        x = next(run.training.dataset.test.batches(5000))
        x_hat = run.training.autoencoder(x).x_hat
    mse = (x_hat - x).flatten(1).square().mean(1).double().numpy()
    assert worst.n_compared == len(x) and len(worst.x) == 12
    np.testing.assert_allclose(worst.mse, np.sort(mse)[::-1][:12], rtol=1e-4)
    np.testing.assert_array_equal(worst.x, x[torch.from_numpy(worst.rows)].numpy())
    np.testing.assert_allclose(worst.x_hat, x_hat[torch.from_numpy(worst.rows)].numpy(), atol=1e-5)


def test_examples_that_excite_latents_are_found_in_pieces(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained("model=sparse_kl")
    monkeypatch.setattr(passes, "BATCH", 16)
    latents = np.array([5, 0, 63])
    val = run.training.dataset.val
    with torch.no_grad():
        found = RunView(run).excited(latents, 7)
        x = next(val.batches(1000))
        codes = run.training.autoencoder(x).codes.numpy()
    np.testing.assert_allclose(found.values, -np.sort(-codes[:, latents].T, 1)[:, :7], atol=1e-6)
    places = np.searchsorted(val.rows.numpy(), found.rows)
    np.testing.assert_allclose(
        found.values, np.take_along_axis(codes[:, latents].T, places, 1), atol=1e-6
    )
    np.testing.assert_array_equal(found.x, x.numpy()[places])
    assert found.parts.shape == (3, 7) and set(found.parts.flat) == {""}


def test_rows_of_shards_are_placed_in_their_part() -> None:
    # A file may hold several parts: their rows are counted on.
    sizes = [("a.npy", 4), ("b.arrow", 3), ("b.arrow", 5), ("c.npy", 2)]
    shards = Shards([Part(torch.zeros(n, 2), name) for name, n in sizes])
    parts, rows = passes.place_rows(shards, torch.tensor([[0, 3, 4], [7, 11, 13]]))
    assert parts.tolist() == [["a.npy", "a.npy", "b.arrow"], ["b.arrow", "b.arrow", "c.npy"]]
    assert rows.tolist() == [[0, 3, 0], [3, 7, 1]]
