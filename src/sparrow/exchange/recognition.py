"""The accuracy of an imported network on validation images, and hints on the cause if it is near chance."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparrow.data.store import Header, Part
from sparrow.networks.batched import predict

MOST_IMAGES = 500
BATCH = 100
NEAR_CHANCE = 1 / 8
"""A network whose accuracy is above chance by at most this share of what is left to 1 was hardly trained on such data."""
MUCH_BETTER = 0.1


class Recognition(NamedTuple):
    """Lines about a network's accuracy on validation images, and a warning; empty if it recognises them."""

    lines: list[str]
    warning: str


def recognise(network: nn.Module, validation: Part, about: Header) -> Recognition:
    """The accuracy of `network`, on the CPU, on at most 500 validation images, evenly spread, and a warning if it is low.

    It is also evaluated on the images normalised by their own mean and deviation, and with the classes sorted by their names as
    text: if that is much better, the warning says so.
    """
    places = torch.arange(0, len(validation), -(-len(validation) // MOST_IMAGES))
    images, labels = validation.drawn(places), validation.labels[places]
    correct, chance = _accuracy(network, images, labels), labels.bincount().max().item() / len(labels)
    found = f"{correct:.4f} of {len(labels)} validation images classified rightly (the largest class is {chance:.4f} of them)"
    logits = [f"logits, in their order: {', '.join(about.names)}"] if about.names else []
    hints = _hints(network, images, labels, about, correct)
    if correct > chance + NEAR_CHANCE * (1 - chance) and not hints:
        return Recognition([found, *logits], "")
    usual = "does it expect normalised images, other classes or another order of classes? (docs/exchange.md)"
    reason = "; ".join(hints) or f"near chance: {usual}"
    return Recognition([found, *logits], f"{found}: {reason}")


def _hints(network: nn.Module, images: Tensor, labels: Tensor, about: Header, correct: float) -> list[str]:
    """Changes under which the network recognises many more images, in words."""
    mean, deviation = images.mean(dim=(0, 2, 3), keepdim=True), images.std(dim=(0, 2, 3), keepdim=True)
    normalised = _accuracy(network, (images - mean) / deviation.clamp_min(1e-6), labels)
    hints = []
    if normalised > correct + MUCH_BETTER:
        hints.append(f"{normalised:.4f} if the images were normalised, so it expects a normalisation")
    texts = sorted(about.names)
    if texts != list(about.names):
        other = torch.tensor([texts.index(name) for name in about.names])
        in_texts = _accuracy(network, images, other[labels])
        if in_texts > correct + MUCH_BETTER:
            hints.append(f"{in_texts:.4f} if the classes were in the order of their names as text: `class_order: string`")
    return hints


def _accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    return (predict(network, images, BATCH) == labels).float().mean().item()
