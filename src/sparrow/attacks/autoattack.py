"""AutoAttack, standard version: APGD on cross-entropy, targeted APGD on DLR, targeted FAB, and Square, one after the other.

Each attack meets the images that are left, and an image leaves as soon as it is broken: torchattacks' parts go on with
broken images to the end, and in l_2 step all images of a batch as far as the first. The parts here are written after the
papers and the authors' package (fra31/auto-attack), with which they share all settings; what differs is said in `apgd`,
`fab` and `square` of `sparrow.adversary`, and that random numbers are drawn on the CPU, so that they are the same on every
device.

The order differs, too. The authors' targeted attacks follow one target of all images after the other, the likeliest first.
Here images too few to fill a batch (`sparrow.adversary.batches`, the same on every device) follow several at once, and an image
that one of them breaks leaves with all: the same searches, for as many steps, of which that to the likeliest target need not be
the one that counts. Where an image is broken on the way to one of several targets, later ones draw their random starts with
fewer images, as the authors' do after each target. In l_inf, Square's next queries of an image are evaluated at once, too, with
the same result (`sparrow.adversary.queries_ahead`).

Source: Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
Attacks", ICML 2020.

BibTeX:

@inproceedings{croce2020reliable,
  author = {Croce, Francesco and Hein, Matthias},
  title = {Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks},
  booktitle = {International Conference on Machine Learning},
  year = {2020},
}

@inproceedings{croce2020minimally,
  author = {Croce, Francesco and Hein, Matthias},
  title = {Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack},
  booktitle = {International Conference on Machine Learning},
  year = {2020},
}

@inproceedings{andriushchenko2020square,
  author = {Andriushchenko, Maksym and Croce, Francesco and Flammarion, Nicolas and Hein, Matthias},
  title = {Square Attack: a Query-Efficient Black-Box Adversarial Attack via Random Search},
  booktitle = {European Conference on Computer Vision},
  year = {2020},
}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import Field

from sparrow.adversary.attack_result import AttackResult
from sparrow.adversary.params import InsideAttack
from sparrow.lazy_torch import torch
from sparrow.settings import Norm, Threat

TARGETS = 9
SQUARE = "square"
PARTS = ("apgd-ce", "apgd-t", "fab-t", SQUARE)
"""In their order; the last does without gradients."""


class Params(InsideAttack):
    """The defaults are the standard's; anything else should be named as such."""

    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")
    classes_needed: ClassVar[int] = 4  # For the third-largest logit in DLR.
    blind: ClassVar[str | None] = SQUARE
    steps: int = Field(100, ge=1)
    """Iterations of APGD and FAB."""
    queries: int = Field(5000, ge=1)
    """Queries of Square."""
    attack_seed: int = Field(0, ge=0)
    """Seed of all four attacks."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16`: the search evaluates the network in it (autocast), and what it finds counts only if it fools the network in
    float32. Faster, and not the standard version: it may miss what that would find, the more so the smaller eps is."""


def passes(params: Params, classes: int) -> tuple[float, float]:
    """Forward passes and gradients of an image that survives all four parts, three of them on at most nine other classes."""
    targets = min(TARGETS, classes - 1)
    return params.steps * targets + params.queries, params.steps * (1 + 2 * targets)


def attack(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, params: Params, threat: Threat, classes: int
) -> torch.Tensor:
    """Adversarial images (n, c, h, w); those of the smallest margin that was seen, where none is found.

    Raises SparrowError for fewer than `Params.classes_needed` classes.
    """
    return search(model, images, labels, params, threat, classes).images


def search(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, params: Params, threat: Threat, classes: int
) -> AttackResult:
    """What `attack` returns, which of the `PARTS` broke each image, and where every walk began without a gradient.

    Margins are those that the search sees: in bfloat16, where it is lowered. Raises SparrowError as `attack` does.
    """
    from sparrow.adversary.apgd import apgd, cross_entropy, targeted_dlr
    from sparrow.adversary.batches import logits, rows_at_once
    from sparrow.adversary.fab import fab
    from sparrow.adversary.margin import margin
    from sparrow.adversary.record import Record
    from sparrow.adversary.search import search_network
    from sparrow.adversary.square import square
    from sparrow.adversary.target_groups import targets_at_once
    from sparrow.errors import SparrowError

    if classes < params.classes_needed:
        raise SparrowError(
            f"autoattack: the data set has {classes} classes; its DLR loss needs at least {params.classes_needed}"
        )
    found, by = images.clone(), [""] * len(images)
    clean = logits(model, images)
    record = Record(images, margin(clean, labels))
    left = (clean.argmax(dim=1) == labels).nonzero().squeeze(1)
    # The classes of targets, of images that are classified correctly: the likeliest but the label.
    likeliest = clean.argsort(dim=1, descending=True)[:, 1 : TARGETS + 1]

    def run(part: str, one: Callable[..., tuple[torch.Tensor, torch.Tensor]], ranks: slice) -> None:
        """Attack what is left by a part; a targeted one goes to the classes of these `ranks` at once."""
        nonlocal left
        if len(left):
            broken, results = one(images[left], labels[left], likeliest[left, ranks], record.at(left))
            found[left[broken]] = results[broken]
            for place in left[broken].tolist():
                by[place] = part
            left = left[~broken]

    def run_targeted(part: str, one: Callable[..., tuple[torch.Tensor, torch.Tensor]]) -> None:
        done, all_of_them = 0, likeliest.shape[1]
        while len(left) and done < all_of_them:
            count = targets_at_once(len(left), all_of_them - done, batch)
            run(part, one, slice(done, done + count))
            done += count

    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(params.attack_seed)

    with search_network(model, images, params.precision, params.batch_size) as view:
        batch, steps, none = rows_at_once(view), params.steps, slice(0)
        generator = seeded()
        run("apgd-ce", lambda x, y, goals, seen: apgd(view, x, y, cross_entropy(y), threat, steps, generator, seen), none)
        generator = seeded()
        run_targeted(
            "apgd-t",
            lambda x, y, goals, seen: apgd(
                view, x, y, targeted_dlr(y, goals), threat, steps, generator, seen, copies=goals.shape[1]
            ),
        )
        run_targeted("fab-t", lambda x, y, goals, seen: fab(view, x, y, goals, threat, steps, seen))
        generator = seeded()
        run(SQUARE, lambda x, y, goals, seen: square(view, x, y, threat, params.queries, generator, seen), none)
    found[left] = record.points[left]
    return AttackResult(found, by, record.zero_gradient & (clean.argmax(dim=1) == labels))
