"""Bounds on random networks of all kinds of layers are sound, or refused by name (benchmarks/soundness.py counts many more)."""

from __future__ import annotations

import csv
import random
from collections import Counter
from pathlib import Path

import pytest
import torch
from benchmarks.soundness import table
from torch import nn

from sparrow.settings import Threat
from sparrow.verification.graph import traced
from tests.verification import refutation as held
from tests.verification.random_networks import RandomNetwork, random_network
from tests.verification.refutation import BOUNDS, RADII, refutation, smallest_affine, verdicts

COUNTED = Path(__file__).parents[2] / "benchmarks/results/soundness.csv"
QUICK = tuple(kind for kind in BOUNDS if kind != "branch-and-bound")


@pytest.fixture(scope="module")
def counts() -> dict[str, Counter[str]]:
    """Verdicts by bound, of the first networks."""
    found: dict[str, Counter[str]] = {kind: Counter() for kind in QUICK}
    for seed in range(8):
        network = random_network(seed, 4)
        for norm in ("linf", "l2"):
            torch.manual_seed(seed)
            threat = Threat(norm=norm, eps=random.Random(f"{seed} {norm}").choice(RADII))
            for verdict in verdicts(network, threat, QUICK):
                found[verdict.bound].update(verdict.counts)
    return found


@pytest.mark.parametrize("kind", QUICK)
def test_bounds_are_sound_or_refused_by_name_never_otherwise(kind: str, counts: dict[str, Counter[str]]) -> None:
    assert set(+counts[kind]) <= {"sound", "refused"}
    # Of 64.
    assert counts[kind]["sound"] >= 24


@pytest.mark.parametrize("seed", [20, 170, 197, 311, 578])
def test_bounds_of_graphs_are_sound(seed: int) -> None:
    # Networks that pad a convolution's output once more, by one pixel.
    network = random_network(seed, 4)
    assert traced(network.model, network.images[:1]) is not None
    for norm in ("linf", "l2"):
        threat = Threat(norm=norm, eps=random.Random(f"{seed} {norm}").choice(RADII))
        for verdict in verdicts(network, threat, ("crown", "alpha-crown")):
            assert {name for name, number in verdict.counts.items() if number} == {"sound"}, verdict


def test_every_third_network_has_a_graph() -> None:
    every = [random_network(seed, 1) for seed in range(30)]
    assert all(traced(network.model, network.images) is not None for network in every[2::3])
    kinds = frozenset().union(*(network.kinds for network in every[2::3]))
    assert {"Conv2d", "Conv2d, strided", "BatchNorm2d", "residual addition", "mean over pixels"} <= kinds


def test_a_network_depends_on_its_seed_alone() -> None:
    torch.manual_seed(1)
    one = random_network(5, 2)
    before = torch.get_rng_state()
    two = random_network(5, 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.model(one.images), two.model(two.images))
    assert one.kinds == two.kinds


@pytest.fixture
def by_hand() -> RandomNetwork:
    """The logits x + y - 1 and 1 - x - y of two pixels, both 1/2: the margin 2 (x + y) - 2 is 0 there."""
    layer = nn.Linear(2, 2)
    layer.weight.data, layer.bias.data = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), torch.tensor([-1.0, 1.0])
    model = nn.Sequential(nn.Flatten(), layer)
    return RandomNetwork(model, frozenset({"Linear"}), False, torch.full((1, 1, 1, 2), 0.5), torch.tensor([0]), 2)


@pytest.mark.parametrize(("norm", "smallest"), [("linf", -0.4), ("l2", -(8**0.5) * 0.1)])
def test_what_is_held_against_bounds_by_hand(norm: str, smallest: float, by_hand: RandomNetwork) -> None:
    # It falls by 2 (dx + dy): by 0.4 in the box of 0.1, and by 2 sqrt(2) 0.1 in the ball.
    threat = Threat(norm=norm, eps=0.1)
    known = smallest_affine(by_hand.model, by_hand.images, by_hand.labels, threat, 2)
    assert known.item() == pytest.approx(smallest)
    # What is searched for, where it is not known, is found.
    assert refutation(by_hand, threat).worst.item() == pytest.approx(smallest, abs=1e-6)


@pytest.mark.parametrize(("lifted", "expected"), [(0.0, "sound"), (0.01, "unsound")])
def test_a_bound_that_is_too_high_is_called_unsound(
    lifted: float, expected: str, by_hand: RandomNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = held.decide_by
    # Past the guard, which would have refused it.
    monkeypatch.setattr(held, "decide_by", lambda *given: (found := honest(*given))._replace(margins=found.margins + lifted))
    (verdict,) = verdicts(by_hand, Threat(eps=0.1), ("ibp",))
    assert {name for name, number in verdict.counts.items() if number} == {expected}


def test_of_the_many_that_were_counted_none_is_unsound() -> None:
    with open(COUNTED, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["layer"] == "all"]
    assert {row["bound"] for row in rows} == set(BOUNDS)
    assert sum(int(row[name]) for row in rows for name in ("sound", "refused", "caught")) >= 100_000
    assert [int(row[name]) for row in rows for name in ("unsound", "crashed", "nameless")] == [0] * 3 * len(rows)


def test_docs_have_the_table_of_what_was_counted() -> None:
    text = (COUNTED.parents[2] / "docs/bounds.md").read_text()
    assert text.endswith("\n\n" + table())
    assert table().count("\n") > 60
