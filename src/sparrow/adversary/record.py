"""What the searches of an attack have seen of each image, whether they broke it or not."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.adversary.margin import margin


class Record:
    """The points of smallest margin seen inside the ball: `points` (n, c, h, w), at first the images, and `margins` (n,).

    `zero_gradient` (n,): where every walk had a gradient of exactly 0 at its start. `places` says which of the images
    those of a search are.
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

    def starts(self, gradient: Tensor) -> None:
        """A walk of all images of the search begins with this gradient (n, c, h, w)."""
        self.zero_gradient[self.places] &= ~gradient.flatten(1).any(dim=1)

    def sees(self, places: Tensor, points: Tensor, margins: Tensor) -> None:
        """Points (k, c, h, w) inside the balls of the search's images `places` (k,), and their margins (k,)."""
        mine = self.places[places]
        better = margins < self.margins[mine]
        if bool(better.any()):
            self.margins[mine[better]] = margins[better]
            self.points[mine[better]] = points[better]

    def sees_logits(self, places: Tensor, points: Tensor, output: Tensor, labels: Tensor) -> None:
        """The same, by the logits (k, classes) of the points."""
        self.sees(places, points, margin(output, labels))
