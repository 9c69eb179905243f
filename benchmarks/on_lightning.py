"""Contender ``lightning``: logger, checkpoints, progress bar and summary are off."""

# mypy: allow-subclassing-any, disable-error-code="import-not-found"

from __future__ import annotations

import lightning
import torch
from torch import Tensor

from job import Page, arguments, report
from torch_parts import AutoEncoder, corrupt, loaders, loss_of, optimizer_of, rounded_accuracy


class Module(lightning.LightningModule):
    """The job as a module, whose ``log`` averages over the epoch, weighted by batch sizes."""

    def __init__(self, page: Page, batch_size: int) -> None:
        super().__init__()
        self.page, self.batch_size, self.model = page, batch_size, AutoEncoder(page)

    def training_step(self, batch: list[Tensor]) -> Tensor:
        (x,) = batch
        codes, x_hat = self.model(corrupt(self.page, x))
        loss = loss_of(self.page, codes, x_hat, x, self.batch_size)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(x))
        return loss

    def validation_step(self, batch: list[Tensor]) -> None:
        (x,) = batch
        codes, x_hat = self.model(x)
        loss = loss_of(self.page, codes, x_hat, x, self.batch_size)
        self.log("val_loss", loss, batch_size=len(x))
        self.log("rounded_accuracy", rounded_accuracy(x_hat, x), batch_size=len(x))

    def on_train_epoch_end(self) -> None:
        found = self.trainer.callback_metrics
        report(self.current_epoch + 1, float(found["val_loss"]), float(found["rounded_accuracy"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizer_of(self.page, self)


def main() -> None:
    given = arguments(__doc__ or "").parse_args()
    torch.manual_seed(0)
    train, val = loaders(given.batch_size)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=given.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(Module(given.page, given.batch_size), train, val)


if __name__ == "__main__":
    main()
