"""The penalty for unstable ReLUs: its value by hand, by both kinds of bounds, and what it does to a network."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.data.store import read
from sparrow.files import checkpoint
from sparrow.jobs.costs import METER
from sparrow.networks.cutting import kept_slices, narrowed, sliced
from sparrow.networks.prunable import prunable_weights
from sparrow.settings import Threat
from sparrow.stages._training import loss_function
from sparrow.stages.pretrain import pretrain
from sparrow.training.additions import StabilityLoss
from sparrow.training.loss import CheckedLoss
from sparrow.training.relu_stability import Penalty, nrs, penalised
from sparrow.verification.bounds import Range, input_ranges
from tests.specs import initial_network

THREAT = Threat(eps=0.05)
NRS = StabilityLoss(weight=1.0)


def ranges(lower: list[float], upper: list[float], gamma: float | None) -> Range:
    scale = None if gamma is None else torch.full((len(lower),), gamma, dtype=torch.float64)
    return Range(*(torch.tensor([ends], dtype=torch.float64) for ends in (lower, upper)), scale)


@pytest.mark.parametrize(
    ("lower", "upper", "gamma", "value"),
    [(-1, 2, 2, -0.462117), (1, 3, 2, -0.941376), (-4, 4, 1, 1.0), (-1, 2, 1, 0.761594), (-1, 2, -2, -0.462117)],
)
def test_a_neuron_by_hand(lower: float, upper: float, gamma: float, value: float) -> None:
    assert nrs([ranges([lower], [upper], gamma)], 2.0).tolist() == pytest.approx([value], abs=5e-7)


def test_the_mean_is_over_all_neurons_not_over_layers() -> None:
    layers = [ranges([-1, -1, -1], [2, 2, 2], 2.0), ranges([-1], [2], None)]
    assert nrs(layers, 2.0).tolist() == pytest.approx([(3 * -0.462117 + 0.761594) / 4], abs=5e-7)


def test_the_power_of_the_scale_is_a_setting() -> None:
    assert nrs([ranges([-1], [2], 4.0)], 0.5).tolist() == nrs([ranges([-1], [2], 2.0)], 1.0).tolist()


def test_a_scale_of_zero_does_no_harm() -> None:
    lower = torch.zeros(1, 2, requires_grad=True)
    nrs([Range(lower, lower, torch.zeros(2))], 2.0).sum().backward()
    assert lower.grad.isfinite().all()


def test_a_layer_by_hand() -> None:
    # x in [0.4, 0.6] and, clipped, in [0, 0.1]: 2 x1 - 3 x2 in [0.5, 1.2], and minus 0.7 in [-0.2, 0.5].
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 2)).double()
    model[1].weight.data, model[1].bias.data = torch.tensor([[2.0, -3.0]]).double(), torch.tensor([-0.7]).double()
    image = torch.tensor([0.5, 0.0], dtype=torch.float64).view(1, 1, 1, 2)
    found = Penalty(StabilityLoss(weight=0.5), Threat(eps=0.1))(model, image)
    assert float(found) == pytest.approx(-0.5 * float(torch.tensor(1 - 0.2 * 0.5).tanh()))
    found.backward()
    # d/dw1 of l u: l falls and u grows with the ends of x1, 0.4 and 0.6.
    slope = -0.5 * (1 - float(torch.tensor(0.9, dtype=torch.float64).tanh()) ** 2)
    assert model[1].weight.grad[0].tolist() == pytest.approx([slope * (0.4 * 0.5 - 0.2 * 0.6), slope * (0.1 * 0.5 - 0)])
    assert model[1].bias.grad.tolist() == pytest.approx([slope * (0.5 - 0.2)])


class Wrapped(nn.Module):
    """A network that computes what another does, but is no chain of layers to look at."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, images: Tensor) -> Tensor:
        return self.inside(images)


def chain() -> nn.Sequential:
    """A plain network of all kinds of layers, its batch norms anything but the identity."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3, 2, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)),
    )
    for norm in (model[1], model[7]):
        norm.weight.data.uniform_(-2, 2)
        norm.bias.data.normal_()
        norm.running_var.uniform_(0.5, 2)
    return model


def test_both_kinds_of_bounds_agree_while_statistics_move() -> None:
    plain = chain()
    other = Wrapped(copy.deepcopy(plain))
    penalty = Penalty(NRS, THREAT)
    for _ in range(2):
        images = torch.rand(5, 1, 8, 8)
        for model in (plain, other):
            model.train().zero_grad()
            penalty(model, images).backward()
            assert all(module.training for module in model.modules())
        pairs = list(zip(plain.parameters(), other.parameters(), strict=True))
        for ours, theirs in pairs[:-2]:
            assert float(ours.grad.abs().max()) > 0
            torch.testing.assert_close(ours.grad, theirs.grad)
        assert [parameter.grad for parameter in pairs[-1]] == [None, None], "no ReLU is behind the last layer"
        plain(images + 1), other(images + 1)


def test_a_residual_network_has_a_scale_where_a_norm_is_right_before_the_relu(residual: nn.Module) -> None:
    images = torch.rand(4, 1, 8, 8)
    residual.train()
    residual(images)
    penalty = Penalty(NRS, THREAT)
    loss = penalty(residual, images)
    by_name = {name: float(p.grad.abs().sum()) for name, p in named_gradients(residual, loss) if p.grad is not None}
    assert {"0.weight", "3.conv1.weight", "4.shortcut.0.weight", "4.bn2.weight"} <= {name for name, g in by_name.items() if g}
    # By auto_LiRPA's own intervals: stem, and both ReLUs of two blocks; those behind a sum without a scale.
    kinds = [limits.scale is None for limits in penalty._ranges(residual, images)]
    assert kinds == [False, False, True, False, True]
    assert all(parameter.requires_grad for parameter in residual.parameters())


def named_gradients(model: nn.Module, loss: Tensor) -> list[tuple[str, nn.Parameter]]:
    loss.backward()
    return list(model.named_parameters())


def test_intervals_hold_at_points_of_the_box(residual: nn.Module) -> None:
    images = torch.rand(4, 1, 8, 8)
    inputs: list[Tensor] = []
    residual.eval()
    found = Penalty(NRS, THREAT)._ranges(residual, images)
    hook = residual[3].bn1.register_forward_hook(lambda module, given, output: inputs.append(output))
    for _ in range(5):
        residual((images + THREAT.eps * (2 * torch.rand_like(images) - 1)).clamp(0, 1))
    hook.remove()
    assert all((found[1].lower - 1e-5 <= there).all() and (there <= found[1].upper + 1e-5).all() for there in inputs)


def test_a_network_without_relus_has_no_penalty() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    assert float(Penalty(NRS, THREAT)(model, torch.rand(3, 1, 2, 2))) == 0


@pytest.mark.parametrize("model", [chain(), Wrapped(chain())], ids=["plain", "other"])
def test_bounds_cost_a_gradient_evaluation_an_image(model: nn.Module) -> None:
    METER.start()
    Penalty(NRS, THREAT)(model, torch.rand(5, 1, 8, 8)).backward()
    assert METER.gradient_evaluations == 5


@pytest.mark.parametrize("objective", [{"kind": "adversarial", "steps": 2}, {"kind": "sabr"}, {"kind": "fgsm"}])
def test_it_is_added_to_any_objectives_loss(residual: nn.Module, objective: dict) -> None:
    """Both have views of the network, whose making would spoil a graph that waits for its backward pass."""
    images, classes = torch.rand(4, 1, 8, 8), torch.arange(4) % 3
    losses = []
    for addition in (None, StabilityLoss(weight=0.25)):
        torch.manual_seed(0)
        loss = loss_function(objective, THREAT, addition)
        model = copy.deepcopy(residual).train()
        losses.append(loss(model, images, classes, 1.0))
        losses[-1].backward()
    # With the statistics that batch norms have after the objective's own pass.
    penalty = Penalty(StabilityLoss(weight=0.25), THREAT)(model, images)
    assert float(losses[1] - losses[0]) == pytest.approx(float(penalty), abs=1e-5)


def test_what_an_objective_checks_stays() -> None:
    found = penalised(CheckedLoss(lambda *given: torch.zeros(()), lambda *given: torch.ones(1), 0.3), Penalty(NRS, THREAT))
    assert isinstance(found, CheckedLoss)
    assert found.allowed_drop == 0.3


def unstable(path: Path, data: Path) -> tuple[float, float]:
    """Of a network on the validation images: its ReLUs whose sign CROWN cannot tell, on average; its accuracy."""
    model, part = checkpoint.load(path, {"kind": "cnn-small"}).model, read(data, "validation")[0]
    found = input_ranges(model, part.images, part.labels, THREAT, 10)
    count = sum(float(((lower < 0) & (upper > 0)).flatten(1).sum(dim=1).float().mean()) for lower, upper in found)
    return count, float((model(part.images).argmax(dim=1) == part.labels).float().mean())


def test_fewer_relus_are_unstable_on_digits(dense: Path, digits: Path, training_spec: dict, tmp_path: Path) -> None:
    assert Threat(**training_spec["threat"]) == THREAT
    output, parent = tmp_path / "dense.safetensors", initial_network(tmp_path, training_spec)
    spec = training_spec | {"nrs": {"weight": 0.1}}
    pretrain(parent, digits, output, tmp_path / "curve.csv", tmp_path / "cost.json", spec)
    (without, _), (left, accuracy) = unstable(dense, digits), unstable(output, digits)
    # Of 484; on one machine, 58 without and 39 with it.
    assert left < 0.8 * without
    assert accuracy > 0.85


def test_neurons_that_were_cut_out_count_as_the_zeros_that_they_would_give() -> None:
    layers = [ranges([-1, 1, 0], [2, 2, 0], None)]
    left = [ranges([-1, 1], [2, 2], None)]
    assert nrs(left, 2.0, 3).tolist() == pytest.approx(nrs(layers, 2.0).tolist())
    assert nrs(left, 2.0, 2).tolist() == nrs(left, 2.0).tolist()


def test_the_penalty_of_a_network_that_was_cut_is_that_of_its_masked_twin() -> None:
    entry, images = catalogue.load("models", "cnn-small"), torch.rand(4, 1, 8, 8)
    masked = entry.build(entry.Params(), (1, 8, 8), 10)
    for name in ("0", "2", "5"):
        for parameter in (masked.get_parameter(f"{name}.weight"), masked.get_parameter(f"{name}.bias")):
            parameter.data[::3] = 0
    masks = {name: weight != 0 for name, weight in prunable_weights(masked).items()}
    kept = kept_slices(masked, (1, 8, 8), masks)
    small, whole = narrowed(masked, kept), entry.build(entry.Params(), (1, 8, 8), 10).eval()
    values = [Penalty(NRS, THREAT)(masked, images), Penalty(NRS, THREAT, whole)(small, images)]
    for value in values:
        value.backward()
    masked_value, small_value = (value.item() for value in values)
    assert small_value == pytest.approx(masked_value, abs=1e-6)
    for name, parameter in small.named_parameters():
        if name.startswith("7."):  # No ReLU is behind the output layer.
            continue
        expected = sliced(masked.get_parameter(name).grad, kept.get(name, {}))
        torch.testing.assert_close(parameter.grad, expected, atol=1e-6, rtol=1e-4)
    assert small.get_parameter("0.weight").grad.any()
