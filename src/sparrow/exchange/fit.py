"""Loads a third party's tensors into a network of ours. Names, shapes, scores, masks and ratio are checked; nothing is guessed.

Scores: HYDRA's layers (inspire-group/hydra, models/layers.py) keep `popup_scores` beside a weight and compute with the weight
times the mask of its largest scores; HARP's (intellisec/harp) also learn in `k_score` which share of them a layer keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.errors import CheckpointError
from sparrow.exchange import normalisation
from sparrow.exchange.keymap import KeyMap
from sparrow.exchange.masked import apply_masks
from sparrow.exchange.normalisation import Normalisation
from sparrow.exchange.plain_tensors import COUNTER, MOST_LINES, dense_tensors
from sparrow.networks import cutting
from sparrow.networks.normalise_layer import fixed_tensors
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout, filter_masks, removed_filters

TOLERANCE = 0.005
"""Largest difference of the share of zeros from the pruning ratio: some methods do not prune the first or the last layer."""
PREFIXES = ("module.", "_orig_mod.", "basic_model.", "model.")
"""Prefixes that wrappers add to every name: DataParallel, torch.compile, HARP's and others' own."""
SCORES, SHARE = "popup_scores", "k_score"
HARP_FLOOR = 0.1
"""HARP's `alpha`: the least share that a layer keeps, as a part of the network's."""


@dataclass(frozen=True)
class Target:
    """The network to load into: the kind of model, its images' shape, and the cell's pruning ratio (None for a dense one)."""

    kind: str
    shape: tuple[int, int, int]
    ratio: float | None = None
    granularity: str = "weight"
    allow_ratio: bool = False


@dataclass(frozen=True)
class Fitted:
    """Masks (none for a dense network), the share that was pruned, and a line on each change that the tensors needed."""

    masks: dict[str, Tensor]
    ratio: float
    notes: list[str]


def fit(
    path: Path,
    tensors: Mapping[str, Tensor],
    network: nn.Module,
    target: Target,
    keymap: KeyMap | None,
    normalised: Normalisation | None = None,
) -> Fitted:
    """Load `tensors`, read from `path`, into `network` (on the CPU), and fold `normalised` into its first layer.

    Raises CheckpointError, one line for each mistake, if they do not fit, or if the share of zeros is not the ratio.
    """
    notes = [keymap.note] if keymap and keymap.note else []
    own = network.state_dict()
    found, unpacked = dense_tensors(path, tensors)
    notes += unpacked
    found = _without_prefixes(path, found, own, notes)
    found = _without_unused(found, target.kind, keymap, notes)
    found, in_layers = normalisation.extract_layer(path, found, own)
    found, stored_masks = apply_masks(path, found, notes)
    found = _masked_by_scores(path, found, target.ratio, notes)
    found, stored_masks = (_renamed(path, tensors, target.kind, keymap) for tensors in (found, stored_masks))
    # Tensors that the model's parameters determine need not be in the file.
    found = {name: own[name] for name in fixed_tensors(network)} | found
    counters = {name for name in own if name.endswith(COUNTER)} - found.keys()
    if counters:
        notes.append(f"has no {COUNTER} for {len(counters)} batch norms; nothing depends on them")
        found |= {name: own[name] for name in counters}
    found = {name: tensor.to(own[name].dtype) if name in own else tensor for name, tensor in found.items()}
    if target.ratio is not None and target.granularity == "filter" and _is_cut(found, own):
        found, stored_masks = _masked_twin(path, found, stored_masks, network, target, notes)
    smaller = all(tensor.numel() <= own[name].numel() for name, tensor in found.items() if name in own)
    cut = target.ratio is not None and _is_cut(found, own) and smaller
    hint = "filters may have been cut out of it: with granularity filter (--filters) it is taken as such" if cut else ""
    _require_same(path, found, own, target.kind, hint)
    network.load_state_dict(found)
    if in_layers and normalised and not in_layers.agrees(normalised):
        raise CheckpointError(f"{path}: says twice by what it normalises its images: {in_layers}; {normalised}")
    if one := in_layers or normalised:
        notes.append(normalisation.fold_into_first_layer(path, network, one, target.shape, _has_place(target.kind)))
    if target.ratio is None:
        return Fitted({}, 0.0, notes)
    if stored_masks:
        notes.append("these masks stay the network's")
    masks, ratio = _masks(path, network, target, stored_masks)
    if abs(ratio - target.ratio) > TOLERANCE and not target.allow_ratio:
        what = "of its filters are pruned" if target.granularity == "filter" else "of its prunable weights are zero"
        raise CheckpointError(
            f"{path}: {ratio:.4f} {what}, the ratio {target.ratio:g} was asked for; import it at its own ratio, or as it is "
            f"with allow_ratio (--allow-ratio){_or_by_filters(network, masks, target)}"
        )
    return Fitted(masks, ratio, notes)


def _is_cut(found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    """Whether tensors have the network's names and dimensions, but not its sizes."""
    shapes = [(found[name].shape, own[name].shape) for name in own if name in found]
    return any(small != whole for small, whole in shapes) and all(len(small) == len(whole) for small, whole in shapes)


def _masked_twin(
    path: Path,
    found: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    network: nn.Module,
    target: Target,
    notes: list[str],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors, and `masks`, of a network whose filters were cut out, with zeros for these, as if the last had been removed.

    Raises CheckpointError, one line each, for tensors that do not fit together.
    """
    gone = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(network).items()}
    lost = 0
    for group in Layout(network, target.shape).groups:
        size = len(found.get(group.layers[0], gone[group.layers[0]]))
        lost += max(len(gone[group.layers[0]]) - size, 0)
        for name in group.layers:
            gone[name][size:] = False
    kept = cutting.kept_slices(network, target.shape, gone)
    smaller = cutting.narrowed(network, kept)
    _require_same(path, found, smaller.state_dict(), target.kind)
    smaller.load_state_dict(found)
    notes.append(f"{lost} filters were cut out of it; which ones is not known, and the last of each layer have their places")
    return cutting.expanded(smaller, network, kept).state_dict(), cutting.expanded_masks(masks, kept)


def _has_place(kind: str) -> bool:
    """Whether models of this kind can have a normalising layer."""
    return "normalise" in catalogue.load("models", kind).Params.model_fields


def _without_prefixes(path: Path, tensors: Mapping[str, Tensor], own: Mapping, notes: list[str]) -> dict[str, Tensor]:
    found, gone = {}, []
    for name, tensor in tensors.items():
        short = name
        while prefix := next((one for one in PREFIXES if short.startswith(one) and short not in own), None):
            short = short.removeprefix(prefix)
            gone += [] if prefix in gone else [prefix]
        if short in found:
            raise CheckpointError(f"{path}: two tensors are {short} without {' '.join(gone)}")
        found[short] = tensor
    if gone:
        notes.append(f"names without {' '.join(gone)}")
    return found


def _without_unused(found: dict[str, Tensor], kind: str, keymap: KeyMap | None, notes: list[str]) -> dict[str, Tensor]:
    if keymap is None:
        return found
    unused = [name for name in found if keymap.is_unused(kind, name)]
    if unused:
        notes.append(f"{len(unused)} tensors of {', '.join(keymap.unused[kind])} left out: nothing uses what they compute")
    return {name: tensor for name, tensor in found.items() if name not in unused}


def _masked_by_scores(path: Path, found: dict[str, Tensor], ratio: float | None, notes: list[str]) -> dict[str, Tensor]:
    """The tensors with weights multiplied by the masks of their scores, and without scores; a dense network's are dropped."""
    scored = [name for name in found if name.split(".")[-1] == SCORES]
    extra = {*scored, *(name for name in found if name.split(".")[-1] == SHARE)}
    result = {name: tensor for name, tensor in found.items() if name not in extra}
    if ratio is None or not scored:
        if extra:
            reason = "a dense network computes without them" if ratio is None else "shares of no scores"
            notes.append(f"{len(extra)} tensors of scores left out: {reason}")
        return result
    for name in scored:
        layer = name.removesuffix(SCORES)
        weight, scores, share = found.get(f"{layer}weight"), found[name], found.get(f"{layer}{SHARE}")
        if weight is None or scores.shape != weight.shape:
            there = "missing" if weight is None else tuple(weight.shape)
            raise CheckpointError(f"{path}: {name} is {tuple(scores.shape)}, its weight {there}; valid: a score a weight")
        kept: float | Tensor = round(1 - ratio, 12)  # As the authors gave it: 0.1, where 1 - 0.9 is a little less.
        if share is not None:
            floor = HARP_FLOOR * kept
            kept = floor + (1 - floor) * torch.sigmoid(share.float())
        order = scores.abs().flatten().sort(stable=True).indices
        mask = torch.ones(scores.numel(), dtype=torch.bool)
        mask[order[: int((1 - kept) * scores.numel())]] = False
        result[f"{layer}weight"] = weight * mask.view_as(weight)
    notes.append(f"{len(scored)} weights times the mask of their scores" + (" and shares" if len(extra) > len(scored) else ""))
    return result


def _renamed(path: Path, found: dict[str, Tensor], kind: str, keymap: KeyMap | None) -> dict[str, Tensor]:
    if keymap is None:
        return found
    result: dict[str, Tensor] = {}
    for name, tensor in found.items():
        new = keymap.to_ours(kind, name)
        if new in result:
            raise CheckpointError(f"{path}: two tensors are {new} by the key map, one of them {name}")
        result[new] = tensor
    return result


def _require_same(path: Path, found: Mapping[str, Tensor], own: Mapping[str, Tensor], kind: str, hint: str = "") -> None:
    """Raise CheckpointError, one line each, if names or shapes are not the network's, or a value is not finite; `hint` last."""
    lines = []
    for name in [*own, *(name for name in found if name not in own)]:
        if name not in found:
            lines.append(f"{name} is missing, expected {tuple(own[name].shape)}")
        elif name not in own:
            lines.append(f"{name} is {tuple(found[name].shape)}, expected no such tensor")
        elif found[name].shape != own[name].shape:
            lines.append(f"{name} is {tuple(found[name].shape)}, expected {tuple(own[name].shape)}")
        elif not found[name].isfinite().all():
            lines.append(f"{name} holds values that are not finite")
    if lines:
        more = [f"and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
        more += [hint] if hint else []
        raise CheckpointError("\n".join(f"{path}: not a {kind}: {line}" for line in [*lines[:MOST_LINES], *more]))


def _masks(path: Path, network: nn.Module, target: Target, stored: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], float]:
    """Masks of the prunable weights (the `stored` one, or else where the weight is not zero), and the share that is pruned."""
    masks = {name: stored.get(name, weight.detach() != 0) for name, weight in prunable_weights(network).items()}
    if target.granularity == "weight":
        kept, total = sum(int(mask.sum()) for mask in masks.values()), sum(mask.numel() for mask in masks.values())
        return masks, 1 - kept / total
    layout = Layout(network, target.shape)
    # A filter is kept or removed as a whole: a single zero in it is not a pruned weight.
    masks = {name: _rows(mask) for name, mask in masks.items()}
    also = filter_masks(network, layout, masks)
    for name, mask in also.items():
        if network.get_parameter(name)[~mask].any():
            raise CheckpointError(
                f"{path}: {name} is not zero where the filters are, so that they still give something; import it with "
                "granularity: weight"
            )
    return masks | also, _share_of_filters(layout, masks)


def _share_of_filters(layout: Layout, masks: dict[str, Tensor]) -> float:
    gone = [removed_filters(group, masks) for group in layout.groups]
    return sum(int(group.sum()) for group in gone) / max(1, sum(len(group) for group in gone))


def _or_by_filters(network: nn.Module, masks: dict[str, Tensor], target: Target) -> str:
    """The end of a message: the share of filters that are zero, in case the ratio is meant so; empty if none are."""
    if target.granularity == "filter":
        return ""
    share = _share_of_filters(Layout(network, target.shape), {name: _rows(mask) for name, mask in masks.items()})
    return f"; {share:.4f} of its filters are zero: granularity filter (--filters) takes the ratio for that" if share else ""


def _rows(mask: Tensor) -> Tensor:
    return mask.flatten(1).any(dim=1).view(-1, *[1] * (mask.dim() - 1)).expand_as(mask).clone()
