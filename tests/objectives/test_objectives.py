"""Training objectives: what every one of them promises, and their values where a pencil can follow."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.adversary.geometry import direction, project, random_start
from sparrow.adversary.margin import margin
from sparrow.networks.prunable import prunable_weights
from sparrow.objectives.mixtrain import weight_at
from sparrow.settings import Threat
from sparrow.training import inner_pgd
from sparrow.training.schedule import Progress
from sparrow.verification import bounds as _bounds

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

    found = inner_pgd.maximise(tiny, loss, images, images, threat, steps=10, step_size=threat.eps)
    assert _distance(found, images, threat).max() <= threat.eps + 1e-6
    assert (found >= 0).logical_and(found <= 1).all()
    assert loss(tiny(found)) > loss(tiny(images))


def test_maximise_keeps_batch_statistics_clean() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2)).train()
    images = torch.rand(4, 1, 4, 4)
    inner_pgd.maximise(network, torch.sum, images, images, LINF, steps=2, step_size=0.1)
    assert network[1].num_batches_tracked == 0
    assert network.training


def test_fgsm_steps_from_its_random_start_by_hand(batch: tuple) -> None:
    linear, (images, labels) = _linear(4), batch
    torch.manual_seed(5)
    start = random_start(images, LINF).requires_grad_()
    (gradient,) = torch.autograd.grad(functional.cross_entropy(linear(start), labels, reduction="sum"), start)
    expected = (start + 0.125 * gradient.sign()).clamp(images - 0.1, images + 0.1)
    torch.manual_seed(5)
    loss = _prepare("fgsm")(linear, images, labels, 1.0)
    assert loss.item() == pytest.approx(functional.cross_entropy(linear(expected), labels).item())


def test_fgsm_check_says_which_images_survive_pgd() -> None:
    # Two classes and one pixel: the margins are 0.2 and 0.05 times 4, and eps takes away 0.1 times 4.
    linear = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    linear[1].weight.data, linear[1].bias.data = torch.tensor([[2.0], [-2.0]]), torch.tensor([-1.0, 1.0])
    images, labels = torch.tensor([0.7, 0.55]).view(2, 1, 1, 1), torch.tensor([0, 0])
    assert _prepare("fgsm").check(linear, images, labels).tolist() == [True, False]


def test_mart_by_hand() -> None:
    # No perturbation moves constant logits, so both distributions are (0.5, 0.3, 0.2) and their divergence is zero.
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    network[1].weight.data.zero_()
    network[1].bias.data = torch.tensor([0.5, 0.3, 0.2]).log()
    loss = _prepare("mart")(network, torch.rand(1, 1, 4, 4), torch.tensor([1]), 1.0)
    assert loss.item() == pytest.approx(-math.log(0.3) - math.log(1 - 0.5))


def test_mart_weighs_the_divergence_by_the_doubt(batch: tuple) -> None:
    linear, image, label = _linear(2), batch[0][:1], batch[1][:1]
    losses = []
    for weight in (0.0, 1.0, 2.0):
        torch.manual_seed(3)
        losses.append(_prepare("mart", LINF, weight=weight)(linear, image, label, 1.0).item())
    torch.manual_seed(3)
    start = image + 0.001 * torch.randn_like(image)
    worst = inner_pgd.maximise(linear, lambda logits: functional.cross_entropy(logits, label), image, start, LINF, 10, 0.025)
    clean, perturbed = (functional.softmax(linear(x), dim=1)[0] for x in (image, worst))
    divergence = (clean * (clean / perturbed).log()).sum() * (1 - clean[label])
    assert losses[1] - losses[0] == pytest.approx(divergence.item(), rel=1e-3)
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-3)


def test_smoothing_by_hand(batch: tuple) -> None:
    linear, (images, labels) = _linear(4), batch
    torch.manual_seed(3)
    loss = _prepare("smoothing", sigma=0.5, beta=2.0)(linear, images, labels, 1.0)
    torch.manual_seed(3)
    noisy = linear(images + 0.5 * torch.randn_like(images)).log_softmax(dim=1)
    clean = linear(images).softmax(dim=1)
    divergence = (clean * (clean.log() - noisy)).sum(dim=1).mean()
    assert loss.item() == pytest.approx((functional.cross_entropy(linear(images), labels) + 2 * divergence).item())


def test_sabr_on_the_whole_set_is_ibp(tiny: nn.Module, batch: tuple) -> None:
    whole = _prepare("sabr", subselection=1.0)(tiny, *batch, 0.7)
    assert whole.item() == pytest.approx(_prepare("ibp", kappa_start=0, kappa_end=0)(tiny, *batch, 0.7).item())


@THREATS
def test_sabr_bounds_a_box_inside_the_set(threat: Threat, tiny: nn.Module, batch: tuple) -> None:
    # A box within the set cannot have worse bounds than the set; and in a linear network the best box reaches its corner.
    small = _prepare("sabr", threat, subselection=0.3)(tiny, *batch, 1.0)
    assert small < _prepare("ibp", threat, kappa_start=0, kappa_end=0)(tiny, *batch, 1.0)
    linear, images, labels = _linear(2), batch[0], batch[1] % 2
    exact = _worst_case_loss(_exact_margins(linear, images, labels, threat))
    found = _prepare("sabr", threat, subselection=0.3)(linear, images, labels, 1.0)
    assert exact - 1e-3 <= found <= exact + 1e-5


def test_mtl_ibp_mixes_its_two_losses(tiny: nn.Module, batch: tuple) -> None:
    losses = {}
    for alpha in (0.0, 0.25, 1.0):
        torch.manual_seed(3)
        losses[alpha] = _prepare("mtl-ibp", alpha=alpha)(tiny, *batch, 0.7).item()
    assert losses[1.0] == pytest.approx(_prepare("ibp", kappa_start=0, kappa_end=0)(tiny, *batch, 0.7).item())
    torch.manual_seed(3)
    adversarial = _prepare("adversarial", Threat(eps=0.07), steps=1, step_size=0.7)(tiny, *batch, 1.0)
    assert losses[0.0] == pytest.approx(adversarial.item())
    assert losses[0.25] == pytest.approx(0.25 * losses[1.0] + 0.75 * losses[0.0])


def test_mixtrain_without_its_verified_loss_is_cross_entropy(tiny: nn.Module, batch: tuple) -> None:
    clean = functional.cross_entropy(tiny(batch[0]), batch[1])
    assert _prepare("mixtrain", probability=0)(tiny, *batch, 1.0).item() == clean.item()
    assert _prepare("mixtrain", probability=1)(tiny, *batch, 0.0).item() == clean.item()


def test_mixtrain_adds_the_verified_loss_of_a_few_images(batch: tuple) -> None:
    linear, (images, labels) = _linear(4), batch
    torch.manual_seed(3)
    loss = _prepare("mixtrain", probability=1, samples=2, weight=0.5)(linear, images, labels, 1.0)
    torch.manual_seed(3)
    torch.rand(())
    few = torch.randint(len(images), (2,))
    robust = _worst_case_loss(_exact_margins(linear, images[few], labels[few], LINF))
    assert loss.item() == pytest.approx((functional.cross_entropy(linear(images), labels) + 0.5 * robust).item(), abs=1e-5)


def test_mixtrain_is_sound_where_relus_are_unstable(tiny: nn.Module, batch: tuple) -> None:
    def verified(kind: str, **params: float) -> float:
        torch.manual_seed(3)
        return _prepare(kind, **params)(tiny, *batch, 1.0).item()

    clean = functional.cross_entropy(tiny(batch[0]), batch[1]).item()
    bound = verified("mixtrain", probability=1, samples=6, weight=1.0) - clean
    torch.manual_seed(3)
    torch.rand(())
    few = torch.randint(6, (6,))
    assert bound >= _prepare("adversarial")(tiny, batch[0][few], batch[1][few], 1.0).item()


@pytest.mark.parametrize(
    ("epochs", "expected"), [(0.0, 0.1), (4.9, 0.1), (5.0, 0.25), (10.0, 0.625), (100.0, 50.0)], ids=lambda value: f"{value:g}"
)
def test_mixtrain_weight_grows_after_the_ramp(epochs: float, expected: float) -> None:
    params = catalogue.load("objectives", "mixtrain").Params()
    assert weight_at(params, Progress(1.0, epochs)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["ibp", "crown-ibp", "sabr", "mtl-ibp", "mixtrain"])
def test_ibp_initialisation_draws_weights_by_fan_in(kind: str) -> None:
    entry = catalogue.load("objectives", kind)
    network = nn.Sequential(nn.Conv2d(20, 50, 5), nn.Linear(400, 100), nn.Linear(100, 10))
    before = [parameter.clone() for parameter in network.parameters()]
    entry.initialise(entry.Params(), network, torch.Generator())
    assert all(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))
    entry.initialise(entry.Params(initialisation="ibp"), network, torch.Generator().manual_seed(0))
    scale = math.sqrt(2 * math.pi)
    assert network[0].weight.std().item() == pytest.approx(scale / 500, rel=0.02)
    assert network[1].weight.std().item() == pytest.approx(scale / 400, rel=0.02)
    assert torch.equal(network[1].bias, before[3])
    # The output layer is left as it is.
    assert torch.equal(network[2].weight, before[4])


class Residual(nn.Module):
    """A block that auto_LiRPA bounds, and no chain of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1), nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.last((images + self.norm(self.first(images))).relu().flatten(1))


@pytest.mark.parametrize("params", [{}, {"kind": "crown-ibp", "beta_end": 0.5}], ids=["ibp", "crown-ibp"])
@pytest.mark.parametrize("plain", [True, False])
def test_certified_losses_take_the_batchs_own_statistics(plain: bool, params: dict) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4)]
    network = (nn.Sequential(*layers) if plain else Residual()).train()
    loss = _prepare(**{"kind": "ibp"} | params, threat=Threat(eps=1e-6), kappa_start=0.0, kappa_end=0.0)
    for scale in (1, 3):
        images, labels = scale / 3 * torch.rand(8, 1, 4, 4), torch.arange(8) % 4
        clean = functional.cross_entropy(network(images), labels)
        assert loss(network, images, labels, 1.0).item() == pytest.approx(clean.item(), abs=1e-3)


ALL = ["benign", "fgsm", "adversarial", "trades", "mart", "ibp", "crown-ibp", "sabr", "mtl-ibp", "mixtrain"]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("plain", [True, False])
def test_frozen_batch_norms_stay_frozen(plain: bool, kind: str) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4)]
    network = (nn.Sequential(*layers) if plain else Residual()).train()
    images, labels = torch.rand(8, 1, 4, 4), torch.arange(8) % 4
    network(images)
    norm = next(layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)).eval()
    before = norm.running_mean.clone()
    loss = _prepare(kind, Threat(eps=1e-6))
    for scale in (1, 2):
        found = loss(network, images / scale, labels, 1.0 if kind != "mixtrain" else 0.5)
        found.backward()
        if kind in ("ibp", "crown-ibp", "sabr", "mtl-ibp", "adversarial"):
            clean = functional.cross_entropy(network(images / scale), labels)
            assert found.item() == pytest.approx(clean.item(), abs=1e-3)
    assert torch.equal(norm.running_mean, before)
    assert network.training
    assert not norm.training


def test_a_certified_loss_alone_moves_the_running_statistics_too() -> None:
    layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4)]
    network, images, labels = nn.Sequential(*layers).train(), torch.rand(8, 1, 4, 4), torch.arange(8) % 4
    means = []
    for kappa in (0.0, 0.5):
        network[1].reset_running_stats()
        _prepare("ibp", kappa_start=0.0, kappa_end=kappa)(network, images, labels, 1.0).backward()
        means.append(network[1].running_mean.clone())
    assert torch.equal(*means)
    assert means[0].abs().min() > 0


@pytest.mark.parametrize("kind", ["ibp", "crown-ibp"])
def test_certified_losses_know_batch_norms_as_they_are(kind: str) -> None:
    # One of them behind a linear layer, as in CNN7, which has no statistics of a single image.
    layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(6, 4)).train()
    images, labels = torch.rand(8, 1, 4, 4), torch.arange(8) % 4
    loss = _prepare(kind, kappa_start=0.0, kappa_end=0.0)
    loss(network, images, labels, 0.5).backward()
    for _ in range(5):
        network(3 * images)
    # What the running statistics have come to counts, not what they were when the loss was first asked for.
    network.eval()
    fresh = _prepare(kind, kappa_start=0.0, kappa_end=0.0)
    assert loss(network, images, labels, 0.5).item() == pytest.approx(fresh(network, images, labels, 0.5).item())
    bounds = _bounds.smallest_margin(network, images, labels, LINF, 4, "IBP")
    assert (bounds <= margin(network(images), labels) + 1e-5).all()
