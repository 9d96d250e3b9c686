"""A third party's tensors in a network of ours: names, shapes, scores, masks and ratio are checked, and nothing is guessed.

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
from sparrow.exchange.masked import multiplied
from sparrow.exchange.normalisation import Normalisation
from sparrow.exchange.plain_tensors import COUNTER, MOST_LINES, plain
from sparrow.networks.normalise_layer import fixed_tensors
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout, filter_masks, removed_filters

TOLERANCE = 0.005
"""How far the share of zeros may be from the pruning ratio: some leave the first or the last layer whole."""
PREFIXES = ("module.", "_orig_mod.", "basic_model.", "model.")
"""What wrappers put before every name: DataParallel, torch.compile, HARP's and others' own."""
SCORES, SHARE = "popup_scores", "k_score"
HARP_FLOOR = 0.1
"""HARP's `alpha`: the least that a layer keeps, as part of what the network keeps."""


@dataclass(frozen=True)
class Asked:
    """What the network is taken for: the kind of model, and the cell's pruning ratio (None for a dense one)."""

    kind: str
    shape: tuple[int, int, int]
    ratio: float | None = None
    granularity: str = "weight"
    allow_ratio: bool = False


@dataclass(frozen=True)
class Fitted:
    """Masks (none for a dense network), the share that was pruned, and one line on each thing that was not as here."""

    masks: dict[str, Tensor]
    ratio: float
    notes: list[str]


def fit(
    path: Path,
    tensors: Mapping[str, Tensor],
    network: nn.Module,
    asked: Asked,
    keymap: KeyMap | None,
    normalised: Normalisation | None = None,
) -> Fitted:
    """Load `tensors`, read from `path`, into `network` (on the CPU), which takes over by what the images are `normalised`.

    Raises CheckpointError, one line for each mistake, if they do not fit, or if the share of zeros is not the ratio.
    """
    notes = [keymap.note] if keymap and keymap.note else []
    own = network.state_dict()
    found, unpacked = plain(path, tensors)
    notes += unpacked
    found = _without_prefixes(path, found, own, notes)
    found = _without_unused(found, asked.kind, keymap, notes)
    found, in_layers = normalisation.inside(path, found, own)
    found, told = multiplied(path, found, notes)
    found = _masked_by_scores(path, found, asked.ratio, notes)
    found, told = (_renamed(path, tensors, asked.kind, keymap) for tensors in (found, told))
    # What the model's parameters say, no file has to.
    found = {name: own[name] for name in fixed_tensors(network)} | found
    counters = {name for name in own if name.endswith(COUNTER)} - found.keys()
    if counters:
        notes.append(f"has no {COUNTER} for {len(counters)} batch norms; nothing depends on them")
        found |= {name: own[name] for name in counters}
    found = {name: tensor.to(own[name].dtype) if name in own else tensor for name, tensor in found.items()}
    _require_same(path, found, own, asked.kind)
    network.load_state_dict(found)
    if in_layers and normalised and not in_layers.agrees(normalised):
        raise CheckpointError(f"{path}: says twice by what it normalises its images: {in_layers}; {normalised}")
    if one := in_layers or normalised:
        notes.append(normalisation.take_in(path, network, one, asked.shape, _has_place(asked.kind)))
    if asked.ratio is None:
        return Fitted({}, 0.0, notes)
    if told:
        notes.append("these masks stay the network's")
    masks, ratio = _masks(path, network, asked, told)
    if abs(ratio - asked.ratio) > TOLERANCE and not asked.allow_ratio:
        what = "of its filters are pruned" if asked.granularity == "filter" else "of its prunable weights are zero"
        raise CheckpointError(
            f"{path}: {ratio:.4f} {what}, the ratio {asked.ratio:g} was asked for; import it at its own ratio, or as it is "
            f"with allow_ratio (--allow-ratio){_or_by_filters(network, masks, asked)}"
        )
    return Fitted(masks, ratio, notes)


def _has_place(kind: str) -> bool:
    """Whether networks of this kind can normalise their images by themselves."""
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
    unused = [name for name in found if keymap and keymap.is_unused(kind, name)]
    if unused:
        notes.append(f"{len(unused)} tensors of {', '.join(keymap.unused[kind])} left out: nothing uses what they compute")
    return {name: tensor for name, tensor in found.items() if name not in unused}


def _masked_by_scores(path: Path, found: dict[str, Tensor], ratio: float | None, notes: list[str]) -> dict[str, Tensor]:
    """Weights times the mask of their scores, if there are scores; a dense network's mean nothing."""
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
        kept = round(1 - ratio, 12)  # As the authors gave it: 0.1, where 1 - 0.9 is a little less.
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


def _require_same(path: Path, found: Mapping[str, Tensor], own: Mapping[str, Tensor], kind: str) -> None:
    """Raise CheckpointError, one line each, if names or shapes are not the network's, or a value is not finite."""
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
        raise CheckpointError("\n".join(f"{path}: not a {kind}: {line}" for line in [*lines[:MOST_LINES], *more]))


def _masks(path: Path, network: nn.Module, asked: Asked, told: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], float]:
    """What is left of each prunable weight, as a mask that the file holds says or else what is not zero, and the share that is
    gone."""
    masks = {name: told.get(name, weight.detach() != 0) for name, weight in prunable_weights(network).items()}
    if asked.granularity == "weight":
        kept, total = sum(int(mask.sum()) for mask in masks.values()), sum(mask.numel() for mask in masks.values())
        return masks, 1 - kept / total
    layout = Layout(network, asked.shape)
    # A filter is there or not: a weight of it that happens to be zero is none that was pruned.
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


def _or_by_filters(network: nn.Module, masks: dict[str, Tensor], asked: Asked) -> str:
    """What else the ratio may be a share of, where whole filters are zero."""
    if asked.granularity == "filter":
        return ""
    share = _share_of_filters(Layout(network, asked.shape), {name: _rows(mask) for name, mask in masks.items()})
    return f"; {share:.4f} of its filters are zero: granularity filter (--filters) takes the ratio for that" if share else ""


def _rows(mask: Tensor) -> Tensor:
    return mask.flatten(1).any(dim=1).view(-1, *[1] * (mask.dim() - 1)).expand_as(mask).clone()
