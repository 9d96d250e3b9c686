"""Weights and masks as torch.nn.utils.prune stores them.

Source: PyTorch, torch/nn/utils/prune.py: `weight_orig`, a parameter, times `weight_mask`, a buffer, is the weight.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sparrow.errors import CheckpointError
from sparrow.exchange.plain_tensors import MASK

ORIGINAL = "_orig"


def apply_masks(path: Path, found: dict[str, Tensor], notes: list[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors, with `weight` in place of `weight_orig` and `weight_mask`, and the masks (bool) by the weight's name.

    Raises CheckpointError for one without the other, for a mask of another shape or with
    values other than 0 and 1, and for a stored weight that is not the product.
    """
    names = {name.removesuffix(ORIGINAL) for name in found if name.endswith(ORIGINAL)}
    names |= {name.removesuffix(MASK) for name in found if name.endswith(MASK)}
    result = {name: tensor for name, tensor in found.items() if not name.endswith((ORIGINAL, MASK))}
    masks = {}
    for name in sorted(names):
        if missing := [f"{name}{end}" for end in (ORIGINAL, MASK) if f"{name}{end}" not in found]:
            there = MASK if missing == [f"{name}{ORIGINAL}"] else ORIGINAL
            raise CheckpointError(f"{path}: {missing[0]} is missing, of which {name}{there} is the other factor")
        weight, mask = found[f"{name}{ORIGINAL}"], found[f"{name}{MASK}"]
        if mask.shape != weight.shape or not ((mask == 0) | (mask == 1)).all():
            values = "of other values than 0 and 1" if mask.shape == weight.shape else f"{tuple(mask.shape)}"
            raise CheckpointError(f"{path}: {name}{MASK} is {values}; valid: 0 or 1 for each of {tuple(weight.shape)} weights")
        masks[name] = mask != 0
        product = weight * masks[name]
        if name in result and not torch.equal(result[name], product):
            raise CheckpointError(
                f"{path}: {name} is there, and is not {name}{ORIGINAL} times {name}{MASK}; leave out what is old"
            )
        result[name] = product
    if masks:
        notes.append(f"{len(masks)} weights times their masks (torch.nn.utils.prune)")
    return result, masks
