"""One contender of ``dictionaries.py``, in a process of its own: seconds of its steps, one a line.

    python -m benchmarks.dictionary_steps CONTENDER VARIANT ROWS FEATURES LATENTS BATCH K STEPS

Every contender takes the same rows from the same array in memory, on the CPU, and does what its own
trainer does in a step.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

WARM_UP = 2
LEARNING_RATE = 3e-4

Step = Callable[[Tensor], Any]


class Size(NamedTuple):
    """What is trained."""

    rows: int
    features: int
    latents: int
    batch: int
    k: int


def sae_train(variant: str, size: Size) -> Step:
    """The step that ``sae-train`` chooses for a page."""
    from sae_cli.assembly.compute import build_gradients, prepare_process
    from sae_cli.assembly.network import build_network
    from sae_cli.assembly.parts import build_parts
    from sae_cli.config.compose import compose_run, hydra_ready
    from sae_cli.config.schema import check
    from sae_cli.core.shapes import DataShape
    from sae_cli.model.objective import Objective
    from sae_cli.training.optimizers import OPTIMIZERS
    from sae_cli.training.step import Step as OurStep

    words = [f"model={'sparse_l1' if variant == 'l1' else variant}", f"batch_size={size.batch}"]
    words += [f"architecture.n_latents={size.latents}", "compile=off", "device=cpu"]
    words += [f"device.threads={torch.get_num_threads()}"]
    words += [f"activation.k={size.k}"] if variant.endswith("topk") else []
    with hydra_ready():
        config = check(compose_run(words).run)
    parts = build_parts(config)
    prepare_process(config)
    network = build_network(config, parts.network, DataShape((size.features,), None))
    objective = Objective(parts.reconstruction, network.penalty)
    (stage,) = parts.schedule.stages(network.autoencoder, objective, 1, LEARNING_RATE)
    gradients = build_gradients(config, parts.device, stage)
    optimizer = OPTIMIZERS.build(config.parts["optimizer"], gradients.parameters)
    step = OurStep(gradients, optimizer, None, Generator(), size.batch)
    return lambda x: step(x, LEARNING_RATE)


def plain_torch(variant: str, size: Size) -> Step:
    """Autograd over dense codes, PyTorch's Adam, atoms scaled back to unit norm."""
    encoder, decoder = (
        nn.Linear(size.features, size.latents),
        nn.Linear(size.latents, size.features),
    )
    threshold = nn.Parameter(torch.full((size.latents,), 0.1))
    parameters = [*encoder.parameters(), *decoder.parameters(), threshold]
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE)

    def activate(pre_codes: Tensor) -> Tensor:
        if variant == "topk":
            largest, places = pre_codes.topk(size.k, dim=1)
            return torch.zeros_like(pre_codes).scatter(1, places, largest.relu())
        if variant == "batch_topk":
            row = pre_codes.flatten()
            largest, places = row.topk(size.k * len(pre_codes))
            return torch.zeros_like(row).scatter(0, places, largest.relu()).view_as(pre_codes)
        if variant == "jumprelu":
            near = ((pre_codes - threshold).abs() < 0.1).float()
            slope = near * threshold * (threshold.detach() / -0.2)
            return pre_codes * (pre_codes > threshold) + slope - slope.detach()
        return pre_codes.relu()

    def step(x: Tensor) -> None:
        codes = activate(encoder(x - decoder.bias))
        loss = (decoder(codes) - x).square().sum(1).mean()
        if variant in ("l1", "jumprelu"):
            loss = loss + 0.01 * codes.sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            decoder.weight.copy_(F.normalize(decoder.weight, dim=0))

    return step


def products(variant: str, size: Size) -> Step:
    """The limit of a dense step: its five products. Of TopK: the encoder's alone."""
    encoder, decoder = (torch.randn(size.latents, size.features) for _ in range(2))

    def step(x: Tensor) -> None:
        codes = x @ encoder.t()
        if not variant.endswith("topk"):
            x_hat = codes @ decoder
            x_hat @ decoder.t()
            codes.t() @ x_hat
            codes.t() @ x

    return step


def sparsify(variant: str, size: Size) -> Step:
    """EleutherAI's sparsify: its coder, with Adam and its normalisation."""
    # Otherwise it asks Triton for a GPU.
    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
    from sparsify import SparseCoder, SparseCoderConfig

    coder = SparseCoder(size.features, SparseCoderConfig(num_latents=size.latents, k=size.k))
    optimizer = torch.optim.Adam(coder.parameters(), LEARNING_RATE)

    def step(x: Tensor) -> None:
        coder.set_decoder_norm_to_unit_norm()
        coder(x).fvu.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        optimizer.zero_grad()

    return step


def sae_lens(variant: str, size: Size) -> Step:
    """SAELens's own trainer."""
    import sae_lens as lens
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    kinds = {"topk": "TopK", "batch_topk": "BatchTopK", "jumprelu": "JumpReLU", "l1": "Standard"}
    options = {"k": size.k} if variant.endswith("topk") else {}
    name = f"{kinds[variant]}TrainingSAE"
    config = getattr(lens, f"{name}Config")(d_in=size.features, d_sae=size.latents, **options)
    trainer = SAETrainer(
        SAETrainerConfig(
            total_training_samples=10**9,
            train_batch_size_samples=size.batch,
            lr=LEARNING_RATE,
            lr_end=LEARNING_RATE,
            logger=LoggingConfig(log_to_wandb=False),
        ),
        getattr(lens, name)(config),
        iter(()),
    )
    return lambda x: trainer._train_step(sae=trainer.sae, sae_in=x)


def dictionary_learning(variant: str, size: Size) -> Step:
    """dictionary_learning's own trainers."""
    from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
    from dictionary_learning.trainers.jumprelu import JumpReluTrainer
    from dictionary_learning.trainers.standard import StandardTrainer
    from dictionary_learning.trainers.top_k import TopKTrainer

    common = {
        "steps": 100_000,
        "activation_dim": size.features,
        "dict_size": size.latents,
        "layer": 0,
        "lm_name": "",
        "device": "cpu",
    }
    k = {"k": size.k} if variant.endswith("topk") else {}
    kinds = {
        "topk": TopKTrainer,
        "batch_topk": BatchTopKTrainer,
        "jumprelu": JumpReluTrainer,
        "l1": StandardTrainer,
    }
    trainer = kinds[variant](**common, **k)
    # The zeroth step finds the median of a batch.
    return lambda x: trainer.update(1, x)


CONTENDERS: dict[str, Callable[[str, Size], Step]] = {
    "sae-train": sae_train,
    "torch": plain_torch,
    "sparsify": sparsify,
    "saelens": sae_lens,
    "dictionary_learning": dictionary_learning,
    "products": products,
}


def main() -> None:
    """Train, and print the seconds of each step."""
    contender, variant, *numbers = sys.argv[1:]
    *sizes, steps = map(int, numbers)
    size = Size(*sizes)
    torch.manual_seed(0)
    generator = Generator().manual_seed(0)
    data = torch.randn(size.rows, size.features, generator=generator)
    step = CONTENDERS[contender](variant, size)
    for number in range(WARM_UP + steps):
        rows = torch.randint(size.rows, (size.batch,), generator=generator)
        started = time.perf_counter()
        step(data[rows])
        if number >= WARM_UP:
            print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
