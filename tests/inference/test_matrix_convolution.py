"""Small convolutions as matrices: the same logits and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sparrow.inference.fixed_weights import conv2d, fixed_weights
from sparrow.inference.matrix_convolution import matrix_convolutions


def networks() -> dict[str, nn.Module]:
    flat = nn.Flatten()
    return {
        "plain": nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), flat, nn.Linear(24, 3)),
        "no bias, no ReLU": nn.Sequential(nn.Conv2d(1, 4, 4, 2, bias=False), nn.Conv2d(4, 4, 2), flat, nn.Linear(16, 3)),
        "groups and dilation": nn.Sequential(
            nn.Conv2d(1, 4, 3, dilation=2), nn.ReLU(), nn.Conv2d(4, 4, 3, padding="same", groups=2), flat, nn.Linear(64, 3)
        ),
        "norm and pooling": nn.Sequential(
            nn.Conv2d(1, 4, 3, 1, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), flat, nn.Linear(24, 3)
        ),
    }


def seeded(network: nn.Module) -> nn.Module:
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(0.3 * torch.rand(tensor.shape, generator=random) + 0.05)
    for parameter in network.parameters():
        parameter.data -= 0.15
    return network.eval()


def images(count: int = 5) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def convolutions(network: nn.Module) -> int:
    return sum(node.target is conv2d for node in network.graph.nodes)


def assert_same(one: nn.Module, other: nn.Module, given: Tensor) -> None:
    found = []
    for network in (one, other):
        inputs = given.clone().requires_grad_()
        output = network(inputs)
        found.append((output.detach(), *torch.autograd.grad(output.square().sum(), inputs)))
    for left, right in zip(*found, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", networks())
def test_logits_and_gradients_are_the_same(name: str) -> None:
    model = seeded(networks()[name])
    with fixed_weights(model, images()) as plain, matrix_convolutions(plain, images()) as view:
        assert convolutions(plain) == 2
        assert convolutions(view) == 0
        assert_same(view, plain, images())
        assert_same(view, plain, images().contiguous(memory_format=torch.channels_last))
        assert view(images(0)).shape == (0, 3)


def test_maps_that_are_added_are_the_same(residual: nn.Module) -> None:
    with fixed_weights(residual, images()) as plain, matrix_convolutions(plain, images()) as view:
        assert convolutions(view) < convolutions(plain)
        assert_same(view, plain, images())


def test_weights_are_those_of_the_moment_and_are_freed() -> None:
    model, answers = seeded(networks()["plain"]), list[Tensor]()
    for factor in (1, 2):
        model[0].weight.data *= factor
        with fixed_weights(model, images()) as plain, matrix_convolutions(plain, images()) as view:
            answers.append(view(images()))
            torch.testing.assert_close(answers[-1], model(images()), rtol=1e-4, atol=1e-5)
        assert all(buffer is None for buffer in view._buffers.values())
    assert not torch.allclose(*answers)


def test_hooks_of_the_model_run() -> None:
    model, seen = seeded(networks()["plain"]), list[int]()
    with fixed_weights(model, images()) as plain, matrix_convolutions(plain, images()) as view:
        hook = model.register_forward_hook(lambda module, arguments, output: seen.append(len(output)))
        view(images())
        hook.remove()
        view(images())
    assert seen == [5]
    assert not view._forward_hooks


def test_images_of_another_size_have_matrices_of_their_own() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    seeded(model)
    for given in (images(), images()[..., :6, :5]):
        with fixed_weights(model, given) as plain, matrix_convolutions(plain, given) as view:
            assert convolutions(view) == 0
            assert_same(view, plain, given)


def test_what_would_be_slower_stays_a_convolution() -> None:
    large = seeded(nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 32, 3), nn.Flatten(), nn.Linear(32 * 36, 3)))
    with fixed_weights(large, images()) as plain, matrix_convolutions(plain, images()) as view:
        # 64 x 2,048 entries, and 2,048 x 1,152.
        assert (convolutions(plain), convolutions(view)) == (2, 1)
    pixel_by_pixel = seeded(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(128, 3)))
    with fixed_weights(pixel_by_pixel, images()) as plain, matrix_convolutions(plain, images()) as view:
        # 64 multiply-adds for one.
        assert view is plain


def test_lower_precision_and_what_is_not_traced_stay_as_they_are() -> None:
    model = seeded(networks()["plain"])
    autocast = torch.autocast("cpu", torch.bfloat16)
    with autocast, fixed_weights(model, images()) as plain, matrix_convolutions(plain, images()) as view:
        assert view is plain
    with matrix_convolutions(model, images()) as view:
        assert view is model
