"""A check that a network of an entry takes the images of its data set and tells as many classes apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sparrow.errors import SparrowError
from sparrow.networks.modes import eval_mode


def require_fit(model: nn.Module, shape: tuple[int, int, int], classes: int, name: str) -> None:
    """Raise SparrowError, naming the entry `name`, unless `model` gives logits (n, classes) of images (n, *shape).

    Nobody else's random numbers are used up, and modes stay.
    """
    for parameter, value in model.named_parameters():
        if is_lazy(value):
            raise SparrowError(f"{name}: {parameter} has no size before the first image; give its layer one in `build`")
    size = " x ".join(map(str, shape))
    with torch.random.fork_rng(devices=[]), torch.no_grad(), eval_mode(model):
        try:
            logits = model(torch.zeros(2, *shape))
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise SparrowError(f"{name}: cannot take images of {size}: {str(error).splitlines()[0]}") from error
    if not isinstance(logits, Tensor) or logits.shape != (2, classes):
        found = f"a tensor {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise SparrowError(f"{name}: gives {found} for 2 images of {size}; valid: logits (2, {classes}), one a class")
