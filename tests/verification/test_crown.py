"""CROWN and alpha-CROWN by graphs: against auto_LiRPA's, by hand, and against points of the perturbation sets."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.errors import NetworkError
from sparrow.estimate.operations import count_operations
from sparrow.networks.grafting import graft, relu_inputs
from sparrow.settings import Threat
from sparrow.verification import back_substitution, bounds, crown
from sparrow.verification import graph as graphs
from sparrow.verification import instability as counting
from sparrow.verification.back_substitution import Ball, Lines, Route, Rows
from sparrow.verification.crown import OutOfTime, Ranges, Slopes, optimised
from sparrow.verification.graph import Add, Convolution, Flatten, Graph, Input, Linear, Mean, Node, Relu, traced

LINF, L2 = Threat(eps=0.05), Threat(norm="l2", eps=0.2)
CLASSES = 4
THREATS = pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)


class Block(nn.Module):
    """A convolution with stride behind a batch norm that cannot be folded, and a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.relu1, self.relu2 = nn.BatchNorm2d(3), nn.ReLU(), nn.ReLU()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, 2, padding=1, bias=False), nn.Conv2d(4, 4, 3, padding=1)
        self.shortcut = nn.Conv2d(3, 4, 1, 2)

    def forward(self, images: Tensor) -> Tensor:
        active = self.relu1(self.norm(images))
        return self.relu2(self.conv2(self.conv1(active).relu())) + self.shortcut(active)


class Averaged(nn.Module):
    """Two blocks' worth of a residual network, whose last map is averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.block, self.norm = nn.Conv2d(2, 3, 3, padding=1), Block(), nn.BatchNorm2d(4)
        self.again, self.last = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        inside = self.block(self.first(images))
        inside = torch.relu(self.norm(inside) + self.again(inside.relu()))
        return self.last(inside.mean(dim=(2, 3)))


def strided() -> nn.Module:
    """Strides, uneven sizes, groups, dilation, and layers without bias."""
    layers = [nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 2, groups=2, bias=False), nn.ReLU()]
    layers += [nn.Conv2d(6, 3, (2, 1), dilation=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(45, 7, bias=False), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(7, CLASSES))


def normalised() -> nn.Module:
    """Batch norm behind convolutions and linear layers, in blocks."""
    first = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    second = nn.Sequential(nn.Conv2d(4, 3, 3, stride=2), nn.BatchNorm2d(3), nn.ReLU())
    return nn.Sequential(first, second, nn.Flatten(), nn.Linear(27, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, CLASSES))


def grafted() -> nn.Module:
    """Lines in the place of some ReLUs."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Flatten())
    model.extend([nn.Linear(108, 6), nn.ReLU(), nn.Linear(6, CLASSES)])
    found = dict(relu_inputs(model, torch.rand(1, 2, 8, 8)))
    graft(model, {name: torch.rand(given.shape[1:]) > 0.6 for name, given in found.items()}, 0.4, 0.1)
    return model


def flat() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(128, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, CLASSES))


def relu_first() -> nn.Module:
    """ReLUs of the images, and of what is never negative."""
    return nn.Sequential(nn.ReLU(), nn.Conv2d(2, 3, 3, 2), nn.ReLU(), nn.ReLU(), nn.Flatten(), nn.Linear(27, CLASSES))


class Framed(nn.Module):
    """Convolutions of one pixel that pad what has no ReLU: a convolution, a sum, and a batch norm that is not folded."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 1, padding=1)
        self.norm, self.fourth = nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1, 2, padding=2)
        self.last = nn.Linear(98, CLASSES)
        # Of pixels that do not exist there would be much.
        for layer in (self.first, self.second):
            nn.init.uniform_(layer.bias, 1, 2)

    def forward(self, images: Tensor) -> Tensor:
        active = self.second(self.first(images)).relu()
        inside = self.norm(active + self.second(self.first(images)))
        again = self.fourth(inside + active).relu()
        return self.last(again.flatten(1))


class Stacked(nn.Module):
    """Padded convolutions that read a convolution and a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.third, self.last = nn.Conv2d(3, 2, 3, padding=1), nn.Linear(128, CLASSES)
        # Of pixels that do not exist there would be much, and of those that do, little is left before ReLUs.
        nn.init.uniform_(self.first.bias, 2, 3)
        for layer in (self.second, self.third):
            layer.bias.data = -3.75 * layer.weight.data.sum((1, 2, 3))

    def forward(self, images: Tensor) -> Tensor:
        first = self.first(images)
        active = self.second(first).relu()
        return self.last(self.third(first + active).relu().flatten(1))


NETWORKS = {build.__name__: build for build in (strided, normalised, grafted, flat, relu_first, Averaged, Framed, Stacked)}
PADDED = (strided, normalised, Framed, Stacked)
NETWORK = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)


class Case:
    """A network in eval mode with batch norms that have seen something, its graph, and four images."""

    def __init__(self, build) -> None:
        torch.manual_seed(1)
        self.images, self.labels = torch.rand(4, 2, 8, 8), torch.arange(4)
        self.model: nn.Module = build().train()
        for layer in self.model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.weight, -1, 1)
        for _ in range(3):
            self.model(3 * torch.rand(8, 2, 8, 8))
        self.model.eval()
        for layer in self.model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight.data.mul_(1.5)
        graph = traced(self.model, self.images[:1])
        assert graph is not None
        self.graph: Graph = graph

    def margins(self, threat: Threat, slopes: Slopes | None = None) -> Tensor:
        return crown.margins(self.graph, self.images, self.labels, threat, CLASSES, slopes)

    def lirpa(self, threat: Threat, method: str, options: dict | None = None) -> Tensor:
        """auto_LiRPA's, with whole matrices: its patches count pixels outside of the image to an l2 ball."""
        network = bounds.bounded(self.model, self.images, {"conv_mode": "matrix"} | (options or {}))
        network.eval()
        return bounds.margins(network, self.images, self.labels, threat, CLASSES, method).detach()

    def rows(self, place: int, threat: Threat) -> Rows:
        """Rows of some neurons of a node, of two images."""
        ranges, route = Ranges(self.graph, Ball.of(self.images, threat)), Route(self.graph, place)
        size = torch.Size(self.graph[place].shape).numel()
        owners = torch.tensor([0, 3, 3, 0, 0])
        return ranges._rows(route, ranges.lines(), owners, torch.tensor([0, size - 1, size // 2, size // 3, size - 2]))


@NETWORK
@THREATS
def test_crown_is_that_of_auto_lirpa(build, threat: Threat) -> None:
    case = Case(build)
    found, expected = case.margins(threat), case.lirpa(threat, "CROWN")
    if threat.norm == "l2" and build in PADDED:
        # auto_LiRPA takes the norm of the whole kernel where a part of it lies on the padding.
        assert (found >= expected - 1e-5).all()
        return
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert found.std() > 0.01


@NETWORK
@THREATS
def test_ranges_of_relus_are_those_of_auto_lirpa(build, threat: Threat, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(build)
    monkeypatch.setattr(bounds, "BOUND_OPTIONS", bounds.BOUND_OPTIONS | {"conv_mode": "matrix"})
    given = case.model.train(), case.images, case.labels, threat, CLASSES
    expected = bounds.input_ranges(*given)
    case.model.train()
    monkeypatch.setattr(crown, "IMAGES_TOGETHER", 300)
    found = crown.input_ranges(*given)
    assert case.model.training
    assert [lower.shape for lower, _ in found] == [lower.shape for lower, _ in expected]
    for pair, whole in zip(found, expected, strict=True):
        for one, other, side in zip(pair, whole, (1, -1), strict=True):
            if threat.norm == "l2" and build in PADDED:
                assert (side * (one - other) >= -1e-5).all()
            else:
                assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)


def test_ranges_of_relus_where_there_is_no_graph() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Tanh(), nn.Linear(3, 2))
    images = 0.1 + 0.8 * torch.rand(2, 1, 2, 2)
    ((lower, upper),) = crown.input_ranges(model, images, torch.tensor([0, 1]), LINF, 2)
    middle, reach = model[:2](images), 0.05 * model[1].weight.abs().sum(1)
    assert torch.allclose(lower, middle - reach, atol=1e-5)
    assert torch.allclose(upper, middle + reach, atol=1e-5)


def test_unstable_neurons_are_counted_in_parts_that_take_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(strided)
    seen, ranges = list[int](), crown.input_ranges(case.model, case.images, case.labels, LINF, CLASSES)
    monkeypatch.setattr(
        counting, "input_ranges", lambda model, some, *rest: seen.append(len(some)) or crown.input_ranges(model, some, *rest)
    )
    monkeypatch.setattr(bounds, "bounded", lambda *unused: pytest.fail("auto_LiRPA is not needed"))
    given = case.model, case.images, case.labels, LINF, CLASSES, 512, None
    whole = counting.instability(*given)
    monkeypatch.setattr(crown, "PART", 3 * crown.multiply_adds(case.graph, CLASSES))
    parts = counting.instability(*given)
    assert seen == [4, 3, 1]
    for (lower, upper), one, other in zip(ranges, whole.unstable.values(), parts.unstable.values(), strict=True):
        assert torch.equal(one, ((lower < 0) & (upper > 0)).sum(0))
        assert torch.equal(one, other)
    assert any(count.any() for count in whole.unstable.values())


@NETWORK
@THREATS
def test_alpha_crown_is_no_looser_than_that_of_auto_lirpa(build, threat: Threat) -> None:
    case = Case(build)
    settings = {"iteration": 20, "lr_alpha": 0.5, "early_stop_patience": 20}
    found, before = case.margins(threat, Slopes(20, 0.5)), case.margins(threat)
    expected = case.lirpa(threat, "CROWN-Optimized", {"optimize_bound_args": settings})
    assert (found.amin(1) >= expected.amin(1) - 1e-4).all()
    assert (found >= before - 1e-6).all()
    assert (found > before + 1e-4).any() or build is relu_first


@NETWORK
@THREATS
def test_no_point_of_the_ball_is_below_the_bounds_or_outside_of_the_ranges(build, threat: Threat) -> None:
    case = Case(build)
    with torch.no_grad():
        ball, every = Ball.of(case.images, threat), torch.arange(4)
        ranges = Ranges(case.graph, ball)
        tight = ranges.tightened(every, Slopes(4, 0.5))
        low = case.margins(threat, Slopes(4, 0.5)).amin(1)
        for number in range(60):
            noise = torch.randn_like(case.images)
            if threat.norm == "linf":
                noise = noise.sign() if number % 2 else noise.clamp(-1, 1)
                points = (case.images + threat.eps * noise).clamp(0, 1)
            else:
                points = case.images + threat.eps * noise / noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            values = [points]
            for node in case.graph[1:]:
                values.append(_value(node.operation, [values[given] for given in node.inputs]))
            assert torch.allclose(values[-1], case.model(points), atol=1e-4)
            for place in ranges.read:
                for lower, upper in (ranges.of[place], tight.of[place]):
                    assert (values[place] >= lower - 1e-5).all()
                    assert (values[place] <= upper + 1e-5).all()
            logits = values[-1]
            margins = (bounds.margin_matrix(case.labels, CLASSES) @ logits.unsqueeze(2)).squeeze(2).amin(1)
            assert (margins >= low - 1e-5).all()
        assert all((tight.of[place][0] >= ranges.of[place][0]).all() for place in ranges.read)
        assert all((tight.of[place][1] <= ranges.of[place][1]).all() for place in ranges.read)


def _value(operation, given: list[Tensor]) -> Tensor:
    if isinstance(operation, Relu) and operation.lines is not None:
        kept, slope, intercept = operation.lines
        return (given[0] * kept).relu() + given[0] * slope + intercept
    return {
        Relu: lambda x: x.relu(),
        Convolution: operation,
        Linear: lambda x: nn.functional.linear(x, operation.weight, operation.bias),
        Flatten: lambda x: x.flatten(1),
        Mean: lambda x: x.mean((2, 3)),
        Add: lambda x, y: x + y,
    }[type(operation)](*given)


@NETWORK
@THREATS
def test_gradients_are_those_of_autograd(build, threat: Threat) -> None:
    case = Case(build)
    several = 0
    for place in [*Ranges(case.graph, Ball.of(case.images, threat)).read, len(case.graph) - 1]:
        rows = case.rows(place, threat)
        slopes = rows.slopes()
        if not slopes:
            continue
        several += 1
        free = {where: rows._line(where).offset > 0 for where in slopes}
        moved = {where: (slope + 0.3 * (0.5 - slope) * free[where]).requires_grad_() for where, slope in slopes.items()}
        betas = {where: 0.1 * torch.rand_like(slope) for where, slope in slopes.items()}
        for beta in betas.values():
            beta.requires_grad_()
        value = rows.bounds(moved, betas, keep=True)
        expected = torch.autograd.grad(value.sum(), [*moved.values(), *betas.values()])
        with torch.no_grad():
            found, entering = rows.gradients(moved, inputs=True)
        for gradient, where in zip(expected[: len(moved)], moved, strict=True):
            assert torch.allclose(found[where], gradient * free[where], rtol=1e-4, atol=1e-6)
        for gradient, where in zip(expected[len(moved) :], moved, strict=True):
            inside = gradient != 0  # Outside of the map a multiplier means nothing.
            assert torch.allclose(-entering[where][inside], gradient[inside], rtol=1e-4, atol=1e-5)
    assert several


def test_one_slope_by_hand() -> None:
    # relu(z) - z / 2 + 0.1 for z in [-1, 1]: with slope a below, 0.1 - |a - 1/2|. CROWN has a = 0, and a step takes it to 1/2.
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
    model[1].weight.data, model[1].bias.data = torch.tensor([[4.0], [4.0]]), torch.tensor([-2.0, 0.0])
    model[3].weight.data, model[3].bias.data = torch.tensor([[1.0, -0.5], [0.0, 0.0]]), torch.tensor([1.1, 0.0])
    image, label, threat = torch.full((1, 1, 1, 1), 0.5), torch.tensor([0]), Threat(eps=0.25)
    found = [crown.smallest_margin(model, image, label, threat, 2, slopes) for slopes in (None, Slopes(1, 0.5), Slopes(2, 0.5))]
    assert torch.cat(found).tolist() == pytest.approx([-0.4, -0.4, 0.1], abs=1e-6)


def _blind(rows: Rows, place: int, values: Tensor) -> Tensor:
    """What is outside of a map, as if it were inside."""
    return values


@pytest.mark.parametrize("slopes", [None, Slopes(3, 0.5)], ids=["crown", "alpha-crown"])
@THREATS
def test_ranges_are_held_against_points(threat: Threat, slopes: Slopes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(Framed)
    crown.smallest_margin(case.model, case.images, case.labels, threat, CLASSES, slopes)
    monkeypatch.setattr(Rows, "_inside", _blind)
    with pytest.raises(NetworkError, match=r"CROWN gave an operation \(Convolution\) .* a range that it leaves at a point"):
        crown.smallest_margin(case.model, case.images, case.labels, threat, CLASSES, slopes)


def test_tightened_ranges_are_held_against_points(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(flat)

    def too_tight(ranges: Ranges, place: int, slopes: Slopes) -> None:
        lower, upper = ranges.of[place]
        ranges.of[place] = (lower + upper) / 2, upper

    monkeypatch.setattr(Ranges, "_tighten", too_tight)
    with pytest.raises(NetworkError, match="a range that it leaves at a point"):
        crown.margins(case.graph, case.images, case.labels, Threat(eps=0.2), CLASSES, Slopes(3, 0.5))


def test_bounds_may_cross_by_rounding_and_no_more() -> None:
    node = Node(Linear(torch.eye(2), torch.zeros(2)), (0,), (2,))
    lower, upper = crown._ordered(torch.tensor([[1.0, 2.0]]), torch.tensor([[1 - 5e-5, 3.0]]), node)
    assert (lower.tolist(), upper.tolist()) == ([[pytest.approx(1 - 5e-5), 2.0]], [[1.0, 3.0]])
    for wrong in (0.99, torch.nan):
        with pytest.raises(NetworkError, match=r"lower bounds above upper ones, or none, for an operation \(Linear\)"):
            crown._ordered(torch.tensor([[1.0, 2.0]]), torch.tensor([[wrong, 3.0]]), node)


def test_crossing_bounds_are_no_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    case, before = Case(flat), Rows.bounds
    monkeypatch.setattr(Rows, "bounds", lambda self, *given, **more: before(self, *given, **more) + 5)
    with pytest.raises(NetworkError, match="lower bounds above upper ones"):
        case.margins(LINF)


class Clock:
    """Moves by one with each bound of rows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, before = 0, Rows.bounds

        def slow(rows: Rows, *given: object, **more: object) -> Tensor:
            self.now += 1
            return before(rows, *given, **more)

        monkeypatch.setattr(Rows, "bounds", slow)
        monkeypatch.setattr(crown, "time", SimpleNamespace(monotonic=lambda: self.now))


def test_ranges_are_tightened_as_far_as_time_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    case, threat, clock = Case(Stacked), Threat(eps=0.12), Clock(monkeypatch)
    monkeypatch.setattr(crown, "TOGETHER", 5000)
    ball, every = Ball.of(case.images, threat), torch.arange(4)
    with torch.no_grad():
        ranges = Ranges(case.graph, ball, 1000)
        tightened = []
        for left in (-1, 15, 1000):
            ranges._end, begun = clock.now + left, clock.now
            tightened.append(ranges.tightened(every, Slopes(5, 0.5)))
            assert clock.now - begun <= max(left + 1, 0)
    changed = [int((one.of[ranges.read[-1]][0] > ranges.of[ranges.read[-1]][0]).sum()) for one in tightened]
    assert changed[0] == 0 < changed[1] < changed[2]


def test_ranges_that_are_not_there_in_time_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    case, clock = Case(Stacked), Clock(monkeypatch)
    Ranges(case.graph, Ball.of(case.images, LINF))
    needed, clock.now = clock.now, 0
    assert needed > 1
    with pytest.raises(OutOfTime):
        Ranges(case.graph, Ball.of(case.images, LINF), needed - 2)
    assert clock.now == needed - 1


def test_nothing_is_optimised_where_all_is_stable(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(flat)
    case.model[1].bias.data[:6], case.model[1].bias.data[6:] = 50, -50
    case.model[3].bias.data[:] = 100
    case.graph = traced(case.model, case.images[:1])
    ranges = Ranges(case.graph, Ball.of(case.images, LINF))
    seen: list[int] = []
    monkeypatch.setattr(crown, "optimised", lambda rows, *more: seen.append(1) or optimised(rows, *more))
    tight = ranges.tightened(torch.arange(4), Slopes(5, 0.5))
    assert not seen
    assert all(torch.equal(*pair) for place in ranges.read for pair in zip(ranges.of[place], tight.of[place], strict=True))
    assert torch.allclose(case.margins(LINF, Slopes(5, 0.5)), case.margins(LINF), atol=1e-4)


@NETWORK
@THREATS
def test_windows_and_batches_change_nothing(build, threat: Threat, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(build)
    before = case.margins(threat), case.margins(threat, Slopes(3, 0.5))
    for name, value in (("LARGEST_WINDOW", 0.0), ("LARGEST_WINDOW", 9.0)):
        monkeypatch.setattr(back_substitution, name, value)
        after = case.margins(threat), case.margins(threat, Slopes(3, 0.5))
        assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(before, after, strict=True))
    monkeypatch.setattr(crown, "TOGETHER", 2000)
    monkeypatch.setattr(crown, "AT_ONCE", 900)
    monkeypatch.setattr(crown, "IMAGES_TOGETHER", 1)
    after = case.margins(threat), case.margins(threat, Slopes(3, 0.5))
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(before, after, strict=True))


def test_windows_change_no_tightened_range(monkeypatch: pytest.MonkeyPatch) -> None:
    # A gradient that sees a value outside of the map is another one, and what it leads to is looser.
    case, threat, found = Case(Stacked), Threat(eps=0.12), list[Ranges]()
    for largest in (back_substitution.LARGEST_WINDOW, 0.0):
        monkeypatch.setattr(back_substitution, "LARGEST_WINDOW", largest)
        with torch.no_grad():
            found.append(Ranges(case.graph, Ball.of(case.images, threat)).tightened(torch.arange(4), Slopes(10, 0.5)))
    assert any(window is not None and window.size != (1, 1) for window in found[0]._route(found[0].read[-1]).windows.values())
    for place in found[0].read:
        for one, other in zip(found[0].of[place], found[1].of[place], strict=True):
            assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("build", [strided, flat, Averaged, Stacked])
def test_multiply_adds_are_counted_before_they_are_done(build) -> None:
    case = Case(build)
    ball = Ball.of(case.images[:1], L2)
    with torch.no_grad():
        with count_operations() as count:
            ranges = Ranges(case.graph, ball)
            for rows in ranges.rows(bounds.margin_matrix(case.labels[:1], CLASSES)):
                rows.bounds()
        with count_operations() as closed:
            for node in (case.graph[place] for place in ranges.read):
                if isinstance(node.operation, Convolution) and node.inputs == (0,):
                    # Their middle and their reach.
                    node.operation(ball.centre), node.operation(ball.centre)
    assert crown.multiply_adds(case.graph, CLASSES) == count.multiply_adds - closed.multiply_adds
    assert count.multiply_adds > 10_000


def test_images_at_a_time_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two ReLUs of three pixels, two classes: 6 multiply-adds for each of two bounds on two neurons, and 4 + 6 for the margin.
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
    graph = traced(model, torch.rand(1, 1, 1, 3))
    assert crown.multiply_adds(graph, 2) == 24 + 10
    # 0.2 of 2 * 5 - 1 passes through the former on top of CROWN's, and three times as many through the latter.
    assert crown.multiply_adds(graph, 2, Slopes(5, 0.5)) == 24 + int(0.2 * 9 * 24) + 3 * 9 * 10
    for part, expected in ((33, 1), (34, 1), (70, 2), (340, 10)):
        monkeypatch.setattr(crown, "PART", part)
        assert crown.at_a_time(model, torch.rand(1, 1, 1, 3), 2) == expected
    model[2] = nn.Tanh()
    assert crown.at_a_time(model, torch.rand(1, 1, 1, 3), 2) is None


def test_a_gpu_takes_more_at_a_time() -> None:
    assert crown.room(100, torch.zeros(1)) == 100
    assert crown.room(100, SimpleNamespace(is_cuda=True)) == 100 * crown.ON_CUDA


def test_same_bytes_again() -> None:
    one, other = (Case(Averaged).margins(LINF, Slopes(4, 0.5)) for _ in range(2))
    assert torch.equal(one, other)


def test_a_relaxation_by_hand() -> None:
    # Between -1 and 3 the line above is 3/4 x + 3/4; between -3 and 1, 1/4 x + 3/4.
    slope, offset = Lines.between(torch.tensor([-1.0, -3.0, 1.0, -2.0]), torch.tensor([3.0, 1.0, 2.0, -1.0]))
    assert slope.tolist() == [0.75, 0.25, 1, 0]
    assert offset.tolist() == [0.75, 0.75, 0, 0]


def test_windows_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), nn.Conv2d(1, 1, 4, 2, padding=1), nn.ReLU(), nn.Flatten())
    graph = traced(nn.Sequential(*model, nn.Linear(64, 2)).eval(), torch.rand(1, 1, 16, 16))
    windows = Route(graph, 3).windows
    assert [type(node.operation) for node in graph[:4]] == [Input, Convolution, Relu, Convolution]
    # A pixel (y, x) reads 4 x 4 from (2 y - 1, 2 x - 1) on, and 6 x 6 of the image from (2 y - 2, 2 x - 2) on.
    assert windows[2] == windows[1] == ((4, 4), (2, 2), (-1, -1))
    assert windows[0] == ((6, 6), (2, 2), (-2, -2))
    assert set(Route(graph, len(graph) - 1).windows.values()) == {None}


@pytest.mark.parametrize(
    ("kind", "has"),
    [
        ("cnn-small", True),
        ("cnn7", True),
        ("resnet18", True),
        ("preact-resnet18", True),
        ("resnet2b", True),
        ("vgg16-bn", False),
    ],
)
def test_which_networks_have_graphs(kind: str, has: bool) -> None:
    entry = catalogue.load("models", kind)
    assert (traced(entry.build(entry.Params(), (3, 32, 32), 10), torch.rand(1, 3, 32, 32)) is not None) is has


class Odd(nn.Conv2d):
    """Might compute anything."""


@pytest.mark.parametrize(
    "layer",
    [nn.MaxPool2d(2), nn.LeakyReLU(), nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), nn.Conv2d(1, 1, 3, padding="same"),
     nn.BatchNorm2d(1, track_running_stats=False), nn.Hardtanh(), Odd(1, 1, 1)],
)  # fmt: skip
def test_what_has_no_graph(layer: nn.Module) -> None:
    images = torch.rand(1, 1, 4, 4)
    size = layer(images).numel()
    assert traced(nn.Sequential(layer, nn.Flatten(), nn.Linear(size, 2)).eval(), images) is None


def test_a_network_that_computes_something_in_vain_has_no_graph() -> None:
    class Vain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(4, 2)

        def forward(self, images: Tensor) -> Tensor:
            images.relu()
            return self.last(images.flatten(1))

    assert traced(Vain(), torch.rand(1, 1, 2, 2)) is None


class Overwritten(nn.Module):
    """A ReLU in place of what is read again, which a trace takes for two values."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.last = nn.Conv2d(1, 1, 1), nn.ReLU(inplace=True), nn.Linear(16, 2)
        self.first.weight.data, self.first.bias.data = torch.ones(1, 1, 1, 1), torch.tensor([-0.5])

    def forward(self, images: Tensor) -> Tensor:
        inside = self.first(images)
        return self.last((self.relu(inside) + inside).flatten(1))


@pytest.mark.parametrize("size", [1.0, 1e-5])
@pytest.mark.parametrize("pixel", [0.1, 0.9])
def test_a_trace_is_held_against_the_network_at_any_size_of_logits(pixel: float, size: float) -> None:
    # Where pixels are above a half, nothing is overwritten: the image itself does not tell.
    model, image = Overwritten().eval(), torch.full((1, 1, 4, 4), pixel)
    for parameter in model.last.parameters():
        parameter.data.mul_(size)
    assert traced(model, image) is None
    model.relu.inplace = False
    assert traced(model, image) is not None


def test_tracing_leaves_images_as_they_are() -> None:
    model, image = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4, 2)), torch.full((1, 1, 2, 2), -1.0)
    assert traced(model.eval(), image) is not None
    assert (image == -1).all()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory")], ids=["python", "torch"])
def test_tracing_says_that_memory_runs_out(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*unused: object) -> None:
        raise error

    monkeypatch.setattr(graphs, "_Conversion", full)
    with pytest.raises(type(error)):
        traced(flat().eval(), torch.rand(1, 2, 8, 8))


def test_a_layer_with_a_hook_has_no_graph() -> None:
    model = flat()
    model[1].register_forward_hook(lambda layer, given, out: out + 1)
    assert traced(model, torch.rand(1, 2, 8, 8)) is None


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training: bool) -> None:
    case = Case(Averaged)
    model = case.model.train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = crown.smallest_margin(model, case.images, case.labels, LINF, CLASSES, Slopes(2, 0.5))
    assert torch.allclose(found, case.margins(LINF, Slopes(2, 0.5)).amin(1))
    assert {module.training for module in model.modules()} == {training}
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
