"""Targets of an image at once and one after the other: the same images are broken."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sparrow.adversary import target_groups
from sparrow.adversary.apgd import apgd, targeted_dlr
from sparrow.adversary.batches import logits
from sparrow.adversary.fab import fab
from sparrow.adversary.fgsm import fgsm
from sparrow.adversary.geometry import distance
from sparrow.adversary.margin import margin
from sparrow.adversary.record import Record
from sparrow.attacks import autoattack
from sparrow.settings import Threat

CLASSES, STEPS = 6, 12
THREATS = {"linf": Threat(eps=0.08), "l2": Threat(norm="l2", eps=0.5)}


@pytest.fixture(scope="module")
def case() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A network trained adversarially on noisy images of a few kinds, in double precision; images that it gets right, their
    labels, and the other classes (n, classes - 1), the likeliest first."""
    random = torch.Generator().manual_seed(0)
    kinds = torch.rand(CLASSES, 1, 6, 6, generator=random, dtype=torch.double)
    labels = torch.randint(CLASSES, (120,), generator=random)
    noise = torch.randn(120, 1, 6, 6, generator=random, dtype=torch.double)
    images = (0.3 + 0.4 * kinds[labels] + 0.12 * noise).clamp(0, 1)
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 24), nn.ReLU(), nn.Linear(24, CLASSES)
    model = nn.Sequential(*layers).double()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    for _ in range(40):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(fgsm(model, images, labels, Threat(eps=0.05))), labels).backward()
        optimiser.step()
    model.eval().requires_grad_(False)
    right = (logits(model, images).argmax(dim=1) == labels).nonzero().squeeze(1)[:50]
    others = logits(model, images[right]).argsort(dim=1, descending=True)[:, 1:]
    return model, images[right], labels[right], others


def search(part: str, case: tuple, targets: Tensor, threat: Threat, random: torch.Generator, record: Record) -> tuple:
    model, images, labels, _ = case
    if part == "fab":
        return fab(model, images, labels, targets, threat, STEPS, record)
    loss, copies = targeted_dlr(labels, targets), targets.view(len(labels), -1).shape[1]
    return apgd(model, images, labels, loss, threat, STEPS, random, record, copies)


@pytest.mark.parametrize(("part", "norm"), [("fab", "linf"), ("fab", "l2"), ("apgd", "linf")])
def test_what_breaks_on_the_way_to_one_target_breaks_on_the_way_to_all(case: tuple, part: str, norm: str) -> None:
    model, images, labels, targets = case
    threat, clean = THREATS[norm], margin(logits(model, images), labels)
    random, record = torch.Generator().manual_seed(0), Record(images, clean)
    # In l_inf the starts are drawn number by number: those of all targets at once are those of one after the other.
    alone = [search(part, case, target, threat, random, Record(images, clean)) for target in targets.T]
    broken, found = search(part, case, targets, threat, torch.Generator().manual_seed(0), record)
    assert torch.equal(broken, torch.stack([one for one, _ in alone]).any(dim=0))
    assert 3 < int(broken.sum()) < len(labels) - 3
    # Broken by several targets, an image is that of one of them; by one, that one.
    ways = torch.stack([(found - other).flatten(1).abs().amax(dim=1).where(one, torch.inf) for one, other in alone])
    assert (ways.amin(dim=0)[broken] < 1e-9).all()
    assert torch.equal(found[~broken], images[~broken])
    assert distance(found, images, norm).max() <= threat.eps * (1 + 1e-9)
    assert (record.margins <= clean).all()
    torch.testing.assert_close(margin(logits(model, record.points), labels), record.margins)


@pytest.mark.parametrize("norm", THREATS)
def test_autoattack_leaves_the_same_images_whatever_goes_at_once(
    case: tuple, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images, labels, _ = case
    params, results = autoattack.Params(steps=STEPS, queries=60), []
    for together in (target_groups.targets_at_once, target_groups.targets_at_once, lambda *given: 1):
        monkeypatch.setattr(target_groups, "targets_at_once", together)
        results.append(autoattack.search(model, images, labels, params, THREATS[norm], CLASSES))
    first, again, _ = results
    assert torch.equal(first.images, again.images)
    assert first.found_by == again.found_by
    assert {"", "apgd-ce"} <= set(first.found_by)
    # A random start may be another.
    standing = [{place for place, part in enumerate(result.found_by) if not part} for result in results]
    assert len(standing[0] ^ standing[2]) <= 1
