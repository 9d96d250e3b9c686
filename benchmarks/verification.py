"""Bounds by Sparrow's graphs against auto_LiRPA as Sparrow used it before, and the cascade against alpha-CROWN on every image.

    python benchmarks/verification.py
    python benchmarks/verification.py --peak cnn-small 28        peak memory of alpha-CROWN, MiB: before, now, and the ratio

"Before" is what a network without a graph gets still: auto_LiRPA, which bounds all neurons anew in every iteration, and branch
and bound that begins with an attack and all of alpha-CROWN. Bounds are no looser than before by more than 1e-4, and the same
images are verified, or more. The cascade's seconds against alpha-CROWN include those of the attack (PGD-20) whose examples it
looks at first: no bound has to fail at an image that is known to be broken.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from types import ModuleType
from unittest import mock

import torch
from _digits import correct, trained
from _paired import Pair, main
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.attacks import pgd
from sparrow.settings import Threat
from sparrow.verification.bounds import smallest_margin
from sparrow.verification.decision import Decision, decide_by
from sparrow.verifiers import alpha_crown, branch_and_bound, cascade, crown

THREAT, SHAPE = Threat(eps=0.1), (1, 8, 8)
IMAGES = 100
CASES = {"crown-ibp": {}, "adversarial": {"steps": 5}}
"""Objectives with their settings."""
LARGE = [("cnn-small", 28), ("cnn-small", 32), ("cnn-large", 28), ("cnn-large", 32)]
"""Networks for images of so many pixels a side, on which alpha-CROWN bounds a few."""
FEW, ITERATIONS, LARGE_THREAT = 3, 5, Threat(eps=0.03)
SEARCHED = 10
"""Images of which branch and bound proves as many."""
LOOSER = 1e-4


@contextmanager
def before() -> Iterator[None]:
    """While the context is active, no network has a graph."""
    with (
        mock.patch("sparrow.verification.graph.traced", return_value=None),
        mock.patch("sparrow.verification.crown.traced", return_value=None),
    ):
        yield


def decided(entry: ModuleType, kind: str, params: object, model: nn.Module, images: Tensor, labels: Tensor) -> Decision:
    torch.manual_seed(0)
    return decide_by(entry, kind, model, images, labels, params, THREAT, 10)


def decided_before(*given: object) -> Decision:
    with before():
        return decided(*given)


def no_looser(theirs: Tensor, ours: Tensor) -> str:
    difference = ours - theirs
    assert (difference >= -LOOSER).all(), f"looser by {-float(difference.min()):.2g}"
    return f"bounds higher by {float(difference.min()):.2g} to {float(difference.max()):.2g}"


def as_many(theirs: Decision, ours: Decision) -> str:
    assert not (theirs.verified & ~ours.verified).any(), "an image is not verified any more"
    assert not (theirs.falsified & ~ours.falsified).any(), "an image is not falsified any more"
    more = int((ours.verified & ~theirs.verified).sum())
    return f"the same {int(theirs.verified.sum())} of {len(ours.verified)} verified, and {more} more"


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


def none_lost(theirs: list[bool], ours: list[bool]) -> str:
    lost = sum(a and not b for a, b in zip(theirs, ours, strict=True))
    assert not lost, f"{lost} images are not verified"
    return f"the same {sum(theirs)} of {len(ours)} verified, and {sum(ours) - sum(theirs)} more"


@cache
def large(kind: str, size: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A network that has learned digits of so many pixels a side, adversarially for a while, and a few that it gets right."""
    shape = (1 if size == 28 else 3, size, size)
    model = trained(kind, shape, "adversarial", LARGE_THREAT, epochs=2, steps=2)
    return model, *correct(model, shape, FEW)


def alpha(kind: str, size: int) -> Tensor:
    params = alpha_crown.Params(iterations=ITERATIONS)
    return alpha_crown.bound(*large(kind, size), params, LARGE_THREAT, 10)


def alpha_before(kind: str, size: int) -> Tensor:
    with before():
        return alpha(kind, size)


def searches(model: nn.Module, images: Tensor, labels: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Images that CROWN proves, and such as neither CROWN nor PGD decides."""
    proved = decided(crown, "crown", crown.Params(), model, images, labels).verified
    stands = model(pgd.attack(model, images, labels, pgd.Params(steps=20), THREAT, 10)).argmax(dim=1) == labels
    yield "that CROWN proves", proved.nonzero().squeeze(1)[:SEARCHED]
    yield "that neither CROWN nor PGD decides", (stands & ~proved).nonzero().squeeze(1)[:SEARCHED]


def pairs() -> list[Pair]:
    found = []
    for kind, size in LARGE:
        case = f"alpha-CROWN, {kind}, {FEW} images of {size} x {size}, {ITERATIONS} iterations"
        runs = partial(alpha_before, kind, size), partial(alpha, kind, size)
        learned = partial(large, kind, size)
        found.append(Pair(case, "auto_LiRPA as before", *runs, no_looser, ("auto_LiRPA",), prepare=learned, in_a_job=True))
    for objective, settings in CASES.items():
        model = trained("cnn-small", SHAPE, objective, THREAT, epochs=20, **settings)
        batch = correct(model, SHAPE, IMAGES)
        case = f"verification, cnn-small trained by {objective}, {len(batch[0])} digits"
        runs = partial(by_alpha_crown, model, *batch), partial(by_the_cascade, model, *batch)
        found.append(Pair(case, "alpha-CROWN on all", *runs, none_lost, ("auto_LiRPA",)))
        given = cascade, "cascade", cascade.Params(), model, *batch
        runs = partial(decided_before, *given), partial(decided, *given)
        found.append(Pair(f"cascade, {case}", "the cascade before", *runs, as_many, ("auto_LiRPA",), in_a_job=True))
        for which, places in searches(model, *batch):
            given = branch_and_bound, "branch-and-bound", branch_and_bound.Params(), model, *(part[places] for part in batch)
            runs = partial(decided_before, *given), partial(decided, *given)
            case = f"branch and bound, cnn-small trained by {objective}, {len(places)} digits {which}"
            found.append(Pair(case, "branch and bound before", *runs, as_many, ("auto_LiRPA",), in_a_job=True))
    return found


def peak(side: str, kind: str, size: int) -> float:
    """MiB that alpha-CROWN takes in this process beyond what is there; untrained, for the network's numbers do not matter."""
    torch.manual_seed(0)
    shape, entry = (1 if size == 28 else 3, size, size), catalogue.load("models", kind)
    model = entry.build(entry.Params(), shape, 10).eval()
    images = torch.rand(FEW, *shape)
    labels, params = model(images).argmax(dim=1), alpha_crown.Params(iterations=ITERATIONS)
    # What is imported late is not counted.
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    catalogue.load("attacks", "pgd")
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with before() if side == "before" else nullcontext():
        alpha_crown.bound(model, images, labels, params, LARGE_THREAT, 10)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin) / 1024


def peaks(kind: str, size: int) -> None:
    taken = []
    for side in ("before", "now"):
        command = [sys.executable, __file__, "--one", side, kind, str(size)]
        taken.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]))
    print(f"alpha-CROWN, {kind}, {FEW} images of {size} x {size}: {taken[0]:.0f} MiB before, {taken[1]:.0f} now, "
          f"{taken[0] / taken[1]:.1f} times as much")  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(peak(sys.argv[2], sys.argv[3], int(sys.argv[4])))
    elif sys.argv[1:2] == ["--peak"]:
        peaks(sys.argv[2], int(sys.argv[3]))
    else:
        main("verification", pairs, __doc__)
