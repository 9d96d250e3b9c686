"""What a checkpoint's file says to have kept of its architecture's filters, held against its masks, size and header."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparrow.errors import CheckpointError
from sparrow.files.headers import kept_in
from sparrow.networks import cutting
from sparrow.networks.cutting import Kept
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout


def of(path: Path, tensors: Mapping[str, Tensor], network: nn.Module) -> Kept:
    """What a file says to have kept of the tensors of `network`. Raises CheckpointError if it has none such."""
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    layers = dict(network.named_modules())
    found = kept_in(tensors)
    for name, slices in found.items():
        shape = shapes.get(name, ())
        for dim, there in slices.items():
            groups = getattr(layers.get(name.rpartition(".")[0]), "groups", 1) if dim == 1 else 1
            fits = 0 <= dim < len(shape) and tuple(there.shape) == ((groups, shape[dim]) if groups > 1 else (shape[dim],))
            if not fits or there.dtype != torch.bool or not there.any():
                size = shape or "no tensor"
                raise CheckpointError(f"{path}: what it kept of {name} does not fit: that is {size} in this architecture")
    return found


def require_same_as_masks(
    path: Path, whole: nn.Module, header: Mapping[str, Any], masks: Mapping[str, Tensor], kept: Kept
) -> None:
    """Raise CheckpointError, naming a tensor, unless what was kept of `whole` is what the masks of what is left say.

    `whole` is the network as its architecture builds it.
    """
    wide = cutting.expanded_masks(masks, kept)
    for name, weight in prunable_weights(whole).items():
        wide.setdefault(name, torch.ones_like(weight, dtype=torch.bool, device="cpu"))
    # Where the header says why, groups of filters may have stayed whole.
    spared = [name for name in masks if "uncut" in header and 0 not in kept.get(name, {})]
    expected, _, zeros = cutting.slices_of(whole, tuple(header["shape"]), wide, spared)
    if "uncut" in header and not zeros:
        raise CheckpointError(f"{path}: its filters are cut out, and its header says why they are not ({header['uncut']})")
    for name in sorted(expected.keys() | kept.keys()):
        ours, theirs = expected.get(name, {}), kept.get(name, {})
        if ours.keys() != theirs.keys() or not all(torch.equal(ours[dim], theirs[dim]) for dim in ours):
            raise CheckpointError(f"{path}: what it kept of {name} is not what its masks leave of the filters")


def require_own_size(path: Path, network: nn.Module, header: Mapping[str, Any], kept: Kept) -> None:
    """Raise CheckpointError if the network does not run, gives other classes, or is not as large as its header says."""
    shape, sizes = tuple(header["shape"]), {}
    there = {name: tensor.numel() for name, tensor in network.state_dict().items()}
    sizes["parameters"] = sum(there.get(name, 0) for name in header["parameters"])
    if kept:
        logits = _logits(path, network, shape)
        if logits != (1, header["classes"]):
            raise CheckpointError(
                f"{path}: without the filters that it lost its logits are {logits}, of {header['classes']} classes"
            )
    if "multiply_adds_left" in header:
        sizes["multiply_adds"] = Layout(network, shape).multiply_adds(prunable_weights(network))
    for what, size in sizes.items():
        said = header.get(f"{what}_left", size)
        if said != size:
            raise CheckpointError(f"{path}: the header says that {said} {what.replace('_', '-')} are left, {size} are there")


def _logits(path: Path, network: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the network's output for one image. Raises CheckpointError if its layers do not fit together."""
    try:
        with torch.no_grad():
            return tuple(network(torch.zeros(1, *shape)).shape)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{path}: what its layers kept of each other's filters does not fit together ({reason})"
        ) from None
