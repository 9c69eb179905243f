"""What decides the bits of a run besides its code, its configuration and the machine."""

from __future__ import annotations

import os

import torch

# The variables that begin so belong to PyTorch and to the libraries that it computes with; no
# others are read, because they may hold secrets.
LIBRARIES = (
    *("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "BLIS_", "VECLIB_", "ONEDNN_", "DNNL_"),
    *("ATEN_", "TORCH_", "PYTORCH_", "CUBLAS_", "CUBLASLT_", "CUDNN_", "NVIDIA_TF32_"),
)


def variables() -> dict[str, str]:
    """Give the environment variables of the mathematical libraries: name -> text."""
    return {name: text for name, text in sorted(os.environ.items()) if name.startswith(LIBRARIES)}


def switches() -> dict[str, bool | str | None]:
    """Give the switches of PyTorch that choose between ways to compute: name -> state."""
    matmul, cudnn, mkldnn = (
        torch.backends.cuda.matmul,
        torch.backends.cudnn,
        torch.backends.mkldnn,
    )
    return {
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "matmul.allow_tf32": matmul.allow_tf32,
        "matmul.allow_fp16_reduced_precision": bool(matmul.allow_fp16_reduced_precision_reduction),
        "matmul.allow_bf16_reduced_precision": bool(matmul.allow_bf16_reduced_precision_reduction),
        "cudnn.enabled": cudnn.enabled,
        "cudnn.benchmark": cudnn.benchmark,
        "cudnn.deterministic": cudnn.deterministic,
        "cudnn.allow_tf32": cudnn.allow_tf32,
        "mkldnn.enabled": mkldnn.enabled,
        "mkldnn.deterministic": mkldnn.deterministic,
    }
