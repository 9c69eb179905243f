"""Devices: what choosing one does to the process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.utils import deterministic

from sae_cli.training.devices import DEVICES


@pytest.fixture
def settings_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    yield
    torch.use_deterministic_algorithms(False)
    deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]


@pytest.mark.usefixtures("settings_kept")
def test_a_gpu_repeats_its_numbers_and_writes_no_memory_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    made = DEVICES.build({"name": "cuda", "precision": "float32", "threads": None})
    assert made.torch.type == "cuda"
    assert torch.are_deterministic_algorithms_enabled()
    # PyTorch writes NaN to each new tensor when it is to be deterministic, unless told not to.
    assert not torch.empty(1 << 12).isnan().all()
