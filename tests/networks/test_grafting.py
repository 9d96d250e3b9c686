"""ReLUs with lines in the place of some neurons: what they compute, and that bounds lose nothing at a line."""

from __future__ import annotations

import copy
import time

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.errors import NetworkError
from sparrow.inference.fixed_weights import fixed_weights
from sparrow.inference.window import Window
from sparrow.inference.window_updates import window_updates
from sparrow.networks.grafting import Grafted, chosen, graft, grafted_layers, relu_inputs
from sparrow.settings import Threat
from sparrow.training.additions import StabilityLoss
from sparrow.training.relu_stability import Penalty
from sparrow.verification import bounds, chain_bounds
from sparrow.verification.graph import traced
from sparrow.verification.graph_splitting import GraphSplitting
from sparrow.verification.lirpa_splitting import LirpaSplitting
from sparrow.verification.splitting import Splitting
from sparrow.verifiers import branch_and_bound

THREAT = Threat(eps=0.05)
METHODS = ("IBP", "CROWN-IBP", "CROWN", "CROWN-Optimized")


def by_hand(slope: float) -> Grafted:
    """Two neurons: a line with intercept 0.1, and a ReLU."""
    mask = torch.tensor([True, False])
    return Grafted(mask, torch.tensor([slope, slope]), torch.tensor([0.1, 0.1]))


def test_a_line_and_a_relu_by_hand() -> None:
    # 0.4 * -1 + 0.1, and max(2, 0).
    assert torch.allclose(by_hand(0.4)(torch.tensor([[-1.0, 2.0]])), torch.tensor([[-0.3, 2.0]]))


@pytest.mark.parametrize("slope", [0.4, -0.4])
@pytest.mark.parametrize("method", METHODS)
def test_bounds_of_a_line_are_exact_by_hand(slope: float, method: str) -> None:
    # Its input is 2 x - 1 for x in [0, 1]: in [-1, 1]. A line that rises is in [-0.3, 0.5] then, and so is one that falls.
    lift, first = nn.Linear(1, 2), nn.Linear(2, 2)
    lift.weight.data, lift.bias.data = torch.full((2, 1), 2.0), torch.full((2,), -1.0)
    first.bias.data.zero_()
    first.weight.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])  # The line itself, and its negative.
    model, images = nn.Sequential(nn.Flatten(), lift, by_hand(slope), first).eval(), torch.full((1, 1, 1, 1), 0.5)
    for label, smallest in enumerate((-0.6, -1.0)):  # Twice the smallest value of the line, and minus twice the largest.
        found = bounds.smallest_margin(model, images, torch.tensor([label]), Threat(eps=0.5), 2, method)
        assert float(found) == pytest.approx(smallest, abs=1e-6)


def random_lines(model: nn.Module, images: Tensor, share: float = 0.5) -> nn.Module:
    """The network with lines of any slope and intercept in the place of a share of its neurons."""
    masks = {name: torch.rand(given.shape[1:]) < share for name, given in relu_inputs(model.eval(), images)}
    graft(model, masks, 0.4, 0.0)
    for layer in grafted_layers(model).values():
        layer.slope.data, layer.intercept.data = ((torch.rand_like(layer.kept) - 0.5) * layer.mask for _ in range(2))
    return model.eval()


def convolutional() -> nn.Sequential:
    layers = [nn.Conv2d(1, 4, 3, 2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, 4))


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 1, 8, 8)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("method", METHODS)
def test_bounds_hold_at_points_of_the_perturbation_set(norm: str, method: str, images: Tensor) -> None:
    model = random_lines(convolutional(), images)
    threat = Threat(norm=norm, eps=0.05 if norm == "linf" else 0.3)
    labels = model(images).argmax(1)
    found = bounds.smallest_margin(model, images, labels, threat, 4, method)
    shifts = torch.rand(200, *images.shape) * 2 - 1
    length = 1 if norm == "linf" else shifts.flatten(2).norm(dim=2).view(200, -1, 1, 1, 1)
    there = (images + threat.eps * shifts / length).clamp(0, 1)
    with torch.no_grad():
        logits = model(there.flatten(0, 1)).unflatten(0, (200, -1))
    own = logits.gather(2, labels.view(1, -1, 1).expand(200, -1, 1))
    margins = (own - logits).masked_fill(functional.one_hot(labels, 4).bool(), torch.inf).amin(2)
    assert (margins >= found - 1e-5).all()


def test_a_network_of_lines_is_bounded_exactly(images: Tensor) -> None:
    model = random_lines(convolutional(), images, share=1.0)
    labels = model(images).argmax(1)
    found = bounds.smallest_margin(model, images, labels, THREAT, 4, "CROWN")
    # Linear in the image, so that the worst corner is known.
    points = images.clone().requires_grad_()
    logits, exact = model(points), torch.full((5,), torch.inf)
    for other in range(4):
        margin = logits.gather(1, labels.unsqueeze(1)).squeeze(1) - logits[:, other]
        (slopes,) = torch.autograd.grad(margin.sum(), points, retain_graph=True)
        steps = torch.where(slopes > 0, (images - 0.05).clamp_min(0) - images, (images + 0.05).clamp_max(1) - images)
        worst = margin.detach() + (slopes * steps).flatten(1).sum(1)
        exact = torch.where(labels == other, exact, torch.minimum(exact, worst))
    assert torch.allclose(found, exact, atol=1e-5)


def test_a_neuron_that_is_a_line_is_never_unstable(images: Tensor) -> None:
    model, before = convolutional(), None
    before = bounds.input_ranges(model.eval(), images, torch.zeros(5, dtype=torch.long), THREAT, 4)
    assert all(((lower < 0) & (upper > 0)).any() for lower, upper in before)
    ranges = bounds.input_ranges(random_lines(model, images), images, torch.zeros(5, dtype=torch.long), THREAT, 4)
    for layer, (lower, upper) in zip(grafted_layers(model).values(), ranges, strict=True):
        assert layer.mask.any()
        assert not lower[:, layer.mask].any()
        assert not upper[:, layer.mask].any()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("method", "tight"), [("IBP", False), ("CROWN-IBP", True)])
def test_our_own_bounds_are_those_of_auto_lirpa(training: bool, method: str, tight: bool, images: Tensor) -> None:
    model, labels = random_lines(convolutional(), images).train(training), torch.arange(5) % 4
    view = bounds.bounded(model, images)
    view.train(training)
    if training:
        view(images)
    theirs = bounds.margins(view, images, labels, THREAT, 4, method)
    model.requires_grad_(True)
    layers = chain_bounds.chain(model)
    assert layers is not None
    ours = chain_bounds.margins(layers, images, labels, THREAT, tight)[1]
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    if training:  # In eval mode, auto_LiRPA has no gradients.
        held = {
            f"{name}.{line}": layer.mask for name, layer in grafted_layers(model).items() for line in ("slope", "intercept")
        }
        for name, parameter in model.named_parameters():
            # Where there is no line, its slope is held at 0, and there |slope| has no gradient that both would agree on.
            first, second = (
                torch.autograd.grad(found.square().sum(), parameter, retain_graph=True)[0] * held.get(name, 1)
                for found in (ours, theirs)
            )
            assert torch.allclose(first, second, rtol=1e-4, atol=1e-5), name


def test_auto_lirpa_follows_lines_that_are_trained(images: Tensor) -> None:
    model, labels = random_lines(convolutional(), images), torch.arange(5) % 4
    view = bounds.bounded(model, images)
    view.eval()
    before = bounds.margins(view, images, labels, THREAT, 4, "CROWN-IBP")
    for layer in grafted_layers(model).values():
        layer.slope.data.mul_(2)
    after = bounds.margins(view, images, labels, THREAT, 4, "CROWN-IBP")
    fresh = bounds.smallest_margin(model, images, labels, THREAT, 4, "CROWN-IBP")
    assert not torch.allclose(before, after)
    assert torch.allclose(after.amin(1), fresh)


def test_a_network_with_lines_is_evaluated_fast(images: Tensor) -> None:
    model = random_lines(convolutional(), images)
    with fixed_weights(model, images) as view, torch.no_grad():
        assert view is not model
        assert torch.allclose(view(images), model(images), atol=1e-5)
    for layer in grafted_layers(model).values():
        layer.slope.data.mul_(2)
    with fixed_weights(model, images) as view, torch.no_grad():
        assert torch.allclose(view(images), model(images), atol=1e-5)


def test_windows_are_not_taken_for_the_neurons_of_a_whole_map(images: Tensor) -> None:
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
    model = random_lines(nn.Sequential(*layers, nn.Flatten(), nn.Linear(256, 3)), images)
    with fixed_weights(model, images) as view, torch.no_grad():
        updates = window_updates(view, images, 2)
        assert updates is not None
        window, content, changed = Window((5, 7), (2, 4)), torch.rand(5, 1, 2, 2), images.clone()
        window.of(changed).copy_(content)
        assert torch.allclose(updates.logits(window, content), model(changed), atol=1e-5)


def test_which_neurons_are_chosen_by_hand() -> None:
    unstable = {"a": torch.tensor([6, 10, 0, 5]), "b": torch.tensor([9, 2, 0, 5])}
    sizes = {"a": torch.tensor([0.3, 0.2, 0.0, 0.7]), "b": torch.tensor([0.1, 0.1, 0.0, 0.6])}

    def at(share: float) -> list[list[bool]]:
        return [mask.tolist() for mask in chosen(unstable, sizes, 10, int(8 * share)).values()]

    # On more than half of ten images: a0, a1 and b0, of which b0's input is the smallest, then a1's.
    assert at(0.25) == [[False, True, False, False], [True, False, False, False]]
    # Then those that are unstable less often: of five times each, the smaller input first.
    assert at(0.5) == [[True, True, False, False], [True, False, False, True]]
    # At most: what is always stable keeps its ReLU.
    assert at(1.0) == [[True, True, False, True], [True, True, False, True]]


def test_a_relu_that_is_run_twice_is_refused_by_name() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.relu = nn.Linear(4, 4), nn.ReLU()

        def forward(self, images: Tensor) -> Tensor:
            return self.relu(self.first(self.relu(images.flatten(1))))

    with pytest.raises(NetworkError, match="relu, which is run more than once"):
        list(relu_inputs(Twice(), torch.rand(1, 1, 2, 2)))
    with pytest.raises(NetworkError, match="no ReLU"):
        list(relu_inputs(nn.Flatten(), torch.rand(1, 1, 2, 2)))


@pytest.mark.parametrize("kind", ["cnn-small", "resnet2b", "resnet18", "preact-resnet18", "wrn-28-4", "trades-cnn", "vgg16-bn"])
def test_lines_can_take_the_place_of_all_relus_of_our_networks(kind: str) -> None:
    entry, images = catalogue.load("models", kind), torch.rand(1, 1, 16, 16)
    model = entry.build(entry.Params(), (1, 16, 16), 10).eval()
    found = dict(relu_inputs(model, images))
    with torch.no_grad():
        before = copy.deepcopy(model)(images)
        graft(model, {name: torch.zeros(given.shape[1:], dtype=torch.bool) for name, given in found.items()}, 0.4, 0.0)
        assert torch.equal(model(images), before)
    assert not [module for module in model.modules() if type(module) is nn.ReLU]
    # No other ReLU is left in the graph than those of the layers that know lines.
    network = bounds.bounded(model, images)
    assert len([node for node in bounds.nodes(network) if type(node).__name__ == "BoundRelu"]) == len(found)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(("eps", "verified"), [(0.15, True), (0.3, False)])
def test_branch_and_bound_splits_no_line_and_ends(eps: float, verified: bool, own: bool) -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 1, 3, 3)
    layers = [nn.Flatten(), nn.Linear(9, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3)]
    model = nn.Sequential(*layers)
    for parameter in model.parameters():
        parameter.data.mul_(3)
    model = random_lines(model, image)
    label, threat = int(model(image).argmax()), Threat(eps=eps)
    begun: GraphSplitting | None = None
    splitting: Splitting = LirpaSplitting(model, image, label, threat, 3, 5, 0.5)
    if own:
        graph = traced(model, image)
        assert graph is not None
        splitting = begun = GraphSplitting(graph, image, label, threat, 3, 5, 0.5)
    assert splitting.only_relus
    assert (splitting.margins < 0).any()  # So that something has to be split.
    unstable = splitting.unstable([torch.zeros(1, 12, dtype=torch.int8) for _ in range(2)])
    assert any(layer.any() for layer in unstable)
    for layer, which in zip(grafted_layers(model).values(), unstable, strict=True):
        assert not which[:, layer.mask].any()
    # Without the PGD that comes first: by splits and linear programmes alone.
    params, end = branch_and_bound.Params(iterations=5), time.monotonic() + 1000
    found = branch_and_bound._search(model, model, image, label, params, threat, 3, begun, end)
    assert found.domains > 1
    assert found.verified == verified
    assert (found.example is None) == verified
    if found.example is not None:
        assert int(model(found.example).argmax()) != label
        assert float((found.example - image).abs().max()) <= eps + 1e-6
        return
    points = (image + (torch.rand(5000, 1, 3, 3) * 2 - 1) * eps).clamp(0, 1)
    with torch.no_grad():
        logits = model(points)
    others = logits[:, [other for other in range(3) if other != label]]
    assert float((logits[:, [label]] - others).min()) >= found.margin - 1e-5


def test_the_penalty_for_unstable_relus_is_the_same_by_both_bounds_of_lines(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_lines(convolutional(), images)
    nn.init.uniform_(model.get_parameter("1.weight"), 0.2, 0.5)  # The scale of the batch norm before the first lines.
    ours = Penalty(StabilityLoss(weight=1.0), THREAT)(model, images)
    monkeypatch.setattr(chain_bounds, "chain", lambda model: None)
    theirs = Penalty(StabilityLoss(weight=1.0), THREAT)(model, images)
    assert torch.allclose(ours, theirs, atol=1e-6)
