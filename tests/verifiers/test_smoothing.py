"""Randomised smoothing: exact confidence bounds, radii that a pencil can follow, and a classifier that stands apart."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import pandas as pd
import pytest
import torch
from torch import nn

from sparrow.errors import SparrowError
from sparrow.files.outcome_table import ABSTAINED
from sparrow.settings import Threat
from sparrow.stages.verify import verify
from sparrow.verifiers import smoothing

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
    classes, margins = smoothing.certify(network, image, smoothing.Params(**params), threat, 2, generator, 10)
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
    image, generator = torch.full((1, 1, 2), 128.0), torch.Generator().manual_seed(0)
    counts = smoothing.counts(half_space(1.0, 0.5), image, 256, 30, params, 2, generator)
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


@pytest.mark.parametrize(("white", "levels"), [(255, 255), (16, 256), (1, 255), (15, 255), (2, 256), (100, 300)])
def test_the_grid_of_the_noise_holds_the_images(white: int, levels: int) -> None:
    assert smoothing.levels(white) == levels
    images = torch.arange(white + 1, dtype=torch.float32).view(1, 1, 1, -1) / white
    steps = smoothing.whole(images, levels)
    # Without noise the network sees the images as everyone else does, to the bit.
    assert torch.equal(steps / levels, images)


def test_images_off_the_grid_are_refused() -> None:
    with pytest.raises(SparrowError, match=r"no multiples of 1/255"):
        certify_all(half_space(3.0, 0.2), torch.full((1, 1, 1, 2), 0.3001), 255)


def certify_all(network: nn.Module, images: torch.Tensor, white: int, **params: float) -> tuple[list, list]:
    settings, generator = smoothing.Params(**params), torch.Generator().manual_seed(0)
    threat = Threat(norm="l2", eps=0.1)
    return tuple(map(torch.Tensor.tolist, smoothing.certify(network, images, settings, threat, 2, generator, white)))


@pytest.mark.parametrize("white", [255, 16])
def test_the_network_sees_nothing_but_the_grid(white: int) -> None:
    network, seen = half_space(3.0, 0.2), []
    network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    certify_all(network, torch.tensor([3.0, white]).view(1, 1, 1, 2) / white, white, n=300, batch_size=64)
    levels = smoothing.levels(white)
    every = torch.cat(seen)
    steps = (every.double() * levels).round()
    assert torch.equal((steps / levels).float(), every)
    noise = steps[:, 0, 0] - torch.tensor([3.0, white]) * levels / white
    assert len(noise) == 400
    # Of the variance sigma^2, and a twelfth for the rounding.
    assert noise.std().item() == pytest.approx(((0.25 * levels) ** 2 + 1 / 12) ** 0.5, rel=0.1)
    assert noise.mean().abs() < 0.25 * levels * 4 / 800**0.5


def test_counts_are_those_of_noise_that_is_not_rounded_but_for_chance() -> None:
    network, draws = half_space(3.0, 0.5), 20_000
    generator, image = torch.Generator().manual_seed(0), torch.tensor([153.0, 51.0]).view(1, 1, 2)
    rounded = smoothing.counts(network, image, 255, draws, smoothing.Params(sigma=0.25), 2, generator)[1].item()
    noise = 0.25 * torch.randn((draws, 1, 1, 2), generator=generator)
    plain = int(network(image / 255 + noise).argmax(dim=1).sum())
    share = NORMAL.cdf(0.1 / 0.25)
    spread = (draws * share * (1 - share)) ** 0.5
    assert abs(rounded - share * draws) < 4 * spread
    assert abs(rounded - plain) < 4 * 2**0.5 * spread


def test_a_constant_classifier_has_every_vote() -> None:
    network = half_space(0.0, 0.5)
    network[1].bias.data = torch.tensor([0.0, 1.0])
    classes, margins = certify_all(network, torch.zeros(1, 1, 1, 2), 255, n=10_000)
    assert classes == [1]
    assert margins == [pytest.approx(0.25 * NORMAL.inv_cdf(0.001 ** (1 / 10_000)) - 0.1)]


def test_stage_writes_the_smoothed_classifier_s_own_predictions(dense: Path, digits: Path, tmp_path: Path) -> None:
    spec = {
        "seed": 0,
        "model": {"kind": "cnn-small"},
        "code": "test",
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
