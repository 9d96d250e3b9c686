"""Bounds by beta-CROWN on one image's margins with the signs of some ReLUs' inputs fixed, and the ReLU to fix next.

A ReLU whose input may have either sign is unstable; its relaxation is what makes bounds loose. Once its sign is fixed, the
relaxation is gone, and the sign is a constraint on the image. A multiplier beta >= 0 for each such constraint,
optimised together with the slopes alpha, brings it into the bound.

Source: Wang et al., "Beta-CROWN: Efficient Bound Propagation with Per-neuron Split Constraints for Neural Network
Robustness Verification", NeurIPS 2021, theorem 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError
from sparrow.networks.live_view import live_view
from sparrow.verification.bounds import margin_matrix

LR_BETA = 0.05
"""Learning rate of the multipliers, as in auto_LiRPA."""
TIE = 1e-6
"""Weight of the lower line's cost, which only breaks ties."""


def without_nan(bounds: Tensor) -> Tensor:
    """`bounds`. Raises NetworkError if one is NaN, for which every comparison would give the wrong answer."""
    if bounds.isnan().any():
        raise NetworkError("branch-and-bound gave a bound that is not a number")
    return bounds


@dataclass(frozen=True)
class Domains:
    """Parts (n) of the perturbation set, each with the class against which it is to be verified."""

    rows: Tensor
    """Rows (n,) of the specification: the class against which each domain is to be verified."""
    signs: list[Tensor]
    """For each ReLU layer (n, neurons): 1 where its input is constrained to be positive, -1 where negative, 0 where free."""
    alphas: list[Tensor]
    """Slopes (n, neurons) with which the optimisation starts."""
    betas: list[Tensor]
    """Multipliers (n, neurons) with which the optimisation starts."""
    bounds: Tensor
    """Lower bounds (n,) on the margins."""
    choices: Tensor
    """The ReLUs (n,) to fix next, counted over all layers; -1 where none is unstable."""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: Tensor) -> Domains:
        """The domains at the positions `which`."""
        signs, alphas, betas = ([layer[which] for layer in layers] for layers in (self.signs, self.alphas, self.betas))
        return Domains(self.rows[which], signs, alphas, betas, self.bounds[which], self.choices[which])

    def join(self, other: Domains) -> Domains:
        """These domains, then the others."""
        pairs = ((self.signs, other.signs), (self.alphas, other.alphas), (self.betas, other.betas))
        signs, alphas, betas = ([torch.cat(layers) for layers in zip(*pair, strict=True)] for pair in pairs)
        bounds, choices = torch.cat((self.bounds, other.bounds)), torch.cat((self.choices, other.choices))
        return Domains(torch.cat([self.rows, other.rows]), signs, alphas, betas, bounds, choices)

    def split(self) -> Domains:
        """Two domains (2 n) for each: first all with the chosen ReLU's input positive, then all with it negative."""
        pair = self.join(self)
        sign = torch.ones_like(pair.rows)
        sign[len(self) :] = -1
        start, signs = 0, []
        for layer in pair.signs:
            local = pair.choices - start
            here = (local >= 0) & (local < layer.shape[1])
            fixed = layer.clone()
            fixed[here.nonzero().squeeze(1), local[here]] = sign[here].to(layer.dtype)
            signs.append(fixed)
            start += layer.shape[1]
        return Domains(pair.rows, signs, pair.alphas, pair.betas, pair.bounds, pair.choices)


def split_network(model: nn.Module, image: Tensor) -> nn.Module:
    """The network whose ReLUs are split to bound `model` at an image (1, c, h, w): without the units that cannot matter."""
    return live_view(model, image.shape[1:])


class Splitting:
    """Bounds on the margins of one image (1, c, h, w), of class `label`, under splits.

    `margins` (classes - 1,) are the bounds without splits; `only_relus`: whether ReLUs are the only non-linear operations;
    `ranges`: lower and upper bounds (neurons,) on the input of each ReLU layer.
    """

    margins: Tensor
    only_relus: bool
    ranges: list[tuple[Tensor, Tensor]]

    def __init__(self, image: Tensor, label: int, classes: int) -> None:
        self._image = image
        self.specification = margin_matrix(torch.tensor([label], device=image.device), classes)[0]

    def unstable(self, signs: list[Tensor]) -> list[Tensor]:
        """For each layer, whether its ReLUs (n, neurons) are still unstable."""
        return [(sign == 0) & (lower < 0) & (upper > 0) for sign, (lower, upper) in zip(signs, self.ranges, strict=True)]

    def active(self, signs: list[Tensor]) -> list[Tensor]:
        """For each layer, whether its ReLUs (neurons,) have positive inputs, in a domain where none is unstable."""
        return [(sign > 0) | ((sign == 0) & (lower >= 0)) for sign, (lower, _) in zip(signs, self.ranges, strict=True)]

    def root(self, rows: Tensor) -> Domains:
        """Domains (n) of the whole perturbation set, one for each row of the specification in `rows` (n,)."""
        sizes = [lower.numel() for lower, _ in self.ranges]
        device = self._image.device
        signs = [torch.zeros(len(rows), size, dtype=torch.int8, device=device) for size in sizes]
        free = [torch.zeros(len(rows), size, device=device) for size in sizes]
        alphas = [
            (upper > -lower).to(torch.float).expand(len(rows), -1).clone() for lower, upper in self.ranges
        ]  # CROWN's own slopes.
        return self.bound(Domains(rows, signs, alphas, free, self.margins[rows], torch.full_like(rows, -1)))

    def bound(self, domains: Domains) -> Domains:
        """The same domains with bounds, slopes, multipliers and choices optimised under their signs."""
        raise NotImplementedError

    def choices(self, signs: list[Tensor], alphas: list[Tensor], coefficients: list[Tensor]) -> Tensor:
        """The unstable ReLU (n,) whose relaxation's upper line loosens the bound most, by coefficient times intercept; or -1.

        The lower line, whose slope has been optimised, only breaks ties. (On digits, counting it in full takes 2 to 30 times
        as many domains.) All are lists over layers; the ReLUs' outputs have the `coefficients` (n, neurons) in the bounds.
        """
        scores = []
        for rows, alpha, open_, (lower, upper) in zip(coefficients, alphas, self.unstable(signs), self.ranges, strict=True):
            above = upper * -lower / (upper - lower).clamp_min(1e-12)
            below = torch.maximum(alpha * -lower, (1 - alpha) * upper)
            gaps = torch.where(rows < 0, above, TIE * below) * rows.abs()
            scores.append(torch.where(open_, gaps.clamp_min(0), -1.0))
        best = torch.cat(scores, dim=1).max(dim=1)
        return torch.where(best.values >= 0, best.indices, -1)
