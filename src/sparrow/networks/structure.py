"""Which layers of a network share filters, and how often their weights are applied: for structured pruning and its budgets."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError
from sparrow.networks.channel_graph import ChannelGraph
from sparrow.networks.filter_norms import filters_of_entries, is_aligned, kept_entries, norms_of_filters
from sparrow.networks.prunable import PRUNABLE, prunable_weights
from sparrow.settings import RebuiltOnResume


@dataclass(frozen=True)
class FilterGroup:
    """Layers whose filters can only be removed together, since residual additions join their outputs; mostly just one."""

    layers: tuple[str, ...]
    """State dict names of the weights that hold the filters, in the network's order."""
    norms: tuple[str, ...]
    """Names of the norms that the filters' outputs go through, with a scale and a shift for each filter."""
    readers: tuple[str, ...]
    """State dict names of the weights whose inputs are the filters' outputs."""
    other_norms: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Norms behind a flattening or a concatenation: their names, and the filter that each of their entries is of, or -1."""

    @property
    def besides(self) -> list[str]:
        """Names of what else may have an entry for each filter, in order: biases of layers, scales and shifts of norms."""
        biases = [f"{name.removesuffix('.weight')}.bias" for name in self.layers]
        return biases + [f"{norm}.{parameter}" for norm in self.norms for parameter in ("weight", "bias")]


class Layout(RebuiltOnResume):
    """Facts about a network for images of `shape` (channels, height, width), each computed when first asked for."""

    def __init__(self, model: nn.Module, shape: tuple[int, int, int]) -> None:
        self._model, self._shape = model, shape

    @cached_property
    def groups(self) -> list[FilterGroup]:
        """All groups of filters that can be removed; the output layer, whose filters are the classes, is in none."""
        graph = ChannelGraph(self._model, self._shape)
        layers, modules = graph.layers(), list(dict(graph.model.named_modules()))
        found: dict[tuple[str, ...], FilterGroup] = {}
        for layer in layers:
            places = graph.places(layer, 1)
            own, reading = (
                {place.layer for place in places if place.is_prunable and place.own is side} for side in (True, False)
            )
            names, readers = (tuple(f"{name}.weight" for name in layers if name in chosen) for chosen in (own, reading))
            if names and readers and names not in found:
                size = len(graph.model.get_parameter(names[0]))
                norms = sorted((place for place in places if place.is_norm), key=lambda place: modules.index(place.layer))
                aligned = tuple(norm.layer for norm in norms if is_aligned(norm, size))
                # All filters are followed only where that is needed: in wide networks it takes long.
                every = graph.places(layer) if len(aligned) < len(norms) else []
                others = tuple(
                    (place.layer, filters_of_entries(place)) for place in every if place.is_norm and place.layer not in aligned
                )
                found[names] = FilterGroup(names, aligned, readers, others)
        return list(found.values())

    @cached_property
    def zeroed_norms(self) -> frozenset[str]:
        """Names of the norms whose scales and shifts are masked with the filters that they belong to.

        That they belong there is tried: without half of all filters, the input of a norm has to be the same number all over
        the channels that are of these. No norm is masked that sees other channels there than torch_pruning's graph says.
        """
        return frozenset(norms_of_filters(copy.deepcopy(self._model).cpu().eval(), self._shape, self.groups))

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
    """Masks of the biases and of the norms' parameters that belong to filters, by name: False where `masks` remove the filter.

    Norms that see something else than the filters are left alone (`Layout.zeroed_norms`).
    """
    found: dict[str, Tensor] = {}
    parameters = dict(model.named_parameters())
    for group in layout.groups:
        kept = ~removed_filters(group, masks)
        for name, there in kept_entries(group, kept, layout.zeroed_norms):
            if name in parameters:
                like = parameters[name]
                mask = there.view(-1, *[1] * (like.dim() - 1)).expand(like.shape).to(like.device)
                found[name] = found[name] & mask if name in found else mask.clone()
    return found


def require_followed(model: nn.Module, shape: tuple[int, int, int]) -> None:
    """Raise NetworkError if it is not known which of its layers share filters: where torch_pruning cannot trace the network."""
    try:
        groups = Layout(model, shape).groups
    except Exception as error:  # torch_pruning fails in ways of its own at layers that it does not know.
        message = " ".join(str(error).split())
        raise NetworkError(f"its filters cannot be followed ({message}); valid: methods with granularity weight") from None
    if not groups:
        raise NetworkError("it has no filters that could be removed; valid: methods with granularity weight")


def _pixels(module: nn.Module, output: Tensor) -> int:
    """How often the layer's weights are applied to one image, by its output (n, ...)."""
    return 1 if isinstance(module, nn.Linear) else output[0, 0].numel()
