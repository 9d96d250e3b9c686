"""Initial weights for training on interval bounds.

Source: Shi et al., "Fast Certified Robust Training with Short Warmup", NeurIPS 2021, sec. 3.2; what is left out and what is
halved as in its released code (shizhouxing/Fast-Certified-Robust-Training, manual_init.py), and in ADA-research/CTRAIN and
alessandrodepalma/expressive-losses.
"""

from __future__ import annotations

import math
import operator

import torch
from torch import fx, nn

from sparrow.errors import NetworkError
from sparrow.networks.prunable import PRUNABLE, prunable_weights

Prunable = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
SUMS = ("add", "add_", operator.add, operator.iadd, torch.add)


def ibp(model: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights of `model` but the last layer's from `N(0, 2 pi / fan_in^2)`, in place, by `generator` (on the CPU).

    The weights of layers that read a residual addition (through one layer, as a ReLU) are halved then. Biases and norms stay.
    Raises NetworkError if the additions cannot be found.
    """
    behind = _behind_additions(model)
    *hidden, _ = prunable_weights(model).values()
    for weight in hidden:
        noise = torch.randn(weight.shape, generator=generator)
        weight.data.copy_(noise * (2 * math.pi) ** 0.5 / weight[0].numel())
    for layer in behind:
        layer.weight.data.div_(2)


def _behind_additions(model: nn.Module) -> list[Prunable]:
    """The layers with weights one layer behind a sum of two tensors, in the network's order."""
    try:
        graph = fx.symbolic_trace(model).graph
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise NetworkError(
            f"initialisation: ibp cannot tell which layers read residual additions ({reason}); valid: default"
        ) from error
    found: list[Prunable] = []
    for node in graph.nodes:
        layer = model.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(layer, PRUNABLE) and layer not in found and _sums_two(_first(_first(node))):
            found.append(layer)
    return found


def _first(node: fx.Node | None) -> fx.Node | None:
    """The first thing that `node` reads, if it is computed."""
    read = node.args[0] if node is not None and node.args else None
    return read if isinstance(read, fx.Node) else None


def _sums_two(node: fx.Node | None) -> bool:
    return node is not None and node.target in SUMS and sum(isinstance(one, fx.Node) for one in node.args) == 2
