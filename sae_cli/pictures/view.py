"""The view that pictures have of a trained run: NumPy arrays and plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from sae_cli.pictures.picture import Floats, Integers


class Examples(NamedTuple):
    """Test examples and their reconstructions, each ``(n, *input_shape)``.

    Attributes:
        corrupted: seen by the model in place of ``x``, where training corrupts its input.
    """

    x: Floats
    corrupted: Floats | None
    x_hat: Floats


class Worst(NamedTuple):
    """The examples with the largest errors, the worst first.

    Attributes:
        x, x_hat: examples and reconstructions, each ``(n, *input_shape)``.
        mse: ``(n,)``, the squared error averaged over features.
        rows: ``(n,)``, their places in the test split.
        n_compared: of how many of its first examples they are the worst.
    """

    x: Floats
    x_hat: Floats
    mse: Floats
    rows: Integers
    n_compared: int


class Excited(NamedTuple):
    """The examples of the validation split with the highest codes of some latents.

    Attributes:
        values: ``(n_latents, n)`` codes, the highest first.
        rows: ``(n_latents, n)``, the row of each in the stored data, or in its part of them.
        parts: ``(n_latents, n)``, the name of that part; empty where the data lie in one.
        x: ``(n_latents, n, *input_shape)``.
    """

    values: Floats
    rows: Integers
    parts: npt.NDArray[np.str_]
    x: Floats


class View(Protocol):
    """A trained run.

    Properties cost a copy or a pass over data: each is computed once, when a picture first asks
    for it.

    Attributes:
        input_shape: of one example.
        n_latents: of the whole model.
        activation_name: of the codes.
        active_above: a code counts as active when its magnitude exceeds this.
        has_prior: whether codes are random and training pulls them towards N(0, 1), so that draws
            from it can be decoded.
        decoder_trained: whether any stage trained the decoder; an untrained one is not shown.
        has_head: whether a classifier of the codes was trained along.
        seed: of the run. A picture that draws at random seeds its own stream with it, so that it
            does not depend on the pictures before.
        projection: ``tsne`` or ``umap`` where a scatter of the codes by it was asked for.
        target: the mean activity that the penalty pulls each latent to, where it has one.
        sheet: how many latents lie along each axis, where the penalty knows neighbours.
        wrap: whether each axis of the sheet is a ring.
        parents: ``(n_latents,)``, where the penalty knows a tree of latents; -1 for a root.
        terms: names of the weighted terms of the loss over all stages, ``loss`` first.
        lines: of ``metrics.jsonl``.
        class_names: one for each class of the labels, where it has a better one than its number.
    """

    input_shape: tuple[int, ...]
    n_latents: int
    activation_name: str
    active_above: float
    has_prior: bool
    decoder_trained: bool
    has_head: bool
    seed: int
    projection: str
    target: float | None
    sheet: tuple[int, ...] | None
    wrap: bool
    parents: Integers | None
    terms: Sequence[str]
    lines: Sequence[Mapping[str, Any]]
    class_names: Sequence[str] | None

    @property
    def examples(self) -> Examples:
        """The first test examples."""
        ...

    @property
    def filters(self) -> Floats | None:
        """The weight of the encoder's first layer: ``(n_filters, n_features)`` of a linear one,
        ``(n_filters, channels, height, width)`` of a convolution, None for any other."""
        ...

    @property
    def dictionary(self) -> Floats | None:
        """The columns of a decoder that is one linear layer: ``(n_latents, n_features)``; None for
        any other."""
        ...

    @property
    def means(self) -> Floats:
        """The mean of each latent over the validation split: ``(n_latents,)`` float64."""
        ...

    @property
    def sizes(self) -> Floats:
        """The root mean square of each latent over the validation split: ``(n_latents,)``
        float64."""
        ...

    @property
    def code_counts(self) -> tuple[Integers, Floats]:
        """How many codes of the validation split lie in each bin ``(bins,)``, and the edges of the
        bins ``(bins + 1,)``, from the lowest code to the highest."""
        ...

    @property
    def firing(self) -> tuple[Integers, int]:
        """How many examples of the validation split activate each latent: ``(n_latents,)``; and
        how many examples there are."""
        ...

    @property
    def codes(self) -> Floats:
        """The codes of the first test examples, more than ``examples``: ``(n, n_latents)``."""
        ...

    @property
    def labels(self) -> Integers | None:
        """The labels of the same examples: ``(n,)``; None without labels."""
        ...

    @property
    def worst(self) -> Worst:
        """The worst reconstructions, as many as ``examples``, of those that gave ``codes``."""
        ...

    def excited(self, latents: Integers, n: int) -> Excited:
        """The ``n`` validation examples (or all) that have the highest codes of each latent."""
        ...

    def atoms(self, latents: Integers) -> Floats:
        """What each of these latents alone adds to the output: ``(len(latents), n_features)``."""
        ...

    def decode(self, codes: Floats) -> Floats:
        """Reconstructions ``(n, n_features)`` of codes ``(n, n_latents)``, cut to the range of the
        data."""
        ...


def some_inactive(view: View) -> bool:
    """Whether a code can count as inactive: at or below a stated threshold, or exactly 0.

    Where all codes differ from 0 (those of a linear or variational model), "active" says nothing.
    """
    if view.active_above > 0.0 or view.has_prior:
        return view.active_above > 0.0
    counts, n_examples = view.firing
    return bool((counts < n_examples).any())


def by_activity(view: View) -> Integers:
    """All latents, those first that fire on most examples, and of these the largest codes first.

    Dead latents, which never fire, are the last: ``(n_latents,)``.
    """
    return np.lexsort((-view.sizes, -view.firing[0]))
