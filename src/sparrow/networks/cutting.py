"""Networks at their physical size: filters that masks remove are cut out, and zeros are put in their places again.

What masking holds is what cutting leaves out: a removed filter's weights and bias, and its scale and shift in the norms behind
it, are zero, so that nobody reads anything of it, and no gradient reaches what would read it. A training step of the small
network is one of the masked network, to rounding. Two things are not held by masks, have no share in any logit, and are not in
the small network: the weights that would read a removed filter, and its running statistics.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError
from sparrow.networks.prunable import PRUNABLE, prunable_weights
from sparrow.networks.structure import (
    FilterGroup,
    Layout,
    dependencies,
    filter_masks,
    filter_removal,
    is_depthwise,
    removed_filters,
)

TOLERANCE = 1e-5
"""Largest difference of a logit up to which two networks count as the same, relative to the largest logit, or to 1 if more."""
BATCH_SIZE = 256

Slices = Mapping[int, Tensor]
"""Of one tensor, by dimension: which of the slices that it had (n,) are still there. Dimensions that lost none are left out."""
Kept = Mapping[str, Slices]
"""The `Slices` of each tensor that lost some, by its state dict name."""


def cut(
    model: nn.Module, shape: tuple[int, int, int], masks: Mapping[str, Tensor], images: Tensor
) -> tuple[nn.Module, dict[str, Tensor], Kept]:
    """A copy of `model` (on the CPU) without the filters that `masks` remove, the masks of what is left, and what was kept.

    Raises NetworkError if these filters cannot be cut out, or if that changes the logits of `images` (n, c, h, w).
    """
    whole, images = copy.deepcopy(model).cpu().eval(), images.cpu()
    try:
        kept = kept_slices(whole, shape, masks)
        smaller = narrowed(whole, kept)
        apart = difference(whole, smaller, images) if kept else 0.0
    except MemoryError:
        raise
    except Exception as error:  # The layers of a network are the user's, and torch_pruning fails in ways of its own.
        raise NetworkError(f"its removed filters cannot be cut out ({' '.join(str(error).split())})") from None
    if not apart <= TOLERANCE:
        raise NetworkError(f"without its removed filters its logits differ by {apart:.2g} (relative)")
    left = {name: sliced(mask.cpu(), kept.get(name, {})) for name, mask in masks.items()}
    return smaller.train(model.training), left, kept


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


def kept_slices(model: nn.Module, shape: tuple[int, int, int], masks: Mapping[str, Tensor]) -> Kept:
    """What is left of each tensor of `model` that loses something with the filters that `masks` remove, see `without_filters`.

    Raises NetworkError, naming the layer, for one whose channels are not known.
    """
    network = copy.deepcopy(model).cpu().eval()
    names = {module: name for name, module in network.named_modules()}
    modules = dict(network.named_modules())
    kept: dict[str, dict[int, Tensor]] = {}
    gone = {group: removed_filters(group, masks) for group in Layout(network, shape).groups}
    for removed in gone.values():
        if removed.all():
            removed[0] = False
    if not any(removed.any() for removed in gone.values()):
        return kept
    graph, pruning = dependencies(network, shape)
    for group, removed in gone.items():
        if not removed.any():
            continue
        first = modules[group.layers[0].removesuffix(".weight")]
        places = removed.nonzero().flatten().tolist()
        for dependency, lost in graph.get_pruning_group(first, filter_removal(pruning, first), idxs=places):
            module = dependency.target.module
            if isinstance(module, nn.Parameter):
                raise NetworkError("a parameter of no layer has an entry for each filter")
            if module not in names:  # An operation without tensors, as an addition.
                continue
            own = dependency.handler == filter_removal(pruning, module)
            for key, tensor, dim in _with_channels(names[module], module, own):
                slices = kept.setdefault(f"{names[module]}.{key}".removeprefix("."), {})
                slices.setdefault(dim, torch.ones(tensor.shape[dim], dtype=torch.bool))[lost] = False
    return kept


def _with_channels(name: str, module: nn.Module, own: bool) -> Iterator[tuple[str, Tensor, int]]:
    """The tensors of a layer that have an entry for each channel, and the dimension: of its `own` filters, or of its inputs."""
    if isinstance(module, PRUNABLE) and not own and not is_depthwise(module):
        if getattr(module, "groups", 1) > 1:
            raise NetworkError(f"{name}: a convolution in groups reads the filters")
        yield "weight", module.weight, 1
        return
    for key, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
        if tensor.dim() > 1 and not isinstance(module, PRUNABLE):
            raise NetworkError(f"{name}: it is not known where a {type(module).__name__} has its channels")
        if tensor.dim():  # Not the number of batches.
            yield key, tensor, 0


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
        tensor = tensor.index_select(dim, there.nonzero().flatten().to(tensor.device))
    return tensor.clone()


def count_anew(module: nn.Module) -> None:
    """Adapt a layer's own numbers of channels to its tensors."""
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        if is_depthwise(module):  # Filters per channel stay.
            module.groups = len(module.weight)
        module.out_channels, module.in_channels = len(module.weight), module.weight.shape[1] * module.groups
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) and module.weight is not None:
        module.num_features = len(module.weight)


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
        shape = [*tensor.shape[:dim], len(there), *tensor.shape[dim + 1 :]]
        tensor = tensor.new_zeros(shape).index_copy_(dim, there.nonzero().flatten().to(tensor.device), tensor)
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


def require_cuttable(model: nn.Module, shape: tuple[int, int, int]) -> None:
    """Raise NetworkError, naming the layers, if of some group a filter cannot be cut out without changing other outputs.

    A filter is cut out of each group, and the logits are compared: so any kind of layer that ties channels together is found.
    """
    masks = {name: torch.ones_like(weight, dtype=torch.bool, device="cpu") for name, weight in prunable_weights(model).items()}
    for group in _groups(model, shape):
        if _filters(group, masks) > 1 and not _cuts(model, shape, group, masks):
            layers = ", ".join(name.removesuffix(".weight") for name in group.layers)
            raise NetworkError(
                f"{layers}: filters cannot be cut out of this network without changing what the others give (another layer "
                "ties their channels together); valid: methods with granularity weight"
            )


def _groups(model: nn.Module, shape: tuple[int, int, int]) -> list[FilterGroup]:
    """`Layout.groups`. Raises NetworkError where torch_pruning cannot trace the network."""
    try:
        return Layout(model, shape).groups
    except Exception as error:  # torch_pruning's tracing, on layers that it does not know
        message = " ".join(str(error).split())
        raise NetworkError(
            f"filters cannot be cut out of this network ({message}); valid: methods with granularity weight"
        ) from None


def _filters(group: FilterGroup, masks: Mapping[str, Tensor]) -> int:
    """Number of filters of each layer of the group."""
    return len(masks[group.layers[0]])


def _cuts(model: nn.Module, shape: tuple[int, int, int], group: FilterGroup, masks: Mapping[str, Tensor]) -> bool:
    """Whether cutting out the last filter of `group` gives the logits that zeros in its place give."""
    last = _filters(group, masks) - 1
    trial = {name: mask.clone() for name, mask in masks.items()}
    zeroed = copy.deepcopy(model).cpu().eval()
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    for name in group.layers:
        trial[name][last] = False
    try:
        others = filter_masks(zeroed, Layout(zeroed, shape), trial)
        with torch.no_grad():
            for name, parameter in zeroed.named_parameters():
                mask = trial[name] if name in trial else others.get(name)
                if mask is not None:
                    parameter.mul_(mask)
        return difference(zeroed, without_filters(zeroed, shape, trial), images) <= TOLERANCE
    except Exception:  # Of whatever kind: the layers behind it do not fit any more.
        return False
