"""Train sparse auto-encoders with one library; print their errors and L0 on held-out rows.

    python -m benchmarks.equal_l0_training CONTENDER VARIANT FILE LATENTS BATCH K EPOCHS SEEDS
    python -m benchmarks.equal_l0_training ... SEEDS rate=0.003 coefficient=10

SEEDS is how many are trained, with seeds from 0. FILE is a .npy array; of its rows the first 80 %
train, the last 10 % are held out. Each library has the settings that it recommends, in its defaults
or its examples: the rate, its rise and fall, the scale of the data, the revival of dead latents.
``rate`` is another learning rate for it, ``coefficient`` that of the sparsity term of its jumprelu.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

Model = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From rows to their codes and reconstructions."""


class Job(NamedTuple):
    """What is trained."""

    variant: str
    file: Path
    latents: int
    batch: int
    k: int
    epochs: int
    seed: int
    rate: float | None = None
    coefficient: float | None = None

    def rows(self) -> tuple[Tensor, Tensor]:
        """Those that train, and those that are held out."""
        x = torch.from_numpy(np.load(self.file))
        return x[: int(0.8 * len(x))], x[int(0.9 * len(x)) :]

    def steps(self) -> int:
        return self.epochs * -(-len(self.rows()[0]) // self.batch)

    def batches(self, x: Tensor) -> Iterator[Tensor]:
        """As many epochs as the job has, each in an order of its own."""
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.epochs):
            for rows in torch.randperm(len(x), generator=generator).split(self.batch):
                yield x[rows]


def sae_train(job: Job, x: Tensor) -> Model:
    """The command line, with the settings of the model's page."""
    from sae_cli import load_run
    from sae_cli.__main__ import sae_train as command

    target = "penalty.target_l0" if job.variant == "jumprelu" else "activation.k"
    folder = f"{tempfile.mkdtemp()}/run"
    words = [f"model={job.variant}", f"{target}={job.k}"]
    words += ["dataset=array", f"dataset.path={job.file}", f"architecture.n_latents={job.latents}"]
    words += [f"batch_size={job.batch}", f"epochs={job.epochs}", f"seed={job.seed}"]
    words += ["pictures=false", "progress=false", "device=cpu", f"hydra.run.dir={folder}"]
    words += [] if job.rate is None else [f"optimizer.learning_rate={job.rate}"]
    sys.argv = ["sae-train", *words]
    try:
        command()
    except SystemExit as end:
        if end.code:
            raise
    run = load_run(folder)
    return lambda rows: (codes := run.encode(rows), run.decode(codes))


def sae_lens(job: Job, x: Tensor) -> Model:
    """SAELens's trainer, on values that it scales by itself."""
    import sae_lens as lens
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    name, options = {
        "topk": ("TopKTrainingSAE", {"k": job.k}),
        "batch_topk": ("BatchTopKTrainingSAE", {"k": job.k}),
        "jumprelu": (
            "JumpReLUTrainingSAE",
            {"jumprelu_sparsity_loss_mode": "quadratic", "target_l0": job.k},
        ),
    }[job.variant]
    if job.coefficient is not None:
        options["l0_coefficient"] = job.coefficient
    options["normalize_activations"] = "expected_average_only_in"
    config = getattr(lens, f"{name}Config")(d_in=x.shape[1], d_sae=job.latents, **options)
    passes = job._replace(epochs=10 * job.epochs).batches(x)
    trainer = SAETrainer(
        SAETrainerConfig(
            total_training_samples=job.epochs * len(x),
            train_batch_size_samples=job.batch,
            lr=job.rate or 3e-4,
            lr_end=job.rate or 3e-4,
            logger=LoggingConfig(log_to_wandb=False),
        ),
        getattr(lens, name)(config),
        passes,
    )
    folder = tempfile.mkdtemp()
    trainer.fit().save_inference_model(folder)
    sae = lens.SAE.load_from_disk(folder)
    return lambda rows: (codes := sae.encode(rows), sae.decode(codes))


def dictionary_learning(job: Job, x: Tensor) -> Model:
    """dictionary_learning's trainers, as its examples call them."""
    from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
    from dictionary_learning.trainers.jumprelu import JumpReluTrainer
    from dictionary_learning.trainers.top_k import TopKTrainer

    trainers = {"topk": TopKTrainer, "batch_topk": BatchTopKTrainer, "jumprelu": JumpReluTrainer}
    steps = job.steps()
    target: dict[str, Any] = {"k": job.k}
    if job.variant == "jumprelu":
        target = {"target_l0": float(job.k), "sparsity_warmup_steps": min(2000, steps // 2)}
        target |= {} if job.coefficient is None else {"sparsity_penalty": job.coefficient}
    target |= {} if job.rate is None else {"lr": job.rate}
    trainer = trainers[job.variant](
        steps=steps,
        activation_dim=x.shape[1],
        dict_size=job.latents,
        layer=0,
        lm_name="",
        device="cpu",
        seed=job.seed,
        decay_start=int(0.8 * steps),
        **target,
    )
    # Its loop divides by this before each step, so that the mean squared norm is 1.
    scale = x.double().square().sum(1).mean().sqrt().item()
    for step, rows in enumerate(job.batches(x)):
        trainer.update(step, rows / scale)
    ae = trainer.ae
    in_use = {"use_threshold": True} if job.variant == "batch_topk" else {}

    def model(rows: Tensor) -> tuple[Tensor, Tensor]:
        codes = ae.encode(rows / scale, **in_use)
        return codes, ae.decode(codes) * scale

    return model


def sparsify(job: Job, x: Tensor) -> Model:
    """The step of sparsify's trainer: sign descent without a schedule, its rate for the width."""
    # Otherwise it asks Triton for a GPU.
    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
    from schedulefree import ScheduleFreeWrapper
    from sparsify import SparseCoder, SparseCoderConfig
    from sparsify.sign_sgd import SignSGD

    coder = SparseCoder(x.shape[1], SparseCoderConfig(num_latents=job.latents, k=job.k))
    coder.b_dec.data = x.mean(0)
    rate = job.rate or 5e-3 / (job.latents / 2**14) ** 0.5
    groups = [{"params": list(coder.parameters()), "lr": rate}]
    optimizer = ScheduleFreeWrapper(SignSGD(groups), momentum=0.95)
    optimizer.train()
    for rows in job.batches(x):
        coder.set_decoder_norm_to_unit_norm()
        coder(rows).fvu.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        optimizer.zero_grad()
    optimizer.eval()

    def model(rows: Tensor) -> tuple[Tensor, Tensor]:
        values, places, pre_codes = coder.encode(rows)
        codes = torch.zeros_like(pre_codes).scatter(1, places, values)
        return codes, coder.decode(values, places)

    return model


CONTENDERS: dict[str, Callable[[Job, Tensor], Model]] = {
    "sae-train": sae_train,
    "saelens": sae_lens,
    "dictionary_learning": dictionary_learning,
    "sparsify": sparsify,
}


@torch.no_grad()
def measure(model: Model, held: Tensor) -> dict[str, Any]:
    """The fraction of variance unexplained in float64, L0, and latents that are never active."""
    codes, x_hat = model(held)
    x = held.double()
    left = (x - x_hat.double()).square().sum()
    active = codes != 0.0
    return {
        "fvu": (left / (x - x.mean(0)).square().sum()).item(),
        "l0": active.double().sum(1).mean().item(),
        "dead": int((~active.any(0)).sum()),
    }


def main() -> None:
    """Train, and print a line of JSON for each seed."""
    contender, variant, file, *numbers = sys.argv[1:]
    *size, seeds = (int(word) for word in numbers if "=" not in word)
    options = dict(word.split("=") for word in numbers if "=" in word)
    settings = {name: float(value) for name, value in options.items()}
    for seed in range(seeds):
        job = Job(variant, Path(file), *size, seed, **settings)
        torch.manual_seed(seed)
        train, held = job.rows()
        print(json.dumps(measure(CONTENDERS[contender](job, train), held)), flush=True)


if __name__ == "__main__":
    main()
