"""A network without the units that cannot matter: what is cut out, worked out by hand, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.networks import live_view as _live
from sparrow.networks.grafting import Grafted
from sparrow.networks.live_view import effective_size, live_view
from sparrow.networks.prunable import prunable_weights
from tests.networks.pruned_networks import pruned
from tests.verification.random_networks import random_network

SHAPES = {"vgg16-bn": (3, 16, 16), "trades-cnn": (1, 16, 16), "resnet50": (3, 32, 32)}
"""The smallest images of the models that cannot do with 1 x 8 x 8."""


@pytest.fixture(autouse=True)
def every_view_is_right(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test is passed because a wrong view was found out, or cutting failed, and the network itself was taken."""
    judge, cut, wrong = _live._gives_the_same_logits, _live._cut, []

    def judged(*given: object) -> bool:
        wrong.append(not judge(*given))
        return not wrong[-1]

    def cut_once(*given: object) -> None:
        wrong.append(True)
        cut(*given)
        wrong.pop()

    monkeypatch.setattr(_live, "_gives_the_same_logits", judged)
    monkeypatch.setattr(_live, "_cut", cut_once)
    yield
    assert not any(wrong)


def fill(layer: nn.Module, value: float = 1.0, bias: float | list[float] | None = 0.0) -> nn.Module:
    """A layer whose weights all have one value."""
    nn.init.constant_(layer.weight, value)
    if layer.bias is not None:
        with torch.no_grad():
            layer.bias.copy_(torch.as_tensor(bias))
    return layer


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in prunable_weights(model).items()}


def assert_same(view: nn.Module, model: nn.Module, shape: tuple[int, ...], tolerance: float = 1e-6) -> None:
    images = torch.rand(5, *shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(view(images), model(images), rtol=tolerance, atol=tolerance)


def built(kind: str) -> tuple[nn.Module, tuple[int, int, int]]:
    entry, shape = catalogue.load("models", kind), SHAPES.get(kind, (1, 8, 8))
    torch.manual_seed(0)
    return entry.build(entry.Params(), shape, 10), shape


def test_a_filter_behind_zero_padding_that_nobody_can_fold_stands_for_all_others() -> None:
    first, second = fill(nn.Conv2d(1, 4, 3, padding=1), bias=[0.0, 2.0, 3.0, -1.0]), fill(nn.Conv2d(4, 1, 3, padding=1))
    with torch.no_grad():
        first.weight[1:] = 0  # The first filter is alive, the last one is 0 behind the ReLU.
        second.weight[0, 1], second.weight[0, 2], second.weight[0, 3] = 5, 7, 11
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), fill(nn.Linear(16, 2))).eval()
    view = live_view(model, (1, 4, 4))
    assert shapes(view) == {"0.weight": (2, 1, 3, 3), "2.weight": (1, 2, 3, 3), "5.weight": (2, 16)}
    # The one of 3 carries that of 2: 7 + 5 * 2 / 3.
    assert view[0].bias.tolist() == [0.0, 3.0]
    torch.testing.assert_close(view[2].weight[0, 1], torch.full((3, 3), 7 + 10 / 3))
    # At a corner four of nine taps see it, inside all nine do.
    constant = view[2](torch.tensor([0.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4))[0, 0]
    assert constant[0, 0].item() == pytest.approx(4 * 31)
    assert constant[1, 1].item() == pytest.approx(9 * 31)
    assert_same(view, model, (1, 4, 4))


@pytest.mark.parametrize("padding", [0, "valid"])
def test_without_padding_constants_go_into_the_bias(padding: int | str) -> None:
    first, second = fill(nn.Conv2d(1, 3, 1), bias=[0.0, 2.0, 3.0]), fill(nn.Conv2d(3, 1, 3, padding=padding, bias=False))
    with torch.no_grad():
        first.weight[1:] = 0
        second.weight[0, 1] = 5
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), fill(nn.Linear(4, 2))).eval()
    view = live_view(model, (1, 4, 4))
    assert shapes(view) == {"0.weight": (1, 1, 1, 1), "2.weight": (1, 1, 3, 3), "5.weight": (2, 4)}
    assert view[2].bias.tolist() == [9 * (5 * 2 + 3)]
    assert model[2].bias is None
    assert_same(view, model, (1, 4, 4))


def test_a_chain_of_dead_units_goes_with_the_constants_that_it_hands_on() -> None:
    layers = [nn.Linear(3, 2), nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)]
    for layer in layers:
        fill(layer, bias=0.5)
    with torch.no_grad():
        layers[0].weight[1] = 0  # 0.5; then twice that of the second unit and 0.5, twice.
        layers[1].weight[1] = torch.tensor([0.0, 2.0])
        layers[2].weight[1] = torch.tensor([0.0, 2.0])
    model = nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2], nn.ReLU(), layers[3]).eval()
    view = live_view(model, (3, 1, 1))
    assert shapes(view) == {"1.weight": (1, 3), "3.weight": (1, 1), "5.weight": (1, 1), "7.weight": (2, 1)}
    assert [view[place].bias.tolist() for place in (1, 3, 5, 7)] == [[0.5], [1.0], [2.0], [4.0, 4.0]]
    assert_same(view, model, (3, 1, 1))


def test_a_unit_that_nobody_reads_goes_and_so_does_what_it_alone_reads() -> None:
    layers = [fill(nn.Linear(2, 3), bias=0.1), fill(nn.Linear(3, 2), bias=0.1), fill(nn.Linear(2, 2))]
    with torch.no_grad():
        layers[2].weight[:, 1] = 0  # Nobody reads the second unit of the second layer, who alone reads the third of the first.
        layers[1].weight[0, 2] = 0
    model = nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]).eval()
    view = live_view(model, (2, 1, 1))
    assert shapes(view) == {"1.weight": (2, 2), "3.weight": (1, 2), "5.weight": (2, 1)}
    assert_same(view, model, (2, 1, 1))


def test_a_network_that_answers_without_looking_still_runs_and_has_a_gradient() -> None:
    model = nn.Sequential(nn.Flatten(), fill(nn.Linear(2, 3), bias=0.1), nn.ReLU(), fill(nn.Linear(3, 2))).eval()
    with torch.no_grad():
        model[1].weight.zero_()
    view = live_view(model, (2, 1, 1))
    assert shapes(view) == {"1.weight": (1, 2), "3.weight": (2, 1)}
    images = torch.rand(2, 2, 1, 1, requires_grad=True)
    assert not torch.autograd.grad(view(images).sum(), images)[0].any()
    assert_same(view, model, (2, 1, 1))


def test_all_entries_of_a_channel_have_to_be_unread_behind_a_flattening() -> None:
    model = nn.Sequential(fill(nn.Conv2d(1, 3, 1), bias=0.1), nn.ReLU(), nn.Flatten(), fill(nn.Linear(12, 2))).eval()
    with torch.no_grad():
        model[3].weight[:, :5] = 0  # The whole first channel, and one pixel of the second.
    view = live_view(model, (1, 2, 2))
    assert shapes(view) == {"0.weight": (2, 1, 1, 1), "3.weight": (2, 8)}
    assert_same(view, model, (1, 2, 2))


def test_a_map_that_is_no_single_number_is_folded_pixel_by_pixel_into_linear_layers_alone() -> None:
    first, second = fill(nn.Conv2d(1, 2, 1), bias=[0.0, 1.0]), fill(nn.Conv2d(2, 2, 3, padding=1))
    with torch.no_grad():
        first.weight[1] = 0
        second.weight[1, 0] = 0  # Sees the constant alone, and less of it at the border.
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), fill(nn.Linear(32, 2))).eval()
    view = live_view(model, (1, 4, 4))
    assert shapes(view) == {"0.weight": (2, 1, 1, 1), "2.weight": (1, 2, 3, 3), "5.weight": (2, 16)}
    # Four corners see 4 taps, eight pixels at the sides 6, four inside 9.
    assert view[5].bias.tolist() == [4 * 4 + 8 * 6 + 4 * 9] * 2
    third = fill(nn.Conv2d(2, 1, 1))
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third, nn.Flatten(), fill(nn.Linear(16, 2))).eval()
    assert live_view(model, (1, 4, 4)) is model


class Added(nn.Module):
    """The sum of two ways, each with a batch norm, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 1)
        self.norm, self.linear = nn.BatchNorm2d(4), nn.Linear(4, 2)
        for layer in (self.one, self.other, self.linear):
            fill(layer, bias=0.5)
        self.norm.running_mean.fill_(1.0)
        nn.init.constant_(self.norm.weight, 2.0)
        nn.init.constant_(self.norm.bias, 7.0)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear((self.norm(self.one(images)) + self.other(images)).relu().mean(dim=(2, 3)))


def test_additions_keep_a_channel_in_both_unless_it_goes_in_both() -> None:
    model = Added().eval()
    with torch.no_grad():
        model.one.weight[:2] = 0
        model.other.weight[1:3] = 0
        model.linear.weight[:, 3] = 0
    view = live_view(model, (1, 3, 3))
    # Of the channels the first is alive in one, the second in none, the third in one; nobody reads the last.
    assert shapes(view) == {"one.weight": (2, 1, 1, 1), "other.weight": (2, 1, 1, 1), "linear.weight": (2, 2)}
    assert view.norm.num_features == len(view.norm.running_var) == 2
    norm = 2 * (0.5 - 1) / (1 + 1e-5) ** 0.5 + 7
    assert view.linear.bias.tolist() == pytest.approx([0.5 + norm + 0.5] * 2)
    assert_same(view, model, (1, 3, 3))


def test_a_batch_norm_without_scale_makes_constants() -> None:
    model = Added().eval()
    with torch.no_grad():
        model.norm.weight[0] = 0
        model.other.weight[0] = 0
    view = live_view(model, (1, 3, 3))
    assert shapes(view) == {"one.weight": (3, 1, 1, 1), "other.weight": (3, 1, 1, 1), "linear.weight": (2, 3)}
    assert view.linear.bias.tolist() == pytest.approx([0.5 + 7.5] * 2)
    assert_same(view, model, (1, 3, 3))


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2), nn.AvgPool2d(3, 2, padding=1)])
def test_pooling_hands_constants_on(pool: nn.Module) -> None:
    first = fill(nn.Conv2d(1, 2, 1), bias=[0.0, 3.0])
    with torch.no_grad():
        first.weight[1] = 0
    model = nn.Sequential(first, pool, nn.Flatten(), fill(nn.Linear(8, 2))).eval()
    view = live_view(model, (1, 4, 4))
    assert shapes(view) == {"0.weight": (1, 1, 1, 1), "3.weight": (2, 4)}
    # With its padding counted, a corner's window holds four pixels of nine, two sides' six, the middle's all.
    shares = [4 / 9, 6 / 9, 6 / 9, 1] if getattr(pool, "padding", 0) == 1 else [1] * 4
    assert view[3].bias.tolist() == pytest.approx([3 * sum(shares)] * 2)
    assert_same(view, model, (1, 4, 4))


def test_lines_are_no_constants_and_keep_the_parameters_of_their_neurons() -> None:
    lines = Grafted(torch.tensor([True, False, True, False]), torch.tensor([2.0] * 4), torch.tensor([1.0] * 4))
    model = nn.Sequential(nn.Flatten(), fill(nn.Linear(2, 4), bias=-3.0), lines, fill(nn.Linear(4, 2))).eval()
    with torch.no_grad():
        model[1].weight[:2] = 0  # The line makes 2 * -3 + 1 of it, the ReLU 0.
    view = live_view(model, (2, 1, 1))
    assert shapes(view) == {"1.weight": (2, 2), "3.weight": (2, 2)}
    assert view[2].mask.tolist() == [True, False]
    assert view[3].bias.tolist() == [-5.0, -5.0]
    assert_same(view, model, (2, 1, 1))
    # Weights and biases of both layers; lines do not count.
    assert effective_size(model, (2, 1, 1), {"1.weight": 1, "3.weight": 1}) == {
        "effective_parameters": 4 + 2 + 4 + 2,
        "effective_multiply_adds": 4 + 4,
    }


def test_sizes_count_what_is_not_zero_in_what_is_left() -> None:
    layers = [fill(nn.Conv2d(1, 3, 3, padding=1), bias=0.1), fill(nn.Linear(48, 2))]
    with torch.no_grad():
        layers[0].weight[0] = 0
        layers[0].weight[1, 0, 0] = 0  # Three of nine taps.
        layers[1].weight[:, 32:] = 0  # Nobody reads the third.
    model = nn.Sequential(layers[0], nn.ReLU(), nn.Flatten(), layers[1])
    assert model.training
    size = effective_size(model, (1, 4, 4), {"0.weight": 16, "3.weight": 1})
    # Six weights and a bias of the filter that is left, 16 weights for each output, whose biases were 0 before.
    assert size == {"effective_parameters": 7 + 2 * 16 + 2, "effective_multiply_adds": 16 * 6 + 2 * 16}
    assert model.training


@pytest.mark.parametrize("kind", catalogue.kinds("models"))
def test_a_network_without_zeros_is_its_own_view(kind: str) -> None:
    model, shape = built(kind)
    with torch.no_grad():
        for weight in prunable_weights(model.eval()).values():
            weight.fill_(0.1)
    assert live_view(model, shape) is model


@pytest.mark.parametrize("kind", catalogue.kinds("models"))
def test_every_model_says_the_same_without_its_dead_units(kind: str) -> None:
    model, shape = built(kind)
    for ratio in (0.9, 0.99):
        pruned(model, ratio)
        before, drawn = {name: tensor.clone() for name, tensor in model.state_dict().items()}, torch.get_rng_state()
        view = live_view(model, shape)
        assert torch.equal(drawn, torch.get_rng_state())
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        assert type(view) is type(model)
        assert not any(module.training for module in view.modules())
        images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(5))
        found, expected = (_logits_and_gradient(one, images) for one in (view, model))
        for one, other in zip(found, expected, strict=True):
            assert float((one - other).abs().max()) <= 1e-5 * float(other.abs().max())
    # At 0.99, each of them has lost some.
    assert sum(weight.numel() for weight in view.parameters()) < sum(weight.numel() for weight in model.parameters())


def _logits_and_gradient(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    images = images.clone().requires_grad_()
    logits = model(images)
    (gradient,) = torch.autograd.grad(logits.square().sum(), images)
    return logits.detach(), gradient


@pytest.mark.parametrize("seed", range(40))
def test_networks_of_others(seed: int) -> None:
    network = random_network(seed)
    state = torch.get_rng_state()
    for weight in prunable_weights(network.model).values():
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            weight.mul_(torch.rand(weight.shape, generator=generator) < 0.2)
            weight[torch.rand(len(weight), generator=generator) < 0.5] = 0
    view = live_view(network.model, tuple(network.images.shape[1:]))
    assert torch.equal(state, torch.get_rng_state())
    with torch.no_grad():
        expected = network.model(network.images)
        torch.testing.assert_close(view(network.images), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


class Twice(nn.Module):
    """One layer in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.same, self.last = fill(nn.Linear(3, 3), bias=0.1), fill(nn.Linear(3, 2))

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.same(self.same(images.flatten(1)).relu()).relu())


class Shaped(nn.Module):
    """Its forward pass names the number of features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = fill(nn.Conv2d(1, 2, 1), bias=0.1), fill(nn.Linear(8, 2))

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.conv(images).relu().view(-1, 8))


class Branching(nn.Module):
    """No trace can follow it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = fill(nn.Linear(3, 3)), fill(nn.Linear(3, 2))

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.first(images.flatten(1) if images.sum() > 0 else -images.flatten(1)))


@pytest.mark.parametrize(("kind", "shape"), [(Twice, (3, 1, 1)), (Shaped, (1, 2, 2)), (Branching, (3, 1, 1))])
def test_what_no_rule_can_follow_stays(kind: type[nn.Module], shape: tuple[int, ...]) -> None:
    model = kind().eval()
    with torch.no_grad():
        for weight in list(prunable_weights(model).values())[:-1]:
            weight[0] = 0
    assert live_view(model, shape) is model


def test_groups_and_what_reads_them_stay() -> None:
    model = nn.Sequential(
        *(fill(nn.Conv2d(2, 4, 1), bias=0.1), nn.ReLU(), fill(nn.Conv2d(4, 4, 1, groups=2), bias=0.1), nn.ReLU()),
        *(fill(nn.Conv2d(4, 3, 1), bias=0.1), nn.Flatten(), fill(nn.Linear(3, 2))),
    ).eval()
    with torch.no_grad():
        for place in (0, 2, 4):
            model[place].weight[0] = 0
    assert list(shapes(live_view(model, (2, 1, 1))).values()) == [(4, 2, 1, 1), (4, 2, 1, 1), (2, 4, 1, 1), (2, 2)]


def dead(training: bool = False) -> nn.Module:
    """A network of which a unit is dead."""
    model = nn.Sequential(nn.Flatten(), fill(nn.Linear(2, 3), bias=0.1), nn.ReLU(), fill(nn.Linear(3, 2))).train(training)
    with torch.no_grad():
        model[1].weight[0] = 0
    return model


def test_a_network_that_trains_or_is_watched_inside_is_its_own_view() -> None:
    model = dead(training=True)
    assert live_view(model, (2, 1, 1)) is model
    model = dead()
    assert live_view(model, (2, 1, 1)) is not model
    hook = model[1].register_forward_hook(lambda *given: None)
    assert live_view(model, (2, 1, 1)) is model
    hook.remove()


def test_hooks_of_the_network_run_with_the_view_also_those_of_later() -> None:
    model, seen = dead(), []
    view = live_view(model, (2, 1, 1))
    assert view is not model
    hook = model.register_forward_hook(lambda module, given, output: seen.append(len(output)))
    view(torch.rand(3, 2, 1, 1))
    hook.remove()
    view(torch.rand(3, 2, 1, 1))
    assert seen == [3]


def test_tensors_that_stay_are_shared() -> None:
    model, view = (model := dead()), live_view(model, (2, 1, 1))
    assert view[3].bias is not model[3].bias
    model = nn.Sequential(nn.Flatten(), fill(nn.Linear(2, 2)), nn.ReLU(), dead())
    model[3][0] = nn.Identity()
    view = live_view(model.eval(), (2, 1, 1))
    assert view[1].weight is model[1].weight
    assert view[3][1].weight is not model[3][1].weight


class Random(nn.Module):
    """Drops some of its neurons whatever its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = dead()

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.dropout(self.inside(images), 0.5)


def test_a_random_network_uses_up_nobody_else_s_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # Its logits are never the same.
    model, state = Random().eval(), torch.get_rng_state()
    assert live_view(model, (2, 1, 1)) is model
    assert torch.equal(torch.get_rng_state(), state)


def test_a_view_that_would_say_something_else_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    model, cut = dead(), _live._cut

    def cut_wrongly(view: nn.Module, found: object) -> None:
        cut(view, found)
        view[3].bias.data += 1e-3

    monkeypatch.setattr(_live, "_cut", cut_wrongly)
    assert live_view(model, (2, 1, 1)) is model


@pytest.mark.parametrize("padding", [0, 1])
def test_a_depthwise_convolution_hands_on_what_each_unit_is_worth(padding: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 6, 3), nn.Hardswish(), nn.Conv2d(6, 6, 3, padding=padding, groups=6), nn.PReLU(6), nn.Conv2d(6, 3, 1)),
        *(nn.GELU(), nn.Flatten(), nn.LazyLinear(4)),
    ).eval()
    model(torch.zeros(1, 1, 8, 8))
    with torch.no_grad():
        model[3].weight.copy_(torch.linspace(0, 0.5, 6))
        model[0].weight[0] = 0  # A constant, which the depthwise filter spreads: with padding, another at the border.
        model[2].weight[1] = 0  # A constant from there on.
        model[4].weight[:, 2] = 0  # Nobody reads it.
    view = live_view(model, (1, 8, 8))
    assert_same(view, model, (1, 8, 8))
    left = 3 + padding
    assert shapes(view) == {
        "0.weight": (left, 1, 3, 3),
        "2.weight": (left, 1, 3, 3),
        "4.weight": (3, left, 1, 1),
        "7.weight": (4, 3 * (4 + 2 * padding) ** 2),
    }
    assert (view[2].groups, view[3].num_parameters) == (left, left)


def test_one_that_is_grouped_is_kept_whole() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(64, 3)).eval()
    model[0].weight.data[0] = 0
    assert live_view(model, (1, 8, 8)) is model
