"""Transfer: adversarial images of the dense network, as other attacks have found them, tried on the network pruned from it.

Each image is projected onto the perturbation set and classified; of several attacks' images that of smallest margin counts.
There is one for each image on which the dense network is right and an attack has found one; of the others nothing is tried,
and they count as robust here. So this is nothing to be robust to by itself: it can only lower the era that the other attacks
leave, and where it breaks what they could not, gradients are masked, or they are too weak. A flag says so. For the dense
network itself the images are its own, and what they break was known before.

Source: transfer as a check of gradient masking after Athalye, Carlini and Wagner, "Obfuscated Gradients Give a False Sense of
Security: Circumventing Defenses to Adversarial Examples", ICML 2018, and Carlini et al., "On Evaluating Adversarial
Robustness", arXiv 1902.06705, by which attacks on the network itself have to be at least as strong as transferred ones. That
the images are those of the dense parent is ours.

BibTeX:

@inproceedings{athalye2018obfuscated,
  author = {Athalye, Anish and Carlini, Nicholas and Wagner, David},
  title = {Obfuscated Gradients Give a False Sense of Security: Circumventing Defenses to Adversarial Examples},
  booktitle = {International Conference on Machine Learning},
  year = {2018},
}

@misc{carlini2019evaluating,
  author = {Carlini, Nicholas and Athalye, Anish and Papernot, Nicolas and Brendel, Wieland and Rauber, Jonas and Tsipras,
    Dimitris and Goodfellow, Ian and Madry, Aleksander and Kurakin, Alexey},
  title = {On Evaluating Adversarial Robustness},
  year = {2019},
  eprint = {1902.06705},
  archiveprefix = {arXiv},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.adversary.params import TransferAttack
from sparrow.lazy_torch import torch
from sparrow.settings import Norm, Threat


class Params(TransferAttack):
    """Whose images are tried."""

    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")


def passes(params: Params, classes: int) -> tuple[float, float]:
    """A forward pass for each attack whose images are tried, of one if they are not named; no gradient."""
    return len(params.attacks or ["one"]), 0


def transfer(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    params: Params,
    threat: Threat,
    classes: int,
    candidates: torch.Tensor,
) -> torch.Tensor:
    """Of each image's `candidates` (m, n, c, h, w), within the perturbation set, the one (n, c, h, w) of smallest margin."""
    from sparrow.adversary.geometry import project
    from sparrow.adversary.margin import margin

    best, smallest = images, torch.full((len(images),), torch.inf, device=images.device)
    for tried in candidates:
        inside = project(tried, images, threat)
        with torch.no_grad():
            margins = margin(model(inside), labels)
        better = margins < smallest
        best = torch.where(better.view(-1, *[1] * (images.dim() - 1)), inside, best)
        smallest = torch.where(better, margins, smallest)
    return best
