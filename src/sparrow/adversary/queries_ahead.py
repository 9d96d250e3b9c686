"""Random search that evaluates several of each image's next queries at once, where few images are left to fill a batch.

The change that a query proposes is known beforehand, and few are accepted. So an image's next queries are all evaluated at the
point that it has; the first that is better is accepted, and those behind it, which would have met another point, are evaluated
again. What is found is what one query after the other finds, but for rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparrow.adversary.batches import logits
from sparrow.adversary.margin import margin
from sparrow.adversary.record import Record
from sparrow.adversary.search import confirmed
from sparrow.adversary.survivors import Survivors


class Proposals(NamedTuple):
    """What each query changes, the same in all images: a window, to the image plus this change, clipped to [0, 1]."""

    rows: Tensor
    """Which rows (queries, 1, h, 1) are inside the window."""
    columns: Tensor
    """Which columns (queries, 1, 1, w) are."""
    change: Tensor
    """The change (queries, c, 1, 1) of each channel."""

    def of(self, queries: Tensor, points: Tensor, centre: Tensor) -> Tensor:
        """The candidates (n, k, c, h, w) of the next `queries` (n, k) of `points` around the images `centre` (n, c, h, w)."""
        inside = self.rows[queries] & self.columns[queries]
        changed = (centre.unsqueeze(1) + self.change[queries]).clamp_(0, 1)
        return torch.where(inside, changed, points.unsqueeze(1))


@dataclass
class _Walk(Survivors):
    """The state of the search of each image."""

    centre: Tensor
    """The images (n, c, h, w)."""
    point: Tensor
    """The points (n, c, h, w) of smallest margin so far."""
    margin: Tensor
    """Their margins (n,)."""
    query: Tensor
    """Queries (n,) that have been answered."""


def search_ahead(
    model: nn.Module,
    points: Tensor,
    images: Tensor,
    labels: Tensor,
    proposals: Proposals,
    batch: int,
    record: Record | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield places (k,) of images as soon as they are misclassified, with these adversarial images (k, c, h, w).

    The search begins at `points` (n, c, h, w), and evaluates up to `batch` candidates at once. `record`, if given, notes where
    it ends.
    """
    total = len(proposals.rows)
    margins = margin(logits(model, points), labels)
    now = _Walk(labels=labels, centre=images, point=points, margin=margins, query=torch.zeros_like(labels))
    changed = torch.ones_like(labels, dtype=torch.bool)
    while True:
        done = confirmed(model, now.point, now.labels, changed & (now.margin <= 0))
        if bool(done.any()):
            yield now.places[done], now.point[done]
        ended = ~done & (now.query >= total)
        if record is not None and bool(ended.any()):
            # A change is accepted only if the margin is smaller: these are the smallest of the search.
            record.note(now.places[ended], now.point[ended], now.margin[ended])
        now.keep(~(done | ended))
        if not len(now):
            return
        ahead = max(batch // len(now), 1)
        queries = now.query.unsqueeze(1) + torch.arange(ahead, device=labels.device)
        candidates = proposals.of(queries.clamp_max(total - 1), now.point, now.centre).flatten(0, 1)
        margins = margin(logits(model, candidates), now.labels.repeat_interleave(ahead)).view(-1, ahead)
        better = (margins < now.margin.unsqueeze(1)) & (queries < total)
        # Of those that are better, the first.
        changed, first = better.any(dim=1), better.int().argmax(dim=1)
        chosen = torch.arange(len(now), device=labels.device) * ahead + first
        now.point = torch.where(changed.view(-1, 1, 1, 1), candidates[chosen], now.point)
        now.margin = torch.where(changed, margins.flatten()[chosen], now.margin)
        now.query = now.query + torch.where(changed, first + 1, ahead)
