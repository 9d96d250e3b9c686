"""The mean and deviation by which a third party's network normalises its images: found, and folded into the first layer.

Networks here take images in [0, 1], the units in which attacks and bounds count.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparrow.errors import CheckpointError
from sparrow.exchange.printable import printable
from sparrow.networks.normalise_layer import Normalise
from sparrow.networks.prunable import PRUNABLE

MEANS, DEVIATIONS = ("mean", "mu", "means"), ("std", "sigma", "stds")
DEEPEST = 3
WORDS = ("norm", "transform", "process", "image", "input", "data")
"""A single mean and deviation count only under a key with one of these words: others may be of a loss or an accuracy."""
SAME = 1e-9
"""Largest difference of two double-precision results of one computation, relative to the largest result."""


@dataclass(frozen=True)
class Normalisation:
    """(images - mean) / deviation, with one number each or one for each channel; `place` is where they were found, in words."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    place: str

    @property
    def is_neutral(self) -> bool:
        """Whether mean 0 and deviation 1, so that images stay as they are."""
        return set(self.mean) == {0.0} and set(self.deviation) == {1.0}

    def agrees(self, other: Normalisation) -> bool:
        """Whether `other` is the same but for rounding to single precision."""
        for mine, theirs in ((self.mean, other.mean), (self.deviation, other.deviation)):
            count = max(len(mine), len(theirs))
            wide = zip(mine * (count // len(mine)), theirs * (count // len(theirs)), strict=False)
            if any(abs(a - b) > 1e-6 * max(1, abs(a)) for a, b in wide) or count % len(mine) or count % len(theirs):
                return False
        return True

    def __str__(self) -> str:
        mean, deviation = (", ".join(f"{value:g}" for value in values) for values in (self.mean, self.deviation))
        return f"mean {mean}, deviation {deviation}, from {self.place}"


def stated_beside(content: Any, place: str = "", depth: int = 0) -> Normalisation | None:
    """The normalisation that a file states outside its state dict, in plain values or small tensors; None if it states none."""
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return None
    named = {str(key).lower(): value for key, value in content.items()}
    mean, deviation = (next((named[key] for key in keys if key in named), None) for keys in (MEANS, DEVIATIONS))
    if (mean := _numbers(mean)) and (deviation := _numbers(deviation)) and _is_of_images(mean, deviation, place):
        return Normalisation(mean, deviation, f"its key {printable(place)!r}" if place else "its top")
    inner = (stated_beside(value, f"{place}.{key}" if place else str(key), depth + 1) for key, value in content.items())
    return next(filter(None, inner), None)


def unclear_statements(content: Any, place: str = "", depth: int = 0) -> list[str]:
    """A line for each key that names a normalisation, but whose value is no mean and deviation, such as a data set's name."""
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return []
    lines = []
    for key, value in content.items():
        where = f"{place}.{key}" if place else str(key)
        plain = isinstance(value, str | Real | list | tuple | Mapping) and bool(value)
        if plain and any(word in str(key).lower() for word in ("normaliz", "normalis")):
            lines.append(f"its key {printable(where)!r} says {printable(value)}, of which nothing is taken over")
        else:
            lines += unclear_statements(value, where, depth + 1)
    return lines


def extract_layer(
    path: Path, found: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], Normalisation | None]:
    """The tensors without those of a normalising layer that the network lacks, and that layer's normalisation; None if none."""
    layers = {name: tensor for name, tensor in found.items() if name.split(".")[-1] in MEANS + DEVIATIONS and name not in own}
    if not layers:
        return dict(found), None
    values = {name: numbers for name, tensor in layers.items() if (numbers := _numbers(tensor)) is not None}
    means = [name for name in layers if name.split(".")[-1] in MEANS]
    deviations = [name for name in layers if name not in means]
    place = " and ".join(layers)
    if len(means) > 1 or len(deviations) > 1 or len(values) < len(layers):
        raise CheckpointError(f"{path}: normalises its images by {place}, which are not one mean and one deviation")
    mean, deviation = (values[names[0]] if names else (other,) for names, other in ((means, 0.0), (deviations, 1.0)))
    return {name: tensor for name, tensor in found.items() if name not in layers}, Normalisation(mean, deviation, place)


def fold_into_first_layer(
    path: Path, network: nn.Module, normalisation: Normalisation, shape: tuple[int, int, int], has_place: bool = False
) -> str:
    """Change the first layer of `network` so that it takes images (channels, height, width) in [0, 1]; returns a line on that.

    w (x - m) / s + b is (w / s) x + (b - w m / s). A convolution that pads uses zeros after the normalisation, for which no
    bias can compensate: logits of both forms are compared on random images. A network with a normalising layer of its own
    must have the same numbers there; `has_place` is whether its kind can have one. Raises CheckpointError.
    """
    for layer in network.modules():
        if isinstance(layer, Normalise):
            if not normalisation.agrees(Normalisation(tuple(layer.mean), tuple(layer.std), "")):
                raise CheckpointError(
                    f"{path}: normalises its images ({normalisation}); the model's `normalise` says otherwise"
                )
            return f"normalises its images ({normalisation}), as the model's `normalise` does"
    if normalisation.is_neutral:
        return f"{normalisation}: left out, it changes nothing"
    channels, names = shape[0], [name for name, module in network.named_modules() if isinstance(module, PRUNABLE)]
    counts = {len(normalisation.mean), len(normalisation.deviation)}
    if not counts <= {1, channels} or not all(value > 0 for value in normalisation.deviation):
        raise CheckpointError(f"{path}: normalises its images ({normalisation}), which are no numbers for {channels} channels")
    as_it_was, changed = copy.deepcopy(network).double(), copy.deepcopy(network).double()
    mean, deviation = (
        torch.tensor(values, dtype=torch.float64).expand(channels) for values in (normalisation.mean, normalisation.deviation)
    )
    first = changed.get_submodule(names[0]) if names else None
    if isinstance(first, PRUNABLE) and first.bias is not None and first.weight.shape[1] % channels == 0:
        _scale(first.weight, first.bias, mean, deviation)
    images = torch.rand(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = as_it_was((images - mean.view(-1, 1, 1)) / deviation.view(-1, 1, 1))
        same = (changed(images) - expected).abs().max() <= SAME * expected.abs().max().clamp_min(1)
    if not same:
        cure = "give the model these numbers as `normalise: {mean: [...], std: [...]}`" if has_place else "import one without"
        raise CheckpointError(
            f"{path}: normalises its images ({normalisation}), and networks here take images in [0, 1] as they are. The first "
            f"layer of this one cannot take that over ({_obstacle(first)}): {cure}; or, if it was trained without, save its "
            "state dict by itself"
        )
    network.load_state_dict(changed.state_dict())
    return f"normalises its images ({normalisation}): taken into the weights and the bias of {names[0]}"


def _scale(weight: Tensor, bias: Tensor, mean: Tensor, deviation: Tensor) -> None:
    """Change a layer's weight and bias, in place, so that it normalises its inputs."""
    # Of a linear layer, the inputs are the pixels of the first channel, then those of the next.
    repeats = weight.shape[1] // len(mean)
    shape = (1, -1, *[1] * (weight.dim() - 2))
    scaled = weight.detach() / deviation.repeat_interleave(repeats).view(shape)
    bias.data -= (scaled * mean.repeat_interleave(repeats).view(shape)).flatten(1).sum(dim=1)
    weight.data = scaled


def _obstacle(layer: nn.Module | None) -> str:
    """Why the layer cannot normalise its inputs by itself."""
    if layer is None or layer.bias is None:
        return "it has no bias"
    return "it pads them with zeros" if any(getattr(layer, "padding", ())) else "it does not see them as they are"


def _is_of_images(mean: tuple[float, ...], deviation: tuple[float, ...], place: str) -> bool:
    several = len(mean) > 1 or len(deviation) > 1
    return several or not place or any(word in place.lower() for word in WORDS)


def _numbers(value: Any) -> tuple[float, ...] | None:
    """One to eight finite numbers, below 10^6 in size; None for anything else."""
    if isinstance(value, Tensor) and value.numel() <= 8 and not value.is_complex() and not value.is_meta:
        value = value.flatten().tolist()
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not 0 < len(values) <= 8 or not all(isinstance(one, Real) and one < 1e6 and not one <= -1e6 for one in values):
        return None
    return tuple(float(one) for one in values)
