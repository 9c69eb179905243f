"""The job in PyTorch's own parts, as its tutorials write it: network, loss, optimizer, data."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from data import train_and_val
from job import ADAM_EPSILON, EVALUATION_BATCH, KL_TARGET, Page

Loader = DataLoader[tuple[Tensor, ...]]


class AutoEncoder(nn.Module):
    """784-100-latents-100-784."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        n_in, n_hidden, n_latents, *_ = page.sizes
        code = nn.Sigmoid() if page.latent_activation == "sigmoid" else nn.SELU()
        self.encoder = nn.Sequential(
            nn.Linear(n_in, n_hidden), nn.SELU(), nn.Linear(n_hidden, n_latents), code
        )
        self.decoder = nn.Sequential(
            nn.Linear(n_latents, n_hidden), nn.SELU(), nn.Linear(n_hidden, n_in), nn.Sigmoid()
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give codes and reconstruction."""
        codes = self.encoder(x)
        return codes, self.decoder(codes)


def penalty(page: Page, codes: Tensor, batch_size: int) -> Tensor | float:
    """Compute the weighted penalty of a batch of codes; ``batch_size`` is that of the training."""
    if page.penalty == "kl":
        p, q = KL_TARGET, codes.mean(0)
        kl = p * torch.log(p / q) + (1 - p) * torch.log((1 - p) / (1 - q))
        return page.penalty_weight / batch_size * kl.sum()
    if page.penalty == "l1":
        return page.penalty_weight * codes.abs().sum(1).mean()
    return 0.0


def corrupt(page: Page, x: Tensor) -> Tensor:
    """Make the input of a training step."""
    return x + page.noise * torch.randn_like(x) if page.noise else x


def loss_of(page: Page, codes: Tensor, x_hat: Tensor, x: Tensor, batch_size: int) -> Tensor:
    """Add the cross-entropy of probabilities and the penalty."""
    return F.binary_cross_entropy(x_hat, x) + penalty(page, codes, batch_size)


def rounded_accuracy(x_hat: Tensor, x: Tensor) -> Tensor:
    """Give the share of pixels on the same side of 0.5 as in the image."""
    return ((x_hat > 0.5) == (x > 0.5)).float().mean()


def optimizer_of(page: Page, model: nn.Module) -> torch.optim.Optimizer:
    if page.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=page.learning_rate, eps=ADAM_EPSILON)
    return torch.optim.SGD(model.parameters(), lr=page.learning_rate)


def loaders(batch_size: int) -> tuple[Loader, Loader]:
    """Make the loaders of training data, shuffled, and of validation data."""
    train, val = (TensorDataset(torch.from_numpy(images)) for images in train_and_val())
    return (
        DataLoader(train, batch_size=batch_size, shuffle=True, num_workers=0),
        DataLoader(val, batch_size=EVALUATION_BATCH, num_workers=0),
    )
