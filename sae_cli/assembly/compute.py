"""How a run computes: on how many threads, compiled or not, differentiated by hand or by autograd.

What the configuration leaves open is decided once and written to the run's ``config.yaml``, so that
a run that starts from there takes the same path and gives the same bits.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from functools import cache

import torch

from sae_cli.assembly.flops import multiply_adds
from sae_cli.assembly.latents import shares_of
from sae_cli.assembly.stages import Training
from sae_cli.config.schema import RunConfig
from sae_cli.core.company import in_company
from sae_cli.core.errors import ConfigError
from sae_cli.core.ranks.messages import launched
from sae_cli.core.threads import check_threads
from sae_cli.training.devices import Device
from sae_cli.training.gradients.autograd import Autograd
from sae_cli.training.gradients.by_hand import ByHand, can_differentiate
from sae_cli.training.gradients.compiled import Compiled, can_compile
from sae_cli.training.gradients.gradients import Gradients
from sae_cli.training.gradients.in_pieces import InPieces, can_divide
from sae_cli.training.gradients.side_by_side import SideBySide, why_apart
from sae_cli.training.gradients.sparse import Sparse, can_be_sparse, pays_on_a_gpu
from sae_cli.training.optimizers.lbfgs import iterations_of
from sae_cli.training.stage import Stage

# PyTorch would use as many threads as there are cores, or OMP_NUM_THREADS, which launchers set for
# their workers.
AVAILABLE_THREADS = torch.get_num_threads()

# One is OpenMP's, and one PyTorch's own.
TORCH_POOLS = 2

# Below this number the products of a step are so short that two threads mostly wait for each other,
# and far longer when another process has one of the cores.
ONE_THREAD_FLOPS = 1e8

# The parameters are numbered as in malloc.h. The block is as large as the C library allows; the
# total is 1 GiB.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BLOCK, KEPT_TOTAL = 1 << 25, 1 << 30

# After so many steps of a stage, compiling it (some 25 s) has paid for itself twice over: it saves
# 0.1 ms a step over gradients by hand and 1 ms over autograd, measured with the network of
# hands_on_sparse_kl at batch 32.
CHAIN_STEPS, AUTOGRAD_STEPS = 500_000, 50_000


def settle(config: RunConfig, training: Training, threads: int | None = None) -> RunConfig:
    """Decide ``device``, ``device.threads`` and ``compile`` where they are left open.

    Args:
        threads: how many a long step takes; None for all that this process may use.

    Raises:
        ConfigError: ``compile=on`` without a C++ compiler.
    """
    settings = config.settings
    device = config.parts["device"] | {"name": training.device.torch.type}
    if settings.compile == "on" and not _has_compiler():
        raise ConfigError(
            "compile=on needs a C++ compiler (g++ or clang++, or the one that CXX names), and "
            "there is none; install one, or give compile=off"
        )
    possible = can_compile(training.autoencoder) and not iterations_of(config.parts["optimizer"])
    if settings.compile == "on" and not possible:
        raise ConfigError(
            "compile=on: PyTorch compiles neither recurrent layers nor the inference of codes; "
            "give compile=off"
        )
    if device["threads"] is None:
        one = has_short_steps(config, training)
        device = device | {"threads": 1 if one else threads or AVAILABLE_THREADS}
    if settings.compile == "auto":
        pays = (
            possible
            and launched() is None
            and _has_compiler()
            and all(
                _compiling_pays(
                    training.device,
                    stage,
                    settings.batch_size,
                    len(stage.examples(training.dataset.train)) // settings.batch_size,
                )
                for stage in training.stages
            )
        )
        settings = settings.model_copy(update={"compile": "on" if pays else "off"})
    return RunConfig(settings, config.parts | {"device": device})


def has_short_steps(config: RunConfig, training: Training) -> bool:
    """Whether the steps of a training are so short that one thread is best."""
    in_a_pass = multiply_adds(training.autoencoder, training.dataset.shape.input_shape)
    # The gradients take twice as much as the pass; each multiplication has an addition.
    return 6 * in_a_pass * config.settings.batch_size < ONE_THREAD_FLOPS


def describe(config: RunConfig) -> str:
    """Say what was decided, in a few words."""
    threads = config.parts["device"]["threads"]
    launch = launched()
    each = "" if launch is None else f" in each of {launch.size} processes"
    if launch is not None and shares_of(config) == "latents":
        each += ", which hold some of the latents each"
    compiling = "; compiling, half a minute" if config.settings.compile == "on" else ""
    return f"{threads} thread{'s' if threads > 1 else ''}{each}{compiling}"


def use_threads(n: int) -> None:
    """Have PyTorch compute on this many threads.

    Raises:
        MachineError: this process may not start them.
    """
    _check_once(n)
    torch.set_num_threads(n)


@cache
def _check_once(n: int) -> None:
    # A second trial would come on top of the threads that PyTorch has started since the first.
    check_threads(n, TORCH_POOLS)


def prepare_process(config: RunConfig) -> None:
    """Set up this process for a settled configuration."""
    use_threads(config.parts["device"]["threads"])
    if sys.platform == "linux":
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Have the C library keep memory that one step frees for the next.

    Otherwise it returns large blocks to the system, which clears each page before it hands it out
    again; at batches of 4096 images this takes nearly half of the time.
    """
    library = ctypes.CDLL(None)
    # Not every C library has mallopt.
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK)
        library.mallopt(M_TRIM_THRESHOLD, KEPT_TOTAL)


def build_gradients(config: RunConfig, device: Device, stage: Stage) -> Gradients:
    """Choose how the objective of a stage is differentiated, for a settled configuration."""
    alone = _build_alone(config, device, stage)
    modules = (stage.autoencoder, stage.objective)
    if not in_company():
        return alone
    alone.apart = "they are in bfloat16" if device.bfloat16 else why_apart(alone, modules)
    return SideBySide(alone, modules) if alone.apart is None else alone


def _build_alone(config: RunConfig, device: Device, stage: Stage) -> Gradients:
    model, objective = stage.autoencoder, stage.objective
    # A classifier sees codes as in use.
    training = not stage.supervised
    if config.settings.compile == "on":
        size = config.settings.batch_size
        return Compiled(model, objective, device, size, stage.trained, training=training)
    # Of a product by hand or of active pairs alone, each process would have that of its latents.
    if model.n_held < model.n_latents:
        return Autograd(model, objective, device, stage.trained)
    if _sparse(device, stage, config.settings.batch_size):
        return Sparse(model, objective)
    divides = _divides(device, stage, config.settings.batch_size)
    if _by_hand(device, stage):
        return ByHand(model, objective, divides=divides)
    gradients = Autograd(model, objective, device, stage.trained, training=training)
    return InPieces(gradients, model.n_latents) if divides else gradients


def _by_hand(device: Device, stage: Stage) -> bool:
    return can_differentiate(stage.autoencoder, stage.objective) and not device.bfloat16


def _sparse(device: Device, stage: Stage, batch_size: int) -> bool:
    modules = stage.autoencoder, stage.objective
    # In bfloat16 dense products are as fast.
    possible = not device.bfloat16 and not stage.supervised and can_be_sparse(*modules)
    return possible and (device.torch.type == "cpu" or pays_on_a_gpu(*modules, batch_size))


def _divides(device: Device, stage: Stage, batch_size: int) -> bool:
    # A GPU has the memory, and more to do at once.
    return device.torch.type == "cpu" and can_divide(stage.autoencoder, stage.objective, batch_size)


def _compiling_pays(device: Device, stage: Stage, batch_size: int, steps_per_epoch: int) -> bool:
    # A compiler knows nothing of sparsity.
    if _sparse(device, stage, batch_size):
        return False
    # A GPU repeats the step from a CUDA graph, which leaves a compiler little to gain.
    enough = CHAIN_STEPS if _by_hand(device, stage) else AUTOGRAD_STEPS
    return device.torch.type == "cpu" and stage.epochs * steps_per_epoch >= enough


def _has_compiler() -> bool:
    names = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++"]
    return any(shutil.which(name) for name in names)
