"""JumpReLU: its values, and the gradient of its thresholds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.model.activations.jumprelu import JumpReLU, jump, step


def fitted(n: int = 3, threshold: float = 0.5, bandwidth: float = 0.4) -> JumpReLU:
    activation = JumpReLU(threshold=threshold, bandwidth=bandwidth)
    activation.fit_to_([n])
    return activation.double()


def test_values() -> None:
    x = torch.tensor([[-1.0, 0.5, 0.6], [0.4, 2.0, 0.0]]).double()
    activation = fitted()
    with torch.no_grad():
        activation.log_threshold.copy_(torch.tensor([0.3, 0.5, 1e-3]).double().log())
    assert torch.equal(activation(x), torch.tensor([[0, 0, 0.6], [0.4, 2.0, 0]]).double())
    assert torch.equal(activation.active(x), torch.tensor([[0, 0, 1], [1, 1, 0]]).double())
    # No zero is negative.
    assert not bool(activation(x).signbit().any())


@pytest.mark.parametrize("function", [jump, step])
def test_the_gradient_of_a_threshold_is_that_of_the_kernel(function: object) -> None:
    assert function in (jump, step)
    bandwidth, at = 0.4, 0.5
    x = torch.linspace(0.2, 0.8, 25).double()[:, None]
    threshold = torch.tensor([at]).double().requires_grad_()
    upstream = torch.randn(25, 1, generator=torch.Generator().manual_seed(0)).double()
    made = jump(x, threshold, bandwidth) if function is jump else step(x, threshold, bandwidth)
    (found,) = torch.autograd.grad(made, threshold, upstream)
    inside = (np.abs((x.numpy() - at) / bandwidth) < 0.5).astype(float)
    height = at / bandwidth if function is jump else 1 / bandwidth
    assert float(found) == pytest.approx(-(upstream.numpy() * height * inside).sum(), rel=1e-12)


def test_the_gradient_is_that_of_the_mean_over_many_examples() -> None:
    """A finite difference of the exact mean of ``jump`` and ``step`` over uniform pre-codes."""
    bandwidth, at, high = 0.1, 0.5, 2.0
    x = torch.linspace(0.0, high, 400_001).double()[:, None]
    threshold = torch.tensor([at]).double().requires_grad_()
    by_kernel = [
        float(torch.autograd.grad(of(x, threshold, bandwidth).mean(), threshold)[0])
        for of in (jump, step)
    ]

    def means(theta: float) -> Tensor:
        # Over uniform pre-codes in (0, high) these are integrals.
        return torch.tensor([(high**2 - theta**2) / 2, high - theta]).double() / high

    difference = (means(at + 1e-4) - means(at - 1e-4)) / 2e-4
    assert by_kernel == pytest.approx(difference.tolist(), rel=1e-3)


def test_pre_codes_have_the_gradient_of_what_is_kept() -> None:
    x = torch.tensor([[0.1, 0.45, 0.9]]).double().requires_grad_()
    (found,) = torch.autograd.grad(fitted()(x).sum(), x)
    assert found.tolist() == [[0.0, 0.0, 1.0]]
    assert fitted().active(x.detach()).grad_fn is not None


def test_the_logarithm_has_a_factor_more() -> None:
    x = torch.tensor([[0.45, 0.6, 0.9]]).double()
    activation = fitted()
    (found,) = torch.autograd.grad(activation.active(x).sum(), activation.log_threshold)
    assert found.tolist() == pytest.approx([-0.5 / 0.4, -0.5 / 0.4, 0.0])


def test_layers_of_several_widths_cannot_share_thresholds() -> None:
    activation = JumpReLU(threshold=0.1, bandwidth=0.1)
    with pytest.raises(ConfigError, match="layers of 8 and 4; give one layer"):
        activation.fit_to_([8, 4])
    activation.fit_to_([8, 8])
    assert activation.threshold.tolist() == pytest.approx([0.1] * 8)
