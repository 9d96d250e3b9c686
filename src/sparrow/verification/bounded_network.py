"""The parts of auto_LiRPA's networks that are used here, by type: auto_LiRPA has no annotations.

Nothing is made of these classes; objects of auto_LiRPA's own BoundedModule and Bound pass for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn


class Node(nn.Module):
    """A node of auto_LiRPA's graph: an input, a parameter, a constant or an operation."""

    name: str
    ori_name: str | None
    """Name of a parameter in the network's state dict."""
    inputs: list[Node]
    perturbed: bool
    """Whether its output depends on the image."""
    used: bool
    """Whether the last node depends on it."""
    lower: Tensor
    upper: Tensor
    """Bounds (n, ...) on its output; not tensors where none have been computed."""
    forward_value: Any
    """Its output for the images of the last forward pass."""
    input_shape: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    device: torch.device
    interval: tuple
    """Lower and upper bounds (n, ...) that auto_LiRPA's interval arithmetic has left; around an l2 ball, its centre twice."""
    requires_input_bounds: list[int]
    """Numbers of the inputs whose bounds its lines need."""
    is_input_perturbed: Callable[[int], bool]
    """Whether its input of this number depends on the image."""
    get_bias: Callable[[Tensor, Tensor], Tensor]
    """The part (margins, n) of a bound that coefficients (margins, n, ...) of its output and an offset (n, ...) amount to."""


class ReluNode(Node):
    """A ReLU, whose relaxation has parameters that alpha-CROWN and beta-CROWN optimise."""

    lA: Tensor
    """Coefficients (margins, n, ...) of its output in the last lower bound."""
    alpha: dict[str, Tensor]
    """Slopes of its lower line, by the name of the node that is bounded."""
    sparse_beta: Tensor | None
    sparse_beta_sign: Tensor
    sparse_beta_loc: Tensor
    """Multipliers (n, k) of split constraints, their signs, and the neurons that they are of."""


class LeakyReluNode(Node):
    """A leaky ReLU."""

    alpha: float
    """Its slope below 0."""


class ElementwiseNode(Node):
    """A function of each neuron by itself."""

    attributes: dict[str, Any]
    function: Any
    """An `elementwise.Elementwise`, once it has been evaluated."""


class PoolNode(Node):
    """A pooling operation."""

    kernel_size: tuple[int, ...]
    count_include_pad: bool
    ceil_mode: bool
    cuts_off: bool
    """Whether its last window may end outside the map."""


class DivisionNode(Node):
    """A quotient `x / y`."""

    x: Tensor
    y: Tensor
    """Its inputs in the last forward pass."""
    broadcast_backward: Callable[[Tensor, Node], Tensor]
    """Coefficients of the output as those of an input, which may have been broadcast."""


class GatherNode(Node):
    """A choice of entries along one axis."""

    indices: Tensor


class BoundedNetwork(nn.Module):
    """auto_LiRPA's BoundedModule."""

    final_name: str
    """Name of the node of the logits."""
    final_shape: tuple[int, ...]
    """Shape (1, classes) of the logits."""
    conv_mode: str
    bound_opts: dict[str, Any]
    root: list[Node]
    """The inputs of the graph."""
    relus: list[ReluNode]
    optimizable_activations: list[Node]

    def __getitem__(self, name: str) -> Node:
        """The node of this name."""
        raise NotImplementedError

    def compute_bounds(self, **options: Any) -> tuple[Tensor, Tensor | None]:
        """Lower and upper bounds (n, margins)."""
        raise NotImplementedError

    def init_slope(self, images: tuple[Tensor, ...], **options: Any) -> None:
        """Make slopes for all ReLUs, at CROWN's values."""
        raise NotImplementedError


def nodes(network: BoundedNetwork) -> list[Node]:
    """All nodes of its graph."""
    return [cast(Node, module) for module in network.modules() if hasattr(module, "inputs")]
