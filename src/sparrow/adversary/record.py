"""The point of smallest margin that the searches of an attack have evaluated for each image."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.adversary.margin import margin


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
        """Note the gradient (n, c, h, w) with which a search of all its images starts."""
        self.zero_gradient[self.places] &= ~gradient.flatten(1).any(dim=1)

    def note(self, places: Tensor, points: Tensor, margins: Tensor) -> None:
        """Keep points (k, c, h, w) in the balls of the search's images `places` (k,) where their margins (k,) are smaller."""
        mine = self.places[places]
        better = margins < self.margins[mine]
        if bool(better.any()):
            self.margins[mine[better]] = margins[better]
            self.points[mine[better]] = points[better]

    def note_logits(self, places: Tensor, points: Tensor, output: Tensor, labels: Tensor) -> None:
        """As `note`, with the margins that follow from the logits `output` (k, classes) of the points and their labels (k,)."""
        self.note(places, points, margin(output, labels))
