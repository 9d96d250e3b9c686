"""IBP and CROWN-IBP bounds of plain networks, written out for training; auto_LiRPA bounds all others.

A plain network is a chain of convolutions, a flattening and linear layers, with ReLUs between them and a batch norm directly
behind any of them, as certified training uses it; some neurons may be lines (`networks.grafting`). The bounds are
auto_LiRPA's (but for rounding): the ReLU's lower line has slope 1 where `u > -l`, else 0, and batch norm in train mode takes
the statistics of the images that the boxes are around, or of others. They cost about half as much: batch norms are folded into
the weights before them, both bounds share their intervals, a ReLU's relaxation keeps one matrix for the backward pass, and on a
CPU a few images are computed at a time, so that matrices stay in its cache.

Source: Zhang et al., "Towards Stable and Efficient Training of Verifiably Robust Neural Networks", ICLR 2020, sec. 3;
Zhang et al., "Efficient Neural Network Robustness Certification with General Activation Functions" (CROWN), NeurIPS 2018.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow.networks.grafting import Grafted
from sparrow.settings import Threat
from sparrow.verification.bounds import Range, margin_matrix

CACHED_ROWS = 144
"""Rows (images times margins) of a batch of CROWN-IBP's backward pass on a CPU; twice or half as many are slower."""
CACHED_IMAGES = 32
"""Images of a batch of IBP on a CPU."""
SMALLEST_WIDTH = 1e-8  # As in auto_LiRPA: an interval of one point has a slope, too.
NORM_OF: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: nn.BatchNorm2d, nn.Linear: nn.BatchNorm1d}
NORMS = tuple(NORM_OF.values())
Layer = nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d | nn.ReLU | Grafted | nn.Flatten
"""A layer of a plain network, of exactly one of these types."""


class Affine(NamedTuple):
    """A convolution or linear layer with the batch norm behind it folded into its weight and bias."""

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
        """Rows (m, *output) times the layer's matrix: rows (m, *shape), for inputs of `shape`."""
        if isinstance(self.layer, nn.Linear):
            return rows @ self.weight
        layer, padding = self.layer, cast(tuple[int, ...], self.layer.padding)  # `chain` takes no padding by name.
        # Rows and columns at the end that no kernel reaches.
        geometry = zip(shape[1:], rows.shape[2:], layer.kernel_size, layer.stride, padding, layer.dilation, strict=True)
        rest = [size - ((places - 1) * s - 2 * p + d * (kernel - 1) + 1) for size, places, kernel, s, p, d in geometry]
        return functional.conv_transpose2d(rows, self.weight, None, layer.stride, padding, rest, layer.groups, layer.dilation)


Step = Affine | nn.ReLU | Grafted | nn.Flatten
"""A layer of a plain network without batch norms."""


def chain(model: nn.Module) -> list[Layer] | None:
    """The layers of a plain network in order: convolutions before its flattening, linear ones behind; None for any other."""
    layers = _flat(model)
    before: type | None = None
    flat = False
    for layer in layers:
        misplaced = (nn.Conv2d, nn.Flatten) if flat else (nn.Linear,)
        if type(layer) in misplaced or layer._forward_hooks or layer._forward_pre_hooks:
            return None
        flat = flat or type(layer) is nn.Flatten
        if type(layer) in NORMS:
            if before is None or NORM_OF.get(before) is not type(layer) or not _is_usual(layer):
                return None
        elif not _is_plain(layer):
            return None
        before = type(layer)
    return cast(list[Layer], layers) if before is nn.Linear else None


def _is_usual(norm: nn.Module) -> bool:
    """Whether a batch norm has a scale, a shift and running statistics."""
    return isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.affine and norm.track_running_stats


def _flat(model: nn.Module) -> list[nn.Module]:
    """The layers of nested nn.Sequential, in order."""
    if type(model) is not nn.Sequential:
        return [model]
    return [layer for child in model for layer in _flat(child)]


def _is_plain(layer: nn.Module) -> bool:
    """Whether it is a layer of a plain network; not if it is of a subclass, which may compute anything."""
    if type(layer) is nn.Conv2d:
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    if type(layer) is nn.Flatten:
        return (layer.start_dim, layer.end_dim) == (1, -1)
    return type(layer) in (nn.Linear, nn.ReLU, Grafted)


def margins(
    layers: list[Layer], images: Tensor, labels: Tensor, threat: Threat, tight: bool, normalised_by: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Lower bounds (n, classes - 1) on the margins under linf, twice: by IBP, and by CROWN-IBP (by IBP again, if not `tight`).

    `layers` come from `chain`. Other classes are in the order of `margin_matrix`; differentiable in the weights. Batch norms in
    train mode take the statistics of the images `normalised_by`; of `images`, if None.
    """
    steps = _folded(layers, images if normalised_by is None else normalised_by)
    last = cast(Affine, steps[-1])  # `chain` ends with a linear layer.
    specification = margin_matrix(labels, cast(nn.Linear, last.layer).out_features)
    together = len(images)
    if not images.is_cuda:
        together = max(1, CACHED_ROWS // specification.shape[1]) if tight else CACHED_IMAGES
    images = _channels_last(images)
    parts = zip(images.split(together), specification.split(together), strict=True)
    both = [_bounds_of_batch(steps, some, matrix, threat.eps, tight) for some, matrix in parts]
    return torch.cat([loose for loose, _ in both]), torch.cat([close for _, close in both])


def relu_inputs(layers: list[Layer], images: Tensor, eps: float) -> list[Range]:
    """Bounds by IBP on the input of each ReLU over the boxes of radius `eps` around `images`, differentiable in the weights.

    `layers` come from `chain`. Batch norms in train mode take the statistics of `images`.
    """
    before = [None, *layers]
    norms = [norm for norm, layer in zip(before, layers, strict=False) if isinstance(layer, nn.ReLU | Grafted)]
    scales = [norm.weight if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) else None for norm in norms]
    found = _intervals(_folded(layers, images), _channels_last(images), eps).ranges
    return [Range(*limits, scale) for limits, scale in zip(filter(None, found), scales, strict=True)]


def _channels_last(images: Tensor) -> Tensor:
    """`images` in the memory layout that is fastest for convolutions."""
    return images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images


def _folded(layers: list[Layer], images: Tensor) -> list[Step]:
    """The layers with each batch norm folded into the layer before it."""
    steps: list[Step] = []
    learning = any(type(layer) in NORMS and layer.training for layer in layers)
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bias = layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias
            steps.append(Affine(layer, layer.weight, bias, layer.weight.abs()))
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            if layer.training:
                others = [axis for axis in range(images.dim()) if axis != 1]
                mean, variance = images.mean(others), images.var(others, unbiased=False)
            else:
                mean, variance = cast(Tensor, layer.running_mean), cast(Tensor, layer.running_var)
            scale = layer.weight / (variance + layer.eps).sqrt()
            before = cast(Affine, steps.pop())  # `chain` takes a batch norm only there.
            weight = before.weight * scale.view(-1, *[1] * (before.weight.dim() - 1))
            steps.append(Affine(before.layer, weight, (before.bias - mean) * scale + layer.bias, weight.abs()))
        else:
            steps.append(layer)
        if learning:
            images = _output(layer, images)
    return steps


def _output(layer: Layer, images: Tensor) -> Tensor:
    """The layer's output for `images`; the running statistics of a batch norm are not updated."""
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.training:
        return functional.batch_norm(images, None, None, layer.weight, layer.bias, training=True, eps=layer.eps)
    return layer(images)


def _bounds_of_batch(
    steps: list[Step], images: Tensor, specification: Tensor, eps: float, tight: bool
) -> tuple[Tensor, Tensor]:
    """As `margins`, for images few enough for the cache and their `specification` (n, classes - 1, classes)."""
    (centre, radius), box, shapes, ranges = _intervals(steps, images, eps)
    last = cast(Affine, steps[-1])
    matrix, constant = specification @ last.weight, specification @ last.bias
    loose = _lowest(matrix, constant, centre, radius)
    if not tight:
        return loose, loose
    for step, shape, limits in zip(reversed(steps[:-1]), reversed(shapes), reversed(ranges), strict=True):
        if isinstance(step, Affine):
            constant = constant + (matrix.sum((3, 4)) if matrix.dim() == 5 else matrix) @ step.bias
            matrix = step.transposed(matrix.flatten(0, 1), shape).unflatten(0, matrix.shape[:2])
        elif limits is not None:
            behind = matrix
            matrix, offset = _relaxed(matrix, *_lines(*limits))
            constant = constant + offset
            if isinstance(step, Grafted):
                # The ReLU's relaxation is that of its input, which is 0 where a line is.
                matrix = matrix * step.kept + behind * step.slope
                constant = constant + (behind.flatten(2) @ step.intercept.flatten())
        else:
            matrix = _channels_last(matrix.flatten(0, 1).unflatten(1, shape)).unflatten(0, matrix.shape[:2])
    return loose, _lowest(matrix.flatten(2), constant, *(part.flatten(1) for part in box))


class _Intervals(NamedTuple):
    """What interval arithmetic gives before the last step: boxes as their centre and radius (n, ...)."""

    last: tuple[Tensor, Tensor]
    """Around the last step's input."""
    box: tuple[Tensor, Tensor]
    """Around the images."""
    shapes: list[torch.Size]
    """Of each step's input, without the batch."""
    ranges: list[tuple[Tensor, Tensor] | None]
    """Lower and upper bounds (n, ...) on a ReLU's input; None for other steps."""


def _intervals(steps: list[Step], images: Tensor, eps: float) -> _Intervals:
    """Boxes of radius `eps` around `images`, taken through all steps but the last."""
    lower, upper = (images - eps).clamp(0, 1), (images + eps).clamp(0, 1)
    centre, radius = (lower + upper) / 2, (upper - lower) / 2
    box = centre, radius
    shapes: list[torch.Size] = []
    ranges: list[tuple[Tensor, Tensor] | None] = []
    for step in steps[:-1]:
        shapes.append(centre.shape[1:])
        ranges.append(None)
        if isinstance(step, Affine):
            centre, radius = step(centre, step.weight, step.bias), step(radius, step.size)
        elif isinstance(step, nn.ReLU | Grafted):
            line = _line(step, centre, radius) if isinstance(step, Grafted) else None
            if isinstance(step, Grafted):
                centre, radius = centre * step.kept, radius * step.kept
            lower, upper = centre - radius, centre + radius
            ranges[-1] = lower, upper
            lower, upper = lower.relu(), upper.relu()
            centre, radius = (lower + upper) / 2, (upper - lower) / 2
            if line is not None:
                centre, radius = centre + line[0], radius + line[1]
        else:
            centre, radius = centre.flatten(1), radius.flatten(1)
    return _Intervals((centre, radius), box, shapes, ranges)


def _line(step: Grafted, centre: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Centre and radius of the box that the lines of `step` make of another; of one point where its ReLUs are kept."""
    return centre * step.slope + step.intercept, radius * step.slope.abs()


def _lowest(matrix: Tensor, constant: Tensor, centre: Tensor, radius: Tensor) -> Tensor:
    """The least value (n, m) of `matrix @ x + constant` over a box; matrix (n, m, d), centre and radius (n, d)."""
    return constant + (matrix @ centre.unsqueeze(2) - matrix.abs() @ radius.unsqueeze(2)).squeeze(2)


def _lines(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slope below, slope above and offset above of a ReLU whose input lies between `lower` and `upper`."""
    lower, upper = lower.clamp(max=0), upper.clamp(min=0)
    upper = torch.maximum(upper, lower + SMALLEST_WIDTH)
    above = upper / (upper - lower)
    return (above > 0.5).to(above.dtype), above, -lower * above


def _relaxed(matrix: Tensor, below: Tensor, above: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """`matrix` (n, m, *) propagated back through a ReLU with these lines (n, *), and what is added to the bound (n, m)."""
    if matrix.dim() == 3:
        return _Relaxation.apply(matrix, below, above, offset)
    # Flat in the order of the memory, channels last.
    flat, added = _Relaxation.apply(
        matrix.movedim(2, 4).flatten(2), *(line.movedim(1, 3).flatten(1) for line in (below, above, offset))
    )
    rows, columns, channels = matrix.shape[3], matrix.shape[4], matrix.shape[2]
    return flat.unflatten(2, (rows, columns, channels)).movedim(4, 2), added


class _Relaxation(torch.autograd.Function):
    """A matrix (n, m, d), its positive entries times the slope below (n, d) and its negative ones times that above, and the sum
    of its negative entries times the offsets above (n, m).

    Written out, since autograd would keep five matrices where one is enough.
    """

    @staticmethod
    def forward(context: Any, matrix: Tensor, below: Tensor, above: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        context.save_for_backward(matrix, below, above, offset)
        negative = matrix.clamp(max=0)
        relaxed = (matrix * below.unsqueeze(1)).addcmul_(negative, (above - below).unsqueeze(1))
        return relaxed, (negative @ offset.unsqueeze(2)).squeeze(2)

    @staticmethod
    def backward(context: Any, gradient: Tensor, added: Tensor) -> tuple[Tensor | None, ...]:
        matrix, below, above, offset = context.saved_tensors
        negative = matrix.clamp(max=0)
        of_offset = (added.unsqueeze(1) @ negative).squeeze(1)
        of_above = negative.mul_(gradient).sum(1)
        # With a factor of 0 or 1: on a CPU, `where` takes ten times as long as a product.
        where_negative = torch.lt(matrix, 0, out=torch.empty_like(matrix))
        of_matrix = (gradient * (above - below).unsqueeze(1)).baddbmm_(added.unsqueeze(2), offset.unsqueeze(1))
        of_matrix.mul_(where_negative).addcmul_(gradient, below.unsqueeze(1))
        # The slope below is a choice between 0 and 1: it has no gradient.
        return of_matrix, None, of_above, of_offset
