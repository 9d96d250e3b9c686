"""N:M patterns: of every M inputs that follow each other, N weights stay. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

TEXT = r"^[1-9][0-9]?:[1-9][0-9]?$"
"""How a pattern is written, such as `2:4`."""


class Pattern(NamedTuple):
    """Of how many consecutive inputs how many stay."""

    kept: int
    """N."""
    among: int
    """M."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The pattern that `text` (see `TEXT`) writes. Raises ValueError unless N is smaller than M."""
        kept, among = map(int, text.split(":"))
        if kept >= among:
            raise ValueError(f"{text!r} keeps {kept} of every {among} weights; valid: N:M with N smaller than M, such as '2:4'")
        return cls(kept, among)

    def __str__(self) -> str:
        return f"{self.kept}:{self.among}"

    @property
    def ratio(self) -> float:
        """The pruning ratio that it has, and no other."""
        return (self.among - self.kept) / self.among

    def dropped(self, size: int) -> int:
        """How many of a layer's `size` weights it removes; the layer's inputs are a multiple of M."""
        return size // self.among * (self.among - self.kept)

    def other_ratio(self, ratio: float) -> str | None:
        """One line that says that `ratio` is not the pattern's; None if it is, to a millionth."""
        if abs(ratio - self.ratio) < 1e-6:
            return None
        return f"the ratio is {ratio:g}, but {self} removes {self.ratio:g} of the weights; valid: ratios: [{self.ratio:.6g}]"

    def misfit(self, inputs: Mapping[str, int], dense: list[str]) -> str | None:
        """One line that names the layers whose `inputs` (by weight's name) are no multiple of M; None without any.

        Layers that are to stay `dense` may have any number of them.
        """
        odd = [f"{name} ({count})" for name, count in inputs.items() if name not in dense and count % self.among]
        if not odd:
            return None
        return (
            f"{self} needs a multiple of {self.among} inputs in each layer, which {', '.join(odd)} has not; valid: another "
            f"granularity, or name it in dense_layers, where it stays as it is"
        )
