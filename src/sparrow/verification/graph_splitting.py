"""Bounds by beta-CROWN under splits on networks that have a graph: each domain is a row with lines of its own."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from sparrow.jobs.costs import METER
from sparrow.settings import Threat
from sparrow.verification import guard
from sparrow.verification.back_substitution import Ball, Lines, Route, Rows
from sparrow.verification.crown import LR_DECAY, TOGETHER, Ranges, Slopes, optimised, room
from sparrow.verification.graph import Graph, Relu
from sparrow.verification.splitting import LR_BETA, Domains, Splitting, without_nan


class GraphSplitting(Splitting):
    """Bounds on a graph, which get tighter with what is paid for them: by CROWN at first."""

    only_relus = True

    def __init__(
        self,
        graph: Graph,
        image: Tensor,
        label: int,
        threat: Threat,
        classes: int,
        iterations: int,
        lr: float,
        end: float = math.inf,
    ) -> None:
        """At `end` (as `time.monotonic` has it) all optimisation stops, and its bounds are those that there are.

        Raises OutOfTime if there are none by then, and NetworkError if a point of the perturbation set refutes a range.
        """
        super().__init__(image, label, classes)
        self._graph, self._slopes, self._end = graph, Slopes(iterations, lr), end
        self._relus = [place for place, node in enumerate(graph) if isinstance(node.operation, Relu)]
        self._route = Route(graph, len(graph) - 1)
        with torch.no_grad():
            self._points = [image.detach(), *guard.random_points(image, threat)]
            self._crown = Ranges(graph, Ball.of(image.detach(), threat), end)
            self._crown.hold(self._points)
            self._bounds([rows.bounds() for rows in self._crown.rows(self.specification.unsqueeze(0))])

    def _bounds(self, found: list[Tensor]) -> None:
        """Take over bounds on the margins, where they are larger than those that there are, and the ranges."""
        new = without_nan(torch.cat(found))
        self.margins = torch.maximum(self.margins, new) if hasattr(self, "margins") else new
        entering = [self._crown.entering(place) for place in self._relus]
        self.ranges = [(without_nan(lower.flatten()), without_nan(upper.flatten())) for lower, upper in entering]

    @torch.no_grad()
    def optimise(self) -> None:
        """Optimise the slopes of the margins' bounds, under the ranges that there are."""
        METER.add(self._slopes.iterations - 1)
        rows = self._crown.rows(self.specification.unsqueeze(0))
        self._bounds([optimised(some, self._slopes, end=self._end) for some in rows])

    @torch.no_grad()
    def tighten(self) -> None:
        """Optimise the slopes of each range's bounds, then those of the margins' once more."""
        self._crown = self._crown.tightened(torch.tensor([0], device=self._image.device), self._slopes)
        self._crown.hold(self._points)
        self.optimise()

    @torch.no_grad()
    def bound(self, domains: Domains) -> Domains:
        """The same domains with bounds, slopes, multipliers and choices optimised under their signs."""
        if not self._relus:
            return domains
        size = max(1, room(TOGETHER, domains.rows) // self._route.row_size())
        found: Domains | None = None
        for some in torch.arange(len(domains), device=domains.rows.device).split(size):
            part = self._optimised(domains.take(some))
            found = part if found is None else found.join(part)
        return domains if found is None else found

    def _optimised(self, domains: Domains) -> Domains:
        """As `bound`, for a batch."""
        METER.add((self._slopes.iterations - 1) * len(domains))
        lines, begin, signs, betas = {}, {}, {}, {}
        parts = zip(self._relus, domains.signs, domains.alphas, domains.betas, self.ranges, strict=True)
        for place, sign, alpha, beta, (lower, upper) in parts:
            shape = (len(domains), *self._graph[place].shape)
            clipped = torch.where(sign > 0, lower.clamp_min(0), lower), torch.where(sign < 0, upper.clamp_max(0), upper)
            lines[place] = Lines.between(*(side.view(shape) for side in clipped))
            begin[place], betas[place] = alpha.view(shape), beta.view(shape).clone()
            signs[place] = sign.view(shape).to(beta.dtype)
        every = torch.arange(len(domains), device=domains.rows.device)
        rows = Rows(self._route, self._crown.ball, lines, every, None, self.specification[domains.rows])
        slopes = rows.slopes(begin)
        best = self._ascended(rows, slopes, betas, signs)
        alphas = [slopes[place].flatten(1) for place in self._relus]
        coefficients = [rows.coefficients[place].flatten(1) for place in self._relus]
        # A bound that was proved for a domain holds for its parts.
        bounds = torch.maximum(without_nan(best), domains.bounds)
        choices = self.choices(domains.signs, alphas, coefficients)
        multipliers = [betas[place].flatten(1) for place in self._relus]
        return Domains(domains.rows, domains.signs, alphas, multipliers, bounds, choices)

    def _ascended(self, rows: Rows, slopes: dict[int, Tensor], betas: dict[int, Tensor], signs: dict[int, Tensor]) -> Tensor:
        """The best bounds (n,) while slopes and multipliers are optimised, in place; the last ones' coefficients are kept."""
        groups: list[dict[str, Any]] = [
            {"params": list(slopes.values()), "lr": self._slopes.lr},
            {"params": list(betas.values()), "lr": LR_BETA},
        ]
        adam = torch.optim.Adam(groups, maximize=True, fused=True)
        best = rows.bounds(slopes, _signed(betas, signs), keep=True)
        for _ in range(1, self._slopes.iterations):
            if (best > 0).all() or time.monotonic() > self._end:
                break
            gradients, entering = rows.gradients(slopes, inputs=True)
            for place in slopes:
                slopes[place].grad = gradients[place]
                betas[place].grad = (-signs[place] * entering[place]).contiguous()
            adam.step()
            for place in slopes:
                slopes[place].clamp_(0, 1)
                betas[place].clamp_(min=0)
            for group in adam.param_groups:
                group["lr"] *= LR_DECAY
            best = torch.maximum(best, rows.bounds(slopes, _signed(betas, signs), keep=True))
        return best


def _signed(betas: dict[int, Tensor], signs: dict[int, Tensor]) -> dict[int, Tensor]:
    """Multipliers times the signs of what they constrain."""
    return {place: beta * signs[place] for place, beta in betas.items()}
