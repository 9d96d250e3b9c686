"""The norms that filters go through: which of their entries are of which filter, and whether that is so."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sparrow.networks.channel_graph import Place

if TYPE_CHECKING:
    from sparrow.networks.structure import FilterGroup


def kept_entries(group: FilterGroup, kept: Tensor, norms: Collection[str]) -> Iterator[tuple[str, Tensor]]:
    """What else has entries of the filters of a group: names, and which entries are of filters that are `kept` (filters,)."""
    for layer in group.layers:
        yield f"{layer.removesuffix('.weight')}.bias", kept
    others = {norm: torch.cat([kept, kept.new_ones(1)])[list(filters)] for norm, filters in group.other_norms}
    for norm, there in (dict.fromkeys(group.norms, kept) | others).items():
        if norm in norms:
            yield f"{norm}.weight", there
            yield f"{norm}.bias", there


def is_aligned(place: Place, size: int) -> bool:
    """Whether a norm has an entry for each of the `size` filters, in their order; the first filter is at `place`."""
    scale = place.module.get_parameter("weight") if isinstance(place.module, nn.Module) else place.module
    return len(scale) == size and place.channels.tolist() == [0] and scale.dim() != 2


def filters_of_entries(place: Place) -> tuple[int, ...]:
    """For each entry of a norm the filter that it is of, or -1."""
    assert isinstance(place.module, nn.Module)
    filters = torch.full((len(place.module.get_parameter("weight")),), -1)
    filters[place.channels] = place.filters
    return tuple(filters.tolist())


def norms_of_filters(model: nn.Module, shape: tuple[int, int, int], groups: list[FilterGroup]) -> set[str]:
    """Names of the norms that see the filters of `groups` where torch_pruning's graph says; see `Layout.zeroed_norms`.

    The weights of `model`, which is in eval mode, are changed.
    """
    generator = torch.Generator().manual_seed(0)
    parameters, modules = dict(model.named_parameters()), dict(model.named_modules())
    everything = {norm for group in groups for norm in (*group.norms, *dict(group.other_norms))}
    gone: dict[str, Tensor] = {}
    for group in groups:
        size = len(parameters[group.layers[0]])
        kept = torch.ones(size, dtype=torch.bool)
        # An odd number: where halves change places, that cannot be the same filters again.
        kept[torch.randperm(size, generator=generator)[: min(size // 2 | 1, size - 1)]] = False
        for name, there in (*((layer, kept) for layer in group.layers), *kept_entries(group, kept, everything)):
            if name in parameters:
                parameters[name].data[~there] = 0
        for name, there in kept_entries(group, kept, everything):
            norm = name.removesuffix(".weight")
            if norm in everything:
                gone[norm] = gone.get(norm, torch.zeros_like(there)) | ~there
    constant = set(everything)

    def test(norm: str, given: Tensor) -> None:
        """Take a norm out of `constant` if its input differs in what removed filters give."""
        axis = -1 if isinstance(modules[norm], nn.LayerNorm) and modules[norm].weight.dim() == 1 else 1
        values = given.movedim(axis, 0).flatten(1)
        if len(values) != len(gone[norm]) or not _is_constant(values[gone[norm]]):
            constant.discard(norm)

    for norm in everything:
        modules[norm].register_forward_pre_hook(lambda module, given, norm=norm: test(norm, given[0].detach()))
    with torch.no_grad():
        model(torch.rand(2, *shape, generator=generator))
    return constant


def _is_constant(values: Tensor) -> bool:
    """Whether each row of `values` is one number, to rounding; what is not a number refutes nothing."""
    apart = values.amax(dim=1) - values.amin(dim=1)
    return not bool((apart > 1e-5 * values.abs().amax(dim=1).clamp(min=1)).any())
