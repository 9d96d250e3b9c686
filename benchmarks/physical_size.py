"""Networks that lost filters, at their physical size against their masked twins: fine-tuning, AutoAttack and IBP.

    python benchmarks/physical_size.py [--only "resnet18, 0.9"] [--repeats 1]

Both are the same network, in one process: random filters are gone from each layer, and what is left has learned digits as large
as CIFAR-10's images for a while. Attacks and bounds
see the masked twin with all of its zeros, as they did before they looked at views without what cannot matter. Fine-tuning
takes steps of batches of 32 with PGD-10; AutoAttack, of a tenth of its steps and queries, looks at 32 images, of which half
stand (the radius is chosen so, by PGD); IBP bounds 100. Ratios do not depend on how many steps there are.
All cases take an hour on one core.
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import NamedTuple

import torch
from _digits import DEVICE, correct, parts
from _paired import Pair, main
from _whole import networks_whole
from torch import Tensor, nn
from training import network, random_part

from sparrow import catalogue
from sparrow.attacks import autoattack, pgd
from sparrow.networks import cutting
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout, filter_masks
from sparrow.settings import Threat
from sparrow.stages._held_masks import HeldMasks
from sparrow.training.loop import train
from sparrow.training.schedule import Schedule
from sparrow.verification.bounds import smallest_margin

MODELS = ("resnet18", "vgg16-bn", "cnn-large")
RATIOS = (0.5, 0.75, 0.9)
SHAPE, CLASSES = (3, 32, 32), 10
STEPS, BATCH, ATTACKED, BOUNDED = 8, 32, 32, 100
EPOCHS = 3
TENTH = autoattack.Params(steps=10, queries=500)
THREAT = Threat(eps=8 / 255)


class Side(NamedTuple):
    """A network and its masks: of all filters, or of those that are left."""

    model: nn.Module
    masks: dict[str, Tensor]


class Setting(NamedTuple):
    """What both are asked: images (n, c, h, w) that both get right, their labels, and a radius at which half of some stand."""

    images: Tensor
    labels: Tensor
    threat: Threat


@cache
def sides(kind: str, ratio: float) -> dict[str, Side]:
    """The network masked, and without the filters that it lost."""
    model, generator = network(kind).cpu(), torch.Generator().manual_seed(0)
    layout = Layout(model, SHAPE)
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(model).items()}
    for group in layout.groups:
        size = len(masks[group.layers[0]])
        gone = torch.randperm(size, generator=generator)[: int(ratio * size)]
        for name in group.layers:
            masks[name][gone] = False
    masks |= filter_masks(model, layout, masks)
    for name, mask in masks.items():
        model.get_parameter(name).data.mul_(mask)
    smaller, left, kept, _ = cutting.cut(model, SHAPE, masks, torch.rand(8, *SHAPE, generator=generator))
    learn(smaller.to(DEVICE))
    return {
        which: Side(one.to(DEVICE), {name: mask.to(DEVICE) for name, mask in own.items()})
        for which, one, own in (("masked", cutting.expanded(smaller, model, kept), masks), ("small", smaller, left))
    }


def learn(model: nn.Module) -> None:
    """Train a network on digits, benignly: before that, it says the same of all images."""
    entry = catalogue.load("objectives", "benign")
    schedule = Schedule(epochs=EPOCHS, batch_size=50, optimizer="adam", lr=0.001)
    data = {"train": parts(SHAPE)["train"], "validation": parts(SHAPE)["test"].first(1)}
    loss, tensors, generator = entry.prepare(entry.Params(), THREAT), list(model.parameters()), torch.Generator().manual_seed(0)
    train(model, loss, data, schedule, tensors, generator, report=lambda line: None)


@cache
def setting(kind: str, ratio: float) -> Setting:
    """Images, and a radius found by halving, at which PGD leaves about half of those that are attacked."""
    model = sides(kind, ratio)["small"].model.eval()
    images, labels = correct(model, SHAPE, BOUNDED)
    low, high = 0.0, 0.5
    for _ in range(12):
        middle = (low + high) / 2
        found = pgd.attack(model, images[:ATTACKED], labels[:ATTACKED], pgd.Params(steps=10), Threat(eps=middle), CLASSES)
        with torch.no_grad():
            stand = (model(found).argmax(dim=1) == labels[:ATTACKED]).float().mean().item()
        low, high = (middle, high) if stand > 0.5 else (low, middle)
    return Setting(images, labels, Threat(eps=high))


def seen(which: str) -> AbstractContextManager[None]:
    """A context in which the masked twin is looked at with its zeros."""
    return networks_whole() if which == "masked" else nullcontext()


def fine_tuning(kind: str, ratio: float, which: str) -> float:
    """Steps of fine-tuning; the mean loss."""
    side = sides(kind, ratio)[which]
    model = copy.deepcopy(side.model)
    entry = catalogue.load("objectives", "adversarial")
    objective = entry.prepare(entry.Params(steps=10), THREAT)
    schedule = Schedule(epochs=1, batch_size=BATCH, lr=0.01, momentum=0.9, weight_decay=5e-4, lr_decay="constant")
    part, generator = random_part(STEPS * BATCH), torch.Generator().manual_seed(0)
    data = {"train": part, "validation": part.first(2)}
    torch.manual_seed(0)
    hooks = HeldMasks(model, side.masks)
    rows = train(model, objective, data, schedule, list(model.parameters()), generator, hooks, report=lambda line: None)
    return rows[-1][3]


def attacking(kind: str, ratio: float, which: str) -> float:
    """AutoAttack; the share in percent that stands."""
    model, (images, labels, threat) = sides(kind, ratio)[which].model.eval(), setting(kind, ratio)
    images, labels = images[:ATTACKED], labels[:ATTACKED]
    with seen(which):
        found = autoattack.attack(model, images, labels, TENTH, threat, CLASSES)
    with torch.no_grad():
        return 100 * (model(found).argmax(dim=1) == labels).float().mean().item()


def bounding(kind: str, ratio: float, which: str) -> Tensor:
    """Lower bounds (n,) on the smallest margins by IBP."""
    images, labels, _ = setting(kind, ratio)
    with seen(which):
        return smallest_margin(sides(kind, ratio)[which].model.eval(), images, labels, THREAT, CLASSES, "IBP")


def _losses(theirs: float, ours: float) -> str:
    # In float64 they are the same to the last digits; in float32 each step of an attack amplifies what rounding began.
    assert abs(theirs - ours) < 0.05 * theirs, f"losses {theirs} and {ours}"
    return f"losses {theirs:.4f} and {ours:.4f}"


def _shares(theirs: float, ours: float) -> str:
    # Rounding may move an image or two that are hard to decide.
    assert abs(theirs - ours) <= 200.1 / ATTACKED, f"robust: {theirs} and {ours} %"
    return f"robust {theirs:.1f} and {ours:.1f} %"


def _bounds(theirs: Tensor, ours: Tensor) -> str:
    apart = float(((theirs - ours).abs() / theirs.abs().clamp(min=1)).max())
    assert apart < 1e-3, f"bounds differ by {apart}"
    return f"bounds to {apart:.1g}"


def pairs() -> list[Pair]:
    found = []
    for kind in MODELS:
        for ratio in RATIOS:
            for what, one, same in (
                (f"fine-tuning, {STEPS} steps by {BATCH}", fine_tuning, _losses),
                (f"a tenth of AutoAttack, {ATTACKED} images", attacking, _shares),
                (f"IBP, {BOUNDED} images", bounding, _bounds),
            ):
                runs = [partial(one, kind, ratio, which) for which in ("masked", "small")]
                case = f"{kind}, {ratio:g} of the filters gone, {what}"
                made = partial(setting, kind, ratio)
                found.append(Pair(case, "its masked twin", *runs, same, prepare=made, in_a_job=True))
    return found


if __name__ == "__main__":
    main("physical_size", pairs, __doc__)
