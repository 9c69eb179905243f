"""Another side of table ``sweep``: ``torch.func.vmap`` over the stacked weights of all jobs.

One process, one reading, one pass for all: ``vmap_sweep.py 0.01,0.05``. Each model has its own
order of examples. The threads are PyTorch's own choice.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

from data import train_and_val
from job import EVALUATION_BATCH, KL_TARGET, PAGES, report
from torch_parts import AutoEncoder

BATCH_SIZE = 32
PAGE = PAGES["sparse_kl"]


def loss_of(parameters: dict[str, Tensor], x: Tensor, weight: Tensor) -> Tensor:
    """Add the cross-entropy and the KL of one model."""
    codes, x_hat = functional_call(MODELS[0], parameters, (x,))
    p, q = KL_TARGET, codes.mean(0)
    kl = (p * torch.log(p / q) + (1 - p) * torch.log((1 - p) / (1 - q))).sum()
    return F.binary_cross_entropy(x_hat, x) + weight / BATCH_SIZE * kl


torch.manual_seed(0)
WEIGHTS = torch.tensor([float(one) for one in sys.argv[1].split(",")])
MODELS = [AutoEncoder(PAGE) for _ in WEIGHTS]


def main() -> None:
    train, val = map(torch.from_numpy, train_and_val())
    parameters = {name: one.detach() for name, one in stack_module_state(MODELS)[0].items()}
    differentiate = vmap(grad(loss_of))
    orders = torch.stack([torch.randperm(len(train)) for _ in MODELS])
    for rows in torch.split(orders, BATCH_SIZE, dim=1):
        for name, one in differentiate(parameters, train[rows], WEIGHTS).items():
            parameters[name].sub_(one, alpha=PAGE.learning_rate)
    sums = torch.zeros(len(MODELS))
    with torch.no_grad():
        for x in torch.split(val, EVALUATION_BATCH):
            sums += vmap(loss_of, (0, None, 0))(parameters, x, WEIGHTS) * len(x)
    for loss in (sums / len(val)).tolist():
        report(1, loss, None)


if __name__ == "__main__":
    main()
