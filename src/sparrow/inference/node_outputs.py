"""What each node of a network's graph returns for an image: its shape, and its new memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, fx


class NodeOutput(NamedTuple):
    """What a node returns for one image."""

    shape: torch.Size
    bytes: int
    """Bytes of it, weights and images included; 0 where it lies in the memory of what the node reads."""


@torch.no_grad()
def node_outputs(network: fx.GraphModule, image: Tensor) -> dict[fx.Node, NodeOutput]:
    """The outputs of those nodes of `network` that return a tensor for `image` (1, c, h, w)."""
    interpreter = _Interpreter(network)
    interpreter.run(image)
    return interpreter.outputs


def activation_bytes(network: fx.GraphModule, image: Tensor) -> int:
    """Bytes of `image` (1, c, h, w) and of all that the network makes of it; what a layer overwrites counts once."""
    return sum(output.bytes for node, output in node_outputs(network, image).items() if node.op != "get_attr")


class _Interpreter(fx.Interpreter):
    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.outputs: dict[fx.Node, NodeOutput] = {}

    def run_node(self, n: fx.Node) -> Any:
        read = [self.env[node] for node in n.all_input_nodes]
        value = super().run_node(n)
        if isinstance(value, Tensor) and n.op != "output":
            memory = value.untyped_storage().data_ptr()
            shared = any(isinstance(one, Tensor) and one.untyped_storage().data_ptr() == memory for one in read)
            self.outputs[n] = NodeOutput(value.shape, 0 if shared else value.numel() * value.element_size())
        return value
