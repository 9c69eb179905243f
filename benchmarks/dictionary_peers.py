"""Steps of other libraries for ``dictionary_steps.py``, as their own trainers take them."""

from __future__ import annotations

import os

import torch
from benchmarks.dictionary_size import LEARNING_RATE, Size, Step
from torch import Tensor


def sparsify(variant: str, size: Size) -> Step:
    """EleutherAI's sparsify: its coder, with Adam and its normalisation."""
    if size.device == "cpu":
        # Otherwise it asks Triton for a GPU.
        os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
    from sparsify import SparseCoder, SparseCoderConfig

    config = SparseCoderConfig(num_latents=size.latents, k=size.k)
    coder = SparseCoder(size.features, config, device=size.device)
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
    options |= {"d_in": size.features, "d_sae": size.latents, "device": size.device}
    name = f"{kinds[variant]}TrainingSAE"
    config = getattr(lens, f"{name}Config")(**options)
    trainer = SAETrainer(
        SAETrainerConfig(
            total_training_samples=10**9,
            train_batch_size_samples=size.batch,
            lr=LEARNING_RATE,
            lr_end=LEARNING_RATE,
            device=size.device,
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
        "device": size.device,
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
