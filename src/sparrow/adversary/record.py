"""The point of smallest margin that the searches of an attack have evaluated for each image."""

from __future__ import annotations

import torch
from torch import Tensor


class Record:
    """The points of smallest margin evaluated inside the balls: `points` (n, c, h, w), at first the images, and `margins` (n,).

    `zero_gradient` (n,) is True where every search had a gradient of exactly 0 at its start. `places` are the indices, among
    these n images, of those that the search has which the record was given to.
    """

    def __init__(self, images: Tensor, margins: Tensor) -> None:
        self.points, self.margins = images.clone(), margins.clone()
        self.zero_gradient = torch.ones_like(margins, dtype=torch.bool)
        self.places = torch.arange(len(margins), device=margins.device)

    def at(self, which: Tensor) -> Record:
        """The same record, for a search that has only the images `which` (indices or booleans)."""
        part = object.__new__(Record)
        part.__dict__.update(vars(self), places=self.places[which])
        return part

    def note_start(self, gradient: Tensor) -> None:
        """Note the gradients (rows, c, h, w) with which a search of all its images starts: of the first copy of each, then of
        the second of each, and so on."""
        self.zero_gradient[self.places] &= ~gradient.flatten(1).any(dim=1).view(-1, len(self.places)).any(dim=0)

    def note(self, places: Tensor, points: Tensor, margins: Tensor) -> None:
        """Keep the points in the balls of the search's images `places` (k,) that have smaller margins than those before.

        There may be several of each image, as in `note_start`: `points` (rows, c, h, w) and `margins` (rows,), rows a multiple
        of k. The smallest margin counts; of equal ones, the first.
        """
        if not len(places):
            return
        mine = self.places[places]
        lowest, copy = margins.view(-1, len(places)).min(dim=0)
        better = (lowest < self.margins[mine]).nonzero().squeeze(1)
        if len(better):
            self.margins[mine[better]] = lowest[better]
            self.points[mine[better]] = points[copy[better] * len(places) + better]
