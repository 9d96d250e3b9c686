"""Networks at their physical size: filters that masks remove are cut out, and zeros are put in their places again.

What masking holds is what cutting leaves out: a removed filter's weights and bias, and its scale and shift in the norms behind
it, are zero, so that nobody reads anything of it, and no gradient reaches what would read it. A training step of the small
network is one of the masked network, to rounding. Two things are not held by masks, have no share in any logit, and are not in
the small network: the weights that would read a removed filter, and its running statistics.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError
from sparrow.networks.channel_blocks import Stays, cut_out
from sparrow.networks.channel_graph import ChannelGraph, Place, is_depthwise
from sparrow.networks.prunable import CHANNEL_NORMS, PRUNABLE, prunable_weights
from sparrow.networks.structure import Layout, removed_filters

TOLERANCE = 1e-5
"""Largest difference of a logit up to which two networks count as the same, relative to the largest logit, or to 1 if more."""
BATCH_SIZE = 256

Slices = Mapping[int, Tensor]
"""Of one tensor, by dimension: which of the slices that it had (n,) are still there. Dimensions that lost none are left out.
Of what a convolution in groups reads (groups, n): each group has others, and as many."""
Kept = Mapping[str, Slices]
"""The `Slices` of each tensor that lost some, by its state dict name."""


class Cut(NamedTuple):
    """What is left of a network."""

    model: nn.Module
    """On the CPU."""
    masks: dict[str, Tensor]
    """Of what is left."""
    kept: Kept
    uncut: str | None
    """Why removed filters are there as zeros; None where none are, but for one of a layer that lost all."""


def cut(model: nn.Module, shape: tuple[int, int, int], masks: Mapping[str, Tensor], images: Tensor) -> Cut:
    """A copy of `model` without the filters that `masks` remove, as far as the logits of `images` (n, c, h, w) stay the same.

    Layers that share filters are cut by themselves, if not all can be. Raises NetworkError if none can be.
    """
    whole, images = copy.deepcopy(model).cpu().eval(), images.cpu()
    faults: dict[str, str] = {}
    if fault := _fault(whole, shape, masks, images, ()):
        faults = _faults_of_groups(whole, shape, masks, images, fault)
        if _fault(whole, shape, masks, images, faults):
            raise NetworkError(fault)
    kept, staying, _ = slices_of(whole, shape, masks, faults)
    if faults and not kept:
        raise NetworkError(fault or "")
    left = {name: sliced(mask.cpu(), kept.get(name, {})) for name, mask in masks.items()}
    told = [f"{name.removesuffix('.weight')}: {fault}" for name, fault in faults.items()]
    told += [f"{name.removesuffix('.weight')}: {stays.words}" for name, stays in staying.items()]
    return Cut(narrowed(whole, kept).train(model.training), left, kept, "; ".join(told) or None)


def _faults_of_groups(
    whole: nn.Module, shape: tuple[int, int, int], masks: Mapping[str, Tensor], images: Tensor, fault: str
) -> dict[str, str]:
    """Why the filters of some groups cannot be cut out, each by itself, by the group's first layer.

    Raises NetworkError with the `fault` of all together if it is not known which groups there are.
    """
    try:
        groups = Layout(whole, shape).groups
    except Exception:  # As in `_fault`.
        raise NetworkError(fault) from None
    names = [group.layers[0] for group in groups if removed_filters(group, masks).any()]
    found = {name: _fault(whole, shape, masks, images, set(names) - {name}) for name in names}
    return {name: fault for name, fault in found.items() if fault}


def _fault(
    whole: nn.Module, shape: tuple[int, int, int], masks: Mapping[str, Tensor], images: Tensor, spared: Collection[str]
) -> str | None:
    """Why removed filters cannot be cut out, but for those of the `spared` groups; None if the logits stay the same."""
    try:
        kept = kept_slices(whole, shape, masks, spared)
        apart = difference(whole, narrowed(whole, kept), images) if kept else 0.0
    except MemoryError:
        raise
    except Exception as error:  # The layers of a network are the user's, and torch_pruning fails in ways of its own.
        return f"its removed filters cannot be cut out ({' '.join(str(error).split())})"
    return None if apart <= TOLERANCE else f"without its removed filters its logits differ by {apart:.2g} (relative)"


def without_filters(model: nn.Module, shape: tuple[int, int, int], masks: Mapping[str, Tensor]) -> nn.Module:
    """A physically smaller copy of `model` (in eval mode, on the CPU): the filters that are all False in `masks` are cut out.

    A filter is removed where all layers of its group mask it whole. Logits are the same if such filters put out zeros, that is,
    if their biases and the norms behind them are zero, too (see `filter_masks`). Of a group that is masked whole the first
    filter is kept, with its zeros: a layer without filters cannot be run.
    """
    return narrowed(copy.deepcopy(model).cpu().eval(), kept_slices(model, shape, masks))


def with_fewer_filters(model: nn.Module, shape: tuple[int, int, int], gone: float) -> nn.Module:
    """A copy of `model` (in eval mode, on the CPU) without the share `gone` of each layer's filters, to the nearest filter.

    It is as large as what a pruning ratio leaves that all layers share, and computes something else than `model`.
    """
    masks = {name: torch.ones_like(weight, dtype=torch.bool, device="cpu") for name, weight in prunable_weights(model).items()}
    for group in Layout(model, shape).groups:
        for name in group.layers:
            masks[name][: round(gone * len(masks[name]))] = False
    return without_filters(model, shape, masks)


def kept_slices(
    model: nn.Module, shape: tuple[int, int, int], masks: Mapping[str, Tensor], spared: Collection[str] = ()
) -> Kept:
    """What is left of each tensor of `model` that loses something with the filters that `masks` remove, see `without_filters`.

    Groups stay as they are whose first layer is `spared`, and so do filters that a layer needs which takes channels in blocks
    (`channel_blocks`). Raises NetworkError, naming the layer, for one whose channels are not known.
    """
    return slices_of(model, shape, masks, spared).kept


class Sliced(NamedTuple):
    """What can be cut out of a network."""

    kept: Kept
    staying: dict[str, Stays]
    """What stays as zeros for the sake of other layers, by the first layer of a group."""
    zeros: int
    """How many removed filters stay as zeros, for whatever reason, but for the first of each group that lost all."""


def slices_of(
    model: nn.Module, shape: tuple[int, int, int], masks: Mapping[str, Tensor], spared: Collection[str] = ()
) -> Sliced:
    """As `kept_slices`, and what stays."""
    kept: dict[str, dict[int, Tensor]] = {}
    staying: dict[str, Stays] = {}
    gone = {group.layers[0]: _without_all(removed_filters(group, masks)) for group in Layout(model, shape).groups}
    zeros = sum(int(removed.sum()) for removed in gone.values())
    gone = {name: removed for name, removed in gone.items() if name not in spared and removed.any()}
    if not gone:
        return Sliced(kept, staying, zeros)
    graph = ChannelGraph(model, shape)
    for name, removed in gone.items():
        places = graph.places(name.removesuffix(".weight"))
        lost, stays = cut_out(removed, places)
        zeros -= int(lost.sum())
        if stays is not None:
            staying[name] = stays
        for place in places if lost.any() else []:
            for key, tensor, dim in _with_channels(place):
                # Each group of a convolution reads channels of its own.
                there = torch.ones(getattr(place.module, "groups", 1) if dim else 1, tensor.shape[dim], dtype=torch.bool)
                there = kept.setdefault(key, {}).setdefault(dim, there if len(there) > 1 else there[0])
                there.view(-1)[place.channels[lost[place.filters]]] = False
    return Sliced(kept, staying, zeros)


def _without_all(removed: Tensor) -> Tensor:
    """The filters (n,) that are `removed`, but for the first if these are all."""
    if removed.all():
        removed[0] = False
    return removed


def _with_channels(place: Place) -> Iterator[tuple[str, Tensor, int]]:
    """The tensors that have an entry for each channel: names, and the dimension, 0 for filters of a layer, 1 for its inputs."""
    module, name = place.module, place.layer
    if isinstance(module, nn.Parameter):
        # torch_pruning takes the last axis with several entries for the channels.
        yield name, module, max(axis for axis, size in enumerate(module.shape) if size > 1)
        return
    if isinstance(module, PRUNABLE) and not place.own:
        yield f"{name}.weight", module.weight, 1
        return
    for key, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
        if tensor.dim() > 1 and not isinstance(module, PRUNABLE):
            raise NetworkError(f"{name}: it is not known where a {type(module).__name__} has its channels")
        if tensor.dim():  # Not the number of batches.
            yield f"{name}.{key}".removeprefix("."), tensor, 0


def narrowed(model: nn.Module, kept: Kept) -> nn.Module:
    """A copy of `model` with only those slices of its tensors that are `kept`; its layers know their new sizes.

    Raises IndexError or RuntimeError if these are slices of other tensors.
    """
    smaller = copy.deepcopy(model)
    for name, module in smaller.named_modules():
        lost = False
        for key, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            slices = kept.get(f"{name}.{key}".removeprefix("."))
            if not slices:
                continue
            lost, small = True, sliced(tensor.detach(), slices)
            if isinstance(tensor, nn.Parameter):
                small = nn.Parameter(small, requires_grad=tensor.requires_grad)
            setattr(module, key, small)
        if lost:
            count_anew(module)
    return smaller


def sliced(tensor: Tensor, slices: Slices) -> Tensor:
    """A copy of the `slices` of a tensor."""
    for dim, there in slices.items():
        blocks = tensor.chunk(len(there)) if there.dim() > 1 else [tensor]
        rows = there.view(len(blocks), -1).to(tensor.device)
        tensor = torch.cat([block.index_select(dim, row.nonzero().flatten()) for block, row in zip(blocks, rows, strict=True)])
    return tensor.clone()


def count_anew(module: nn.Module) -> None:
    """Adapt a layer's own numbers of channels to its tensors."""
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        if is_depthwise(module):  # Filters per channel stay.
            module.groups = len(module.weight)
        module.out_channels, module.in_channels = len(module.weight), module.weight.shape[1] * module.groups
    elif isinstance(module, nn.GroupNorm):
        size = module.num_channels // module.num_groups
        module.num_channels, module.num_groups = len(module.weight), len(module.weight) // size
    elif isinstance(module, CHANNEL_NORMS) and not isinstance(module, nn.LayerNorm) and module.weight is not None:
        module.num_features = len(module.weight)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)


def expanded(smaller: nn.Module, fresh: nn.Module, kept: Kept) -> nn.Module:
    """The masked twin of a network that was cut: zeros are where filters were, and in all that would read them.

    `fresh` is the network as its architecture builds it, whose shapes, and buffers of removed filters, the twin has.
    """
    state, buffers = fresh.state_dict(), dict(fresh.named_buffers())
    for name, tensor in smaller.state_dict().items():
        slices, tensor = kept.get(name, {}), tensor.cpu()
        wide = spread_out(tensor, slices)
        if slices and name in buffers:
            wide = torch.where(spread_out(torch.ones_like(tensor, dtype=torch.bool), slices), wide, state[name])
        state[name] = wide
    twin = copy.deepcopy(fresh)
    twin.load_state_dict(state)
    return twin.train(smaller.training)


def expanded_masks(masks: Mapping[str, Tensor], kept: Kept) -> dict[str, Tensor]:
    """The masks of the masked twin: removed filters are False, what the others would read of them is as it was, True."""
    return {name: _expanded_mask(mask.cpu(), kept.get(name, {})) for name, mask in masks.items()}


def _expanded_mask(mask: Tensor, slices: Slices) -> Tensor:
    wide = spread_out(mask, slices)
    if mask.dim() == 1:
        return wide
    lost = ~spread_out(torch.ones_like(mask), slices)
    return wide | (lost & wide.flatten(1).any(dim=1).view(-1, *[1] * (mask.dim() - 1)))


def spread_out(tensor: Tensor, slices: Slices) -> Tensor:
    """`tensor` with zeros where the other slices of the one that it was cut from have been."""
    for dim, there in slices.items():
        blocks = tensor.chunk(len(there)) if there.dim() > 1 else [tensor]
        rows = there.view(len(blocks), -1).to(tensor.device)
        wide = []
        for block, row in zip(blocks, rows, strict=True):
            shape = [*block.shape[:dim], len(row), *block.shape[dim + 1 :]]
            wide.append(block.new_zeros(shape).index_copy_(dim, row.nonzero().flatten(), block))
        tensor = torch.cat(wide)
    return tensor


def difference(first: nn.Module, second: nn.Module, images: Tensor) -> float:
    """Largest difference of a logit on `images` (n, c, h, w), over the largest logit where that is above 1."""
    apart, largest = torch.tensor(0.0), torch.tensor(1.0)
    with torch.no_grad():
        for batch in images.split(BATCH_SIZE):
            before, after = first(batch), second(batch)
            # `maximum` hands on what is not a number.
            apart, largest = torch.maximum(apart, (before - after).abs().max()), torch.maximum(largest, before.abs().max())
    return float(apart / largest)
