"""Votes of networks that differ by seed: modes, ties, halves and intervals by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from sparrow.results.statistics import accuracy
from sparrow.results.votes import SPLITS, difference, share_between_halves, ties, vote


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def column(*votes: int) -> np.ndarray:
    """The votes (networks, 1) of networks for one image."""
    return np.array(votes)[:, None]


@pytest.mark.parametrize(
    ("votes", "chosen", "tied"),
    [
        ((1, 1, 2), 1, False),
        ((2, 2, 1), 2, False),
        ((1, 2), 2, True),
        ((5, 3, 3, 5, 0), 5, True),
        ((0, 0, 0), 0, False),
        ((7, 0, 1), 7, True),
    ],
)
def test_the_most_frequent_choice_wins_and_of_several_the_largest(votes: tuple[int, ...], chosen: int, tied: bool) -> None:
    assert vote(column(*votes)).tolist() == [chosen]
    assert ties(column(*votes)).tolist() == [tied]


@pytest.mark.parametrize(
    ("dense", "pruned", "differs", "tied"),
    [((1, 1, 2), (2, 2, 1), True, False), ((1, 2), (2, 2), False, True), ((1, 2), (1, 1), True, True)],
)
def test_an_image_is_one_where_the_votes_differ(
    dense: tuple[int, ...], pruned: tuple[int, ...], differs: bool, tied: bool
) -> None:
    found = difference(column(*dense), column(*pruned), random())
    assert (found.differs.tolist(), found.tied.tolist()) == ([differs], [tied])


def test_halves_of_four_by_hand() -> None:
    # Of the six halves of 0, 0, 1, 1 two are unanimous and differ; the others are ties, which go to 1 on both sides.
    assert share_between_halves(column(0, 0, 1, 1), column(0, 0, 1, 1), random()) == pytest.approx(2 / 6)
    # One of four: the half that it is in has a tie, which goes to 1, and the other one has 0.
    assert share_between_halves(column(0, 0, 0, 1), column(0, 0, 0, 1), random()) == 1
    assert share_between_halves(column(0, 0, 0, 0), column(1, 1, 1, 1), random()) == 1


def test_halves_of_five_are_two_and_three() -> None:
    # 1, 0, 0, 0, 0: a half of two that has the one (4 of 10) ties and says 1, the other three say 0; else all say 0.
    votes = column(1, 0, 0, 0, 0)
    assert share_between_halves(votes, votes, random()) == pytest.approx(0.4)


@pytest.mark.parametrize("networks", [1, 2, 3])
def test_fewer_than_four_have_no_halves(networks: int) -> None:
    votes = np.zeros((networks, 3), dtype=int)
    assert np.isnan(share_between_halves(votes, votes, random()))


def test_where_pruning_does_nothing_halves_differ_as_the_floor_says() -> None:
    dense = random(1).integers(0, 3, (6, 50))
    floor = share_between_halves(dense, dense, random())
    assert 0 < floor < 1
    assert not difference(dense, dense, random()).differs.any()
    assert share_between_halves(dense, dense.copy(), random()) == floor


def test_many_networks_are_halved_at_random_and_alike_each_time() -> None:
    # Of 20 networks there are 184,756 halves.
    dense = random(2).integers(0, 2, (20, 30))
    first, second = (share_between_halves(dense, dense, random(3)) for _ in range(2))
    assert first == second
    # A mean over SPLITS shares, each a multiple of 1 / 30.
    assert first * 30 * SPLITS == pytest.approx(round(first * 30 * SPLITS))
    assert abs(first - share_between_halves(dense, dense, random(4))) < 0.05


def test_of_unanimous_networks_the_interval_is_that_of_images_alone() -> None:
    dense, pruned = np.zeros((3, 100), dtype=int), np.zeros((3, 100), dtype=int)
    pruned[:, :20] = 1
    found = difference(dense, pruned, random())
    expected = binom.ppf([0.025, 0.975], 100, 0.2) / 100
    assert [found.low, found.high] == pytest.approx(expected, abs=0.011)


def test_where_nobody_disagrees_there_is_nothing_to_draw() -> None:
    same = np.ones((3, 10), dtype=int)
    found = difference(same, same, random())
    assert (found.low, found.high, found.differs.any()) == (0, 0, False)


def test_seeds_that_disagree_widen_the_interval() -> None:
    # Of three pruned networks two say otherwise on a fifth of the images, one on none: a draw of it twice has none, either.
    dense, pruned = np.zeros((3, 1000), dtype=int), np.zeros((3, 1000), dtype=int)
    pruned[:2, :200] = 1
    found = difference(dense, pruned, random())
    _, low, high = accuracy(found.differs)
    assert found.differs.mean() == 0.2
    assert (found.low, found.high > found.differs.mean()) == (0, True)
    assert high - low < found.high - found.low


def test_a_network_is_drawn_with_its_dense_one() -> None:
    # Seeds differ by far, dense from pruned not at all: whichever are drawn, both sides vote alike.
    dense = random(5).integers(0, 10, (4, 40))
    found = difference(dense, dense, random())
    assert (found.low, found.high) == (0, 0)
