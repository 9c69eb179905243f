"""Contender ``products``: the limit, an epoch's matrix products alone.

They are those of forward and backward in each training step, and of the forward pass in the
validation, at the job's shapes, into buffers made beforehand. Their values mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch

from job import EVALUATION_BATCH, N_TRAIN, N_VAL, Page, arguments, report


def passes(
    page: Page, n: int, models: tuple[int, ...] = ()
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Make functions for the products of a forward and a backward pass over ``n`` examples.

    Args:
        models: a leading axis, of as many models; none for one.
    """
    sizes = page.sizes
    weights = [torch.randn(*models, n_out, n_in) * n_in**-0.5 for n_in, n_out in pairwise(sizes)]
    values = [torch.randn(*models, n, size) for size in sizes]
    above = [torch.randn(*models, n, size) for size in sizes]
    gradients = [torch.empty_like(weight) for weight in weights]

    def forward() -> None:
        for layer, weight in enumerate(weights):
            torch.matmul(values[layer], weight.mT, out=values[layer + 1])

    def backward() -> None:
        for layer in reversed(range(len(weights))):
            torch.matmul(above[layer + 1].mT, values[layer], out=gradients[layer])
            if layer:
                torch.matmul(above[layer + 1], weights[layer], out=above[layer])

    return forward, backward


def batches(n: int, size: int) -> list[int]:
    """Give the sizes of the batches of ``n`` examples."""
    return [size] * (n // size) + ([n % size] if n % size else [])


@torch.inference_mode()
def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("threads", type=int)
    parser.add_argument("--models", type=int, nargs=1, default=[], help="so many at once")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    train, val = batches(N_TRAIN, given.batch_size), batches(N_VAL, EVALUATION_BATCH)
    made = {n: passes(given.page, n, tuple(given.models)) for n in {*train, *val}}
    for epoch in range(1, given.epochs + 1):
        for n in train:
            forward, backward = made[n]
            forward()
            backward()
        for n in val:
            made[n][0]()
        report(epoch, None, None)


if __name__ == "__main__":
    main()
