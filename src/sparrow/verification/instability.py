"""How often each neuron of a network is unstable, and how large its input is."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError
from sparrow.networks.grafting import relu_inputs
from sparrow.settings import Threat
from sparrow.verification import guard
from sparrow.verification.crown import at_a_time, input_ranges
from sparrow.verification.memory import in_parts, memory_limited


class Instability(NamedTuple):
    """Of all ReLU layers, by name in the order in which they are run."""

    unstable: dict[str, Tensor]
    """On how many images (*neurons) a neuron's input may have either sign, as far as CROWN can tell."""
    magnitudes: dict[str, Tensor]
    """Mean absolute input (*neurons) on the images as they are."""
    images: int
    """How many images were bounded: those whose bounds fit into memory."""


def instability(
    model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, classes: int, batch_size: int, memory_mb: int | None
) -> Instability:
    """Of `model` in eval mode on `images` (n, c, h, w), at most `batch_size` at a time and in at most `memory_mb` MiB.

    Fewer at a time where each takes long: what is finished is in the journal.
    Raises NetworkError if the ReLUs that are bounded are not those of its layers, or if no image's bounds fit into memory.
    """
    unstable: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}
    counted = 0

    def work(part: Tensor) -> list[tuple[str, Tensor, Tensor]]:
        inputs = list(relu_inputs(model, images[part]))
        ranges = input_ranges(model, images[part], labels[part], threat, classes)
        if [given.shape for _, given in inputs] != [lower.shape for lower, _ in ranges] or any(
            guard.out_of_range(lower, upper, given) for (_, given), (lower, upper) in zip(inputs, ranges, strict=True)
        ):
            raise NetworkError("it runs other ReLUs than its layers have; only modules, torch.nn.ReLU, can be found")
        return [
            (name, ((lower < 0) & (upper > 0)).sum(0), given.abs().sum(0))
            for (name, given), (lower, upper) in zip(inputs, ranges, strict=True)
        ]

    def accept(part: Tensor, done: list[tuple[str, Tensor, Tensor]]) -> None:
        nonlocal counted
        counted += len(part)
        for name, count, total in done:
            unstable[name] = unstable.get(name, 0) + count
            sums[name] = sums.get(name, 0) + total

    size = min(batch_size, at_a_time(model, images[:1], classes) or batch_size)
    with memory_limited(memory_mb):
        in_parts(work, accept, torch.arange(len(images), device=images.device), size, "grafting")
    if not counted:
        raise NetworkError("which of its neurons are unstable is not known: no bound fits into memory; raise memory_mb")
    return Instability(unstable, {name: total / counted for name, total in sums.items()}, counted)
