"""One contender of ``dictionaries.py``, in a process of its own: seconds of its steps, one a line.

    python -m benchmarks.dictionary_steps CONTENDER VARIANT DEVICE PRECISION ROWS FEATURES LATENTS
        BATCH K STEPS

Every contender takes the same rows from the same array in the memory of the device, and does what
its own trainer does in a step. On a GPU it is the mean of many steps, and a last line has the most
memory that PyTorch took there. PRECISION is that of sae-train, PyTorch's autograd and the products
alone; libraries compute as they do by themselves, in float32.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from benchmarks.dictionary_peers import dictionary_learning, sae_lens, sparsify
from benchmarks.dictionary_size import LEARNING_RATE, Size, Step
from torch import Generator, Tensor, nn
from torch.nn import functional as F

WARM_UP = 2
# A GPU is still at work when a step returns, and the first few calls of a step are not captured.
GPU_WARM_UP, GPU_TOGETHER = 10, 20


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
    words += [f"architecture.n_latents={size.latents}", "compile=off"]
    words += [f"device={size.device}", f"device.precision={size.precision}"]
    words += [f"device.threads={torch.get_num_threads()}"]
    words += [f"activation.k={size.k}"] if variant.endswith("topk") else []
    with hydra_ready():
        config = check(compose_run(words).run)
    parts = build_parts(config)
    prepare_process(config)
    network = build_network(config, parts.network, DataShape((size.features,), None))
    objective = Objective(parts.reconstruction, network.penalty).to(size.device)
    network.saved.to(size.device)
    (stage,) = parts.schedule.stages(network.autoencoder, objective, 1, LEARNING_RATE)
    gradients = build_gradients(config, parts.device, stage)
    optimizer = OPTIMIZERS.build(config.parts["optimizer"], gradients.parameters)
    step = OurStep(gradients, optimizer, None, Generator(size.device), size.batch)
    return lambda x: step(x, LEARNING_RATE)


def plain_torch(variant: str, size: Size) -> Step:
    """Autograd over dense codes, PyTorch's Adam, atoms scaled back to unit norm."""
    encoder, decoder = (
        nn.Linear(size.features, size.latents, device=size.device),
        nn.Linear(size.latents, size.features, device=size.device),
    )
    threshold = nn.Parameter(torch.full((size.latents,), 0.1, device=size.device))
    parameters = [*encoder.parameters(), *decoder.parameters(), threshold]
    on_gpu = size.device == "cuda"
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE, fused=on_gpu or None)

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
        with size.autocast():
            codes = activate(encoder(x - decoder.bias))
            x_hat = decoder(codes)
        loss = (x_hat.float() - x).square().sum(1).mean()
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
    shape = (size.latents, size.features)
    dtype = torch.bfloat16 if size.precision == "bfloat16" else torch.float32
    encoder, decoder = (torch.randn(shape, device=size.device, dtype=dtype) for _ in range(2))

    def step(x: Tensor) -> None:
        x = x.to(dtype)
        codes = x @ encoder.t()
        if not variant.endswith("topk"):
            x_hat = codes @ decoder
            x_hat @ decoder.t()
            codes.t() @ x_hat
            codes.t() @ x

    return step


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
    contender, variant, device, precision, *numbers = sys.argv[1:]
    *sizes, steps = map(int, numbers)
    size = Size(device, precision, *sizes)
    torch.manual_seed(0)
    generator = Generator().manual_seed(0)
    data = torch.randn(size.rows, size.features, generator=generator).to(device)
    if precision == "tf32" and contender in ("torch", "products"):
        torch.backends.cuda.matmul.allow_tf32 = True
    step = CONTENDERS[contender](variant, size)

    def take(n: int) -> None:
        for _ in range(n):
            step(data[torch.randint(size.rows, (size.batch,), generator=generator).to(device)])

    if device == "cuda":
        take(GPU_WARM_UP)
        for _ in range(steps):
            print(seconds_of_one(take), flush=True)
        print(f"peak {torch.cuda.max_memory_allocated() / 2**20}")
        return
    take(WARM_UP)
    for _ in range(steps):
        rows = torch.randint(size.rows, (size.batch,), generator=generator)
        started = time.perf_counter()
        step(data[rows])
        print(time.perf_counter() - started, flush=True)


def seconds_of_one(take: Callable[[int], None]) -> float:
    """Take many steps on a GPU; give the mean."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    take(GPU_TOGETHER)
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / GPU_TOGETHER


if __name__ == "__main__":
    main()
