r"""Mixed precision: the bits of each layer, chosen greedily for the radius that smoothing certifies, under a budget.

All layers begin with the most bits of the candidates. Then, again and again, one layer goes down to its next candidate: the one
that loses the least average certified radius for each bit that is saved,

    max(ACR(b) - ACR(b'), 0) / (n_l (b_l - b'_l)),

where n_l are the layer's weights that are not zero. A step that gains, which is mostly noise, counts as one that loses nothing;
of equal ones the step that saves most goes first. That ends once the network is within the budget,
sum n_l b_l <= average sum n_l, in whole numbers. No step is taken back, so that the same bits for all layers may be better:
the most that the budget allows to all of them are taken, if their radius is larger. Where there is room left, layers go up
again for as long as one fits and gains, the one that gains most for each bit first.

The average certified radius is that of randomised smoothing (the verifier `smoothing`) on training images, with the same noise
for every choice of bits. It is noisy, and of images that the network has learned: what a network is worth, test images say.

Source: after Yang et al., "ARQ: A Mixed-Precision Quantization Framework for Accurate and Certifiably Robust DNNs",
arXiv 2410.24214, of which its abstract alone was read: it chooses the bits of layers by reinforcement learning, with the
average certified radius in the reward and the number of operations for a budget. The greedy choice, the budget of stored bits
and weights alone that are rounded are Sparrow's own.

BibTeX:

@misc{yang2024arq,
  author = {Yang, Yuchen and Ugare, Shubham and Zhao, Yifan and Singh, Gagandeep and Misailovic, Sasa},
  title = {{ARQ}: A Mixed-Precision Quantization Framework for Accurate and Certifiably Robust {DNNs}},
  year = {2024},
  eprint = {2410.24214},
  archiveprefix = {arXiv},
}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import cache, partial

import torch
from torch import nn

from sparrow import catalogue
from sparrow.data.store import Part
from sparrow.jobs import interruption, journal
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.rounding import rounded
from sparrow.reproducible import derive_seed
from sparrow.settings import Threat
from sparrow.stages.specs.quantise import MixedPrecision

Bits = tuple[int, ...]
"""Bits of each layer, in the network's order."""


def bits_of_layers(model: nn.Module, part: Part, classes: int, settings: MixedPrecision, seed: int) -> dict[str, int]:
    """Bits of each prunable weight of `model`, by name, chosen on the first images of `part`; its weights stay as they are.

    With an open journal, each choice that is tried is computed once. Raises SparrowError if images lie on no grid.
    """
    weights = prunable_weights(model)
    exact = {name: weight.detach().clone() for name, weight in weights.items()}
    sizes = [int(weight.count_nonzero()) for weight in exact.values()]
    at = cache(lambda name, bits: rounded(exact[name], bits))
    chosen_by = part.first(settings.images)

    def radius(bits: Bits) -> float:
        interruption.raise_if_requested()
        for (name, weight), own in zip(weights.items(), bits, strict=True):
            weight.data.copy_(at(name, own))
        found = average_certified_radius(model, chosen_by, classes, settings, seed)
        print(f"bits {' '.join(map(str, bits))}: average certified radius {found:.5f}", flush=True)
        return found

    def once(bits: Bits) -> float:
        return float(journal.compute_once(f"bits {bits}", partial(radius, bits)))

    try:
        found = choose(sizes, settings.candidates, settings.average_bits, once)
    finally:
        for name, weight in weights.items():
            weight.data.copy_(exact[name])
    return dict(zip(weights, found, strict=True))


def average_certified_radius(model: nn.Module, part: Part, classes: int, settings: MixedPrecision, seed: int) -> float:
    """Mean over the images of `part` of the certified l2 radius; 0 of one where the smoothed classifier abstains or is wrong.

    The noise is that of the seed: the same for any two networks.
    """
    smoothing, params = catalogue.from_spec("verifiers", {"kind": "smoothing", **settings.smoothing})
    generator = torch.Generator().manual_seed(derive_seed(seed, "mixed precision"))
    threat = Threat(norm="l2", eps=settings.sigma)
    predictions, margins = smoothing.certify(model, part.images, params, threat, classes, generator, part.white)
    # A margin is the radius less the one that the threat needs.
    radii = (margins.double() + threat.eps).clamp(min=0)
    return float(torch.where(predictions == part.labels, radii, 0.0).mean())


def choose(sizes: Sequence[int], candidates: Sequence[int], average: float, criterion: Callable[[Bits], float]) -> Bits:
    """Bits of layers with `sizes` weights, at most `average` of them for a weight; see above. Of a layer without any, the
    fewest.

    `criterion` says how good a choice is, and is asked once for each.
    """
    ladder, value = sorted(candidates), cache(criterion)
    allowed = Fraction(str(average)) * sum(sizes)
    bits = tuple(ladder[-1] if size else ladder[0] for size in sizes)

    def loss(after: Bits) -> tuple[float, int]:
        saved = stored(sizes, bits) - stored(sizes, after)
        return max(value(bits) - value(after), 0.0) / saved, -saved

    def gain(after: Bits) -> float:
        return (value(after) - value(bits)) / (stored(sizes, after) - stored(sizes, bits))

    # Of equal ones, all take the first.
    while stored(sizes, bits) > allowed:
        bits = min(_steps(sizes, bits, ladder, -1), key=loss)
    alike = max((own for own in ladder if own <= average), default=ladder[0])
    bits = max(bits, tuple(alike if size else ladder[0] for size in sizes), key=value)
    while fitting := [after for after in _steps(sizes, bits, ladder, 1) if stored(sizes, after) <= allowed]:
        best = max(fitting, key=gain)
        if gain(best) <= 0:
            break
        bits = best
    return bits


def stored(sizes: Sequence[int], bits: Bits) -> int:
    """Bits that all weights take together."""
    return sum(size * own for size, own in zip(sizes, bits, strict=True))


def _steps(sizes: Sequence[int], bits: Bits, ladder: Sequence[int], by: int) -> Iterator[Bits]:
    """The bits of all layers once one of them, which has weights, has its next candidate; for each that has one."""
    for place, size in enumerate(sizes):
        there = ladder.index(bits[place]) + by
        if size and 0 <= there < len(ladder):
            yield (*bits[:place], ladder[there], *bits[place + 1 :])
