"""Small random networks as others write them: whole layers, and arithmetic in the forward pass.

Each is made of pieces that say which kind of layer they are. All depend on the seed alone. Of every three the last is of layers
that a graph may have (sparrow.verification.graph), and is bounded without auto_LiRPA by CROWN and what builds on it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

OF_GRAPHS = frozenset(
    {
        *("Conv2d", "Conv2d, strided", "Conv2d, no bias", "Conv2d, depthwise", "Conv2d, grouped", "Conv2d, dilated"),
        *("Conv2d, not square", "BatchNorm2d", "BatchNorm2d, not affine", "batch norm first", "ReLU", "ReLU first"),
        *("residual addition", "residual with a projection", "same branch twice", "one pixel padded, behind a convolution"),
        *("Dropout2d", "Flatten", "torch.flatten(x, 1)", "view by size", "AdaptiveAvgPool2d(1)", "mean over pixels"),
    }
)
"""The kinds that have a graph."""


class Choices(random.Random):
    """Random choices."""

    only: frozenset[str] = frozenset()
    """The kinds of layers to choose from; all, if empty."""


class Operation(nn.Module):
    """A line of a forward pass: `function(this, x)`, with layers, parameters and buffers (tensors) by their names."""

    def __init__(self, function: Callable, **parts: nn.Module | Tensor) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            plain = isinstance(part, Tensor) and not isinstance(part, nn.Parameter)
            self.register_buffer(name, part) if plain else setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


class Piece(NamedTuple):
    """A layer, the kinds that it shows in the table, and whether it is affine in its input."""

    layer: nn.Module
    kinds: frozenset[str]
    affine: bool = True


class RandomNetwork(NamedTuple):
    """A network in eval mode, the kinds of its layers, and images (n, c, h, w) in [0, 1] with what it predicts (n,)."""

    model: nn.Sequential
    kinds: frozenset[str]
    affine: bool
    images: Tensor
    labels: Tensor
    classes: int


def random_network(seed: int, count: int = 8) -> RandomNetwork:
    """The network of a seed, and `count` images for it."""
    rng, state = Choices(seed), torch.get_rng_state()
    rng.only = OF_GRAPHS if seed % 3 == 2 else frozenset()
    torch.manual_seed(seed)
    try:
        shape = (rng.choice([1, 1, 2, 3]), rng.randint(4, 8), rng.randint(4, 8))
        if rng.random() < 0.5:
            shape = (*shape[:2], shape[1])
        classes = rng.randint(3, 5)
        pieces = _pieces(rng, shape, classes)
        model = nn.Sequential(*(piece.layer for piece in pieces))
        _weights(model, rng)
        images = torch.rand(count, *shape)
        if rng.random() < 0.3:  # As most images of digits are.
            images = (images * 1.6 - 0.3).clamp(0, 1)
        with torch.no_grad():
            labels = model(images).argmax(dim=1)
    finally:
        torch.set_rng_state(state)
    kinds = frozenset().union(*(piece.kinds for piece in pieces))
    return RandomNetwork(model, kinds, all(piece.affine for piece in pieces), images, labels, classes)


def _weights(model: nn.Module, rng: Choices) -> None:
    """Weights of one to two and a half times torch's own size, and norms that are anything but the identity."""
    scale = rng.uniform(1, 2.5)
    model.eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            layer.running_mean.normal_(std=0.3)
            layer.running_var.uniform_(0.5, 2)
        for parameter in layer.parameters(recurse=False):
            if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d | nn.LayerNorm):
                parameter.data.uniform_(-1.5, 1.5)
            elif not isinstance(layer, nn.PReLU | Operation):
                parameter.data.mul_(scale)


def _pieces(rng: Choices, shape: tuple[int, int, int], classes: int) -> list[Piece]:
    pieces: list[Piece] = []
    x = torch.rand(1, *shape)

    def add(piece: Piece) -> None:
        nonlocal x
        try:
            with torch.no_grad():
                found = piece.layer.eval()(x)
        except RuntimeError:  # A map that is too small for it, or a view of what was permuted: it is left out.
            return
        if found.numel():
            x = found
            pieces.append(piece)

    bends = rng.random() >= 0.12  # Some are affine, and their smallest margins known.
    if rng.random() < 0.55:
        add(_first(rng, shape, bends))
    dense = rng.random() < 0.12
    for _ in range(0 if dense else rng.choice([1, 1, 2, 2, 3])):
        add(_convolution(rng, x))
        if rng.random() < 0.3:
            add(_norm(rng, x))
        if bends:
            add(_activation(rng))
        if rng.random() < 0.3:
            add(_block(rng, x, bends))
        if rng.random() < 0.35 and min(x.shape[2:]) > 2 and not rng.only:
            add(_pooling(rng, x, bends))
        if rng.random() < 0.12:
            add(_arithmetic(rng, x))
    while x.dim() > 2:
        add(_flattening(rng, x))
    if dense or rng.random() < 0.4:
        add(Piece(nn.Linear(x.shape[1], rng.randint(3, 8)), frozenset({"Linear"})))
        if rng.random() < 0.15:
            add(Piece(nn.BatchNorm1d(x.shape[1]), frozenset({"BatchNorm1d"})))
        if bends:
            add(_activation(rng))
        if rng.random() < 0.15:
            add(Piece(nn.Dropout(0.5), frozenset({"Dropout"})))
    add(Piece(nn.Linear(x.shape[1], classes), frozenset({"Linear"})))
    return pieces


def _weighted(rng: Choices, table: dict[str, tuple[float, Callable]]) -> tuple[str, Callable]:
    names = [name for name in table if not rng.only or name in rng.only]
    name = rng.choices(names, [table[name][0] for name in names])[0]
    return name, table[name][1]


def _first(rng: Choices, shape: tuple[int, int, int], bends: bool) -> Piece:
    """What stands before the first layer that has weights."""
    mean, std = torch.rand(1, shape[0], 1, 1) * 0.5 + 0.2, torch.rand(1, shape[0], 1, 1) * 0.4 + 0.2
    number, by = round(rng.uniform(0.1, 0.9), 2), round(rng.uniform(0.2, 3), 2)
    table = {
        "normalisation by buffers": (3, lambda: Operation(lambda me, x: (x - me.mean) / me.std, mean=mean, std=std)),
        "normalisation by constants": (
            2,
            lambda: Operation(lambda me, x: (x - torch.full((1, shape[0], 1, 1), number)) / torch.full((1, 1, 1, 1), by)),
        ),
        "normalisation by scalars": (2, lambda: Operation(lambda me, x: (x - number) / by)),
        "normalisation by parameters": (
            1,
            lambda: Operation(lambda me, x: x * me.scale + me.shift, scale=nn.Parameter(1 / std), shift=nn.Parameter(-mean)),
        ),
        "x * 2": (1, lambda: Operation(lambda me, x: x * 2)),
        "x - m": (1, lambda: Operation(lambda me, x: x - number)),
        "1 - x": (0.5, lambda: Operation(lambda me, x: 1 - x)),
        "ReLU first": (0.7 * bends, nn.ReLU),
        "concatenation first": (0.7, lambda: Operation(lambda me, x: torch.cat([x, 1 - x], dim=1))),
        "padding by functional.pad": (0.7, lambda: Operation(lambda me, x: functional.pad(x, (1, 1, 1, 1)))),
        "average pooling first": (0.5, lambda: nn.AvgPool2d(2)),
        "batch norm first": (0.7, lambda: nn.BatchNorm2d(shape[0])),
        "permutation": (0.4, lambda: Operation(lambda me, x: x.permute(0, 1, 3, 2))),
        "sum over channels": (0.4, lambda: Operation(lambda me, x: x.sum(1, keepdim=True))),
    }
    name, build = _weighted(rng, table)
    kinds = {"ReLU first": {"ReLU first", "ReLU"}}.get(name, {name})
    return Piece(build(), frozenset(kinds), name != "ReLU first")


def _convolution(rng: Choices, x: Tensor) -> Piece:
    channels, side = x.shape[1], min(x.shape[2:])
    out, size = rng.randint(2, 4), rng.choice([1, 2, 3, 3, 3])
    size = min(size, side)
    padding = rng.randint(0, 1) if size > 1 else out % 2
    if size == side:
        padding = max(padding, int(size > 1))
    groups = next((number for number in (2, 3) if channels % number == 0), 1)
    table = {
        "Conv2d": (4, lambda: nn.Conv2d(channels, out, size, padding=padding)),
        "Conv2d, strided": (2, lambda: nn.Conv2d(channels, out, size, 2, padding)),
        "Conv2d, no bias": (1, lambda: nn.Conv2d(channels, out, size, padding=padding, bias=False)),
        "Conv2d, depthwise": (2, lambda: nn.Conv2d(channels, channels * rng.randint(1, 2), 3, padding=1, groups=channels)),
        "Conv2d, grouped": (1.5, lambda: nn.Conv2d(channels, 2 * groups, 3, padding=1, groups=groups)),
        "Conv2d, dilated": (1.5, lambda: nn.Conv2d(channels, out, 3, padding=2, dilation=2)),
        'Conv2d, padding="same"': (1, lambda: nn.Conv2d(channels, out, 3, padding="same")),
        'Conv2d, padding="same", even': (0.2, lambda: nn.Conv2d(channels, out, 2, padding="same")),
        "Conv2d, not square": (1, lambda: nn.Conv2d(channels, out, (1, 3), (2, 1), (0, 1))),
        "Conv2d, reflecting": (0.2, lambda: nn.Conv2d(channels, out, 3, padding=1, padding_mode="reflect")),
        "ConvTranspose2d": (0.3, lambda: nn.ConvTranspose2d(channels, out, 2, 2)),
    }
    name, build = _weighted(rng, table)
    return Piece(build(), frozenset({name}))


def _norm(rng: Choices, x: Tensor) -> Piece:
    channels = x.shape[1]
    table = {
        "BatchNorm2d": (3, lambda: nn.BatchNorm2d(channels)),
        "BatchNorm2d, not affine": (2, lambda: nn.BatchNorm2d(channels, affine=False)),
        "LayerNorm": (0.25, lambda: nn.LayerNorm(x.shape[1:])),
        "GroupNorm": (0.15, lambda: nn.GroupNorm(1, channels)),
        "InstanceNorm2d": (0.1, lambda: nn.InstanceNorm2d(channels)),
    }
    name, build = _weighted(rng, table)
    return Piece(build(), frozenset({name}), name.startswith("Batch"))


def _activation(rng: Choices) -> Piece:
    table = {
        "ReLU": (8, nn.ReLU),
        "LeakyReLU": (1, lambda: nn.LeakyReLU(0.1)),
        "LeakyReLU, slope above 1": (0.7, lambda: nn.LeakyReLU(rng.choice([1.5, 3.0]))),
        "LeakyReLU, slope below 0": (0.5, lambda: nn.LeakyReLU(-0.3)),
        "Sigmoid": (0.7, nn.Sigmoid),
        "Tanh": (0.7, nn.Tanh),
        "SiLU": (0.7, nn.SiLU),
        "Softplus": (0.15, nn.Softplus),
        "ELU": (0.15, nn.ELU),
        "GELU": (0.15, nn.GELU),
        "Hardtanh": (0.15, nn.Hardtanh),
        "ReLU6": (0.15, nn.ReLU6),
        "PReLU": (0.15, lambda: nn.PReLU()),
        "square root": (0.6, lambda: Operation(lambda me, x: torch.sqrt(me.relu(x) + 1), relu=nn.ReLU())),
        "square root near 0": (0.3, lambda: Operation(lambda me, x: torch.sqrt(me.relu(x) + 0.01), relu=nn.ReLU())),
        "absolute value": (0.15, lambda: Operation(lambda me, x: x.abs())),
        "square": (0.2, lambda: Operation(lambda me, x: x**2)),
        "exponential": (0.15, lambda: Operation(lambda me, x: torch.exp(-me.relu(x)), relu=nn.ReLU())),
    }
    name, build = _weighted(rng, table)
    return Piece(build(), frozenset({name}), False)


def _block(rng: Choices, x: Tensor, bends: bool) -> Piece:
    """Two paths that meet again; as many channels as before, but for the concatenation."""
    channels = x.shape[1]

    def conv() -> nn.Module:
        return nn.Conv2d(channels, channels, 3, padding=1)

    def relu() -> nn.Module:
        return nn.ReLU() if bends else nn.Identity()

    table = {
        "residual addition": (
            3,
            lambda: Operation(
                lambda me, x: me.end(x + me.second(me.relu(me.first(x)))), first=conv(), second=conv(), relu=relu(), end=relu()
            ),
        ),
        "residual with a projection": (
            1,
            lambda: Operation(
                lambda me, x: me.second(me.relu(me.first(x))) + me.short(x),
                first=conv(),
                second=conv(),
                relu=relu(),
                short=nn.Conv2d(channels, channels, 1),
            ),
        ),
        "one pixel padded, behind a convolution": (
            1,
            lambda: Operation(
                lambda me, x: me.end(me.second(me.first(x))),
                first=conv(),
                second=nn.Conv2d(channels, channels, 1, padding=1),
                end=relu(),
            ),
        ),
        "residual, subtracted": (0.7, lambda: Operation(lambda me, x: x - me.relu(me.first(x)), first=conv(), relu=relu())),
        "concatenation": (
            1.5,
            lambda: Operation(lambda me, x: torch.cat([x, me.relu(me.first(x))], dim=1), first=conv(), relu=relu()),
        ),
        "product of two branches": (
            0.7 * bends,
            lambda: Operation(lambda me, x: me.first(x) * torch.sigmoid(me.second(x)), first=conv(), second=conv()),
        ),
        "maximum of two branches": (0.1 * bends, lambda: Operation(lambda me, x: torch.maximum(x, me.first(x)), first=conv())),
        "same branch twice": (0.5, lambda: Operation(lambda me, x: x + x)),
    }
    name, build = _weighted(rng, table)
    plain = not bends and name not in ("product of two branches", "maximum of two branches")
    return Piece(build(), frozenset({name}), plain or name == "same branch twice")


def _pooling(rng: Choices, x: Tensor, bends: bool) -> Piece:
    odd = min(3, *x.shape[2:])
    table = {
        "AvgPool2d": (2, lambda: nn.AvgPool2d(2)),
        "AvgPool2d, overlapping": (1, lambda: nn.AvgPool2d(odd, 1)),
        "AvgPool2d, padded": (1, lambda: nn.AvgPool2d(3, 2, 1)),
        "AvgPool2d, padding not counted": (1, lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
        "AvgPool2d, ceil_mode": (0.7, lambda: nn.AvgPool2d(2, 2, ceil_mode=True)),
        "AdaptiveAvgPool2d, dividing": (0.7, lambda: nn.AdaptiveAvgPool2d(x.shape[-1] // 2 if x.shape[-1] % 2 == 0 else 1)),
        "AdaptiveAvgPool2d, not dividing": (0.4, lambda: nn.AdaptiveAvgPool2d(3 if x.shape[-1] != 3 else 2)),
        "MaxPool2d": (1.5 * bends, lambda: nn.MaxPool2d(2)),
        "MaxPool2d, overlapping": (0.4 * bends, lambda: nn.MaxPool2d(odd, 1)),
        "MaxPool2d, padded": (0.4 * bends, lambda: nn.MaxPool2d(2, 2, 1)),
        "MaxPool2d, ceil_mode": (0.2 * bends, lambda: nn.MaxPool2d(2, 2, ceil_mode=True)),
        "AdaptiveMaxPool2d": (0.2 * bends, lambda: nn.AdaptiveMaxPool2d(1)),
        "interpolation": (0.1, lambda: nn.Upsample(scale_factor=2)),
    }
    name, build = _weighted(rng, table)
    return Piece(build(), frozenset({name}), "Max" not in name)


def _arithmetic(rng: Choices, x: Tensor) -> Piece:
    channels, number = x.shape[1], round(rng.uniform(-2, 2), 2)
    table = {
        "times a number": (1, lambda: Operation(lambda me, x: x * number)),
        "plus a number": (1, lambda: Operation(lambda me, x: x + number)),
        "times a parameter": (
            1,
            lambda: Operation(lambda me, x: me.gain * x, gain=nn.Parameter(torch.randn(1, channels, 1, 1))),
        ),
        "over a buffer": (1, lambda: Operation(lambda me, x: x / me.by, by=torch.rand(1, channels, 1, 1) + 0.5)),
        "over a buffer of either sign": (
            0.5,
            lambda: Operation(lambda me, x: x / me.by, by=torch.randn(1, channels, 1, 1).sign()),
        ),
        "negation": (0.5, lambda: Operation(lambda me, x: -x)),
        "slices": (0.7, lambda: Operation(lambda me, x: x[:, :, 1:, :-1])),
        "padding by functional.pad": (0.7, lambda: Operation(lambda me, x: functional.pad(x, (1, 0, 1, 0)))),
        "permutation": (0.5, lambda: Operation(lambda me, x: x.permute(0, 1, 3, 2))),
        "channels shuffled": (
            0.5,
            lambda: Operation(lambda me, x: x[:, list(reversed(range(channels)))]),
        ),
        "Dropout2d": (0.3, lambda: nn.Dropout2d(0.3)),
        "chunks": (0.3, lambda: Operation(lambda me, x: torch.cat(list(x.split(1, dim=1))[::-1], dim=1))),
    }
    name, build = _weighted(rng, table)
    return Piece(build(), frozenset({name}))


def _flattening(rng: Choices, x: Tensor) -> Piece:
    size = x[0].numel()
    table = {
        "Flatten": (3, nn.Flatten),
        "torch.flatten(x, 1)": (1, lambda: Operation(lambda me, x: torch.flatten(x, 1))),
        "view by size": (1.5, lambda: Operation(lambda me, x: x.view(x.size(0), -1))),
        "view by -1": (1, lambda: Operation(lambda me, x: x.reshape(-1, size))),
        "reshape by shape": (1, lambda: Operation(lambda me, x: x.reshape(x.shape[0], size))),
        "AdaptiveAvgPool2d(1)": (1, lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())),
        "mean over pixels": (1, lambda: Operation(lambda me, x: x.mean(dim=(2, 3)))),
        "mean over an axis": (0.5, lambda: Operation(lambda me, x: x.mean(3).flatten(1))),
        "permutation": (0.5, lambda: Operation(lambda me, x: x.permute(0, 2, 3, 1).flatten(1))),
    }
    name, build = _weighted(rng, table)
    return Piece(build(), frozenset({name}))
