"""Which layers of a network share filters, and how often their weights are applied: for structured pruning and its budgets."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sparrow.errors import SparrowError
from sparrow.networks.prunable import NORMS, PRUNABLE, prunable_weights
from sparrow.settings import RebuiltOnResume

if TYPE_CHECKING:
    from torch_pruning import DependencyGraph


@dataclass(frozen=True)
class FilterGroup:
    """Layers whose filters can only be removed together, since residual additions join their outputs; mostly just one."""

    layers: tuple[str, ...]
    """State dict names of the weights that hold the filters, in the network's order."""
    norms: tuple[str, ...]
    """Names of the batch norms that the filters' outputs go through."""
    readers: tuple[str, ...]
    """State dict names of the weights whose inputs are the filters' outputs."""

    @property
    def besides(self) -> list[str]:
        """Names of what else may have an entry for each filter: biases of the layers, scales and shifts of the norms."""
        biases = [f"{name.removesuffix('.weight')}.bias" for name in self.layers]
        return biases + [f"{norm}.{parameter}" for norm in self.norms for parameter in ("weight", "bias")]


class Layout(RebuiltOnResume):
    """Facts about a network for images of `shape` (channels, height, width), each computed when first asked for."""

    def __init__(self, model: nn.Module, shape: tuple[int, int, int]) -> None:
        self._model, self._shape = model, shape

    @cached_property
    def groups(self) -> list[FilterGroup]:
        """All groups of filters that can be removed; the output layer, whose filters are the classes, is in none."""
        model = copy.deepcopy(self._model).cpu().eval()
        names = {module: name for name, module in model.named_modules()}
        order = list(prunable_weights(model))
        graph, pruning = dependencies(model, self._shape)
        found: dict[tuple[str, ...], FilterGroup] = {}
        for module in model.modules():
            if not isinstance(module, PRUNABLE) or module not in graph.module2node:  # A layer that no image goes through.
                continue
            removed = graph.get_pruning_group(module, filter_removal(pruning, module), idxs=[0])
            outputs: set[str] = set()
            readers: set[str] = set()
            norms: set[str] = set()
            for dependency, _ in removed:
                target = dependency.target.module
                if isinstance(target, PRUNABLE):
                    own = is_depthwise(target) or dependency.handler == filter_removal(pruning, target)
                    side = outputs if own else readers
                    side.add(f"{names[target]}.weight")
                elif isinstance(target, NORMS):
                    norms.add(names[target])
            if readers:
                layers, reading = (tuple(name for name in order if name in chosen) for chosen in (outputs, readers))
                found[layers] = FilterGroup(layers, tuple(name for name in names.values() if name in norms), reading)
        return list(found.values())

    def filters(self, weights: Mapping[str, Tensor]) -> dict[str, int]:
        """How many filters each group has, by the name of its first layer."""
        return {group.layers[0]: len(weights[group.layers[0]]) for group in self.groups}

    @cached_property
    def positions(self) -> dict[str, int]:
        """How often each layer's weights are applied to one image: the output's pixels for a convolution, 1 for a linear."""
        model = copy.deepcopy(self._model).cpu().eval()
        counts: dict[str, int] = {}
        for name, module in model.named_modules():
            if isinstance(module, PRUNABLE):
                key = f"{name}.weight"
                module.register_forward_hook(lambda m, inputs, output, key=key: counts.__setitem__(key, _pixels(m, output)))
        with torch.no_grad():
            model(torch.zeros(1, *self._shape))
        return {name: counts.get(name, 0) for name in prunable_weights(model)}

    def multiply_adds(self, weights: Mapping[str, Tensor]) -> int:
        """Multiply-adds of the layers in `weights` for one image, biases and norms apart."""
        return sum(self.positions[name] * weight.numel() for name, weight in weights.items())


def removed_filters(group: FilterGroup, masks: Mapping[str, Tensor]) -> Tensor:
    """Whether each filter (n,) of `group` is masked whole in all of its layers."""
    kept = torch.stack([masks[name].flatten(1).any(dim=1).cpu() for name in group.layers])
    return ~kept.any(dim=0)


def filter_masks(model: nn.Module, layout: Layout, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks of the biases and batch norm parameters that belong to filters, by name: False where `masks` remove the filter.

    Raises SparrowError for a norm that does not have one entry a filter, as behind a flattening or a concatenation.
    """
    parameters = dict(model.named_parameters())
    result: dict[str, Tensor] = {}
    for group in layout.groups:
        kept = ~removed_filters(group, masks)
        names = [name for name in group.besides if name in parameters]
        for name in names:
            if len(parameters[name]) != len(kept):
                raise SparrowError(f"{name} has {len(parameters[name])} entries for {len(kept)} filters: not supported")
        result |= {name: kept.to(parameters[name].device) for name in names}
    return result


def dependencies(model: nn.Module, shape: tuple[int, int, int]) -> tuple[DependencyGraph, ModuleType]:
    """torch_pruning's graph of the network, and torch_pruning itself, which is imported late."""
    import torch_pruning

    return torch_pruning.DependencyGraph().build_dependency(model, example_inputs=torch.zeros(1, *shape)), torch_pruning


def filter_removal(pruning: ModuleType, module: nn.Module) -> Callable[..., object]:
    """The function of torch_pruning that removes filters of a layer of this kind."""
    return pruning.prune_linear_out_channels if isinstance(module, nn.Linear) else pruning.prune_conv_out_channels


def is_depthwise(module: nn.Module) -> bool:
    """Whether it is a convolution with one filter for each channel, which can only be removed with that channel."""
    groups = getattr(module, "groups", 1)
    return groups > 1 and groups == module.in_channels == module.out_channels


def _pixels(module: nn.Module, output: Tensor) -> int:
    """How often the layer's weights are applied to one image, by its output (n, ...)."""
    return 1 if isinstance(module, nn.Linear) else output[0, 0].numel()
