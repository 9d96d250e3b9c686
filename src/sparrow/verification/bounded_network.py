"""The parts of auto_LiRPA's networks that are used here, by type: auto_LiRPA has no annotations.

Nothing is made of these classes; objects of auto_LiRPA's own BoundedModule and Bound pass for them.
"""

from __future__ import annotations

from typing import Any, cast

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


class BoundedNetwork(nn.Module):
    """auto_LiRPA's BoundedModule."""

    final_name: str
    """Name of the node of the logits."""
    final_shape: tuple[int, ...]
    """Shape (1, classes) of the logits."""
    conv_mode: str
    bound_opts: dict[str, Any]
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
