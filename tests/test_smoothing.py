"""Randomised smoothing: exact confidence bounds, radii that a pencil can follow, and a classifier that stands apart."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import pandas as pd
import pytest
import torch
from torch import nn

from sparrow.outcome_table import ABSTAINED
from sparrow.settings import Threat
from sparrow.stages.verify import verify
from sparrow.verification import smoothing

NORMAL = NormalDist()


def half_space(weight: float, threshold: float) -> nn.Module:
    """Two classes of 1 x 1 x 2 images: the second where `weight * (first pixel - threshold)` is above zero."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    network[1].weight.data = torch.tensor([[0.0, 0.0], [weight, 0.0]])
    network[1].bias.data = torch.tensor([0.0, -weight * threshold])
    return network


def certify(network: nn.Module, pixel: float, threat: Threat, seed: int = 0, **params: float) -> tuple[int, float]:
    image = torch.tensor([pixel, 0.5]).view(1, 1, 1, 2)
    generator = torch.Generator().manual_seed(seed)
    classes, margins = smoothing.certify(network, image, smoothing.Params(**params), threat, 2, generator)
    return classes.item(), margins.item()


def test_radius_of_a_unanimous_vote_by_hand() -> None:
    # All of n draws: the exact lower bound at level alpha is alpha ** (1 / n).
    expected = 0.25 * NORMAL.inv_cdf(0.001 ** (1 / 10_000))
    assert smoothing.certified_radius(10_000, 10_000, 0.25, 0.001) == pytest.approx(expected)


@pytest.mark.parametrize("hits", [0, 3, 50])
def test_no_radius_without_a_majority(hits: int) -> None:
    assert smoothing.certified_radius(hits, 100, 0.25, 0.001) == 0


def test_lower_bound_is_exact() -> None:
    # At the bound itself, so many hits or more happen with probability alpha.
    from scipy.stats import binom

    bound = NORMAL.cdf(smoothing.certified_radius(90, 100, 1.0, 0.01))
    assert binom.sf(89, 100, bound) == pytest.approx(0.01)


def test_counts_are_as_many_as_draws() -> None:
    params = smoothing.Params(batch_size=7)
    counts = smoothing.counts(half_space(1.0, 0.5), torch.full((1, 1, 2), 0.5), 30, params, 2, torch.Generator().manual_seed(0))
    assert counts.sum() == 30
    assert (counts > 0).all()


def test_radius_approaches_the_distance_to_a_plane() -> None:
    # Smoothing a half space certifies the distance to its plane, less what the confidence costs.
    found, margin = certify(half_space(3.0, 0.2), 0.6, Threat(norm="l2", eps=0.1), sigma=0.25, n=20_000)
    assert found == 1
    assert 0.9 * 0.4 < margin + 0.1 < 0.4


def test_certificate_is_rarely_wrong() -> None:
    # At alpha = 0.5 the radius exceeds the true distance in about half of the runs, and never in many more.
    wrong = [certify(half_space(3.0, 0.4), 0.6, Threat(norm="l2", eps=0.2), s, n=500, alpha=0.5)[1] > 0 for s in range(100)]
    assert 25 < sum(wrong) < 70


def test_linf_ball_needs_the_l2_ball_around_it() -> None:
    l2, linf = (certify(half_space(3.0, 0.2), 0.6, Threat(norm=norm, eps=0.1))[1] for norm in ("l2", "linf"))
    assert l2 - linf == pytest.approx(0.1 * 2**0.5 - 0.1)


def test_undecided_image_is_abstained_from() -> None:
    assert certify(half_space(3.0, 0.5), 0.5, Threat(norm="l2", eps=0.1))[0] == ABSTAINED


def test_stage_writes_the_smoothed_classifier_s_own_predictions(dense: Path, digits: Path, tmp_path: Path) -> None:
    spec = {
        "seed": 0,
        "model": {"kind": "cnn-small"},
        "threat": {"norm": "l2", "eps": 0.3},
        "verifier": {"kind": "smoothing", "samples": 20, "n": 300},
    }
    tables = []
    for name in ("first", "second"):
        verify(dense, digits, tmp_path / name, tmp_path / "cost", spec)
        tables.append(pd.read_csv(tmp_path / name))
    assert tables[0].equals(tables[1])
    table = tables[0]
    right = table["prediction"] == table["label"]
    assert (table.loc[table["status"] == "verified", "margin"] > 0).all()
    assert right[table["status"] == "verified"].all()
    assert (table.loc[table["prediction"] == ABSTAINED, "status"] == "unknown").all()
    assert (~right[table["status"] == "falsified"]).all()
    assert (table["status"] == "verified").any()
