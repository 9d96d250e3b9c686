"""MTL-IBP where batch norm is in train mode: both of its terms normalise by the adversarial images' batch."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.adversary.geometry import random_start
from sparrow.settings import Threat

THREAT = Threat(eps=0.1)
ALPHA = 0.3


class Residual(nn.Module):
    """No chain of layers: auto_LiRPA bounds it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return self.last((flat + self.norm(self.first(flat))).relu())


def chain() -> nn.Sequential:
    """One whose bounds are written out."""
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def parts(network: nn.Module) -> list[nn.Module]:
    if isinstance(network, Residual):
        return [network.first, network.norm, network.last]
    return [network[1], network[2], network[4]]


def by_hand(network: nn.Module, images: Tensor, labels: Tensor, normalised_by: Tensor) -> Tensor:
    """Cross-entropy of the worst logits of IBP, from its definition; batch norm by the statistics of `normalised_by`."""
    first, norm, last = parts(network)
    straight = isinstance(network, Residual)
    flat = normalised_by.flatten(1)
    seen = first(flat)
    mean, spread = seen.mean(0), (seen.var(0, unbiased=False) + norm.eps).sqrt()
    low, high = (images - THREAT.eps).clamp(0, 1).flatten(1), (images + THREAT.eps).clamp(0, 1).flatten(1)
    up, down = first.weight.clamp_min(0).T, first.weight.clamp_max(0).T
    inside = [low @ up + high @ down + first.bias, high @ up + low @ down + first.bias]
    scaled = [(bound - mean) / spread * norm.weight + norm.bias for bound in inside]
    ends = [torch.minimum(*scaled), torch.maximum(*scaled)]
    low, high = (end + (edge if straight else 0) for end, edge in zip(ends, (low, high), strict=True))
    low, high = low.relu(), high.relu()
    worst = []
    for row, label in enumerate(labels.tolist()):
        rows = last.weight - last.weight[label]
        shift = last.bias - last.bias[label]
        worst.append(rows.clamp_min(0) @ high[row] + rows.clamp_max(0) @ low[row] + shift)
    return functional.cross_entropy(torch.stack(worst), labels)


@pytest.mark.parametrize("build", [chain, Residual], ids=["chain", "residual"])
def test_bounds_normalise_by_the_adversarial_images(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    network = build().train()
    nn.init.uniform_(parts(network)[1].weight, -1, 1)
    images, labels = torch.rand(8, 1, 2, 3), torch.arange(8) % 3
    twin = copy.deepcopy(network)
    entry = catalogue.load("objectives", "mtl-ibp")
    torch.manual_seed(1)
    loss = entry.prepare(entry.Params(alpha=ALPHA), THREAT)(network, images, labels, 1.0)

    # The running statistics have seen the batch as it is when the attack, in eval mode, looks at the network.
    twin(images)
    torch.manual_seed(1)
    start = random_start(images, THREAT).requires_grad_()
    (gradient,) = torch.autograd.grad(functional.cross_entropy(twin.eval()(start), labels), start)
    step = start.detach() + 10 * THREAT.eps * gradient.sign()
    adversarial = step.clamp(images - THREAT.eps, images + THREAT.eps).clamp(0, 1)
    attacked = functional.cross_entropy(twin.train()(adversarial), labels)
    expected = ALPHA * by_hand(twin, images, labels, adversarial) + (1 - ALPHA) * attacked
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    # By the statistics of the images as they are, it would be another number.
    clean = ALPHA * by_hand(twin, images, labels, images) + (1 - ALPHA) * attacked
    assert abs(loss.item() - clean.item()) > 1e-3
    assert torch.allclose(parts(network)[1].running_mean, parts(twin)[1].running_mean, atol=1e-7)
    loss.backward()
    expected.backward()
    for own, other in zip(parts(network), parts(twin), strict=True):
        assert torch.allclose(own.weight.grad, other.weight.grad, rtol=1e-3, atol=1e-6)
