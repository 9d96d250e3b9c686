"""The parts of AutoAttack, against hand-computed cases, exact solutions and another implementation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torchattacks
from scipy.optimize import linprog, minimize
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.adversary import apgd, batches, fab, square
from sparrow.adversary import search as _search
from sparrow.adversary.batches import SMALLEST_BATCH, logits, losses_and_gradients
from sparrow.adversary.geometry import distance
from sparrow.adversary.survivors import Survivors
from sparrow.attacks import autoattack
from sparrow.data import store
from sparrow.files import checkpoint
from sparrow.inference.window_updates import WholeImages, WindowUpdates
from sparrow.settings import Threat

LINF, L2 = Threat(eps=0.04), Threat(norm="l2", eps=0.3)
both_norms = pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def case(dense: Path, digits: Path) -> tuple[nn.Module, Tensor, Tensor]:
    """The digits network and 100 test images that it gets right."""
    model, (part, _) = checkpoint.load(dense).model, store.read(digits, "test")
    right = (logits(model, part.images).argmax(dim=1) == part.labels).nonzero().squeeze(1)[:100]
    return model, part.images[right], part.labels[right]


def _parts(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, steps: int, queries: int) -> dict:
    """Each part alone: broken (n,), and images."""
    second = logits(model, images).argsort(dim=1, descending=True)[:, 1]
    dlr = apgd.targeted_dlr(labels, second)
    return {
        "apgd-ce": apgd.apgd(model, images, labels, apgd.cross_entropy(labels), threat, steps, _generator()),
        "apgd-t": apgd.apgd(model, images, labels, dlr, threat, steps, _generator()),
        "fab-t": fab.fab(model, images, labels, second, threat, steps),
        "square": square.square(model, images, labels, threat, queries, _generator()),
    }


@both_norms
def test_what_a_part_calls_broken_is_misclassified_within_the_radius(case: tuple, threat: Threat) -> None:
    model, images, labels = case
    for name, (broken, found) in _parts(model, images, labels, threat, 10, 100).items():
        assert 0 < int(broken.sum()) < len(labels), name
        assert (logits(model, found[broken]).argmax(dim=1) != labels[broken]).all(), name
        assert torch.equal(found[~broken], images[~broken]), name
        far = (found - images).flatten(1).norm(p=torch.inf if threat.norm == "linf" else 2, dim=1)
        assert far.max() <= threat.eps * (1 + 1e-5), name
        assert torch.equal(found, found.clamp(0, 1)), name


@both_norms
def test_parts_are_as_strong_as_another_implementation(case: tuple, threat: Threat) -> None:
    # torchattacks has the authors' code; in l_2 it takes one step size for a whole batch, hence batches of one.
    model, images, labels = case
    count = 40 if threat.norm == "linf" else 12
    images, labels = images[:count], labels[:count]
    common = {"norm": {"linf": "Linf", "l2": "L2"}[threat.norm], "eps": threat.eps, "n_restarts": 1}
    others = {
        "apgd-ce": torchattacks.APGD(model, loss="ce", steps=20, **common),
        "fab-t": torchattacks.FAB(model, multi_targeted=True, n_classes=2, steps=20, **common),
        "square": torchattacks.Square(model, n_queries=300, resc_schedule=False, **common),
    }
    ours = _parts(model, images, labels, threat, 20, 300)
    for name, other in others.items():
        size = 40 if threat.norm == "linf" else 1
        theirs = torch.cat([other(x, y) for x, y in zip(images.split(size), labels.split(size), strict=True)])
        far = (theirs - images).flatten(1).norm(p=torch.inf if threat.norm == "linf" else 2, dim=1)
        broken = (logits(model, theirs).argmax(dim=1) != labels) & (far <= threat.eps * (1 + 1e-5))
        # Random search finds other images; the others all but the same.
        assert abs(int(ours[name][0].sum()) - int(broken.sum())) <= (4 if name == "square" else 2), name


def _exact(point: np.ndarray, weight: np.ndarray, value: float, norm: str) -> float:
    """Length of the shortest change inside the unit box that brings `value + weight * change` to 0."""
    bounds = list(zip(-point, 1 - point, strict=True))
    if norm == "linf":
        size = len(point)
        above, below = np.c_[np.eye(size), -np.ones(size)], np.c_[-np.eye(size), -np.ones(size)]
        found = linprog(
            np.r_[np.zeros(size), 1],
            A_ub=np.r_[above, below],
            b_ub=np.zeros(2 * size),
            A_eq=np.r_[weight, 0][None],
            b_eq=[-value],
            bounds=[*bounds, (0, None)],
        )
        return found.fun
    constraint = {"type": "eq", "fun": lambda change: value + weight @ change}
    found = minimize(lambda change: change @ change, np.zeros_like(point), bounds=bounds, constraints=constraint, tol=1e-12)
    return float(np.sqrt(found.fun))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_way_to_a_hyperplane_is_the_shortest_inside_the_box(norm: str) -> None:
    points, normal = torch.rand(20, 1, 2, 3, generator=_generator()), torch.randn(20, 1, 2, 3, generator=_generator())
    # Half of the way to the farthest corner: some pixels meet the edge of the box.
    reach = torch.where(normal > 0, points * normal, (points - 1) * normal).flatten(1).sum(dim=1)
    value = torch.where(torch.arange(20) % 2 == 0, 0.5, 0.9) * reach
    change = fab.to_hyperplane(points, normal, value, norm)
    assert torch.allclose((normal * change).flatten(1).sum(dim=1), -value, atol=1e-5)
    assert torch.allclose(points + change, (points + change).clamp(0, 1), atol=1e-6)
    lengths = change.flatten(1).norm(p=torch.inf if norm == "linf" else 2, dim=1)
    triples = zip(points.flatten(1).double(), normal.flatten(1).double(), value.double(), strict=True)
    exact = [_exact(point.numpy(), weight.numpy(), float(v), norm) for point, weight, v in triples]
    assert lengths.tolist() == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_hyperplane_out_of_reach_is_approached_as_far_as_the_box_goes(norm: str) -> None:
    change = fab.to_hyperplane(torch.tensor([[0.25, 0.5]]), torch.tensor([[1.0, -2.0]]), torch.tensor([9.0]), norm)
    assert change.tolist() == [[-0.25, 0.5]]


def test_flat_network_goes_nowhere() -> None:
    points = torch.rand(3, 4)
    assert torch.equal(fab.to_hyperplane(points, torch.zeros(3, 4), torch.ones(3), "linf"), torch.zeros(3, 4))


def test_targeted_dlr_by_hand() -> None:
    output = torch.tensor([[4.0, 3.0, 1.0, 0.0], [0.0, 2.0, 6.0, 1.0]])
    loss = apgd.targeted_dlr(torch.tensor([9, 0, 1]), torch.tensor([9, 2, 2]))
    # (1 - 4) / (4 - (1 + 0) / 2), and (6 - 2) / (6 - (1 + 0) / 2).
    assert loss(output, torch.tensor([1, 2])).tolist() == pytest.approx([-3 / 3.5, 4 / 5.5])


def test_windows_of_square_shrink_as_the_paper_has_it() -> None:
    images = torch.zeros(1, 3, 32, 32)
    sides = {query: square._side(query, images) for query in (0, 10, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001)}
    # round(32 * sqrt(0.8 / 2^k))
    assert sides == {0: 29, 10: 29, 11: 20, 51: 14, 201: 10, 501: 7, 1001: 5, 2001: 4, 4001: 3, 6001: 2, 8001: 1}
    assert square._side(4999, torch.zeros(1, 1, 8, 8)) == 1


def test_square_changes_one_window_by_eps_in_each_channel() -> None:
    centre = torch.full((4, 3, 8, 8), 0.5)
    window, content = square._window(centre.clone(), centre, LINF, 3, _generator())
    change = centre.clone()
    window.of(change)[:] = content
    change -= centre
    assert (change != 0).sum(dim=(2, 3)).tolist() == [[9, 9, 9]] * 4
    assert change[change != 0].abs().tolist() == pytest.approx([0.04] * 4 * 27)


@pytest.fixture(scope="module")
def untrained() -> tuple[nn.Module, Tensor, Tensor]:
    """CNN-small as it begins, 70 images as large as CIFAR-10's, and what it says of them."""
    torch.manual_seed(0)
    entry = catalogue.load("models", "cnn-small")
    model = entry.build(entry.Params(), (3, 32, 32), 10).eval()
    images = torch.rand(70, 3, 32, 32)
    return model, images, logits(model, images).argmax(dim=1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_square_through_windows_finds_what_it_would_find_in_whole_images(
    untrained: tuple, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images, labels = untrained
    kinds, found, looking = [], [], square._window_updates
    monkeypatch.setattr(square, "_window_updates", lambda *given: kinds.append(type(updates := looking(*given))) or updates)
    monkeypatch.setattr(square, "batch_size", lambda *given: 64)
    for smallest in (0, 10**9):
        monkeypatch.setattr(square, "SMALLEST", smallest)
        with _search.search_network(model, images, precision) as search:
            found.append(square.square(search, images, labels, Threat(eps=0.1), 230, _generator()))
    # Two batches; windows of 29, 20, 14 and 10 pixels, of which the first two are most of an image.
    assert kinds == [WholeImages, WholeImages, WindowUpdates, WindowUpdates] * 2
    broken = [one for one, _ in found]
    assert 0 < int(broken[0].sum()) < len(labels)
    # Another order of sums may turn a comparison that is as good as even.
    assert int((broken[0] != broken[1]).sum()) <= (0 if precision == "float32" else 2)
    if precision == "float32":
        torch.testing.assert_close(found[0][1], found[1][1])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_square_of_a_network_that_cannot_be_traced_keeps_no_graph(precision: str) -> None:
    class Untraceable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.seen = nn.Conv2d(3, 10, 3), []
            self.conv.register_forward_hook(lambda layer, given, output: self.seen.append(output))

        def forward(self, images: Tensor) -> Tensor:
            return self.conv(images).mean(dim=(2, 3)) * (1 if float(images.sum()) > 0 else 2)

    torch.manual_seed(0)
    model, images = Untraceable().eval(), torch.rand(4, 3, 16, 16)
    labels = logits(model, images).argmax(dim=1)
    model.seen.clear()
    with _search.search_network(model, images, precision) as search:
        square.square(search, images, labels, Threat(eps=0.01), 5, _generator())
    # Several queries of each of four images at once.
    assert max(len(output) for output in model.seen) > 4 * 5
    assert not any(output.requires_grad for output in model.seen)
    # The first layer, and here there is no other, gets images in float32.
    assert {output.dtype for output in model.seen} == {torch.float32}


def test_images_of_all_batches_meet_the_same_windows(case: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images, labels = case
    monkeypatch.setattr(square, "SMALLEST", 0)
    with _search.search_network(model, images, "float32") as search:
        whole = square.square(search, images, labels, LINF, 100, _generator())
        monkeypatch.setattr(square, "batch_size", lambda *given: 7)
        parts = square.square(search, images, labels, LINF, 100, _generator())
    assert 0 < int(whole[0].sum()) < len(images)
    for one, other in zip(parts, whole, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("size", [8, 16, 32])
def test_square_stays_on_the_sphere_in_l2(size: int) -> None:
    centre = torch.full((4, 3, size, size), 0.5)
    points = square._tiles(centre, L2, _generator())
    for _ in range(5):
        assert (points - centre).flatten(1).norm(dim=1).tolist() == pytest.approx([0.3] * 4, rel=1e-4)
        window, points = square._swap(points, centre, L2, 3, _generator())
        assert window.pixels() == size * size


def test_images_leave_as_soon_as_they_are_broken(case: tuple) -> None:
    model, images, labels = case
    seen = []
    hook = model.register_forward_hook(lambda module, arguments, output: seen.append(len(output)))
    try:
        broken, _ = apgd.apgd(model, images, labels, apgd.cross_entropy(labels), LINF, 10, _generator())
    finally:
        hook.remove()
    # Eleven passes over all images, but for those removed; batches are packed anew.
    assert sum(seen) < 11 * len(images)
    assert seen[-1] == int((~broken).sum()) % SMALLEST_BATCH
    assert max(seen) <= SMALLEST_BATCH


def test_gradient_is_that_of_the_loss_whatever_the_batches(case: tuple) -> None:
    model, images, labels = case
    output, losses, gradient = losses_and_gradients(model, images, apgd.cross_entropy(labels), torch.arange(len(images)))
    inputs = images.clone().requires_grad_(True)
    expected = nn.functional.cross_entropy(model(inputs), labels, reduction="none")
    expected.sum().backward()
    assert torch.allclose(losses, expected, atol=1e-5)
    assert torch.allclose(gradient, inputs.grad, atol=1e-5)
    assert torch.allclose(output, model(images), atol=1e-5)


def test_lowered_network_sees_small_changes(case: tuple) -> None:
    model, images, _ = case
    # Bfloat16 has no number between 1 and 0.996.
    changed = torch.full_like(images[:1], 0.999)
    lowered = _search.Bfloat16Network(model)
    rounded = lowered(torch.ones_like(changed))
    assert not torch.equal(lowered(changed), rounded)
    assert lowered(images).dtype == torch.float32
    assert torch.allclose(lowered(images), model(images), atol=0.2)
    assert not torch.equal(lowered(images), model(images))
    assert all(not layer._forward_hooks and not layer._forward_pre_hooks for layer in model.modules())


def test_what_only_the_lowered_network_gets_wrong_still_stands(case: tuple) -> None:
    model, images, labels = case
    wrong = torch.arange(len(labels)) % 2 == 0
    assert torch.equal(_search.confirmed(model, images, labels, wrong), wrong)
    others = labels.clone()
    others[:10] = (labels[:10] + 1) % 10
    sure = _search.confirmed(_search.Bfloat16Network(model), images, others, wrong)
    assert sure.nonzero().flatten().tolist() == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_search_network_evaluates_the_network(case: tuple, precision: str) -> None:
    model, images, _ = case
    as_it_is = model if precision == "float32" else _search.Bfloat16Network(model)
    with _search.search_network(model, images, precision) as search:
        found = search(images)
        assert search.full is model
        assert search.view is not model
        assert found.dtype == torch.float32
        # The first layer in full: bfloat16 has no number between 1 and 0.996.
        one = torch.ones_like(images[:1])
        assert not torch.equal(search(one), search(0.999 * one))
    scale = float(found.detach().abs().max())
    assert float((found - as_it_is(images)).detach().abs().max()) < (1e-5 if precision == "float32" else 0.02) * scale


@pytest.mark.parametrize("kind", [_search.SearchNetwork, _search.Bfloat16Network])
@both_norms
def test_no_part_believes_what_it_searches_with(case: tuple, threat: Threat, kind: type) -> None:
    class Wrong(kind):
        """Says that every image is of the next class."""

        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).roll(1, dims=1)

    model, images, labels = case
    nowhere = threat.model_copy(update={"eps": 1e-6})
    for name, (broken, found) in _parts(Wrong(model), images, labels, nowhere, 3, 5).items():
        assert not broken.any(), name
        assert torch.equal(found, images), name


@both_norms
def test_autoattack_in_lower_precision_finds_nearly_the_same(case: tuple, threat: Threat) -> None:
    model, images, labels = case
    found = {}
    for precision in ("float32", "bfloat16"):
        params = autoattack.Params(steps=10, queries=50, precision=precision)
        after = autoattack.attack(model, images, labels, params, threat, 10)
        broken = logits(model, after).argmax(dim=1) != labels
        # What stands is given back as near to its end as it came, within the ball.
        assert distance(after, images, threat.norm).max() <= threat.eps * (1 + 1e-5)
        found[precision] = broken
    assert 3 < int(found["float32"].sum()) < len(labels)
    assert int((found["float32"] ^ found["bfloat16"]).sum()) <= 2


def test_what_is_kept_stays_together() -> None:
    @dataclass
    class Numbered(Survivors):
        number: Tensor

    now = Numbered(labels=torch.arange(4), number=torch.arange(4) * 10)
    now.keep(torch.tensor([True, False, True, True]))
    now.keep(torch.tensor([False, True, True]))
    assert (now.labels.tolist(), now.number.tolist(), now.places.tolist(), len(now)) == ([2, 3], [20, 30], [2, 3], 2)


@pytest.mark.parametrize(
    ("batch", "limit", "groups"),
    [(3, 512, [1] * 9), (27, 512, [9]), (12, 512, [3, 3, 3]), (16, 512, [5, 4]), (512, 12, [3, 3, 3]), (512, 3, [1] * 9)],
)
def test_autoattack_is_the_standard_version(batch: int, limit: int, groups: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def spied(name: str, steps: int, targets: Callable[[tuple, dict], int]):
        def attack(model, images, labels, *arguments, **named):
            calls.append((name, arguments[steps], targets(arguments, named)))
            return torch.zeros_like(labels, dtype=torch.bool), images

        return attack

    monkeypatch.setattr(apgd, "apgd", spied("apgd", 2, lambda arguments, named: named.get("copies", 0)))
    monkeypatch.setattr(fab, "fab", spied("fab", 2, lambda arguments, named: arguments[0].shape[1]))
    monkeypatch.setattr(square, "square", spied("square", 1, lambda arguments, named: 0))
    monkeypatch.setattr(batches, "SMALLEST_BATCH", batch)
    monkeypatch.setattr(batches, "LARGEST_BATCH", batch)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 100))
    images = torch.rand(3, 1, 4, 4)
    labels = logits(network, images).argmax(dim=1)
    autoattack.attack(network, images, labels, autoattack.Params(batch_size=limit), LINF, 100)
    targeted = [(name, 100, count) for name in ("apgd", "fab") for count in groups]
    assert calls == [("apgd", 100, 0), *targeted, ("square", 5000, 0)]


def test_each_part_meets_only_what_the_others_left(case: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images, labels = case
    met = []
    original = square.square
    monkeypatch.setattr(
        square, "square", lambda model, images, *rest: met.append(len(images)) or original(model, images, *rest)
    )
    found = autoattack.attack(model, images, labels, autoattack.Params(steps=10, queries=5), LINF, 10)
    robust = int((logits(model, found).argmax(dim=1) == labels).sum())
    assert met[0] - 3 <= robust <= met[0] < len(images)
