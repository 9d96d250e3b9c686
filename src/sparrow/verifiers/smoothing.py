"""Randomised smoothing: the class that the network predicts most often under Gaussian noise, certified by counting.

This verifies another classifier than the network, `g(x) = the likeliest class of f(x + sigma * N(0, 1))`, and holds with
probability `1 - alpha` for an image. `n0` draws choose the class; `n` more give a lower confidence bound `p` on its
probability (Clopper and Pearson's, exact). The certified l2 radius is `sigma * quantile(p)`, and `g` abstains where
`p <= 1/2`. An l_inf ball of radius eps lies in the l2 ball of radius `eps * sqrt(pixels)`.

The noise is whole: what is smoothed is the network behind a rounding to the grid of `levels` on which the data set's images
lie. Rounding is part of the classifier, so the theorem holds for it under Gaussian noise; and as an image is on the grid,
`round(x + noise) = x + round(noise)`: the network sees sums of whole numbers, which are exact. Noise that is added to an image
in float32, as in the released code, keeps traces of the image in its last bits, which the theorem does not cover.

Train for it with the objective `smoothing` at the same `sigma`.

Source: Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, theorem 1 and
the algorithm CERTIFY; on rounding errors: Voráček and Hein, "Sound Randomized Smoothing in Floating-Point Arithmetic",
ICLR 2023. Integer noise as such (a discrete Gaussian, with a theorem of its own): Lin et al., "Integer-arithmetic-only
Certified Robustness for Quantized Neural Networks", ICCV 2021.

BibTeX:

@inproceedings{cohen2019certified,
  author = {Cohen, Jeremy and Rosenfeld, Elan and Kolter, J. Zico},
  title = {Certified Adversarial Robustness via Randomized Smoothing},
  booktitle = {International Conference on Machine Learning},
  year = {2019},
}

@inproceedings{voracek2023sound,
  author = {Voráček, Václav and Hein, Matthias},
  title = {Sound Randomized Smoothing in Floating-Point Arithmetic},
  booktitle = {International Conference on Learning Representations},
  year = {2023},
}

@inproceedings{lin2021integer,
  author = {Lin, Haowen and Lou, Jian and Xiong, Li and Shahabi, Cyrus},
  title = {Integer-arithmetic-only Certified Robustness for Quantized Neural Networks},
  booktitle = {IEEE/CVF International Conference on Computer Vision},
  year = {2021},
}
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.settings import Norm, Radius, Threat
from sparrow.verification.params import Verifier


class Params(Verifier):
    """The noise, and how often it is drawn."""

    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")
    smoothed: ClassVar[bool] = True
    batch_size: int = Field(1000, ge=1)
    """Noisy copies per batch."""
    sigma: Radius = 0.25
    """Standard deviation of the noise in pixel units, before it is rounded to the grid of the images."""
    n0: int = Field(100, ge=1)
    """Draws that choose the class."""
    n: int = Field(10_000, ge=1)
    """Draws that bound its probability."""
    alpha: float = Field(0.001, gt=0, lt=1)
    """Probability that the certificate of an image is wrong."""


def passes(params: Params, classes: int) -> tuple[int, int]:
    """Forward passes and gradients for an image."""
    return params.n0 + params.n, 0


def certify(
    model: torch.nn.Module,
    images: torch.Tensor,
    params: Params,
    threat: Threat,
    classes: int,
    generator: torch.Generator,
    white: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes (n,), `ABSTAINED` where there is none, and margins (n,): certified l2 radius minus the one that is needed.

    `images` (n, c, h, w) are multiples of `1 / white`. Raises SparrowError if they are not.
    """
    from sparrow.files.outcome_table import ABSTAINED

    needed = threat.l2_radius(images[0].numel())
    grid = levels(white)
    found, margins = [], []
    with torch.no_grad():
        for image in whole(images, grid):
            chosen = int(counts(model, image, grid, params.n0, params, classes, generator).argmax())
            hits = int(counts(model, image, grid, params.n, params, classes, generator)[chosen])
            radius = certified_radius(hits, params.n, params.sigma, params.alpha)
            found.append(chosen if radius > 0 else ABSTAINED)
            margins.append(radius - needed)
    return torch.tensor(found, device=images.device), torch.tensor(margins, device=images.device)


def levels(white: int) -> int:
    """Steps of the noise from black to white: 255 for images of 8 bits; else the least multiple of `white` from there on."""
    return -(-255 // white) * white


def whole(images: torch.Tensor, grid: int) -> torch.Tensor:
    """`images` in steps of `1 / grid`: whole numbers, float32. Raises SparrowError if they do not lie on the grid."""
    from sparrow.errors import SparrowError

    steps = images * grid
    if (steps - steps.round()).abs().max() > 0.01:
        raise SparrowError(
            f"smoothing: an image has values that are no multiples of 1/{grid}, and no noise on that grid is exact"
        )
    return steps.round()


def counts(
    model: torch.nn.Module, image: torch.Tensor, grid: int, draws: int, params: Params, classes: int, generator: torch.Generator
) -> torch.Tensor:
    """How often (classes,) each class is predicted in `draws` noisy copies of `image` (c, h, w), in steps of `1 / grid`."""
    total = torch.zeros(classes, dtype=torch.long, device=image.device)
    for start in range(0, draws, params.batch_size):
        size = min(params.batch_size, draws - start)
        # float32's normal numbers end at 5.8.
        noise = torch.randn((size, *image.shape), generator=generator, dtype=torch.float64).mul_(params.sigma * grid).round_()
        total += torch.bincount(model((image + noise.to(image)) / grid).argmax(dim=1), minlength=classes)
    return total


def certified_radius(hits: int, draws: int, sigma: float, alpha: float) -> float:
    """The l2 radius certified with probability `1 - alpha` by `hits` of `draws`; 0 where that is none."""
    from scipy.stats import beta, norm

    lower = float(beta.ppf(alpha, hits, draws - hits + 1)) if hits else 0.0
    return sigma * float(norm.ppf(lower)) if lower > 0.5 else 0.0
