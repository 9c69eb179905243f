"""Table ``gpu``: sae-train and the ordinary PyTorch loop on the same GPU."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path

from chrome_trace import kernel_share
from contenders import HERE, QUIET, SAE_TRAIN, Result, sae_train
from job import PAGES
from plan import Plan
from processes import FailedError, run
from rounds import in_turn, keep, markdown, ratios, spread

NO_GPU = "\n## GPU\n\nThere is no GPU that PyTorch can use here.\n"
PLAIN = "torch, data on the GPU"
NOTE = (
    "sparse_kl on one GPU, seconds an epoch, validation included. Kernels: their share of the time "
    "in a profile of its own (torch.profiler), which slows the launching of kernels down."
)


def has_gpu(python: str) -> bool:
    """Whether there is one that PyTorch can use."""
    probe = run([python, "-c", "import torch; print(torch.cuda.is_available())"], gpu=True)
    return probe.lines[-1] == "True"


def gpu(plan: Plan) -> str:
    """Make the table; the share of kernels tells how long small steps leave a GPU idle."""
    python = plan.pythons[SAE_TRAIN]
    if not has_gpu(python):
        return NO_GPU
    rows = []
    for size in plan.batch_sizes:
        table = f"gpu {size}"
        cases = {
            SAE_TRAIN: partial(_sae_train, python, size, plan.epochs or 4),
            PLAIN: partial(_plain, python, size, plan.epochs or 4),
        }
        results = in_turn(table, cases, plan.rounds)
        shares = {SAE_TRAIN: _our_share(python, size), PLAIN: _plain_share(python, size)}
        seconds = {
            name: [one.outcome.epoch_seconds for one in found] for name, found in results.items()
        }
        for name, own in seconds.items():
            keep(table, name, "epoch_seconds", own)
            keep(table, name, "kernel_share", [shares[name]])
            loss = results[name][-1].val_loss
            share = shares[name]
            shown = "-" if share is None else f"{share:.0%}"
            ratio = ratios(seconds[SAE_TRAIN], own)
            rows.append([str(size), name, spread(own), ratio, shown, f"{loss:.4f}"])
    header = ["batch", "contender", "s an epoch", "sae-train / it", "kernels", "final val loss"]
    return markdown("GPU", NOTE, header, rows)


def _words(size: int, epochs: int) -> list[str]:
    sizes = [f"batch_size={size}", f"epochs={epochs}"]
    return [*PAGES["sparse_kl"].overrides, *sizes, "device=cuda"]


def _sae_train(python: str, size: int, epochs: int) -> Result:
    return sae_train(python, _words(size, epochs), gpu=True)


def _loop(python: str, size: int, epochs: int) -> list[str]:
    return [python, str(HERE / "gpu_loop.py"), "sparse_kl", str(size), str(epochs)]


def _plain(python: str, size: int, epochs: int) -> Result:
    outcome = run(_loop(python, size, epochs), gpu=True)
    last = json.loads(outcome.lines[-1])
    return Result(outcome, last["val_loss"], last["rounded_accuracy"])


def _plain_share(python: str, size: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "profile.json"
        run([*_loop(python, size, 1), "--profile", str(trace)], gpu=True)
        return kernel_share(trace)


def _our_share(python: str, size: int) -> float | None:
    """Read the trace that ``profile=true`` leaves in the run folder; None without that option."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*_words(size, 2), *QUIET, "profile=true", f"hydra.run.dir={folder}/run"]
        try:
            run([python, "-m", "sae_cli", *words], gpu=True)
        except FailedError:
            return None
        trace = Path(folder) / "run" / "profiles" / "joint.json.gz"
        return kernel_share(trace) if trace.exists() else None
