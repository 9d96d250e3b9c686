"""What a method's own file gives back, checked in the order in which it is asked for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sparrow.errors import SparrowError
from sparrow.pruning.pruner import Masks, Pruner, Weights
from sparrow.training.checked_result import described


def require_pruner(pruner: object, name: str) -> Pruner:
    """`pruner`, once it is known to be one. Raises SparrowError, naming the entry `name`."""
    if not isinstance(pruner, Pruner):
        raise SparrowError(f"{name}: prepare gives {described(pruner)}, expected a sparrow.pruning.pruner.Pruner")
    return pruner


def require_tensors(optimised: object, name: str) -> list[Tensor]:
    """What `start` gave, once it is known to be tensors. Raises SparrowError, naming the entry `name`."""
    if not isinstance(optimised, list | tuple) or not all(isinstance(one, Tensor) for one in optimised):
        raise SparrowError(f"{name}: start gives {described(optimised)}, expected a list of the tensors to optimise, or []")
    return list(optimised)


def require_masks(masks: object, weights: Weights, name: str) -> Masks:
    """What `end` gave, detached, once it is known to be a bool tensor of its weight's shape for each name.

    Raises SparrowError, naming the entry `name`. Whether every weight has one is for `_mask_check` to say.
    """
    if not isinstance(masks, Mapping):
        raise SparrowError(f"{name}: end gives {described(masks)}, expected a dict of masks by weight's name")
    for key, mask in masks.items():
        like = weights.get(key)
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or (like is not None and mask.shape != like.shape):
            expected = "a bool tensor" if like is None else f"a tensor {tuple(like.shape)} of bool"
            raise SparrowError(f"{name}: end gives {described(mask)} for {key}, expected {expected}")
    return {key: mask.detach() for key, mask in masks.items()}
