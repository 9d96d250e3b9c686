"""Bounds on functions of single neurons, and on norms over several: never above what a fine grid or points show."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow.adversary.margin import margin
from sparrow.errors import NetworkError
from sparrow.settings import Threat
from sparrow.verification.bounds import bounded, smallest_margin
from sparrow.verification.elementwise import FUNCTIONS, SLACK, lines_of, range_of
from tests.verification.refutation import ROUNDING, points

SETTINGS = {
    "onnx::Clip": [({}, (torch.tensor(0.0), torch.tensor(6.0))), ({"min": -1.0, "max": 1.0}, ())],
    "onnx::HardSigmoid": [({"alpha": 1 / 6, "beta": 0.5}, ())],
    "onnx::Elu": [({"alpha": 1.0}, ()), ({"alpha": 3.0}, ()), ({"alpha": -0.5}, ())],
    "sparrow::Celu": [({"alpha": 0.7}, ()), ({"alpha": 2.0}, ())],
    "onnx::PRelu": [({}, (torch.tensor(0.25),)), ({}, (torch.tensor(-0.5),)), ({}, (torch.tensor(2.0),))],
    "onnx::Pow": [({}, (torch.tensor(2.0),))],
}
CASES = [(name, *setting) for name in FUNCTIONS for setting in SETTINGS.get(name, [({}, ())])]
TORCH = {
    "onnx::Elu": nn.ELU(),
    "onnx::Selu": nn.SELU(),
    "onnx::Softplus": nn.Softplus(),
    "onnx::Clip": nn.ReLU6(),
    "onnx::HardSigmoid": nn.Hardsigmoid(),
    "sparrow::HardSwish": nn.Hardswish(),
    "sparrow::Gelu": nn.GELU(),
    "sparrow::Celu": nn.CELU(0.7),
    "onnx::PRelu": nn.PReLU(),
}


def _intervals() -> tuple[Tensor, Tensor]:
    """Ends (n,) of intervals of all widths, points among them, around and beside the bends and kinks."""
    generator = torch.Generator().manual_seed(0)
    centres = 12 * torch.rand(4000, generator=generator) - 6
    widths = 10 ** (7 * torch.rand(4000, generator=generator) - 6)
    widths[::10] = 0
    return centres - widths / 2, centres + widths / 2


@pytest.mark.parametrize(("name", "attributes", "constants"), CASES)
def test_between_its_lines_and_inside_of_its_range(name: str, attributes: dict, constants: tuple) -> None:
    function = FUNCTIONS[name](attributes, constants)
    lower, upper = _intervals()
    slope, below, above = lines_of(function, lower, upper)
    least, most = range_of(function, lower, upper)
    places = lower + (upper - lower) * torch.linspace(0, 1, 301).view(-1, 1)
    # In double precision, on numbers that float32 has.
    values = function.value(places.double())
    rounding = 2e-6 * values.abs().amax(dim=0).clamp(min=1)
    assert (values >= least.double() - rounding).all()
    assert (values <= most.double() + rounding).all()
    lines = [slope.double() * places + offset for offset in (below, above)]
    assert (values >= lines[0] - rounding).all()
    assert (values <= lines[1] + rounding).all()
    # As close as that: the lines and the range touch.
    room = (upper - lower) * 0.02 + 1e-5 * values.abs().amax(dim=0).clamp(min=1) * slope.abs().clamp(min=1) + 20 * SLACK
    steep = (values[1:] - values[:-1]).abs().amax(dim=0)
    assert ((values - lines[0]).amin(dim=0) <= room + 2 * steep).all()
    assert ((lines[1] - values).amin(dim=0) <= room + 2 * steep).all()
    assert (values.amin(dim=0) - least <= rounding + 2 * steep).all()
    assert (most - values.amax(dim=0) <= rounding + 2 * steep).all()


def test_a_range_has_gradients_of_both_ends() -> None:
    lower, upper = torch.tensor([-2.0, -3.0, 0.5], requires_grad=True), torch.tensor([1.0, -1.0, 2.0], requires_grad=True)
    least, most = range_of(FUNCTIONS["sparrow::Gelu"]({}, ()), lower, upper)
    # Its smallest value is at -0.7518; left of that it falls, and it rises right of it.
    ends = functional.gelu(torch.tensor([-1.0, 0.5, 1.0, 2.0]))
    assert least.tolist() == pytest.approx([-0.16997, float(ends[0]), float(ends[1])], abs=1e-4)
    assert most.tolist() == pytest.approx(
        [float(ends[2]), functional.gelu(torch.tensor(-3.0)).item(), float(ends[3])], abs=1e-4
    )
    (least.sum() + most.sum()).backward()
    slope = FUNCTIONS["sparrow::Gelu"]({}, ()).slope
    assert lower.grad.tolist() == pytest.approx([0, *slope(torch.tensor([-3.0, 0.5])).tolist()], abs=1e-5)
    assert upper.grad.tolist() == pytest.approx(slope(torch.tensor([1.0, -1.0, 2.0])).tolist(), abs=1e-5)


@pytest.mark.parametrize("name", TORCH)
def test_the_traced_operation_is_torchs_own(name: str) -> None:
    model = nn.Sequential(nn.Flatten(), TORCH[name], nn.Linear(40, 3)).eval()
    image = torch.linspace(-8, 8, 40).view(1, 1, 5, 8)
    kinds = [type(node).__name__ for node in bounded(model, image).modules()]
    assert f"Bound{name.rpartition('::')[2]}" in kinds


LAYERS = [
    *(nn.GELU(), nn.Hardswish(), nn.ReLU6(), nn.PReLU(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.LayerNorm([4, 6, 6])),
    nn.Sequential(nn.GroupNorm(1, 4), nn.ELU()),
]


@pytest.mark.parametrize("threat", [Threat(eps=0.02), Threat(norm="l2", eps=0.1)], ids=["linf", "l2"])
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_no_point_has_a_smaller_margin(layer: nn.Module, threat: Threat) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), layer, nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)
    )
    images = torch.rand(3, 1, 6, 6)
    labels = model.eval()(images).argmax(dim=1)
    there = points(model, images, labels, threat, 3)
    with torch.no_grad():
        least = torch.stack([margin(model(some), labels) for some in there]).amin(dim=0)
        ibp, crown = (smallest_margin(model, images, labels, threat, 3, method) for method in ("IBP", "CROWN"))
    assert (ibp <= least + ROUNDING).all()
    assert (crown <= least + ROUNDING).all()
    # CROWN is no bound for show: it loses less than IBP, and not much.
    assert (crown > ibp).all()
    assert (least - crown < 0.9 * (least - ibp)).all()


def test_a_layer_that_is_not_known_is_named_behind_one_that_is() -> None:
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.GELU(), nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(36, 3))
    )
    images = torch.rand(2, 1, 6, 6)
    with pytest.raises(NetworkError, match=r"cannot bound layer 3 \(MaxPool2d\) by CROWN \("):
        smallest_margin(model.eval(), images, torch.tensor([0, 1]), Threat(eps=0.01), 3, "CROWN")


def test_a_norm_of_what_hardly_moves_has_a_bound() -> None:
    """Behind ReLUs that are all off, the ends of all intervals are the same number."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.LayerNorm([4, 4, 4]), nn.Flatten(), nn.Linear(64, 3)
    )
    model[0].bias.data.fill_(-10)
    images = torch.rand(2, 1, 8, 8)
    labels = model.eval()(images).argmax(dim=1)
    with torch.no_grad():
        margins = margin(model(images), labels)
    found = smallest_margin(model, images, labels, Threat(eps=0.01), 3, "CROWN")
    assert (found <= margins + ROUNDING).all()
    assert (found > margins - 1e-2).all()
