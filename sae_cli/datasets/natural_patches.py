"""Grey patches of photographs, whitened or not, to learn topographic codes from.

Without a folder of your own, they are cut from the two photographs inside the package scikit-learn
(china.jpg and flower.jpg, 427 x 640 pixels); nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from sae_cli.core.bar import Bar
from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Positive
from sae_cli.core.paths import full_path
from sae_cli.core.shapes import REALS
from sae_cli.datasets.dataset import DATASETS, Dataset, Split
from sae_cli.datasets.formats.picture import describe_first, read_picture
from sae_cli.datasets.patch_sources import ALL_SPLITS, Source, Sources, own_pictures
from sae_cli.datasets.splits import Seed

PHOTOGRAPHS = ("china.jpg", "flower.jpg")
CHUNK = 4096  # patches at a time in float64

# Whitening compares every pixel of a patch with every other.
Side = Annotated[int, Field(ge=2, le=64)]
Patches = Annotated[int, Field(ge=1, le=10**8)]
Floats = NDArray[np.floating[Any]]


@DATASETS.register("natural_patches")
def natural_patches(
    *,
    path: str | None,
    patch_size: Side,
    train: Patches,
    val: Patches,
    test: Patches,
    whiten: Literal["none", "zca"],
    zca_epsilon: Positive,
    patch_seed: Seed,
) -> Dataset:
    """Cut square patches ``(1, patch_size, patch_size)`` at random places of every picture.

    Each picture is cut into three strips, so that no pixel is in two splits: the right-hand tenth
    of its columns tests, the tenth before it validates (each at least as wide as a patch), the
    rest trains. Where ``path`` has folders train, val and test, these are the splits: a whole
    picture of val validates, and a strip of each picture of train only if there is no folder val.
    Every picture of a split gives the same number of patches, give or take one.

    The mean of each patch is subtracted, because brightness is not structure, and then the mean
    patch of the training split. ``whiten=zca`` multiplies by ``(C/v + zca_epsilon)^(-1/2)`` with C
    the covariance of the training patches and v their mean variance (Bell and Sejnowski 1997).
    Last, one factor gives the training values a variance of 1.

    Args:
        path: a folder of pictures, with or without sub-folders; None for the two photographs.
        train, val, test: numbers of patches.
        zca_epsilon: directions whose relative variance is below this are not amplified.
        patch_seed: draws the places.

    Raises:
        ConfigError: scikit-learn is not installed; no pictures; one is unreadable or too small;
            all training patches are flat.
    """
    sources = _photographs() if path is None else own_pictures(full_path(path))
    drawn, n_first = _draw(sources.pictures, (train, val, test), patch_size, patch_seed)
    transform, mean = _fit(drawn[0], zca_epsilon if whiten == "zca" else None)
    side = (1, patch_size, patch_size)
    stored = []
    for patches in drawn:
        values = np.concatenate([(chunk - mean) @ transform for chunk in _centre(patches)])
        stored.append(torch.from_numpy(_round(values)).reshape(-1, *side))
    files = [picture.path for picture in sources.pictures]
    about = [
        f"patches of {len(files)} pictures in {files[0].parent if path is None else path}",
        describe_first(n_first),
        *sources.about,
    ]
    return Dataset(
        train=Split(stored[0], torch.arange(train)),
        val=Split(stored[1], torch.arange(val)),
        test=Split(stored[2], torch.arange(test)),
        interval=REALS,
        n_classes=None,
        source="; ".join(filter(None, about)),
    )


def _photographs() -> Sources:
    # The package is not imported, because its import takes seconds.
    spec = find_spec("sklearn")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    for folder in folders:
        paths = [Path(folder) / "datasets" / "images" / name for name in PHOTOGRAPHS]
        if all(path.is_file() for path in paths):
            return Sources([Source(path, ALL_SPLITS) for path in paths], [])
    raise ConfigError(
        "dataset=natural_patches reads two photographs inside the package scikit-learn, which is "
        f"{'without them' if folders else 'not installed'}; run "
        "`pip install 'sae-train[images]'`, or give dataset.path=FOLDER of your own pictures"
    )


def _draw(
    pictures: list[Source], counts: tuple[int, int, int], side: int, seed: int
) -> tuple[list[NDArray[np.uint8]], int]:
    """Draw uint8 ``(count, side * side)`` for each split, one picture in memory at a time.

    Returns:
        The patches, and of how many files only the first of several pictures was read.
    """
    rng = np.random.default_rng(seed)
    drawn = [np.empty((count, side, side), np.uint8) for count in counts]
    n_pictures = [sum(split in picture.splits for picture in pictures) for split in ALL_SPLITS]
    filled, n_cut, n_first = [0, 0, 0], [0, 0, 0], 0
    # With disable=None the bar stays quiet where the output is not a terminal.
    for picture in Bar(pictures, "cutting patches", disable=None):
        image, is_first = read_picture(picture.path, "L")
        n_first += is_first
        pixels = np.asarray(image)
        for split, (left, right) in _strips(picture, pixels.shape, side):
            share, rest = divmod(counts[split], n_pictures[split])
            n = share + (n_cut[split] < rest)
            n_cut[split] += 1
            rows = rng.integers(0, pixels.shape[0] - side + 1, n)
            columns = rng.integers(left, right - side + 1, n)
            windows = np.lib.stride_tricks.sliding_window_view(pixels, (side, side))
            drawn[split][filled[split] : filled[split] + n] = windows[rows, columns]
            filled[split] += n
    return [patches.reshape(len(patches), -1) for patches in drawn], n_first


def _strips(
    picture: Source, shape: tuple[int, ...], side: int
) -> list[tuple[int, tuple[int, int]]]:
    """Give each split of a picture its columns: the first, one past the last.

    The first split has the left-hand columns, the others a tenth each.
    """
    height, width = shape
    narrow, n_narrow = max(width // 10, side), len(picture.splits) - 1
    rest = width - n_narrow * narrow
    if height < side or rest < side:
        raise ConfigError(
            f"{picture.path} is {width} x {height} pixels; dataset.patch_size={side} needs at "
            f"least {(n_narrow + 1) * side} x {side}, so that the splits share no pixel; give a "
            "smaller patch_size, or remove the picture"
        )
    edges = [0, *range(rest, width + 1, narrow)]
    return list(zip(picture.splits, pairwise(edges), strict=True))


def _centre(patches: NDArray[np.uint8]) -> Iterator[Floats]:
    """Yield float64 chunks of the patches, each patch without its own mean."""
    for start in range(0, len(patches), CHUNK):
        chunk = patches[start : start + CHUNK].astype(np.float64)
        yield chunk - chunk.mean(1, keepdims=True)


def _fit(patches: NDArray[np.uint8], epsilon: float | None) -> tuple[Floats, Floats]:
    """Fit the matrix ``(n_features, n_features)`` to multiply by, and the mean to subtract before.

    Raises:
        ConfigError: the patches have no variance.
    """
    n, n_features = patches.shape
    mean, second = np.zeros(n_features), np.zeros((n_features, n_features))
    for chunk in _centre(patches):
        mean += chunk.sum(0) / n
        second += chunk.T @ chunk / n
    covariance = second - np.outer(mean, mean)
    variance = float(np.trace(covariance)) / n_features
    if variance <= 1e-9:
        raise ConfigError(
            f"dataset=natural_patches: the {n} training patches are flat; give other pictures, "
            "larger patches or more of them"
        )
    covariance /= variance
    transform = np.eye(n_features)
    if epsilon is not None:
        values, vectors = np.linalg.eigh(covariance)
        transform = (vectors / np.sqrt(values.clip(0.0) + epsilon)) @ vectors.T
    after = float(np.trace(transform @ covariance @ transform)) / n_features
    return transform / np.sqrt(variance * after), mean


def _round(values: Floats) -> NDArray[np.float32]:
    """Round to multiples of 1/4096, a thousandth of what 8 bits can tell apart.

    The last bits of a matrix product depend on the number of threads, and a run that is resumed
    refuses data that differ in any bit.
    """
    return (np.round(values * 4096) / 4096).astype(np.float32)
