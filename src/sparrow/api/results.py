"""What an attack, a verifier and a method give back from Python."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Attacked:
    """What an attack has found on n images."""

    robust: Tensor
    """Whether (n,) the network is right, and still right after the attack."""
    images: Tensor
    """The nearest adversarial image (n, c, h, w) that is known of each; the image itself, where there is none."""
    distances: Tensor
    """Distance (n,) of that in the norm: 0 where the network is wrong anyway, infinite where nothing was found."""
    margins: Tensor
    """Margin (n,) of the logits within the perturbation set: below 0 where the network is wrong."""
    found_by: list[str]
    """The part of the attack that found it; empty where nothing was found, and where nothing had to be."""
    warnings: list[str]
    """Why the attack may say little of this network, a line each, as in a study's `era_warnings`: a gradient that is 0 where it
    starts, a random network, probabilities for logits, images that only a part without gradients breaks."""

    @property
    def accuracy(self) -> float:
        """Robust accuracy, in [0, 1]."""
        return float(self.robust.float().mean())


@dataclass(frozen=True)
class Verified:
    """What a verifier has decided on n images; what is neither verified nor falsified is not known."""

    verified: Tensor
    """Whether (n,) the network is right, and no adversarial image exists."""
    falsified: Tensor
    """Whether (n,) the network is wrong on the image or on an adversarial one."""
    margins: Tensor
    """Lower bound (n,) on the margin; the margin itself, where the network is wrong."""
    decided_by: list[str]
    """What verified or falsified each image, or `nothing`."""
    failures: list[str]
    """One line for each part of the verifier that could not be used on this network."""

    @property
    def accuracy(self) -> float:
        """Verified robust accuracy, in [0, 1]."""
        return float(self.verified.float().mean())


@dataclass(frozen=True)
class Pruned:
    """A pruned copy of a network."""

    model: nn.Module
    """With zeros in place of what was pruned."""
    masks: dict[str, Tensor]
    """By parameter, True where a value is kept. Keep the others at zero while you fine-tune."""
    curve: list[dict[str, float]]
    """A row for each epoch that the method trained; none, if it did not."""
    ratio: float
    """Share that is gone, in [0, 1], of what the method removes: of the weights of convolutions and linear layers; or, of
    whole filters (`granularity="filter"`), of these."""
