"""Bounds are those of the network without the units that cannot matter, which are the network's, and are held against it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError
from sparrow.networks.live_view import live_view
from sparrow.networks.small_residual import SmallResidual
from sparrow.settings import Threat
from sparrow.verification import bounds, splitting
from sparrow.verification import crown as crown_bounds
from sparrow.verification.chain_bounds import chain
from sparrow.verifiers import alpha_crown, branch_and_bound, crown, crown_ibp, ibp
from tests.networks.pruned_networks import pruned, small

BOUNDS = [
    (ibp, ibp.Params(), 1e-5),
    (crown_ibp, crown_ibp.Params(), 1e-5),
    (crown, crown.Params(), 1e-5),
    # Adam's first steps are as long, however small the gradient.
    (alpha_crown, alpha_crown.Params(iterations=3), 1e-3),
]


def chained() -> tuple[nn.Module, Tensor, Tensor]:
    return small()


def normed() -> tuple[nn.Module, Tensor, Tensor]:
    """A chain with batch norms behind its layers."""
    layers = [nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    layers += [nn.Conv2d(8, 8, 3, 2, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    model = pruned(
        nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4)), 0.9
    )
    return _case(model)


def residual() -> tuple[nn.Module, Tensor, Tensor]:
    return _case(pruned(SmallResidual(4, 1, (1, 8, 8), 4), 0.9))


def _case(model: nn.Module) -> tuple[nn.Module, Tensor, Tensor]:
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model, images, model(images).argmax(dim=1)


@pytest.mark.parametrize("threat", [Threat(eps=0.03), Threat(norm="l2", eps=0.2)], ids=lambda threat: threat.norm)
@pytest.mark.parametrize("build", [chained, normed, residual])
@pytest.mark.parametrize(("entry", "params", "tolerance"), BOUNDS, ids=lambda one: getattr(one, "__name__", ""))
def test_bounds_are_those_of_the_whole_network(
    entry: object, params: object, tolerance: float, build: object, threat: Threat, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images, labels = build()
    assert sum(one.numel() for one in live_view(model, (1, 8, 8)).parameters()) < sum(one.numel() for one in model.parameters())
    seen: list[nn.Module] = []
    for module, name in ((bounds, "bounded"), (crown_bounds, "traced")):
        own = getattr(module, name)
        monkeypatch.setattr(module, name, lambda network, *rest, own=own: seen.append(network) or own(network, *rest))
    found = entry.bound(model, images, labels, params, threat, 4)
    assert seen
    assert all(network is not model for network in seen)
    for module in (bounds, crown_bounds):
        monkeypatch.setattr(module, "live_view", lambda model, shape: model)
    expected = entry.bound(model, images, labels, params, threat, 4)
    assert seen[-1] is model
    largest = float(model(images).detach().abs().max())
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * largest)


@pytest.mark.parametrize("build", [chained, normed])
def test_a_chain_stays_one(build: object) -> None:
    model, _, _ = build()
    assert len(chain(live_view(model, (1, 8, 8))) or []) == len(chain(model))


def test_a_view_that_promises_too_much_is_refuted_by_the_network_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images, labels = small()

    def better(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """Surer of everything by ten."""
        view = live_view(model, shape)
        layers = [*view][:-1]
        last = nn.Linear(view[-1].in_features, 4)
        last.weight, last.bias = view[-1].weight, nn.Parameter(view[-1].bias + 10 * torch.eye(4)[int(labels[0])])
        return nn.Sequential(*layers, last).eval()

    monkeypatch.setattr(bounds, "live_view", better)
    with pytest.raises(NetworkError, match="above the margin of a point that it covers"):
        ibp.bound(model, images[:1], labels[:1], ibp.Params(), Threat(eps=0.001), 4)


def test_branch_and_bound_divides_the_ball_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images, labels = small()
    params, found = branch_and_bound.Params(iterations=3, domains=20), []
    monkeypatch.setattr(branch_and_bound, "_attack", lambda *given: None)
    for view in (live_view, lambda model, shape: model):
        monkeypatch.setattr(splitting, "live_view", view)
        pairs = zip(images[:2].split(1), labels.tolist(), strict=False)
        found.append([branch_and_bound.search(model, image, label, params, Threat(eps=0.1), 4) for image, label in pairs])
    for ours, whole in zip(*found, strict=True):
        assert (ours.verified, ours.domains) == (whole.verified, whole.domains)
        assert ours.margin == pytest.approx(whole.margin, rel=1e-3)
    # One is divided until the limit, the other is proved at once.
    assert [one.verified for one in found[0]] == [False, True]
    assert [one.domains > 0 for one in found[0]] == [True, False]
