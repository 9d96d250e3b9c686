"""What a verifier has found out about a batch of images."""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparrow.files.outcome_table import NOTHING
from sparrow.settings import Evaluation, Threat


class Decision(NamedTuple):
    """For each of n images: whether it is verified, whether it is falsified, the margin, and what decided.

    The margin (n,) is a lower bound where the image is verified or undecided, and that of an adversarial example where it
    is falsified.
    """

    verified: Tensor
    falsified: Tensor
    margins: Tensor
    decided: list[str]
    failures: tuple[str, ...] = ()
    """What part of the verifier could not be used on this network, and why, in one line each."""

    def update(self, which: Tensor, other: Decision) -> None:
        """Take over what another has found out about the images `which`; of two bounds that decide nothing, the better."""
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
    """The decision of the verifier in the file `entry`, whether it gives bounds or decides by itself.

    Raises NetworkError if a bound is not a number, or refuted by a point of the perturbation set.
    """
    from sparrow.verification import guard

    if hasattr(entry, "decide"):
        found = entry.decide(model, images, labels, params, threat, classes)
    else:
        bounds = entry.bound(model, images, labels, params, threat, classes)
        verified = bounds > 0
        by = [kind if done else NOTHING for done in verified.tolist()]
        found = Decision(verified, torch.zeros_like(verified), bounds, by)
    if not hasattr(entry, "members"):  # What is made of others has been held there.
        bounds = torch.where(found.falsified & ~found.margins.isnan(), -torch.inf, found.margins)
        guard.hold(kind, model, images, labels, bounds, threat)
    return found


def decision(answers: list, by: str, device: torch.device) -> Decision:
    """The answers of a complete search `by` one method."""
    verified = torch.tensor([answer.verified for answer in answers], dtype=torch.bool, device=device)
    falsified = torch.tensor([answer.example is not None for answer in answers], dtype=torch.bool, device=device)
    margins = torch.tensor([answer.margin for answer in answers], device=device)
    decided = [by if done else NOTHING for done in (verified | falsified).tolist()]
    return Decision(verified, falsified, margins, decided)
