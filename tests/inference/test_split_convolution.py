"""A convolution in parts is the convolution."""

import pytest
import torch
from torch.nn import functional

from sparrow.inference import split_convolution

# Side of the images, and what goes with the weights; only the first two are taken apart.
CASES = {
    "small": (4, (1, 1), (1, 1), (1, 1), 1),
    "small by two": (8, (2, 2), "valid", (1, 1), 1),
    "large": (8, (1, 1), (1, 1), (1, 1), 1),
    "in groups": (4, (1, 1), (1, 1), (1, 1), 2),
}


def found(convolution, images, *rest):
    images = images.clone().requires_grad_(True)
    output = convolution(images, *rest)
    return output.detach(), torch.autograd.grad(output.square().sum(), images)[0]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_same_outputs_and_gradients(case, bias, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(split_convolution, "CACHED_BYTES", 1000)
    side, *geometry = CASES[case]
    images, weight = torch.randn(5, 4, side, side).double(), torch.randn(10, 4 // geometry[-1], 3, 3).double()
    bias = torch.randn(10).double() if bias else None
    expected, calls = found(functional.conv2d, images, weight, bias, *geometry), []
    whole = functional.conv2d
    monkeypatch.setattr(functional, "conv2d", lambda *given: calls.append(len(given[1])) or whole(*given))
    results = found(split_convolution.conv2d, images, weight, bias, *geometry)
    for one, other in zip(results, expected, strict=True):
        torch.testing.assert_close(one, other)
    # 2,880 bytes in parts of up to 1,000.
    assert calls == ([4, 4, 2] if case.startswith("small") else [10])


def test_few_weights_stay_together(monkeypatch):
    monkeypatch.setattr(torch, "cat", None)
    images, weight = torch.randn(5, 4, 2, 2), torch.randn(8, 4, 3, 3)
    split_convolution.conv2d(images, weight, None, (1, 1), (1, 1), (1, 1), 1)
