"""The other side of table ``sweep``: a minimal Hydra application that trains sparse_kl.

Plain autograd over a tensor that stays in memory, one epoch, then its validation:
``hydra_sweep.py -m weight=0.01,0.05`` with Hydra's own launcher, one job after the other.
"""

from __future__ import annotations

import hydra
import torch
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig
from torch.nn import functional as F

from data import train_and_val
from job import EVALUATION_BATCH, KL_TARGET, PAGES, report
from torch_parts import AutoEncoder

ConfigStore.instance().store("sweep", {"weight": 0.05, "batch_size": 32})


def loss_of(model: AutoEncoder, x: torch.Tensor, weight: float, batch_size: int) -> torch.Tensor:
    """Add the cross-entropy from the logits and the KL."""
    codes = model.encoder(x)
    logits = model.decoder[:-1](codes)
    p, q = KL_TARGET, codes.mean(0)
    kl = (p * torch.log(p / q) + (1 - p) * torch.log((1 - p) / (1 - q))).sum()
    return F.binary_cross_entropy_with_logits(logits, x) + weight / batch_size * kl


@hydra.main(version_base="1.3", config_path=None, config_name="sweep")
def main(config: DictConfig) -> None:
    torch.manual_seed(0)
    page = PAGES["sparse_kl"]
    train, val = map(torch.from_numpy, train_and_val())
    model = AutoEncoder(page)
    optimizer = torch.optim.SGD(model.parameters(), lr=page.learning_rate)
    for rows in torch.split(torch.randperm(len(train)), config.batch_size):
        loss = loss_of(model, train[rows], config.weight, config.batch_size)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        parts = [
            loss_of(model, x, config.weight, config.batch_size).item() * len(x)
            for x in torch.split(val, EVALUATION_BATCH)
        ]
    report(1, sum(parts) / len(val), None)


if __name__ == "__main__":
    main()
