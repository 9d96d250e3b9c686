"""AutoAttack, standard version, in linf on adversarially trained networks, against other implementations.

    python benchmarks/attacks.py

torchattacks' parts with the standard's settings (its own `AutoAttack` does a tenth of the work), and the authors' package
(fra31/auto-attack) where it can be imported. `attack_network.py` does the same on many images of a study.
"""

import importlib.util
from collections.abc import Callable
from functools import partial

import torch
import torchattacks
from _digits import correct, trained
from _paired import Pair, main
from torch import Tensor, nn

from sparrow.attacks import autoattack
from sparrow.settings import Threat

THREAT = Threat(eps=0.12)
CASES = {
    "cnn-small": ((1, 8, 8), 60, ("float32",)),
    # Of the network it is meant for, a core takes five seconds for each image that stands.
    "cnn-large": ((3, 32, 32), 256 if torch.cuda.is_available() else 8, ("float32", "bfloat16")),
}
"""Networks; shape and number of the images, and what Sparrow searches in."""


def by_torchattacks(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat = THREAT) -> float:
    common = {"norm": "Linf", "eps": threat.eps, "seed": 0, "n_restarts": 1}
    return _robust(
        model,
        labels,
        torchattacks.MultiAttack(
            [
                torchattacks.APGD(model, loss="ce", steps=100, **common),
                torchattacks.APGDT(model, n_classes=10, steps=100, **common),
                torchattacks.FAB(model, multi_targeted=True, n_classes=10, steps=100, **common),
                torchattacks.Square(model, n_queries=5000, resc_schedule=False, **common),
            ]
        )(images, labels),
    )


def by_its_authors(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat = THREAT) -> float:
    from autoattack import AutoAttack

    device = str(images.device)
    attack = AutoAttack(model, norm="Linf", eps=threat.eps, version="standard", verbose=False, seed=0, device=device)
    return _robust(model, labels, attack.run_standard_evaluation(images, labels, bs=len(images)))


def by_sparrow(precision: str, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat = THREAT) -> float:
    found = autoattack.attack(model, images, labels, autoattack.Params(precision=precision), threat, 10)
    return _robust(model, labels, found)


@torch.no_grad()
def _robust(model: nn.Module, labels: Tensor, found: Tensor) -> float:
    return 100 * (model(found).argmax(dim=1) == labels).float().mean().item()


def alike(count: int, theirs: float, ours: float) -> str:
    # One image may go either way.
    assert abs(theirs - ours) <= 100.1 / count, f"robust: {theirs} and {ours} %"
    return f"robust {theirs:.1f} and {ours:.1f} %"


def others() -> dict[str, tuple[Callable[..., float], tuple[str, ...]]]:
    """Other implementations that are there, and the packages whose versions matter."""
    found = {"torchattacks": (by_torchattacks, ("torchattacks",))}
    return found | ({"the authors' package": (by_its_authors, ())} if importlib.util.find_spec("autoattack") else {})


def pairs() -> list[Pair]:
    found = []
    for kind, (shape, count, precisions) in CASES.items():
        model = trained(kind, shape, "adversarial", THREAT, epochs=20 if kind == "cnn-small" else 3, steps=5)
        images, labels = correct(model, shape, count)
        for against, (run, packages) in others().items():
            for precision in precisions:
                case = f"AutoAttack, {kind}, {len(labels)} digits, {precision}"
                runs = partial(run, model, images, labels), partial(by_sparrow, precision, model, images, labels)
                found.append(Pair(case, against, *runs, partial(alike, len(labels)), packages))
    return found


if __name__ == "__main__":
    main("attacks", pairs, __doc__)
