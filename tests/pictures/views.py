"""Views of made-up runs, from which every registered picture can be drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from sae_cli.pictures import Examples, Picture, View
from sae_cli.pictures.picture import Floats, Integers
from sae_cli.pictures.view import Excited, Worst


def random(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def lines(stages: Sequence[str], epochs: int) -> list[dict[str, Any]]:
    """Lines of ``metrics.jsonl``, without train values before the first epoch of a stage."""
    found = []
    for index, stage in enumerate(stages):
        for epoch in range(epochs + 1):
            line: dict[str, Any] = {"stage": stage, "epoch": index * epochs + epoch}
            for term in ("loss", "reconstruction", "penalty"):
                line[f"val/{term}"] = 1.0 / (epoch + 1)
                if epoch:
                    line[f"train/{term}"] = 1.1 / (epoch + 1)
            found.append(line)
    return found


@final
@dataclass
class MadeUp:
    """A ``View`` of random values.

    Attributes:
        part: of the data, which holds all rows.
        decoded: the arrays that ``decode`` has returned.
    """

    input_shape: tuple[int, ...]
    n_latents: int
    examples: Examples
    filters: Floats | None
    dictionary: Floats | None
    means: Floats
    codes: Floats
    labels: Integers | None
    activation_name: str = "sigmoid"
    active_above: float = 0.5
    has_prior: bool = False
    decoder_trained: bool = True
    has_head: bool = False
    seed: int = 3
    projection: str = "pca"
    target: float | None = None
    sheet: tuple[int, ...] | None = None
    wrap: bool = False
    parents: Integers | None = None
    terms: Sequence[str] = ("loss", "reconstruction", "penalty")
    lines: Sequence[Mapping[str, Any]] = field(default_factory=lambda: lines(["joint"], 3))
    class_names: Sequence[str] | None = None
    part: str = ""
    decoded: list[Floats] = field(default_factory=list)

    @property
    def sizes(self) -> Floats:
        return np.asarray(np.sqrt((self.codes.astype(np.float64) ** 2).mean(0)))

    @property
    def code_counts(self) -> tuple[Integers, Floats]:
        return np.histogram(self.codes, bins=20)

    @property
    def firing(self) -> tuple[Integers, int]:
        return (self.codes > self.active_above).sum(0), len(self.codes)

    @property
    def worst(self) -> Worst:
        x, _, x_hat = self.examples
        mse = ((x_hat - x).reshape(len(x), -1) ** 2).mean(1, dtype=np.float64)
        order = np.argsort(-mse)
        return Worst(x[order], x_hat[order], mse[order], order, len(x))

    def excited(self, latents: Integers, n: int) -> Excited:
        order = np.argsort(-self.codes, axis=0)[:n, latents].T
        values = np.take_along_axis(self.codes.T[latents], order, 1)
        x = random(*order.shape, *self.input_shape, seed=11)
        return Excited(values, order, np.full(order.shape, self.part), x)

    def atoms(self, latents: Integers) -> Floats:
        return random(self.n_latents, math.prod(self.input_shape), seed=4)[latents] - 0.5

    def decode(self, codes: Floats) -> Floats:
        assert codes.shape[1:] == (self.n_latents,)
        self.decoded.append(codes @ random(self.n_latents, math.prod(self.input_shape), seed=5))
        return self.decoded[-1]


def make_view(input_shape: tuple[int, ...], n_latents: int, **others: Any) -> MadeUp:
    """Make a view of a dense auto-encoder with one layer on either side.

    Args:
        others: values that replace those.
    """
    x, x_hat = random(12, *input_shape, seed=1), random(12, *input_shape, seed=2)
    n_features = math.prod(input_shape)
    view = MadeUp(
        input_shape,
        n_latents,
        Examples(x, None, x_hat),
        filters=random(n_latents, n_features, seed=6) - 0.5,
        dictionary=random(n_latents, n_features, seed=7) - 0.5,
        means=random(n_latents, seed=8).astype(np.float64),
        codes=random(100, n_latents, seed=9),
        labels=np.arange(100) % 10,
    )
    return replace(view, **others)


def pictures(draw: Callable[[View], Iterator[Picture]], view: View) -> list[str]:
    """Names of the pictures of one file that apply to a view."""
    return [picture.name for picture in draw(view)]


GREY, COLOUR, VECTOR = (1, 8, 8), (3, 5, 5), (7,)
# Each registered picture applies to at least one of these.
VIEWS: dict[str, Callable[[], MadeUp]] = {
    "two latents with a prior": lambda: make_view(GREY, 2, has_prior=True, target=0.1),
    "few codes, projected": lambda: make_view(
        VECTOR, 5, codes=random(20, 5, seed=9), labels=None, projection="tsne"
    ),
    "two latents of vectors": lambda: make_view(VECTOR, 2, labels=None),
    "a sparse code of vectors": lambda: make_view(
        *(VECTOR, 20),
        part="/data/activations-of-layer-3/shard-00017.npy",
        active_above=0.0,
        codes=random(100, 20, seed=9) * (random(100, 20, seed=10) ** 2 > np.linspace(0.0, 1.0, 20)),
    ),
    "a convolution on a torus of colour images": lambda: make_view(
        *(COLOUR, 16),
        filters=random(20, 3, 4, 4) - 0.5,
        sheet=(4, 4),
        wrap=True,
        class_names=[f"class {i}, of a long name" for i in range(9)],
    ),
    "a tree with a head, of corrupted images": lambda: make_view(
        GREY,
        50,
        has_head=True,
        parents=(np.arange(50) + 2) // 3 - 1,
        examples=Examples(*(random(12, *GREY, seed=i) for i in range(3))),
    ),
}
