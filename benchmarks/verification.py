"""The cascade of bounds against alpha-CROWN on every image, with a network trained to be verified, and with another.

    python benchmarks/verification.py

Both certify the same images, for the cascade ends in alpha-CROWN. The cascade's seconds include those of the attack (PGD-20)
whose examples it looks at first: no bound has to fail at an image that is known to be broken.
"""

from functools import partial

import torch
from _digits import correct, trained
from _paired import Pair, main
from torch import Tensor, nn

from sparrow.attacks import pgd
from sparrow.settings import Threat
from sparrow.verification.bounds import smallest_margin
from sparrow.verification.decision import decide_by
from sparrow.verifiers import alpha_crown, cascade

THREAT, SHAPE = Threat(eps=0.1), (1, 8, 8)
IMAGES = 100
CASES = {"crown-ibp": {}, "adversarial": {"steps": 5}}
"""Objectives with their settings."""


def by_alpha_crown(model: nn.Module, images: Tensor, labels: Tensor) -> list[bool]:
    """Through auto_LiRPA, with its own way of bounding convolutions, and as many iterations as the cascade's."""
    params = alpha_crown.Params()
    options = {"iteration": params.iterations, "lr_alpha": params.lr, "early_stop_patience": params.iterations}
    parts = zip(images.split(params.batch_size), labels.split(params.batch_size), strict=True)
    margins = [smallest_margin(model, *part, THREAT, 10, "CROWN-Optimized", {"optimize_bound_args": options}) for part in parts]
    return (torch.cat(margins) > 0).tolist()


def by_the_cascade(model: nn.Module, images: Tensor, labels: Tensor) -> list[bool]:
    found = pgd.attack(model, images, labels, pgd.Params(steps=20), THREAT, 10)
    verified = model(found).argmax(dim=1) == labels
    left = verified.nonzero().squeeze(1)
    decision = decide_by(cascade, "cascade", model, images[left], labels[left], cascade.Params(), THREAT, 10)
    verified[left] = decision.verified
    return verified.tolist()


def equal(theirs: list[bool], ours: list[bool]) -> str:
    # What IBP alone verifies would be a difference, too: no bound of CROWN's family is always above it.
    assert theirs == ours, f"{sum(theirs)} and {sum(ours)} verified, not the same"
    return f"the same {sum(ours)} of {len(ours)} verified"


def pairs() -> list[Pair]:
    found = []
    for objective, settings in CASES.items():
        model = trained("cnn-small", SHAPE, objective, THREAT, epochs=20, **settings)
        batch = correct(model, SHAPE, IMAGES)
        case = f"verification, cnn-small trained by {objective}, {len(batch[0])} digits"
        runs = partial(by_alpha_crown, model, *batch), partial(by_the_cascade, model, *batch)
        found.append(Pair(case, "alpha-CROWN on all", *runs, equal, ("auto_LiRPA",)))
    return found


if __name__ == "__main__":
    main("verification", pairs, __doc__)
