"""Measures of a map: whether neighbours on a sheet of latents are alike, and pinwheels.

None of these numbers means anything by itself: a map is compared with the same atoms in shuffled
places (``against_shuffled``).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sae_cli.pictures.picture import Floats

Places = npt.NDArray[np.intp]


class Compared(NamedTuple):
    """A measure of a map beside that of the same atoms in shuffled places.

    Attributes:
        value: of the map.
        shuffled: mean over the shuffled maps.
        z: the distance of the value above that mean, in standard deviations of those maps.
    """

    value: float
    shuffled: float
    z: float


def against_shuffled(
    measure: Callable[[Places], float], n_latents: int, *, n_shuffles: int = 1000, seed: int = 0
) -> Compared:
    """Compare a measure of the map with that of shuffled ones.

    Args:
        measure: takes the latent at each place ``(n_latents,)`` and gives a number.
    """
    rng = np.random.default_rng(seed)
    value = measure(np.arange(n_latents))
    others = np.array([measure(rng.permutation(n_latents)) for _ in range(n_shuffles)])
    spread = float(others.std())
    z = (value - float(others.mean())) / spread if spread else 0.0
    return Compared(value, float(others.mean()), z)


def neighbours(sheet: tuple[int, int], *, wrap: bool) -> tuple[Places, Places]:
    """Pairs of places side by side or one above the other, each pair once.

    Args:
        sheet: rows and columns; places are numbered row by row.
        wrap: the sheet is a torus.
    """
    places = np.arange(sheet[0] * sheet[1]).reshape(sheet)
    first, second = [], []
    for axis in (0, 1):
        ends = slice(None) if wrap else slice(0, -1)
        index = (ends, slice(None)) if axis == 0 else (slice(None), ends)
        first.append(places[index].ravel())
        second.append(np.roll(places, -1, axis)[index].ravel())
    return np.concatenate(first), np.concatenate(second)


def neighbour_similarity(
    atoms: Floats, sheet: tuple[int, int], *, wrap: bool, seed: int = 0
) -> Compared:
    """Mean ``|cosine|`` of the atoms of neighbouring latents.

    Args:
        atoms: ``(n_latents, n_features)`` in the order of the sheet, row by row. An atom of
            zeros resembles no other.
    """
    norms = np.linalg.norm(atoms, axis=1, keepdims=True)
    units = np.divide(atoms, norms, out=np.zeros(atoms.shape), where=norms > 0)
    cosines = np.abs(units @ units.T)
    one, other = neighbours(sheet, wrap=wrap)
    return against_shuffled(
        lambda places: float(cosines[places[one], places[other]].mean()), len(atoms), seed=seed
    )


def orientations(atoms: Floats) -> tuple[Floats, Floats]:
    """The direction of the bars or edges in each atom, and how pure it is.

    With ``P`` the power spectrum of the atom, padded to twice its size, half the argument of
    ``sum P exp(2 i phi)`` over directions ``phi`` of frequency is the mean direction in which
    brightness changes; bars run across it.

    Args:
        atoms: ``(n_latents, height, width)``.

    Returns:
        angles ``(n_latents,)`` in [0, pi), anticlockwise as one looks at the image, 0 for
        horizontal bars; strengths ``(n_latents,)`` from 0 (no direction) to 1 (a grating).
    """
    height, width = atoms.shape[1:]
    power = np.abs(np.fft.fft2(atoms.astype(np.float64), s=(2 * height, 2 * width))) ** 2
    down, right = np.fft.fftfreq(2 * height)[:, None], np.fft.fftfreq(2 * width)[None, :]
    phi = np.arctan2(-down, right)  # rows count downwards
    direction = np.exp(2j * phi)
    # The mean has no direction, nor has the highest frequency of an axis, which has no sign.
    direction[0, 0] = direction[height, :] = direction[:, width] = 0.0
    total = (power * (direction != 0)).sum((1, 2))
    mean = (power * direction).sum((1, 2))
    strengths = np.divide(np.abs(mean), total, out=np.zeros(len(atoms)), where=total > 0)
    return (np.angle(mean) / 2 + np.pi / 2) % np.pi, strengths


def orientation_smoothness(
    angles: Floats, sheet: tuple[int, int], *, wrap: bool, seed: int = 0
) -> Compared:
    """Mean ``cos 2(a - b)`` of neighbours' angles: 1 where all are equal, about 0 by chance."""
    one, other = neighbours(sheet, wrap=wrap)
    return against_shuffled(
        lambda places: float(np.cos(2 * (angles[places[one]] - angles[places[other]])).mean()),
        len(angles),
        seed=seed,
    )


def windings(angles: Floats, *, wrap: bool) -> Floats:
    """The turns of the angle around each square of 2x2 places: -1/2, 0 or 1/2.

    An orientation repeats after half a turn, so a pinwheel is half a turn, not a whole one.

    Args:
        angles: ``(rows, columns)``, modulo pi.

    Returns:
        ``(rows, columns)`` on a torus, otherwise one less each way, by the place at the upper
        left of each square. Anticlockwise turns on an anticlockwise way around are positive.
    """
    right, down = np.roll(angles, -1, 1), np.roll(angles, -1, 0)
    across = np.roll(down, -1, 1)
    way = (angles, down, across, right, angles)
    total = np.zeros(angles.shape)
    for here, there in pairwise(way):
        total += (there - here + np.pi / 2) % np.pi - np.pi / 2
    turns = np.round(total / np.pi) / 2
    return turns if wrap else turns[:-1, :-1]


def pinwheel_density(
    angles: Floats, sheet: tuple[int, int], *, wrap: bool, seed: int = 0
) -> Compared:
    """The share of 2x2 squares of the sheet with a pinwheel; a third by chance.

    A count alone shows no order, because a shuffled map has many more.
    """
    return against_shuffled(
        lambda places: float((windings(angles[places].reshape(sheet), wrap=wrap) != 0).mean()),
        len(angles),
        seed=seed,
    )
