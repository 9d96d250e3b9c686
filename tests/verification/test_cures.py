"""What auto_LiRPA 0.3 gets wrong or refuses, held against the same network in layers that it gets right, and against points."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.adversary.margin import margin
from sparrow.errors import NetworkError
from sparrow.models import resnet18
from sparrow.settings import Threat
from sparrow.training.certified_loss import Bounds
from sparrow.verification import bounds as _bounds
from sparrow.verification import guard
from sparrow.verification.auto_lirpa_bridge import auto_lirpa
from sparrow.verification.bounds import smallest_margin

LINF, L2, NEAR = Threat(eps=0.05), Threat(norm="l2", eps=0.3), Threat(eps=1e-6)
ALPHA = {"optimize_bound_args": {"iteration": 4, "lr_alpha": 0.5, "early_stop_patience": 4}}
METHODS = ["IBP", "CROWN-IBP", "CROWN", "CROWN-Optimized"]
THREATS = pytest.mark.parametrize("threat", [LINF, L2], ids=["linf", "l2"])
NEAR_TOO = pytest.mark.parametrize("threat", [LINF, L2, NEAR], ids=["linf", "l2", "near"])


class Written(nn.Module):
    """A network whose forward pass is `function(network, images)`; tensors become buffers."""

    def __init__(self, function: Callable, **parts: nn.Module | Tensor) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.register_buffer(name, part) if isinstance(part, Tensor) else setattr(self, name, part)

    def forward(self, images: Tensor) -> Tensor:
        return self.function(self, images)


def _ready(model: nn.Module) -> nn.Module:
    """Weights twice torch's own, and batch norms that are anything but the identity."""
    for parameter in model.parameters():
        parameter.data.mul_(2)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.3)
            layer.running_var.uniform_(0.5, 2)
    return model.eval()


def _images(size: int = 6, count: int = 2) -> Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(1))


def _bound(model: nn.Module, threat: Threat, method: str, images: Tensor | None = None) -> Tensor:
    images = _images() if images is None else images
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    return smallest_margin(model, images, labels, threat, 3, method, ALPHA if method == "CROWN-Optimized" else None).detach()


def _same(first: nn.Module, second: nn.Module, threat: Threat, method: str, images: Tensor | None = None) -> None:
    found, expected = (_bound(model, threat, method, images) for model in (first, second))
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4), f"{found.tolist()} for {expected.tolist()}"


def _worst(model: nn.Module, images: Tensor, threat: Threat) -> Tensor:
    """The smallest margin (n,) that two hundred random points and a descent come upon."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
        found = [margin(model(images), labels)]
        for _ in range(200):
            drawn = torch.randn(images.shape, generator=generator)
            if threat.norm == "linf":
                there = (images + threat.eps * drawn.sign()).clamp(0, 1)
            else:
                there = images + threat.eps * drawn / drawn.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            found.append(margin(model(there), labels))
    found.extend(margin(model(there), labels).detach() for there in guard.probes(model, images, labels, threat))
    return torch.stack(found).amin(dim=0)


def _behind(channels: int = 1, size: int = 6) -> nn.Sequential:
    layers = nn.Conv2d(channels, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2 * size * size, 3)
    return nn.Sequential(*layers)


# An l2 ball that is moved or stretched before the first layer.

MEAN, SCALE = torch.full((1, 1, 1, 1), 0.3), torch.full((1, 1, 1, 1), 0.4)


def _unpadded() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))


def _folded(network: nn.Sequential, factor: float, shift: float) -> nn.Sequential:
    """The network that does to x what `network` does to `factor * x + shift`; nothing is padded."""
    layers = _unpadded()
    layers.load_state_dict(network.state_dict())
    weight, bias = network[0].weight.detach(), network[0].bias.detach()
    layers[0].weight.data, layers[0].bias.data = factor * weight, bias + shift * weight.sum((1, 2, 3))
    return layers.eval()


@THREATS
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("function", "factor", "shift"),
    [
        (lambda own, x: own.net(x * 2), 2.0, 0.0),
        (lambda own, x: own.net(x - 0.5), 1.0, -0.5),
        (lambda own, x: own.net((x - own.mean) / own.scale), 2.5, -0.75),
        (lambda own, x: own.net(1 - x), -1.0, 1.0),
    ],
    ids=["times", "minus", "normalised", "inverted"],
)
def test_a_normalisation_inside_is_as_good_as_in_the_weights(function, factor, shift, method: str, threat: Threat) -> None:
    torch.manual_seed(0)
    network = _ready(_unpadded())
    model, folded = Written(function, net=network, mean=MEAN, scale=SCALE).eval(), _folded(network, factor, shift)
    assert torch.allclose(model(_images()), folded(_images()), atol=1e-5)
    _same(model, folded, threat, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "function",
    [
        lambda own, x: own.net(functional.relu(x - 0.5)),
        lambda own, x: own.two(torch.cat([x, -x], 1)),
        lambda own, x: own.net(own.norm(x).relu()),
        lambda own, x: own.net(x + x.relu()),
        lambda own, x: own.net((x - 0.5).abs()),
    ],
    ids=["relu", "cat", "norm", "sum", "abs"],
)
def test_other_operations_before_the_first_layer_keep_an_l2_ball_inside(function, method: str) -> None:
    torch.manual_seed(0)
    model = _ready(Written(function, net=_behind(), two=_behind(2), norm=nn.BatchNorm2d(1)))
    bounds, images = _bound(model, L2, method), _images()
    assert (bounds <= _worst(model, images, L2) + 1e-5).all()
    with torch.no_grad():
        assert (bounds < margin(model(images), model(images).argmax(dim=1)) - 0.01).all(), "a ball of one point"


def test_the_box_around_an_l2_ball_by_hand() -> None:
    # The margin is 2 (relu(x) + relu(y)) - 1: at (0.5, 0.5) it is 1, and a radius of 0.1 takes 0.1 of each pixel in the box.
    model = Written(lambda own, x: own.linear(x.relu().flatten(1)), linear=nn.Linear(2, 2)).eval()
    model.linear.weight.data, model.linear.bias.data = torch.tensor([[2.0, 2.0], [0.0, 0.0]]), torch.tensor([-1.0, 0.0])
    image, label, threat = torch.full((1, 1, 1, 2), 0.5), torch.tensor([0]), Threat(norm="l2", eps=0.1)
    assert smallest_margin(model, image, label, threat, 2, "IBP").item() == pytest.approx(0.6, abs=1e-5)
    # The ball itself takes 2 * 0.1 * sqrt(2).
    assert smallest_margin(model, image, label, threat, 2, "CROWN").item() == pytest.approx(1 - 0.2 * math.sqrt(2), abs=1e-5)


# Convolutions whose coefficients patches get wrong or refuse.


def _grouped(groups: int, dilation: int) -> nn.Sequential:
    first, second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 1, dilation, dilation, groups)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Conv2d(4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))


def _written_out(layer: nn.Conv2d) -> nn.Conv2d:
    """The same convolution without groups or dilation, its kernel full of zeros."""
    size, per_group = layer.dilation[0] * (layer.kernel_size[0] - 1) + 1, layer.in_channels // layer.groups
    full = nn.Conv2d(layer.in_channels, layer.out_channels, size, layer.stride, layer.padding)
    full.weight.data.zero_()
    for out in range(layer.out_channels):
        start = out // (layer.out_channels // layer.groups) * per_group
        step = layer.dilation[0]
        full.weight.data[out, start : start + per_group, ::step, ::step] = layer.weight.data[out]
    full.bias.data = layer.bias.data
    return full


@NEAR_TOO
@pytest.mark.parametrize("method", ["CROWN", "CROWN-Optimized"])
@pytest.mark.parametrize(("groups", "dilation"), [(4, 1), (2, 1), (1, 2), (4, 2)])
def test_groups_and_dilation_are_as_good_as_written_out(groups: int, dilation: int, method: str, threat: Threat) -> None:
    torch.manual_seed(0)
    model = _ready(_grouped(groups, dilation))
    _same(model, nn.Sequential(*(_written_out(part) if part is model[2] else part for part in model)).eval(), threat, method)


@pytest.mark.parametrize(
    ("layers", "patches"),
    [
        ([nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)], True),
        ([nn.Conv2d(1, 2, 3, 2, 1), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 3)], True),
        ([nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)], False),
        ([nn.ReLU(), nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)], False),
        ([nn.Conv2d(1, 2, (3, 1)), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)], False),
        ([nn.Conv2d(1, 2, 3, (1, 2), 1), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)], False),
        ([nn.Conv2d(1, 2, 3, 1, (0, 1)), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)], False),
        ([nn.Conv2d(1, 2, 3), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(32, 3)], False),
        ([nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)], False),
    ],
)
def test_patches_are_for_what_they_are_right_for(layers: list[nn.Module], patches: bool) -> None:
    assert (_bounds.bounded(nn.Sequential(*layers), _images()).conv_mode == "patches") == patches


def test_batch_norm_behind_an_oblong_padding() -> None:
    # By patches, the bound of auto_LiRPA 0.3 is above margins here.
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 3, (4, 2), padding=(2, 0)), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(105, 3)
    _same(model := _ready(nn.Sequential(*layers)), _without_norm(model), LINF, "CROWN")


def _without_norm(model: nn.Sequential) -> nn.Sequential:
    convolution = torch.nn.utils.fuse_conv_bn_eval(model[0], model[1])
    return nn.Sequential(convolution, *list(model)[2:]).eval()


# Layers with a line of their own.


def _between(layer: nn.Module, size: int) -> nn.Sequential:
    first = nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), layer, nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()
    return nn.Sequential(*first, nn.Flatten(), nn.Linear(2 * size * size, 3))


def _as_convolution(pool: nn.AvgPool2d) -> nn.Conv2d:
    layer = nn.Conv2d(2, 2, pool.kernel_size, pool.stride, pool.padding)
    layer.weight.data, layer.bias.data = torch.eye(2).view(2, 2, 1, 1).repeat(1, 1, *[pool.kernel_size] * 2), torch.zeros(2)
    layer.weight.data /= pool.kernel_size**2
    return layer


@THREATS
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("pool", "size"), [((2, 2, 1), 4), ((3, 1, 1), 6), ((3, 2, 0), 2), ((2, 2, 0), 3)])
def test_average_pooling_is_as_good_as_a_convolution(pool: tuple, size: int, method: str, threat: Threat) -> None:
    torch.manual_seed(0)
    model = _ready(_between(nn.AvgPool2d(*pool), size))
    _same(model, nn.Sequential(*(_as_convolution(part) if part is model[2] else part for part in model)).eval(), threat, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("pool", "size"),
    [
        (nn.AvgPool2d(2, padding=1, count_include_pad=False), 4),
        (nn.AvgPool2d(4, ceil_mode=True), 2),
        (nn.AdaptiveAvgPool2d(1), 1),
    ],
)
def test_average_pooling_at_borders(pool: nn.Module, size: int, method: str) -> None:
    torch.manual_seed(0)
    model = _ready(_between(pool, size))
    assert (_bound(model, LINF, method) <= _worst(model, _images(), LINF) + 1e-5).all()


class Bent(nn.Module):
    """LeakyReLU, made of ReLUs."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, values: Tensor) -> Tensor:
        return functional.relu(values) - self.slope * functional.relu(-values)


@NEAR_TOO
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("slope", [0.1, 1.0, 2.0, 5.0, -0.5, -3.0])
def test_leaky_relus_of_any_slope(slope: float, method: str, threat: Threat) -> None:
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(36, 8), nn.LeakyReLU(slope), nn.Linear(8, 8), nn.LeakyReLU(slope), nn.Linear(8, 3)]
    model = _ready(nn.Sequential(*layers))
    bounds, worst = _bound(model, threat, method), _worst(model, _images(), threat)
    assert (bounds <= worst + 1e-5).all()
    if threat is NEAR:
        assert bounds.tolist() == pytest.approx(worst.tolist(), abs=1e-3)
    # What leaves the same network in ReLUs is no tighter in IBP.
    written = nn.Sequential(*(Bent(slope) if isinstance(part, nn.LeakyReLU) else part for part in model)).eval()
    if method == "IBP":
        assert (bounds >= _bound(written, threat, method) - 1e-4).all()


@pytest.mark.parametrize("eps", [0.05, 0.2])
@pytest.mark.parametrize("method", METHODS)
def test_square_roots(method: str, eps: float) -> None:
    # Of 1 / (2 sqrt(x)), auto_LiRPA 0.3 makes -1 / (2 x sqrt(x)).
    torch.manual_seed(0)
    parts = {"first": nn.Linear(36, 8), "last": nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))}
    model = _ready(Written(lambda own, x: own.last(torch.sqrt(own.first(x.flatten(1)).relu() + 1)), **parts))
    bounds, worst = _bound(model, Threat(eps=eps), method), _worst(model, _images(), Threat(eps=eps))
    assert (bounds <= worst + 1e-5).all()
    assert (bounds > worst - 60 * eps).all()


@pytest.mark.parametrize("method", METHODS)
def test_square_root_that_some_point_has_not(method: str) -> None:
    # Left of 0.45 there is none, and no margin: none can be proved from 0.4 on. From 0.48 on it is sqrt(x - 0.45) + 1.
    model = Written(lambda own, x: own.last(own.first(x.flatten(1)).sqrt()), first=nn.Linear(1, 1), last=nn.Linear(1, 2)).eval()
    model.first.weight.data, model.first.bias.data = torch.tensor([[1.0]]), torch.tensor([-0.45])
    model.last.weight.data, model.last.bias.data = torch.tensor([[1.0], [0.0]]), torch.tensor([1.0, 0.0])
    image, label = torch.full((1, 1, 1, 1), 0.5), torch.tensor([0])
    settings = ALPHA if method == "CROWN-Optimized" else None
    with pytest.raises(NetworkError, match=r"square root of what may be below 0|not a number"):
        smallest_margin(model, image, label, Threat(eps=0.1), 2, method, settings)
    found = smallest_margin(model, image, label, Threat(eps=0.02), 2, method, settings).item()
    assert found == pytest.approx(1 + math.sqrt(0.03), abs=1e-4)


def test_the_line_above_a_square_root_by_hand() -> None:
    # From 1 to 9 the tangent at 5 is (x + 5) / (2 sqrt(5)): at 9, 7 / sqrt(5). The chord is (x + 3) / 4: at 1, 1.
    model = Written(
        lambda own, x: own.last((own.first(x.flatten(1))).sqrt()), first=nn.Linear(1, 1), last=nn.Linear(1, 2)
    ).eval()
    model.first.weight.data, model.first.bias.data = torch.tensor([[10.0]]), torch.tensor([0.0])
    model.last.weight.data, model.last.bias.data = torch.tensor([[-1.0], [0.0]]), torch.tensor([10.0, 0.0])
    image, threat = torch.full((1, 1, 1, 1), 0.5), Threat(eps=0.4)
    found = smallest_margin(model, image, torch.tensor([0]), threat, 2, "CROWN").item()
    assert found == pytest.approx(10 - 7 / math.sqrt(5), abs=1e-4)
    model.last.weight.data = -model.last.weight.data
    assert smallest_margin(model, image, torch.tensor([0]), threat, 2, "CROWN").item() == pytest.approx(11, abs=1e-4)


@pytest.mark.parametrize("threat", [LINF, L2], ids=["linf", "l2"])
@pytest.mark.parametrize("pool", [2, 3])
def test_alpha_crown_takes_max_pooling_image_by_image(pool: int, threat: Threat) -> None:
    torch.manual_seed(0)
    model, images = _ready(_between(nn.MaxPool2d(pool), 6 // pool)), _images(count=3)
    together = _bound(model, threat, "CROWN-Optimized", images)
    alone = torch.cat([_bound(model, threat, "CROWN-Optimized", image.unsqueeze(0)) for image in images])
    assert together.tolist() == pytest.approx(alone.tolist(), abs=1e-5)
    assert (together <= _worst(model, images, threat) + 1e-5).all()
    assert (together >= _bound(model, threat, "CROWN", images) - 1e-5).all()


def test_a_default_cascade_takes_max_pooling() -> None:
    torch.manual_seed(0)
    model, images = _ready(_between(nn.MaxPool2d(2), 3)), _images(count=4)
    entry = catalogue.load("verifiers", "cascade")
    labels = model(images).argmax(dim=1)
    found = entry.decide(model, images, labels, entry.Params(iterations=2), LINF, 3)
    assert found.failures == ()
    assert found.verified.tolist() == (found.margins > 0).tolist()


# What is written in another way.


def _with(first: nn.Module, norm: bool = False) -> nn.Sequential:
    return nn.Sequential(first, *[nn.BatchNorm2d(2, affine=False)] * norm, nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))


@THREATS
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", ["size", "minus one", "same", "without affine", "valid"])
def test_networks_as_people_write_them(way: str, method: str, threat: Threat) -> None:
    torch.manual_seed(0)
    plain = _ready(_with(nn.Conv2d(1, 2, 3, padding=1), norm=way == "without affine"))
    convolution, linear = plain[0], plain[-1]
    if way == "size":
        model = Written(lambda own, x: own.b(own.a(x).relu().view(x.size(0), -1)), a=convolution, b=linear)
    elif way == "minus one":
        model = Written(lambda own, x: own.b(own.a(x).relu().view(-1, 72)), a=convolution, b=linear)
    elif way == "same":
        model = _with(nn.Conv2d(1, 2, 3, padding="same"))
        model.load_state_dict(plain.state_dict())
    elif way == "valid":
        plain = _ready(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)))
        model = nn.Sequential(nn.Conv2d(1, 2, 3, padding="valid"), *list(plain)[1:])
        model.load_state_dict(plain.state_dict())
    else:
        model, plain = plain, nn.Sequential(plain[0], nn.BatchNorm2d(2), *list(plain)[2:])
        plain[1].running_mean, plain[1].running_var = model[1].running_mean, model[1].running_var
    _same(model.eval(), plain.eval(), threat, method)


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (nn.Conv2d(1, 2, 2, padding="same"), r'layer 0 \(Conv2d\) by IBP \(.*padding="same" with an even kernel'),
        (
            nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(5, ceil_mode=True)),
            r"layer 0\.1 \(MaxPool2d\) by IBP \(.*ceil_mode",
        ),
        # No layer of its own, and the log alone would say which.
        (Written(lambda own, x: torch.maximum(x, own.first(x)), first=nn.Conv2d(1, 1, 1)), r"for the operation \(Max\)"),
    ],
)
def test_what_cannot_be_bounded_is_named(layer: nn.Module, named: str) -> None:
    model = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)).eval()
    model(_images())
    with pytest.raises(NetworkError, match=named):
        _bound(model, LINF, "IBP")


@pytest.mark.parametrize("method", ["IBP", "CROWN"])
def test_dropout_does_nothing_in_eval_mode(method: str) -> None:
    torch.manual_seed(0)
    plain = _ready(_behind())
    _same(nn.Sequential(*list(plain)[:2], nn.Dropout(0.9), *list(plain)[2:]).eval(), plain, LINF, method)


@pytest.mark.parametrize("method", ["IBP", "CROWN-IBP", "CROWN"])
def test_a_quotient_is_one(method: str) -> None:
    # auto_LiRPA 0.3 takes what is divided by a square root for layer normalisation, and computes that in the place of it.
    torch.manual_seed(0)
    function = lambda own, x: own.b((own.a(x.flatten(1)) / torch.sqrt(own.variance)).relu())  # noqa: E731
    model = _ready(Written(function, a=nn.Linear(36, 8), b=nn.Linear(8, 3), variance=torch.rand(8) + 0.5))
    plain = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    factor = 1 / model.variance.sqrt()
    plain[1].weight.data, plain[1].bias.data = model.a.weight * factor.unsqueeze(1), model.a.bias * factor
    plain[3].load_state_dict(model.b.state_dict())
    _same(model, plain, LINF, method)


def test_another_function_than_the_network_s_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    relu = auto_lirpa().operators.BoundRelu
    monkeypatch.setattr(relu, "forward", lambda self, x: functional.relu(x) + 0.1)
    with pytest.raises(NetworkError, match="auto_LiRPA computes other logits than Sequential does, from Conv, Flatten, Input"):
        _bound(_ready(_behind()), LINF, "IBP")


@pytest.mark.parametrize("method", METHODS)
def test_a_map_without_a_pixel_is_named(method: str) -> None:
    layers = nn.Conv2d(1, 2, 3, padding=1), Written(lambda own, x: x[:, :, 6:]), nn.ReLU(), nn.Flatten(), nn.Linear(0, 3)
    with pytest.raises(NetworkError, match=r"\(\w+\) puts out a map without a pixel, of images of the shape \(1, 6, 6\)"):
        _bound(nn.Sequential(*layers).eval(), LINF, method)


def test_no_shipped_residual_network_needs_patches() -> None:
    # Their bounds by CROWN were refused; whole matrices take an hour of many images, so that this looks at the mode alone.
    model = resnet18.build(resnet18.Params(), (1, 8, 8), 10).eval()
    assert _bounds.bounded(model, torch.rand(1, 1, 8, 8)).conv_mode == "matrix"


@pytest.mark.parametrize("method", ["IBP", "CROWN"])
def test_batch_norm_before_dropout_has_its_running_statistics(method: str) -> None:
    """To follow dropout, 0.3 puts the network into train mode, and batch norms take the statistics of one image."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 3)]
    layers[1].running_mean.normal_(std=0.2)
    images = torch.rand(3, 1, 8, 8)
    model, without = nn.Sequential(*layers).eval(), nn.Sequential(*layers[:4], layers[5]).eval()
    labels = model(images).argmax(dim=1)
    found, expected = (smallest_margin(one, images, labels, Threat(eps=0.01), 3, method) for one in (model, without))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("method", ["IBP", "CROWN-IBP"])
def test_certified_training_of_a_network_with_dropout_bounds_it_without(method: str) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.GELU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(256, 3)]
    images, labels, threat = torch.rand(2, 1, 8, 8), torch.tensor([0, 2]), Threat(eps=0.01)
    model, without = nn.Sequential(*layers).train(), copy.deepcopy(nn.Sequential(*layers[:3], layers[4])).train()
    found, expected = (Bounds().margins(one, images, labels, threat, method) for one in (model, without))
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert all(parameter.grad.isfinite().all() and parameter.grad.any() for parameter in layers[0].parameters())
