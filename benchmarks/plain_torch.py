"""Contender ``torch``: the loop that a careful beginner writes."""

from __future__ import annotations

import torch

from job import N_TRAIN, Page, arguments, report
from torch_parts import (
    AutoEncoder,
    Loader,
    corrupt,
    loaders,
    loss_of,
    optimizer_of,
    rounded_accuracy,
)


@torch.no_grad()
def evaluate(page: Page, model: AutoEncoder, val: Loader, batch_size: int) -> tuple[float, float]:
    """Measure the mean loss and the rounded accuracy."""
    loss, accuracy, n = 0.0, 0.0, 0
    for (x,) in val:
        codes, x_hat = model(x)
        loss += loss_of(page, codes, x_hat, x, batch_size).item() * len(x)
        accuracy += rounded_accuracy(x_hat, x).item() * len(x)
        n += len(x)
    return loss / n, accuracy / n


def main() -> None:
    given = arguments(__doc__ or "").parse_args()
    page: Page = given.page
    torch.manual_seed(0)
    train, val = loaders(given.batch_size)
    model = AutoEncoder(page)
    optimizer = optimizer_of(page, model)
    for epoch in range(1, given.epochs + 1):
        running = 0.0
        for (x,) in train:
            codes, x_hat = model(corrupt(page, x))
            loss = loss_of(page, codes, x_hat, x, given.batch_size)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            running += loss.item() * len(x)
        print(f"epoch {epoch}: train loss {running / N_TRAIN:.4f}")
        report(epoch, *evaluate(page, model, val, given.batch_size))


if __name__ == "__main__":
    main()
