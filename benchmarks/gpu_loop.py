"""The other side of table ``gpu``: the ordinary PyTorch loop with the data on the GPU.

Nothing is read from the GPU within an epoch. ``--profile FILE`` writes a Chrome trace of one more
epoch at the end.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from data import train_and_val
from job import EVALUATION_BATCH, Page, arguments, report
from torch_parts import AutoEncoder, corrupt, loss_of, optimizer_of, rounded_accuracy


class Loop:
    """Model, optimizer and data on one device."""

    def __init__(self, page: Page, batch_size: int, device: str) -> None:
        self.page, self.batch_size, self.device = page, batch_size, device
        self.train, self.val = (torch.from_numpy(x).to(device) for x in train_and_val())
        self.model = AutoEncoder(page).to(device)
        self.optimizer = optimizer_of(page, self.model)

    def epoch(self) -> float:
        """Train; return the mean loss."""
        running = torch.zeros((), device=self.device)
        order = torch.randperm(len(self.train), device=self.device)
        for rows in torch.split(order, self.batch_size):
            x = self.train[rows]
            codes, x_hat = self.model(corrupt(self.page, x))
            loss = loss_of(self.page, codes, x_hat, x, self.batch_size)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            running += loss.detach() * len(x)
        return running.item() / len(self.train)

    @torch.no_grad()
    def evaluate(self) -> tuple[float, float]:
        """Measure the mean loss and the rounded accuracy."""
        sums = torch.zeros(2, device=self.device)
        for x in torch.split(self.val, EVALUATION_BATCH):
            codes, x_hat = self.model(x)
            loss: Tensor = loss_of(self.page, codes, x_hat, x, self.batch_size)
            sums += torch.stack([loss, rounded_accuracy(x_hat, x)]) * len(x)
        loss_mean, accuracy = (sums / len(self.val)).tolist()
        return loss_mean, accuracy


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--profile", type=Path)
    given = parser.parse_args()
    torch.manual_seed(0)
    loop = Loop(given.page, given.batch_size, given.device)
    for epoch in range(1, given.epochs + 1):
        print(f"epoch {epoch}: train loss {loop.epoch():.4f}")
        report(epoch, *loop.evaluate())
    if given.profile is not None:
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            loop.epoch()
        profiler.export_chrome_trace(str(given.profile))


if __name__ == "__main__":
    main()
