"""What a search keeps of the images that are still classified correctly."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Survivors:
    """Tensors (rows, ...) with one row per point of a search whose image has not been misclassified yet.

    A search has `copies` points of each image, such as one for each target: the first of all n images, then the second of all
    n, and so on. `keep` removes images, with all their copies, from all tensors at once. Subclasses are dataclasses that
    declare further such tensors.
    """

    labels: Tensor
    """Labels (rows,)."""
    copies: int = field(default=1, kw_only=True)
    places: Tensor = field(init=False)
    """Indices (rows,) of the points among those that the search began with."""

    def __post_init__(self) -> None:
        self.places = torch.arange(len(self.labels), device=self.labels.device)

    def __len__(self) -> int:
        """The number n of images."""
        return len(self.places) // self.copies

    @property
    def images(self) -> Tensor:
        """Indices (n,) of the images among those that the search began with."""
        return self.places[: len(self)]

    def first_rows(self, which: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (k,) of the images of which a row in `which` (rows,) is True, and the first such row (k,) of each."""
        copies = which.view(self.copies, -1)
        positions = copies.any(dim=0).nonzero().squeeze(1)
        return positions, copies[:, positions].int().argmax(dim=0) * len(self) + positions

    def keep(self, which: Tensor) -> None:
        """Remove the images where `which` (n,) is False."""
        if bool(which.all()):
            return
        rows = which.repeat(self.copies).nonzero().squeeze(1)
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        self.__dict__.update({name: tensor[rows] for name, tensor in tensors.items()})
