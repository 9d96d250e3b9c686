"""A verifier's decision on a batch of images: verified, falsified or neither."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from sparrow.files.outcome_table import NOTHING
from sparrow.settings import Evaluation, Threat
from sparrow.verification.params import Verifier


class Decision(NamedTuple):
    """What a verifier has decided on each of n images."""

    verified: Tensor
    """Whether (n,) it is proved that there is no adversarial example."""
    falsified: Tensor
    """Whether (n,) an adversarial example has been found."""
    margins: Tensor
    """Margin (n,) of the adversarial example where the image is falsified, else a lower bound on the margins."""
    decided: list[str]
    """Label of the method that has verified or falsified each image; `NOTHING` where none has."""
    failures: tuple[str, ...] = ()
    """One line for each part of the verifier that could not be used on this network, with the reason."""

    def update(self, which: Tensor, other: Decision) -> None:
        """Overwrite the entries of the images `which` (k,) by those of `other` (k); of two bounds that decide nothing, keep the
        larger."""
        better = other.verified | other.falsified | (other.margins > self.margins[which])
        self.margins[which] = torch.where(better, other.margins, self.margins[which])
        self.verified[which], self.falsified[which] = other.verified, other.falsified
        for place, by in zip(which.tolist(), other.decided, strict=True):
            self.decided[place] = by


def decide_by(
    entry: ModuleType,
    kind: str,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    params: Evaluation,
    threat: Threat,
    classes: int,
) -> Decision:
    """The decision of the verifier whose module is `entry`, from its `decide`, or else from the signs of its `bound`.

    Raises NetworkError if a bound is NaN, or refuted by a point of the perturbation set.
    """
    from sparrow.verification import guard

    if hasattr(entry, "decide"):
        found = entry.decide(model, images, labels, params, threat, classes)
    else:
        bounds = entry.bound(model, images, labels, params, threat, classes)
        verified = bounds > 0
        by = [kind if done else NOTHING for done in verified.tolist()]
        found = Decision(verified, torch.zeros_like(verified), bounds, by)
    if not hasattr(entry, "members"):  # A verifier made of others has had their bounds checked.
        bounds = torch.where(found.falsified & ~found.margins.isnan(), -torch.inf, found.margins)
        guard.check(kind, model, images, labels, bounds, threat)
    return found


def part_size(entry: ModuleType, model: nn.Module, image: Tensor, params: Verifier, classes: int) -> int:
    """How many images like `image` (1, c, h, w) the verifier whose module is `entry` is given at a time, 1 at least.

    A part that is finished is in the journal; where there is no image (0, c, h, w), nothing depends on its size.
    """
    if params.one_by_one:
        return 1
    most = entry.together(model, image, params, classes) if hasattr(entry, "together") and len(image) else None
    return params.batch_size if most is None else min(params.batch_size, most)


class Answer(Protocol):
    """What a complete search has decided on one image: verified, or an adversarial example, or neither; and the margin."""

    @property
    def verified(self) -> bool: ...
    @property
    def example(self) -> Tensor | None: ...
    @property
    def margin(self) -> float: ...


def decision(answers: Sequence[Answer], by: str, device: torch.device) -> Decision:
    """The decision that the answers of a complete search amount to; `by` is the search's label."""
    verified = torch.tensor([answer.verified for answer in answers], dtype=torch.bool, device=device)
    falsified = torch.tensor([answer.example is not None for answer in answers], dtype=torch.bool, device=device)
    margins = torch.tensor([answer.margin for answer in answers], device=device)
    decided = [by if done else NOTHING for done in (verified | falsified).tolist()]
    return Decision(verified, falsified, margins, decided)
