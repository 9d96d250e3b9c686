"""Cures for faults of auto_LiRPA 0.3: wrong bounds on operations that it claims to support.

Each function here mends one fault, in auto_LiRPA's own classes. The architectures here need none of them, and their bounds stay
the same; networks of others do.
"""

from __future__ import annotations

import functools
import importlib
import math
import traceback
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any, SupportsInt

import torch
from torch import Tensor

from sparrow.verification import elementwise
from sparrow.verification.bounded_network import BoundedNetwork, DivisionNode, GatherNode, LeakyReluNode, Node, PoolNode
from sparrow.verification.linear_bounds import Line, LinearBounds, by_sign

L2_OPERATIONS = {"BoundConv", "BoundLinear", "BoundBatchNormalization", "BoundReshape", "BoundFlatten"}
"""Operations whose interval bounds take an l2 ball as such, or that reshape one."""


def cure(lirpa: ModuleType) -> None:
    """Mend `lirpa`, which is auto_LiRPA 0.3; to be called once."""
    activation, nonlinear, bivariate, pooling, base, shape, convolution, constant = (
        importlib.import_module(f"auto_LiRPA.operators.{name}")
        for name in ("activation", "nonlinear", "bivariate", "pooling", "base", "shape", "convolution", "constant")
    )
    _slope_of_sqrt(nonlinear.BoundSqrt)
    _leaky_relu(activation.BoundLeakyRelu)
    _slopes_of_sigmoids(activation.BoundOptimizableActivation)
    _slopes_of_max_pools(pooling.BoundMaxPool)
    _windows_cut_off(pooling.BoundMaxPool)
    _unknown_operations(lirpa.BoundedModule)
    _traced_in_eval_mode(lirpa.BoundedModule)
    _average_pool(pooling.BoundAveragePool)
    _padding_in_words(convolution.BoundConv)
    _division(bivariate.BoundDiv)
    _batch_in_shapes(shape.BoundReshape)
    _repeated_indices(shape.BoundGather)
    elementwise.register(lirpa)
    _l2_balls(lirpa, base)  # Last: it wraps what the others have replaced.
    # Batch norm reads `param` of its weights, which may be constants.
    constant.BoundConstant.param = property(lambda self: self.value)


def method_of(kind: type, name: str) -> Callable[..., Any]:
    """The method `name` of one of auto_LiRPA's classes, which have no annotations."""
    return getattr(kind, name)


def replace_methods(kind: type, **methods: object) -> None:
    """Set attributes of a class by name."""
    for name, method in methods.items():
        setattr(kind, name, method)


def _l2_balls(lirpa: ModuleType, base: ModuleType) -> None:
    """Give operations outside `L2_OPERATIONS` the box around an l2 ball; 0.3 gives them the centre as both ends."""

    def ball(interval: object) -> float | Tensor | None:
        """The radius of an l2 ball; None if it is none."""
        around = getattr(interval, "ptb", None) if isinstance(interval, base.Interval) else None
        return around.eps if around is not None and getattr(around, "norm", None) == 2 else None

    def box(interval: tuple) -> tuple:
        """The ends of the box around an l2 ball; `interval` itself if it is none."""
        radius = ball(interval)
        return interval if radius is None else (interval[0] - radius, interval[1] + radius)

    def with_boxes(propagate: Callable[..., tuple]) -> Callable[..., tuple]:
        @functools.wraps(propagate)
        def wrapped(self: Node, *given: tuple, **options: object) -> tuple:
            if type(self).__name__ not in L2_OPERATIONS:
                kept = _moved_ball(self, given, ball, base.Interval)
                if kept is not None:
                    return kept
                # A constant stays an Interval: operations test for that type.
                given = tuple(map(box, given))
            return propagate(self, *given, **options)

        return wrapped

    todo = [base.Bound]
    while todo:
        kind = todo.pop()
        todo.extend(kind.__subclasses__())
        if "interval_propagate" in vars(kind) and kind.__name__ not in L2_OPERATIONS:
            kind.interval_propagate = with_boxes(kind.interval_propagate)

    general, prior = lirpa.BoundedModule.IBP_general, lirpa.BoundedModule.check_prior_bounds

    def set_ends(node: Node | None) -> None:
        """Set the bounds of a node that is an l2 ball to its box: relaxations read them."""
        if node is not None and ball(getattr(node, "interval", None)) is not None:
            node.lower, node.upper = box(node.interval)

    @functools.wraps(general)
    def ibp_general(
        self: BoundedNetwork, node: Node | None = None, C: Tensor | None = None, delete_bounds_after_use: bool = False
    ) -> tuple:
        found = general(self, node, C, delete_bounds_after_use)
        if C is None:
            set_ends(node)
        return found

    @functools.wraps(prior)
    def check_prior_bounds(self: BoundedNetwork, node: Node) -> object:
        for root in self.root:
            set_ends(root)
        return prior(self, node)

    lirpa.BoundedModule.IBP_general = ibp_general
    lirpa.BoundedModule.check_prior_bounds = check_prior_bounds


def _moved_ball(node: Node, given: tuple, ball: Callable[[object], Any], interval: type) -> tuple | None:
    """The l2 ball around a ball plus a constant, or times a constant, by its largest entry; None for any other operation."""
    kind = type(node).__name__
    if kind not in ("BoundAdd", "BoundSub", "BoundMul", "BoundDiv"):
        return None
    moving = [place for place in (0, 1) if node.is_input_perturbed(place)]
    if len(moving) != 1 or ball(given[moving[0]]) is None or (kind == "BoundDiv" and moving != [0]):
        return None
    around, constant = given[moving[0]], given[1 - moving[0]][0]
    moved = node.forward(given[0][0], given[1][0])
    if moved.shape != around[0].shape:
        return None
    radius = ball(around)
    if kind == "BoundMul":
        radius = radius * constant.abs().max()
    elif kind == "BoundDiv":
        radius = radius / constant.abs().min()
    return interval(moved, moved, ptb=type(around.ptb)(norm=2, eps=radius))


def _slope_of_sqrt(kind: type) -> None:
    """Give the tangent above a square root the slope 1 / (2 sqrt(x)); 0.3 takes the derivative of 1 / sqrt(x)."""

    def bound_backward(self: Node, last_lA: Tensor | None, last_uA: Tensor | None, x: Node) -> LinearBounds:
        lower = x.lower.clamp(min=_smallest_value(x))
        if (lower < 0).any():
            # The margin of a point without a root is NaN, and nothing is a lower bound of that.
            raise NotImplementedError("the square root of what may be below 0, as far as its bound says")
        upper = torch.max(x.upper, lower + 1e-8)
        chord = (upper.sqrt() - lower.sqrt()) / (upper - lower).clamp(min=1e-8)
        middle = (lower + upper) / 2
        tangent = 0.5 / middle.sqrt()
        below, above = (chord, lower.sqrt() - chord * lower), (tangent, middle.sqrt() - tangent * middle)
        return by_sign(self, last_lA, last_uA, below, above)

    replace_methods(kind, bound_backward=bound_backward)


def _smallest_value(node: Node) -> float:
    """A lower bound on all outputs of a node by its operation alone, which computed bounds may miss; -inf if there is none."""
    kind = type(node).__name__
    if kind in ("BoundRelu", "BoundExp", "BoundSigmoid", "BoundAbs", "BoundPow"):  # Of powers only squares are bounded.
        return 0.0
    if kind == "BoundSqrt":
        return math.sqrt(max(_smallest_value(node.inputs[0]), 0.0))
    if kind == "BoundAdd":
        return sum(map(_smallest_value, node.inputs))
    if kind in ("BoundReshape", "BoundFlatten", "BoundTranspose", "BoundReduceMean"):
        return _smallest_value(node.inputs[0])
    values = next(
        (found for name in ("param", "value", "buffer") if isinstance(found := getattr(node, name, None), Tensor)), None
    )
    return -math.inf if values is None or node.perturbed else float(values.min())


def _leaky_relu(kind: type) -> None:
    """Bound leaky ReLUs with a slope above 1, which are concave, or below 0, which first fall; 0.3 treats both as convex."""
    original = method_of(kind, "bound_backward")

    def bound_backward(
        self: LeakyReluNode,
        last_lA: Tensor | None,
        last_uA: Tensor | None,
        x: Node | None = None,
        start_node: Node | None = None,
        start_shape: object = None,
    ) -> LinearBounds:
        if self.alpha <= 1 or x is None:  # Convex, and the chord above.
            return original(self, last_lA, last_uA, x, start_node, start_shape)
        lower, upper = x.lower.clamp(max=0), x.upper.clamp(min=0)
        upper = torch.max(upper, lower + 1e-8)
        chord = (upper - self.alpha * lower) / (upper - lower)
        offset = upper - chord * upper
        steep = (-lower > upper).to(chord.dtype)
        slope = torch.where(x.upper <= 0, 1.0, torch.where(x.lower >= 0, 0.0, steep))
        tangent = slope * self.alpha + (1 - slope)
        return by_sign(self, last_lA, last_uA, (chord, offset), (tangent, torch.zeros_like(tangent)))

    def interval_propagate(self: LeakyReluNode, *v: tuple) -> tuple[Tensor, Tensor]:
        lower, upper = v[0][0], v[0][1]
        ends = self.forward(lower), self.forward(upper)
        if self.alpha >= 0:
            return ends
        crosses = (lower < 0) & (upper > 0)
        least = torch.where(crosses, torch.zeros_like(lower), torch.minimum(*ends))
        return least, torch.maximum(*ends)

    replace_methods(kind, bound_backward=bound_backward, interval_propagate=interval_propagate)


def _average_pool(kind: type) -> None:
    """Bound average pooling with any stride and padding; 0.3 spreads each output over a window of its own."""
    initial = method_of(kind, "__init__")

    def __init__(self: PoolNode, attr: dict[str, Any], inputs: list[Node], output_index: int, options: dict[str, Any]) -> None:
        initial(self, attr, inputs, output_index, options)
        self.count_include_pad = bool(attr.get("count_include_pad", 0))
        self.ceil_mode = bool(attr.get("ceil_mode", 0))

    def bound_backward(self: PoolNode, last_lA: Tensor | None, last_uA: Tensor | None, x: Node) -> LinearBounds:
        inputs = torch.zeros(1, *self.input_shape[1:], device=self.device)

        def one_side(matrix: Tensor | None) -> Tensor | None:
            if matrix is None:
                return None
            with torch.enable_grad():
                flat = matrix.flatten(0, 1)
                pixels = inputs.expand(len(flat), *inputs.shape[1:]).clone().requires_grad_()
                (back,) = torch.autograd.grad(self.forward(pixels), pixels, flat, create_graph=flat.requires_grad)
            return back.unflatten(0, matrix.shape[:2])

        return [(one_side(last_lA), one_side(last_uA))], 0, 0

    replace_methods(kind, __init__=__init__, bound_backward=bound_backward)


def _slopes_of_sigmoids(kind: type) -> None:
    """With whole matrices, make slopes for each neuron of a convolution to optimise; 0.3 makes them for each channel only."""
    original = method_of(kind, "init_linear_relaxation")

    def init_linear_relaxation(self: Node, x: Node, dim_opt: int | Sequence[int] | None = None) -> None:
        return original(self, x, dim_opt if dim_opt is None or isinstance(dim_opt, int) else math.prod(dim_opt))

    replace_methods(kind, init_linear_relaxation=init_linear_relaxation)


def _slopes_of_max_pools(kind: type) -> None:
    """With whole matrices, make convex combinations below a maximum for each neuron; 0.3 makes them for each channel only."""
    original = method_of(kind, "init_opt_parameters")

    def init_opt_parameters(self: Node, start_nodes: Sequence[tuple[str, int | Sequence[int], object]]) -> None:
        sizes = [(name, size if isinstance(size, int) else math.prod(size), where) for name, size, where in start_nodes]
        return original(self, sizes)

    replace_methods(kind, init_opt_parameters=init_opt_parameters)


def _windows_cut_off(kind: type) -> None:
    """Refuse a max pooling whose last window ends outside the map; 0.3 leaves that window out."""
    initial, original = method_of(kind, "__init__"), method_of(kind, "forward")

    def __init__(self: PoolNode, attr: dict[str, Any], inputs: list[Node], output_index: int, options: dict[str, Any]) -> None:
        initial(self, attr, inputs, output_index, options)
        self.cuts_off = bool(attr.get("ceil_mode", 0))

    def forward(self: PoolNode, x: Tensor) -> Tensor:
        sides = zip(x.shape[2:], self.kernel_size, self.stride, self.padding, strict=True)
        if self.cuts_off and any((side + 2 * pad - size) % step for side, size, step, pad in sides):
            raise NotImplementedError("the operation (MaxPool) with ceil_mode, whose last window ends outside the map")
        return original(self, x)

    replace_methods(kind, __init__=__init__, forward=forward)


def _unknown_operations(kind: type) -> None:
    """Name unknown operations in the error; 0.3 names them in its log only."""
    original = method_of(kind, "_convert_nodes")

    @functools.wraps(original)
    def convert_nodes(self: BoundedNetwork, *given: object, **options: object) -> object:
        try:
            return original(self, *given, **options)
        except NotImplementedError as error:
            frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
            unknown = {node.op.split("::")[-1] for node in frames[-1].f_locals.get("unsupported_ops", ())}
            if not unknown:
                raise
            raise NotImplementedError(f"it has no bound for the operation ({', '.join(sorted(unknown))})") from error

    replace_methods(kind, _convert_nodes=convert_nodes)


def _traced_in_eval_mode(kind: type) -> None:
    """Trace networks with dropout in the mode that they are in, which is eval mode: bounds are those of the network without.

    0.3 puts them into train mode, in which it has to draw what is dropped, and batch norms take the statistics of one image.
    """
    replace_methods(kind, check_incompatible_nodes=lambda self, model: None)


def _padding_in_words(kind: type) -> None:
    """Compute the numbers of `padding="same"` and `"valid"`, which the graph has as words."""
    initial = method_of(kind, "__init__")

    def __init__(self: Node, attr: dict[str, Any], inputs: list[Node], output_index: int, options: dict[str, Any]) -> None:
        if "pads" not in attr:
            whole = [0, 0]
            if attr.get("auto_pad", "NOTSET").startswith("SAME"):
                whole = [step * (size - 1) for step, size in zip(attr["dilations"], attr["kernel_shape"], strict=True)]
            if any(size % 2 for size in whole):
                raise NotImplementedError('padding="same" with an even kernel pads one side more than the other')
            attr = {**attr, "pads": [size // 2 for size in whole] * 2}
        initial(self, attr, inputs, output_index, options)

    replace_methods(kind, __init__=__init__)


def _batch_in_shapes(kind: type) -> None:
    """Replace a first axis of 1, as of `x.view(x.size(0), -1)`, by the batch's length: the graph is traced with one image."""
    original = method_of(kind, "forward")

    def forward(self: Node, x: Tensor, shape: Iterable[SupportsInt]) -> Tensor:
        shape = [int(size) for size in shape]
        if shape and shape[0] == 1 and x.dim() and x.shape[0] != 1:
            shape[0] = x.shape[0]
        return original(self, x, shape)

    replace_methods(kind, forward=forward)


def _division(division: type) -> None:
    """Compute quotients as such: 0.3 takes a division by a square root for layer normalisation, and x / 1 for 1 / x."""

    def forward(self: DivisionNode, x: Tensor, y: Tensor) -> Tensor:
        self.x, self.y = x, y
        return x / y

    def interval_propagate(self: DivisionNode, *v: tuple) -> tuple[Tensor, Tensor]:
        (lower, upper), (least, most) = v[0][:2], v[1][:2]
        if ((least <= 0) & (most >= 0)).any():
            raise NotImplementedError("division by what may be 0")
        quotients = [end / by for end in (lower, upper) for by in (least, most)]
        return functools.reduce(torch.minimum, quotients), functools.reduce(torch.maximum, quotients)

    def bound_backward(self: DivisionNode, last_lA: Tensor | None, last_uA: Tensor | None, x: Node, y: Node) -> LinearBounds:
        if self.is_input_perturbed(1):
            return by_interval(self, last_lA, last_uA, x, y)
        by = next(value for name in ("value", "forward_value", "lower") if (value := getattr(y, name, None)) is not None)

        def one_side(matrix: Tensor | None) -> Tensor | None:
            return None if matrix is None else self.broadcast_backward(matrix / by, x)

        return [(one_side(last_lA), one_side(last_uA)), (None, None)], 0.0, 0.0

    def by_interval(self: DivisionNode, last_lA: Tensor | None, last_uA: Tensor | None, x: Node, y: Node) -> LinearBounds:
        """Lines in `x` alone that hold for all `y` in its range: chords, since the least quotient is concave and the largest
        convex."""
        least, most = y.lower.clamp(min=_smallest_value(y)), y.upper
        if (least <= 0).any():
            raise NotImplementedError("division by what may be 0 or below, as far as its bound says")
        if torch.broadcast_shapes(x.lower.shape, least.shape) != x.lower.shape:
            raise NotImplementedError("division of what is broadcast by what depends on the image")
        width = x.upper - x.lower

        def chord(of_negative: Tensor, of_positive: Tensor, end: Callable[..., Tensor]) -> Line:
            """From quotient to quotient; where the ends are next to each other, level with that which `end` chooses."""
            first, last = (torch.where(value < 0, value / of_negative, value / of_positive) for value in (x.lower, x.upper))
            slope = torch.where(width > 1e-6, (last - first) / width.clamp(min=1e-6), torch.zeros_like(width))
            return slope, end(first - slope * x.lower, last - slope * x.upper)

        found, lower, upper = by_sign(
            self, last_lA, last_uA, chord(least, most, torch.minimum), chord(most, least, torch.maximum)
        )
        return [*found, (None, None)], lower, upper

    replace_methods(
        division,
        forward=forward,
        interval_propagate=interval_propagate,
        bound_backward=bound_backward,
    )


def _repeated_indices(kind: type) -> None:
    """Refuse to gather an entry twice; 0.3 counts it once."""
    original = method_of(kind, "bound_backward")

    def bound_backward(
        self: GatherNode, last_lA: Tensor | None, last_uA: Tensor | None, x: Node, indices: Node
    ) -> LinearBounds:
        if self.indices.ndim and len(self.indices.unique()) < self.indices.numel():
            raise NotImplementedError("an index that is taken twice")
        return original(self, last_lA, last_uA, x, indices)

    replace_methods(kind, bound_backward=bound_backward)
