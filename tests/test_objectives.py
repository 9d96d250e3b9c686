"""Training objectives: what every one of them promises, and their values where a pencil can follow."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.models._prunable import prunable_weights
from sparrow.objectives import _pgd
from sparrow.perturbation import direction, project, random_start
from sparrow.settings import Threat
from sparrow.verification import _bounds

KINDS = catalogue.kinds("objectives")
CERTIFIED = ["ibp", "crown-ibp"]
LINF, L2 = Threat(norm="linf", eps=0.1), Threat(norm="l2", eps=0.3)
THREATS = pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)


def _prepare(kind: str, threat: Threat = LINF, **params: float) -> Callable:
    entry = catalogue.load("objectives", kind)
    return entry.prepare(entry.Params(**params), threat)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Images of `tiny` that no perturbation of these threats takes to the border of [0, 1], and labels."""
    return torch.empty(6, 1, 4, 4).uniform_(0.4, 0.6), torch.tensor([0, 1, 2, 3, 0, 1])


def _linear(classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, classes))


def _exact_margins(linear: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """Smallest margins (n, classes - 1) of a linear network over the ball: c (W x + b) - eps ||c W||, in the dual norm."""
    margins = _bounds.margin_matrix(labels, linear[1].out_features)
    gradients = margins @ linear[1].weight
    length = gradients.norm(dim=2, p=1 if threat.norm == "linf" else 2)
    return (margins @ linear(images).unsqueeze(2)).squeeze(2) - threat.eps * length


def _worst_case_loss(margins: Tensor) -> Tensor:
    """Cross-entropy of logits whose margins to the others are these."""
    return (1 + (-margins).exp().sum(dim=1)).log().mean()


@THREATS
@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_a_finite_scalar(kind: str, threat: Threat, tiny: nn.Module, batch: tuple) -> None:
    loss = _prepare(kind, threat)(tiny, *batch, 1.0)
    assert loss.shape == ()
    assert loss.isfinite()


@THREATS
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_reaches_every_prunable_weight(kind: str, threat: Threat, tiny: nn.Module, batch: tuple) -> None:
    _prepare(kind, threat)(tiny, *batch, 1.0).backward()
    assert all(weight.grad.count_nonzero() for weight in prunable_weights(tiny).values())


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_the_same_for_the_same_torch_seed(kind: str, tiny: nn.Module, batch: tuple) -> None:
    objective, losses = _prepare(kind), []
    for _ in range(2):
        torch.manual_seed(3)
        losses.append(objective(tiny, *batch, 0.7).item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("kind", KINDS)
def test_one_objective_serves_two_networks(kind: str, tiny: nn.Module, batch: tuple) -> None:
    # Certified objectives keep a view of the network between calls: it must not be the first one's.
    objective, other = _prepare(kind), nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 4))
    objective(tiny, *batch, 1.0)
    torch.manual_seed(3)
    shared = objective(other, *batch, 1.0)
    torch.manual_seed(3)
    assert shared.item() == _prepare(kind)(other, *batch, 1.0).item()


@pytest.mark.parametrize("kind", KINDS)
def test_loss_sees_weights_that_were_changed_in_place(kind: str, tiny: nn.Module, batch: tuple) -> None:
    # Pruners put their effective weights in place behind the objective's back.
    objective = _prepare(kind)
    objective(tiny, *batch, 1.0)
    tiny[0].weight.data.mul_(torch.rand(3, 1, 3, 3) > 0.5)
    torch.manual_seed(3)
    shared = objective(tiny, *batch, 1.0)
    torch.manual_seed(3)
    assert shared.item() == _prepare(kind)(tiny, *batch, 1.0).item()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_mode_of_the_network_is_left_alone(kind: str, training: bool, tiny: nn.Module, batch: tuple) -> None:
    _prepare(kind)(tiny.train(training), *batch, 1.0)
    assert {module.training for module in tiny.modules()} == {training}


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_parameter_stays_frozen(kind: str, tiny: nn.Module, batch: tuple) -> None:
    tiny[0].bias.requires_grad_(False)
    _prepare(kind)(tiny, *batch, 1.0)
    assert [name for name, parameter in tiny.named_parameters() if not parameter.requires_grad] == ["0.bias"]


@pytest.mark.parametrize("kind", KINDS)
def test_inner_maximisation_leaves_no_gradients(kind: str, tiny: nn.Module, batch: tuple) -> None:
    # What an attack on the way to the loss leaves in `.grad` would be added to the loss's own gradient.
    _prepare(kind)(tiny, *batch, 1.0)
    assert all(parameter.grad is None for parameter in tiny.parameters())


@THREATS
def test_adversarial_finds_the_optimum_of_a_linear_network(threat: Threat, batch: tuple) -> None:
    # With two classes the worst image is known: as far as one may go along the difference of the weights.
    linear, images, labels = _linear(2), batch[0], batch[1] % 2
    loss = _prepare("adversarial", threat, step_size=threat.eps)(linear, images, labels, 1.0)
    assert loss.item() == pytest.approx(_worst_case_loss(_exact_margins(linear, images, labels, threat)).item(), abs=1e-5)


def test_trades_finds_an_optimum_of_a_linear_network(batch: tuple) -> None:
    # Between two classes the divergence grows with the distance to the clean logits, so PGD goes all the way on one side.
    linear, image, label = _linear(2), batch[0][:1], batch[1][:1]
    margin = (linear(image)[0, 0] - linear(image)[0, 1]).item()
    reach = LINF.eps * (linear[1].weight[0] - linear[1].weight[1]).abs().sum().item()

    def divergence(shift: float) -> float:
        p, q = (1 / (1 + math.exp(-value)) for value in (margin, margin + shift))
        return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))

    found = _prepare("trades", beta=3.0)(linear, image, label, 1.0) - functional.cross_entropy(linear(image), label)
    assert any(found.item() == pytest.approx(3 * divergence(shift), rel=1e-3) for shift in (reach, -reach))


def test_trades_without_beta_is_cross_entropy(tiny: nn.Module, batch: tuple) -> None:
    clean = functional.cross_entropy(tiny(batch[0]), batch[1])
    assert _prepare("trades", beta=0)(tiny, *batch, 1.0).item() == clean.item()


@pytest.mark.parametrize("kappa", [1.0, 0.3])
@pytest.mark.parametrize("kind", CERTIFIED)
def test_certified_training_starts_benign(kind: str, kappa: float, tiny: nn.Module, batch: tuple) -> None:
    clean = functional.cross_entropy(tiny(batch[0]), batch[1])
    assert _prepare(kind, kappa_start=kappa)(tiny, *batch, 0.0).item() == clean.item()


@pytest.mark.parametrize("kind", CERTIFIED)
def test_certified_loss_by_hand(kind: str) -> None:
    # The margin's weights are (1, -3) and its value at the image -1; 0.1 a pixel takes another 0.4.
    linear = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    linear[1].weight.data = torch.tensor([[1.0, -1.0], [0.0, 2.0]])
    linear[1].bias.data.zero_()
    images, labels = torch.full((1, 1, 1, 2), 0.5), torch.tensor([0])
    loss = _prepare(kind, kappa_end=0)(linear, images, labels, 1.0)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(1.4)))


@THREATS
@pytest.mark.parametrize(("kind", "params"), [("ibp", {}), ("crown-ibp", {"beta_end": 0}), ("crown-ibp", {"beta_end": 1})])
def test_certified_loss_is_exact_on_a_linear_network(kind: str, params: dict, threat: Threat, batch: tuple) -> None:
    linear = _linear(4)
    expected = _worst_case_loss(_exact_margins(linear, *batch, threat))
    loss = _prepare(kind, threat, kappa_end=0, **params)(linear, *batch, 1.0)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_ibp_ramps_eps_and_kappa(batch: tuple) -> None:
    linear = _linear(4)
    robust = _worst_case_loss(_exact_margins(linear, *batch, Threat(eps=0.05)))
    expected = 0.75 * functional.cross_entropy(linear(batch[0]), batch[1]) + 0.25 * robust
    loss = _prepare("ibp", kappa_start=1.0, kappa_end=0.5)(linear, *batch, 0.5)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_crown_ibp_mixes_its_two_bounds(tiny: nn.Module, batch: tuple) -> None:
    # The bounds come from fresh views: the objective's own, used for both, must not mix up their state.
    half = Threat(eps=0.05)
    tight, loose = (
        _bounds.margins(_bounds.bounded(tiny, batch[0]), *batch, half, 4, method) for method in ("CROWN-IBP", "IBP")
    )
    objective = _prepare("crown-ibp", kappa_start=0.0, kappa_end=0.0, beta_start=1.0, beta_end=0.4)
    losses = [objective(tiny, *batch, 0.5).item() for _ in range(2)]
    assert losses == pytest.approx([_worst_case_loss(0.7 * tight + 0.3 * loose).item()] * 2, abs=1e-6)


@pytest.mark.parametrize("kind", CERTIFIED)
def test_certified_loss_is_never_below_the_adversarial_one(kind: str, tiny: nn.Module, batch: tuple) -> None:
    certified = _prepare(kind, kappa_end=0)(tiny, *batch, 1.0)
    assert certified >= _prepare("adversarial")(tiny, *batch, 1.0)


def _distance(images: Tensor, centre: Tensor, threat: Threat) -> Tensor:
    return (images - centre).flatten(1).norm(dim=1, p=math.inf if threat.norm == "linf" else 2)


@THREATS
def test_projection_ends_in_the_ball_and_in_the_unit_box(threat: Threat) -> None:
    centre = torch.rand(50, 1, 4, 4)
    projected = project(centre + torch.randn_like(centre), centre, threat)
    assert _distance(projected, centre, threat).max() <= threat.eps + 1e-6
    assert (projected >= 0).logical_and(projected <= 1).all()


@THREATS
def test_projection_leaves_what_is_inside(threat: Threat, batch: tuple) -> None:
    inside = batch[0] + 0.01
    assert project(inside, batch[0], threat).flatten().tolist() == pytest.approx(inside.flatten().tolist())


@pytest.mark.parametrize(
    ("threat", "point", "expected"),
    [
        (Threat(eps=0.1), (0.9, 0.55), (0.6, 0.55)),
        (Threat(norm="l2", eps=0.25), (0.8, 0.9), (0.65, 0.7)),  # A 3-4-5 triangle, twice as far as one may go.
    ],
)
def test_projection_by_hand(threat: Threat, point: tuple, expected: tuple) -> None:
    centre = torch.full((1, 1, 1, 2), 0.5)
    assert project(torch.tensor(point).view(1, 1, 1, 2), centre, threat).flatten().tolist() == pytest.approx(expected)


@THREATS
def test_random_start_stays_in_the_ball(threat: Threat) -> None:
    centre = torch.rand(200, 1, 4, 4)
    distance = _distance(random_start(centre, threat), centre, threat)
    assert distance.max() <= threat.eps + 1e-6
    assert distance.max() > 0.9 * threat.eps


def test_random_start_fills_the_l2_ball_evenly() -> None:
    # Half of a disc's area lies within 1 / sqrt(2) of its radius.
    centre = torch.full((4000, 1, 1, 2), 0.5)
    distance = _distance(random_start(centre, L2), centre, L2)
    assert (distance < L2.eps / math.sqrt(2)).float().mean().item() == pytest.approx(0.5, abs=0.03)


@THREATS
def test_direction_is_the_steepest_of_unit_length(threat: Threat) -> None:
    gradient = torch.randn(20, 1, 4, 4)
    step = direction(gradient, threat)
    assert _distance(step, torch.zeros_like(step), threat).tolist() == pytest.approx([1] * 20)
    # No unit step climbs more than the dual norm of the gradient.
    steepest = gradient.flatten(1).norm(dim=1, p=1 if threat.norm == "linf" else 2)
    assert (step * gradient).flatten(1).sum(dim=1).tolist() == pytest.approx(steepest.tolist())


@THREATS
def test_no_gradient_gives_no_direction(threat: Threat) -> None:
    assert direction(torch.zeros(1, 1, 2, 2), threat).tolist() == [[[[0, 0], [0, 0]]]]


@THREATS
def test_maximise_ascends_within_the_ball_and_the_unit_box(threat: Threat, tiny: nn.Module) -> None:
    images, labels = torch.rand(20, 1, 4, 4), torch.arange(20) % 4

    def loss(logits: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, reduction="sum")

    found = _pgd.maximise(tiny, loss, images, images, threat, steps=10, step_size=threat.eps)
    assert _distance(found, images, threat).max() <= threat.eps + 1e-6
    assert (found >= 0).logical_and(found <= 1).all()
    assert loss(tiny(found)) > loss(tiny(images))


def test_maximise_keeps_batch_statistics_clean() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2)).train()
    images = torch.rand(4, 1, 4, 4)
    _pgd.maximise(network, torch.sum, images, images, LINF, steps=2, step_size=0.1)
    assert network[1].num_batches_tracked == 0
    assert network.training
