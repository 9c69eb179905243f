"""Corruptions: their statistics, what they leave alone, and that a generator fixes them."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from sae_cli.training.corruptions import Corruption, Dropout, Gaussian, Masking, SaltAndPepper

X = torch.rand((200, 1, 16, 16), generator=Generator().manual_seed(1)) * 0.8 + 0.1
ALL = [
    Gaussian(std=0.2, clip=False),
    Gaussian(std=0.2, clip=True),
    Masking(fraction=0.3),
    Dropout(fraction=0.3),
    SaltAndPepper(fraction=0.3),
]


def corrupt(corruption: Corruption, seed: int = 0) -> Tensor:
    return corruption(X, Generator().manual_seed(seed))


@pytest.mark.parametrize("corruption", ALL)
def test_a_generator_fixes_the_noise_and_moves_on(corruption: Corruption) -> None:
    generator = Generator().manual_seed(0)
    first, second = corruption(X, generator), corruption(X, generator)
    assert torch.equal(first, corrupt(corruption))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("corruption", ALL)
def test_the_clean_input_is_not_touched(corruption: Corruption) -> None:
    before = X.clone()
    made = corrupt(corruption)
    assert torch.equal(X, before)
    assert made.shape == X.shape
    assert made.dtype == X.dtype


def test_gaussian_has_its_standard_deviation() -> None:
    noise = corrupt(ALL[0]) - X
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.003)
    assert float(noise.std()) == pytest.approx(0.2, rel=0.01)


def test_clipped_gaussian_stays_in_the_unit_interval() -> None:
    made = corrupt(ALL[1])
    assert float(made.min()) == 0.0
    assert float(made.max()) == 1.0


def test_masking_sets_a_share_to_zero_and_keeps_the_rest() -> None:
    made = corrupt(ALL[2])
    assert float((made == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert torch.equal(made[made != 0], X[made != 0])


def test_dropout_keeps_the_mean() -> None:
    made = corrupt(ALL[3])
    kept = made != 0
    assert torch.allclose(made[kept], X[kept] / 0.7)
    assert float(made.mean()) == pytest.approx(float(X.mean()), rel=0.01)


def test_salt_and_pepper_are_equally_many() -> None:
    made = corrupt(ALL[4])
    assert float((made == 0).float().mean()) == pytest.approx(0.15, abs=0.01)
    assert float((made == 1).float().mean()) == pytest.approx(0.15, abs=0.01)
    rest = (made != 0) & (made != 1)
    assert torch.equal(made[rest], X[rest])
