"""Where the filters of a layer are among the channels of others, as torch_pruning's graph of a network has it."""

from __future__ import annotations

import copy
import warnings
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparrow.networks.prunable import CHANNEL_NORMS, PRUNABLE


class Place(NamedTuple):
    """The channels of one layer, or entries of one parameter outside of layers, that are a layer's filters."""

    layer: str
    module: nn.Module | nn.Parameter
    own: bool
    """Whether the layer puts them out as filters of its own; otherwise, it reads them or hands them on."""
    channels: Tensor
    """Their numbers (n,) there."""
    filters: Tensor
    """The number (n,) of the filter that each of them is."""

    @property
    def is_norm(self) -> bool:
        """Whether it is a norm with a scale and a shift."""
        return isinstance(self.module, CHANNEL_NORMS) and self.module.weight is not None

    @property
    def is_prunable(self) -> bool:
        """Whether it is a convolution or a linear layer."""
        return isinstance(self.module, PRUNABLE)


class ChannelGraph:
    """The graph of a copy of `model` for images of `shape` (channels, height, width).

    Raises whatever torch_pruning does if it cannot follow the network.
    """

    def __init__(self, model: nn.Module, shape: tuple[int, int, int]) -> None:
        import torch_pruning  # Late: it takes its time.

        self.model = copy.deepcopy(model).cpu().eval()
        _leave_out_shared_slopes(self.model)
        self._removal = {True: torch_pruning.prune_linear_out_channels, False: torch_pruning.prune_conv_out_channels}
        self._layers = dict(self.model.named_modules())
        names = [*self._layers.items(), *self.model.named_parameters()]
        self._names = {id(module): name for name, module in reversed(names)}
        with warnings.catch_warnings():
            # Of parameters outside of layers, which `places` names, too.
            warnings.filterwarnings("ignore", "Unwrapped parameters detected")
            self._graph = torch_pruning.DependencyGraph().build_dependency(self.model, example_inputs=torch.zeros(1, *shape))

    def layers(self) -> list[str]:
        """Names of the convolutions and linear layers that images go through, in the network's order."""
        known = self._graph.module2node
        return [name for name, module in self._layers.items() if isinstance(module, PRUNABLE) and module in known]

    def places(self, layer: str, count: int | None = None) -> list[Place]:
        """Where the first `count` filters of a layer are, all of them if None: in itself, and in all that hangs on it."""
        module = self._layers[layer]
        chosen = range(len(module.get_parameter("weight")) if count is None else count)
        found = []
        for item in self._graph.get_pruning_group(module, self._removal[isinstance(module, nn.Linear)], idxs=list(chosen)):
            target = item.dep.target.module
            if id(target) in self._names:  # Not an operation without tensors, as an addition.
                own = is_depthwise(target) or item.dep.handler == self._removal[isinstance(target, nn.Linear)]
                channels, filters = torch.tensor(item.idxs), torch.tensor(item.root_idxs)
                found.append(Place(self._names[id(target)], target, own, channels, filters))
        return found


def _leave_out_shared_slopes(model: nn.Module) -> None:
    """Replace PReLUs with one slope for all channels, of which torch_pruning takes the channels for one."""
    for name, module in list(model.named_modules()):
        if name and isinstance(module, nn.PReLU) and module.num_parameters == 1:
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, nn.LeakyReLU(float(module.weight.detach())))


def is_depthwise(module: nn.Module | nn.Parameter) -> bool:
    """Whether it is a convolution with one filter for each channel, which can only be removed with that channel."""
    groups = getattr(module, "groups", 1)
    return groups > 1 and groups == getattr(module, "in_channels", 0) == getattr(module, "out_channels", 0)
