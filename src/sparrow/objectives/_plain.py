"""IBP and CROWN-IBP bounds of plain networks, written out for training; auto_LiRPA bounds all others.

Plain is a chain of convolutions and linear layers, each with a batch norm behind it or not, of ReLUs and of one flattening,
as certified training uses them. The bounds are auto_LiRPA's (but for rounding): the ReLU's lower line has slope 1 where
`u > -l`, else 0, and batch norm in train mode takes the statistics of the unperturbed batch. They cost about half as much:
batch norms vanish in the weights before them, both bounds share what intervals there are, a ReLU's relaxation keeps one
matrix for the backward pass, and on a CPU a few images go through at a time, so that matrices stay in its cache.

Source: Zhang et al., "Towards Stable and Efficient Training of Verifiably Robust Neural Networks", ICLR 2020, sec. 3;
Zhang et al., "Efficient Neural Network Robustness Certification with General Activation Functions" (CROWN), NeurIPS 2018.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow.settings import Threat
from sparrow.verification._bounds import margin_matrix

CACHED_ROWS = 144
"""Rows (images times margins) that go backward through the network together on a CPU; twice or half as many are slower."""
CACHED_IMAGES = 32
"""Images that go forward together as intervals there."""
SMALLEST_WIDTH = 1e-8  # As in auto_LiRPA: an interval of one point has a slope, too.
NORM_OF = {nn.Conv2d: nn.BatchNorm2d, nn.Linear: nn.BatchNorm1d}
NORMS = tuple(NORM_OF.values())


class Affine(NamedTuple):
    """A convolution or linear layer with the batch norm behind it in its weight and bias."""

    layer: nn.Conv2d | nn.Linear
    weight: Tensor
    bias: Tensor
    size: Tensor
    """The absolute weight."""

    def __call__(self, inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if isinstance(self.layer, nn.Linear):
            return functional.linear(inputs, weight, bias)
        layer = self.layer
        return functional.conv2d(inputs, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)

    def transposed(self, rows: Tensor, shape: torch.Size) -> Tensor:
        """Rows (m, *output) of a matrix times the layer's own, for inputs of `shape`."""
        if isinstance(self.layer, nn.Linear):
            return rows @ self.weight
        return nn.grad.conv2d_input(
            (len(rows), *shape),
            self.weight,
            rows,
            self.layer.stride,
            self.layer.padding,
            self.layer.dilation,
            self.layer.groups,
        )


def chain(model: nn.Module) -> list[nn.Module] | None:
    """The layers of a plain network in order; None if it is another."""
    layers = _flat(model)
    before: type | None = None
    for layer in layers:
        if type(layer) in NORMS:
            if NORM_OF.get(before) is not type(layer) or not (layer.affine and layer.track_running_stats):
                return None
        elif not _is_plain(layer):
            return None
        before = type(layer)
    return layers if before is nn.Linear else None


def _flat(model: nn.Module) -> list[nn.Module]:
    if type(model) is not nn.Sequential:
        return [model]
    return [layer for child in model for layer in _flat(child)]


def _is_plain(layer: nn.Module) -> bool:
    """By type, not by kin: what overrides a layer, or computes its weight, may do anything."""
    if type(layer) is nn.Conv2d:
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    if type(layer) is nn.Flatten:
        return (layer.start_dim, layer.end_dim) == (1, -1)
    return type(layer) in (nn.Linear, nn.ReLU)


def margins(layers: list[nn.Module], images: Tensor, labels: Tensor, threat: Threat, tight: bool) -> tuple[Tensor, Tensor]:
    """Lower bounds (n, classes - 1) on the margins under linf: by IBP, and by CROWN-IBP if asked for `tight` ones, else again.

    `layers` come from `chain`. The others' order is `margin_matrix`'s; differentiable in the weights.
    """
    steps = _folded(layers, images)
    specification = margin_matrix(labels, layers[-1].out_features)
    together = len(images)
    if not images.is_cuda:
        together = max(1, CACHED_ROWS // specification.shape[1]) if tight else CACHED_IMAGES
    parts = zip(images.split(together), specification.split(together), strict=True)
    loose, close = zip(*(_of_some(steps, some, matrix, threat.eps, tight) for some, matrix in parts), strict=True)
    return torch.cat(loose), torch.cat(close)


def _folded(layers: list[nn.Module], images: Tensor) -> list[Affine | nn.Module]:
    """The layers without batch norms, these folded into what stands before them."""
    steps: list[Affine | nn.Module] = []
    learning = any(type(layer) in NORMS and layer.training for layer in layers)
    for layer in layers:
        if type(layer) in NORM_OF:
            bias = layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias
            steps.append(Affine(layer, layer.weight, bias, layer.weight.abs()))
        elif type(layer) in NORMS:
            mean, variance = layer.running_mean, layer.running_var
            if layer.training:
                others = [axis for axis in range(images.dim()) if axis != 1]
                mean, variance = images.mean(others), images.var(others, unbiased=False)
            scale = layer.weight / (variance + layer.eps).sqrt()
            before = steps.pop()
            weight = before.weight * scale.view(-1, *[1] * (before.weight.dim() - 1))
            steps.append(Affine(before.layer, weight, (before.bias - mean) * scale + layer.bias, weight.abs()))
        else:
            steps.append(layer)
        if learning:
            images = _undisturbed(layer, images)
    return steps


def _undisturbed(layer: nn.Module, images: Tensor) -> Tensor:
    """What a layer makes of `images`, without moving the running statistics of a batch norm."""
    if type(layer) in NORMS and layer.training:
        return functional.batch_norm(images, None, None, layer.weight, layer.bias, training=True, eps=layer.eps)
    return layer(images)


def _of_some(
    steps: list[Affine | nn.Module], images: Tensor, specification: Tensor, eps: float, tight: bool
) -> tuple[Tensor, Tensor]:
    """Both bounds of a few images."""
    lower, upper = (images - eps).clamp(0, 1), (images + eps).clamp(0, 1)
    centre, radius = (lower + upper) / 2, (upper - lower) / 2
    box = centre, radius
    known = []  # What each step needs on the way back: its input's shape, or that input's bounds.
    for step in steps[:-1]:
        known.append(centre.shape[1:])
        if isinstance(step, Affine):
            centre, radius = step(centre, step.weight, step.bias), step(radius, step.size)
        elif isinstance(step, nn.ReLU):
            lower, upper = centre - radius, centre + radius
            known[-1] = lower, upper
            lower, upper = lower.relu(), upper.relu()
            centre, radius = (lower + upper) / 2, (upper - lower) / 2
        else:
            centre, radius = centre.flatten(1), radius.flatten(1)
    matrix, constant = specification @ steps[-1].weight, specification @ steps[-1].bias
    loose = _lowest(matrix, constant, centre, radius)
    if not tight:
        return loose, loose
    for step, about in zip(reversed(steps[:-1]), reversed(known), strict=True):
        if isinstance(step, Affine):
            constant = constant + matrix.flatten(3).sum(3) @ step.bias if matrix.dim() > 3 else constant + matrix @ step.bias
            matrix = step.transposed(matrix.flatten(0, 1), about).unflatten(0, matrix.shape[:2])
        elif isinstance(step, nn.ReLU):
            matrix, offset = _Relaxation.apply(matrix, *_lines(*about))
            constant = constant + offset
        else:
            matrix = matrix.unflatten(2, about)
    return loose, _lowest(matrix.flatten(2), constant, *(part.flatten(1) for part in box))


def _lowest(matrix: Tensor, constant: Tensor, centre: Tensor, radius: Tensor) -> Tensor:
    """The least (n, m) of `matrix @ x + constant` over a box; matrix (n, m, d), centre and radius (n, d)."""
    return constant + (matrix @ centre.unsqueeze(2) - matrix.abs() @ radius.unsqueeze(2)).squeeze(2)


def _lines(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slope below, slope above and offset above of a ReLU whose input lies between `lower` and `upper`."""
    lower, upper = lower.clamp(max=0), upper.clamp(min=0)
    upper = torch.maximum(upper, lower + SMALLEST_WIDTH)
    above = upper / (upper - lower)
    return (above > 0.5).to(above.dtype), above, -lower * above


class _Relaxation(torch.autograd.Function):
    """`matrix` (n, m, *) through a ReLU: positive entries take the line below (n, *), negative ones that above.

    Returns the new matrix, and what the offset of the line above adds to the bound (n, m). Written out, since autograd
    would keep five matrices where one is enough.
    """

    @staticmethod
    def forward(context, matrix: Tensor, below: Tensor, above: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        context.save_for_backward(matrix, below, above, offset)
        below, steeper = below.unsqueeze(1), (above - below).unsqueeze(1)
        negative = matrix.clamp(max=0)
        added = (negative * offset.unsqueeze(1)).flatten(2).sum(2)
        return torch.addcmul(matrix * below, negative, steeper), added

    @staticmethod
    def backward(context, gradient: Tensor, added: Tensor) -> tuple[Tensor | None, ...]:
        matrix, below, above, offset = context.saved_tensors
        added = added.view(*added.shape, *[1] * (matrix.dim() - 2))
        negative = matrix.clamp(max=0)
        of_above, of_offset = (gradient * negative).sum(1), (added * negative).sum(1)
        below, steeper = below.unsqueeze(1), (above - below).unsqueeze(1)
        where_negative = torch.addcmul(added * offset.unsqueeze(1), gradient, steeper)
        of_matrix = torch.addcmul(where_negative.mul_(matrix < 0), gradient, below)
        # The slope below is a choice between 0 and 1: nothing flows through it.
        return of_matrix, None, of_above, of_offset
