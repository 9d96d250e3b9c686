"""How far images are from a boundary, as tables tell."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from sparrow.results.boundary import distances, nearness
from sparrow.results.outcomes import Outcomes


def table(distance: list[float], predictions: list[int], margin: list[float]) -> pd.DataFrame:
    """An attack's table of the images 0, 1, ...; all of class 0."""
    return pd.DataFrame({"label": 0, "prediction": predictions, "distance": distance, "margin": margin}).rename_axis("index")


FMN = table([0.3, 0.2, 0, 0], [0, 0, 1, 1], [-1, -2, -0.5, -4])
# It left out the second image, which is proven, and has one more.
PGD = table([0.1, math.inf, 0, 0, math.inf], [0, 0, 1, 1, 0], [-1, 5, -0.5, -4, 7])


def outcomes(**attacks: pd.DataFrame) -> Outcomes:
    return Outcomes(Path("network"), attacks, {}, {}, 0.1, minimum_norm=[name for name in attacks if name == "fmn"])


def test_a_distance_is_the_least_that_anybody_found_of_images_that_a_search_has_seen() -> None:
    assert distances(outcomes(fmn=FMN, pgd=PGD)).to_dict() == {0: 0.1, 1: 0.2, 2: 0, 3: 0}
    assert distances(outcomes(pgd=PGD)).empty
    assert nearness(outcomes(pgd=PGD)).empty


def test_what_is_wrong_comes_before_what_is_right_by_its_margin() -> None:
    found = nearness(outcomes(fmn=FMN, pgd=PGD))
    assert found.to_dict() == {0: 0.1, 1: 0.2, 2: -0.5, 3: -4}
    assert found.sort_values().index.tolist() == [3, 2, 0, 1]


def test_without_a_wrong_image_there_are_distances_alone() -> None:
    fmn = table([0.3, math.inf], [0, 0], [-1, 2])
    assert nearness(outcomes(fmn=fmn)).to_dict() == pytest.approx({0: 0.3, 1: math.inf})
