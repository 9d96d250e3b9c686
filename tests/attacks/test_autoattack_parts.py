"""The parts of AutoAttack in their standard settings, against torchattacks' at fixed seeds.

torchattacks 3.5.1 has the authors' code, with other defaults: 10 steps for 100, and windows that shrink by the number of
queries. In l_2 its APGD and FAB take one step size for all images of a batch, hence batches of one there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from sparrow.adversary import apgd, fab, square
from sparrow.adversary.batches import logits
from sparrow.adversary.geometry import distance
from sparrow.adversary.search import search_network
from sparrow.attacks import autoattack
from sparrow.data import store
from sparrow.files import checkpoint
from sparrow.settings import Threat

STEPS, QUERIES = 100, 5000
MAY_DIFFER = {"apgd-ce": 1, "apgd-t": 1, "fab-t": 1, "square": 3, "all": 1}
"""Images of which one implementation breaks one that the other does not: a random start draws other numbers in both, and
random search finds others; all parts together hardly differ."""


def _ours(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Iterator[tuple[str, Tensor]]:
    """Which images (n,) each part breaks, alone."""
    order = logits(model, images).argsort(dim=1, descending=True)[:, 1:]

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    with search_network(model, images, "float32") as search:
        yield "apgd-ce", apgd.apgd(search, images, labels, apgd.cross_entropy(labels), threat, STEPS, generator())[0]
        random = generator()
        walks = (
            apgd.apgd(search, images, labels, apgd.targeted_dlr(labels, target), threat, STEPS, random) for target in order.T
        )
        yield "apgd-t", torch.stack([broken for broken, _ in walks]).any(dim=0)
        walks = (fab.fab(search, images, labels, target, threat, STEPS) for target in order.T)
        yield "fab-t", torch.stack([broken for broken, _ in walks]).any(dim=0)
        yield "square", square.square(search, images, labels, threat, QUERIES, generator())[0]


def _theirs(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Iterator[tuple[str, Tensor]]:
    common = {"norm": {"linf": "Linf", "l2": "L2"}[threat.norm], "eps": threat.eps, "n_restarts": 1, "seed": 0}
    parts = {
        "apgd-ce": torchattacks.APGD(model, loss="ce", steps=STEPS, **common),
        "apgd-t": torchattacks.APGDT(model, steps=STEPS, n_classes=10, **common),
        "fab-t": torchattacks.FAB(model, steps=STEPS, multi_targeted=True, n_classes=10, **common),
        "square": torchattacks.Square(model, n_queries=QUERIES, resc_schedule=False, **common),
    }
    for name, part in parts.items():
        size = 1 if threat.norm == "l2" and name != "square" else len(images)
        pairs = zip(images.split(size), labels.split(size), strict=True)
        found = torch.cat([part(one, label) for one, label in pairs]).detach()
        near = distance(found, images, threat.norm) <= threat.eps * (1 + 1e-5)
        yield name, (logits(model, found).argmax(dim=1) != labels) & near


@pytest.mark.slow
@pytest.mark.parametrize(("threat", "count"), [(Threat(eps=0.05), 100), (Threat(norm="l2", eps=0.5), 16)], ids=["linf", "l2"])
def test_parts_break_the_images_that_another_implementation_breaks(
    threat: Threat, count: int, dense: Path, digits: Path
) -> None:
    model, (part, _) = checkpoint.load(dense).model, store.read(digits, "test")
    right = (logits(model, part.images).argmax(dim=1) == part.labels).nonzero().squeeze(1)[:count]
    images, labels = part.images[right], part.labels[right]
    ours, theirs = (dict(of(model, images, labels, threat)) for of in (_ours, _theirs))
    assert tuple(ours) == tuple(theirs) == autoattack.PARTS
    for parts in (ours, theirs):
        parts["all"] = torch.stack(list(parts.values())).any(dim=0)
    assert 0 < int(theirs["all"].sum()) < count
    differ = {name: int((ours[name] != theirs[name]).sum()) for name in ours}
    print({name: (int(ours[name].sum()), int(theirs[name].sum()), differ[name]) for name in ours})
    assert {name: count for name, count in differ.items() if count > MAY_DIFFER[name]} == {}
