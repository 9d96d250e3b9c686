"""Certified radii from outcome tables: averages and curves by hand."""

from __future__ import annotations

import pytest

from sparrow.files.outcome_table import ABSTAINED
from sparrow.results.certified import average, curve, needed, radii
from sparrow.settings import Threat
from sparrow.verifiers import smoothing
from tests.analyses.outcomes import certified

SHAPE = (1, 8, 8)
# In l-inf 0.1, an image of 64 values needs the l2 radius 0.8: radii of 1, 0.4, none, and one of a wrong class.
TABLE = certified([0, 1, 2, 3], [0, 1, ABSTAINED, 0], [0.2, -0.4, -0.8, 0.1], "linf", 0.1)


@pytest.mark.parametrize(("norm", "eps", "radius"), [("linf", 0.1, 0.8), ("l2", 0.1, 0.1)])
def test_a_threat_needs_the_l2_ball_around_it(norm: str, eps: float, radius: float) -> None:
    assert Threat(norm=norm, eps=eps).l2_radius(64) == pytest.approx(radius)
    assert needed(certified([0], [0], [0.0], norm, eps), SHAPE) == pytest.approx(radius)


def test_radii_are_margins_and_what_is_needed_and_none_where_it_abstains_or_is_wrong() -> None:
    assert radii(TABLE, SHAPE).tolist() == pytest.approx([1, 0.4, 0, 0])


def test_the_average_is_over_all_images() -> None:
    mean, low, high = average(radii(TABLE, SHAPE))
    assert mean == pytest.approx(0.35)
    # Deviations 0.65, 0.05, -0.35, -0.35: sd 0.472582, and 3.18245 of its fourfold root at three degrees.
    assert (low, high) == (pytest.approx(0.35 - 3.18245 * 0.472582 / 2, rel=1e-5), pytest.approx(1.101977, rel=1e-5))


def test_the_radius_of_a_unanimous_vote() -> None:
    # 10,000 of 10,000 draws at sigma 0.25: p = 0.001 ** (1 / 10000) = 0.99931, and 0.25 times its quantile.
    radius = smoothing.certified_radius(10_000, 10_000, 0.25, 0.001)
    assert radius == pytest.approx(0.80, abs=0.005)
    table = certified([0, 1], [0, 1], [radius - 0.8, radius - 0.8], "linf", 0.1)
    assert average(radii(table, SHAPE)) == pytest.approx((radius, radius, radius))


def test_a_curve_by_hand() -> None:
    found = curve(TABLE, SHAPE, 0.25)
    assert found["radius"].tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 0.8, 1, 1.25])
    assert found["certified"].tolist() == [0.5, 0.5, 0.25, 0.25, 0.25, 0, 0]
    assert (found["low"] <= found["certified"]).all()
    assert (found["high"] > found["certified"]).all()


def test_at_the_radius_that_is_needed_the_curve_is_the_verifiers_own() -> None:
    # A margin that the sum with 0.8 would lose.
    table = certified([0, 1], [0, 1], [1e-17, 0.0], "linf", 0.1)
    found = curve(table, SHAPE, 0.3).set_index("radius")
    assert found.loc[needed(table, SHAPE), "certified"] == 0.5
    # Where even the best image falls short, the radius is there all the same.
    short = curve(certified([0], [0], [-0.7], "linf", 0.1), SHAPE, 0.3)
    assert short[["radius", "certified"]].to_numpy().tolist() == [[0, 1], [pytest.approx(0.3), 0], [pytest.approx(0.8), 0]]


def test_a_classifier_that_certifies_nothing_has_a_curve_of_nothing() -> None:
    found = curve(certified([0, 1], [1, ABSTAINED], [0.1, -0.8], "linf", 0.1), SHAPE, 0.5)
    assert found["certified"].tolist() == [0, 0, 0]
