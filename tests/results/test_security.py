"""Accuracy at any radius, and which bound decided how many images: by hand."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sparrow.results.decisions import decisions, together
from sparrow.results.outcomes import Outcomes
from sparrow.results.security import POINTS, REACH, curve
from sparrow.results.statistics import accuracy


def table(rows, eps, **more):
    frame = pd.DataFrame(rows).set_index("index")
    return frame.assign(label=0, prediction=frame.get("prediction", 0), norm="linf", eps=eps, **more)


def attacked(eps, *distances):
    """An attack's table: the images 0, 1, ... and how far away it has found an adversarial image."""
    return table(
        [{"index": i, "status": "broken" if d <= eps else "robust", "distance": d} for i, d in enumerate(distances)], eps
    )


def proved(eps, *verified):
    """A verifier's table: the images 0, 1, ... and whether each is verified."""
    words = ["verified" if yes else "unknown" for yes in verified]
    return table([{"index": i, "status": word, "decided": "crown"} for i, word in enumerate(words)], eps)


def outcomes(attacks=None, verifiers=None, minimum_norm=(), eps=0.1):
    return Outcomes(Path("network"), attacks or {}, verifiers or {}, {}, eps, list(minimum_norm))


INF = math.inf
SWEEP = {"pgd-eps0.05": attacked(0.05, INF, INF, 0.05, INF), "pgd": attacked(0.1, INF, 0.1, 0.1, INF)}
PROOFS = {"crown-eps0.2": proved(0.2, True, False, False, False), "crown": proved(0.1, False, True, False, False)}


def test_a_curve_has_the_radii_of_attacks_and_verifiers_in_their_order():
    assert curve(outcomes(SWEEP, PROOFS))["eps"].tolist() == [0.05, 0.1, 0.2]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("era", [3 / 4, 2 / 4, np.nan]),
        ("era_n", [4, 4, 0]),
        # At 0.1 the proof for 0.2 counts, too; nobody has asked at 0.05.
        ("vra", [np.nan, 2 / 4, 1 / 4]),
        ("vra_n", [0, 4, 4]),
    ],
)
def test_a_point_of_a_curve_is_what_one_counts_by_hand(column, values):
    assert curve(outcomes(SWEEP, PROOFS))[column].tolist() == pytest.approx(values, nan_ok=True)


def test_a_point_has_its_interval():
    found = curve(outcomes(SWEEP, PROOFS)).set_index("eps")
    assert found.loc[0.05, ["era_low", "era_high"]].tolist() == pytest.approx(accuracy(np.array([1, 1, 0, 1], dtype=bool))[1:])
    assert found.loc[0.2, ["vra_low", "vra_high"]].tolist() == pytest.approx(accuracy(np.array([1, 0, 0, 0], dtype=bool))[1:])


def test_where_nobody_asked_there_is_no_interval_either():
    found = curve(outcomes(SWEEP, PROOFS)).set_index("eps")
    assert found.loc[0.2, ["era", "era_low", "era_high"]].isna().all()
    assert found.loc[0.05, ["vra", "vra_low", "vra_high"]].isna().all()


def test_without_a_sweep_a_curve_is_a_point():
    found = curve(outcomes({"pgd": attacked(0.1, INF, 0.1)}, {"crown": proved(0.1, True, False)}))
    assert found[["eps", "era", "vra"]].to_numpy().tolist() == [[0.1, 0.5, 0.5]]


def test_equal_radii_are_one_point():
    # 0.0313725 is what a table of six digits has of 8/255.
    attacks = {"pgd": attacked(0.0313725, INF, 0.03), "fgsm": attacked(8 / 255, INF, INF)}
    found = curve(outcomes(attacks, {"crown": proved(0.0313725, True, False)}, eps=8 / 255))
    assert found["eps"].tolist() == pytest.approx([8 / 255], rel=1e-5)
    assert found[["era", "era_n", "vra_n"]].to_numpy().tolist() == [[0.5, 2, 2]]


NEAREST = {"fmn": attacked(0.1, INF, 0.072, 0.002, 0.288)}


def test_distances_give_a_curve_that_reaches_beyond_the_studys_radius():
    radii = curve(outcomes(NEAREST, minimum_norm=["fmn"]))["eps"]
    # From no perturbation at all.
    assert (len(radii), radii.min()) == (POINTS + 1, 0)
    assert radii.max() == pytest.approx(0.1 * REACH)
    assert np.diff(radii) == pytest.approx(0.1 * REACH / POINTS)


def test_the_studys_radius_is_there_once_between_the_steps():
    radii = curve(outcomes(NEAREST | SWEEP, PROOFS, minimum_norm=["fmn"]))["eps"]
    # Those of the sweep are steps themselves.
    assert [int(np.isclose(radii, eps).sum()) for eps in (0.05, 0.1, 0.2)] == [1, 1, 1]
    assert len(radii) == POINTS + 1


def test_a_radius_between_the_steps_is_a_point_of_its_own():
    radii = curve(outcomes(NEAREST, {"crown": proved(0.0123, True)}, minimum_norm=["fmn"]))["eps"].tolist()
    assert (len(radii), radii == sorted(radii), 0.0123 in radii) == (POINTS + 2, True, True)


def test_a_curve_of_distances_by_hand():
    found = curve(outcomes(NEAREST, minimum_norm=["fmn"]))
    expected = [1 - sum(distance <= eps for distance in (0.072, 0.002, 0.288)) / 4 for eps in found["eps"]]
    assert found["era"].tolist() == expected
    assert (expected[0], expected[1], expected[-1]) == (1, 0.75, 0.25)


def test_a_curve_starts_at_the_benign_accuracy():
    # The first image is wrong as it is.
    found = curve(outcomes({"fmn": attacked(0.1, 0, 0.072, INF, 0.001)}, PROOFS, minimum_norm=["fmn"])).iloc[0]
    assert (found["eps"], found["era"], found["era_n"], found["vra_n"]) == (0, 0.75, 4, 0)


def test_the_more_the_adversary_may_the_less_is_robust():
    # Where all attacks have seen the same images, whatever each of them has found at which radius.
    generator = np.random.default_rng(0)
    for _ in range(20):
        attacks = {}
        for eps in (0.013, 0.05, 0.1, 0.21):
            hits = generator.random(30) < 0.4
            attacks[f"pgd-{eps}"] = attacked(eps, *np.where(hits, eps * generator.random(30) ** 0.3, INF))
        attacks["fmn"] = attacked(0.1, *np.where(generator.random(30) < 0.7, 0.4 * generator.random(30), INF))
        shares = curve(outcomes(attacks, minimum_norm=["fmn"]))["era"].to_numpy()
        assert (np.diff(shares) <= 0).all()
        assert shares[0] > shares[-1]


def test_where_every_verifier_was_asked_less_is_verified_of_more():
    generator = np.random.default_rng(0)
    verifiers = {f"crown-{eps}": proved(eps, *(generator.random(30) < 0.4)) for eps in (0.05, 0.1, 0.2)}
    shares = curve(outcomes({"pgd": attacked(0.1, *[INF] * 30)}, verifiers))["vra"].to_numpy()
    assert (np.diff(shares) < 0).all()


def test_a_network_without_tables_has_a_curve_without_points():
    found = curve(outcomes())
    assert found.empty
    assert list(found.columns) == [
        *("eps", "era", "era_low", "era_high", "era_n", "vra", "vra_low", "vra_high", "vra_n"),
    ]


def test_after_a_failed_attack_the_curve_has_no_era():
    failed = Outcomes(Path("network"), SWEEP, PROOFS, {}, 0.1, [], {"attacks": "diverged"})
    found = curve(failed)
    assert found["era"].isna().all()
    assert found["vra"].tolist() == pytest.approx([np.nan, 2 / 4, 1 / 4], nan_ok=True)


def decided(eps, *pairs):
    """A verifier's table: the status of each image and what decided it."""
    return table([{"index": i, "status": status, "decided": by} for i, (status, by) in enumerate(pairs)], eps)


CASCADE = decided(
    0.1,
    ("falsified", "misclassified"),
    ("falsified", "attack"),
    ("verified", "ibp"),
    ("verified", "crown"),
    ("verified", "ibp"),
    ("unknown", "nothing"),
    ("falsified", "branch-and-bound"),
    ("verified", "branch-and-bound"),
)


def test_decisions_are_counted_by_status_and_by_what_decided():
    found = decisions(outcomes(verifiers={"cascade": CASCADE})).dropna(subset="verifier")
    assert found[["status", "decided", "images"]].to_numpy().tolist() == [
        ["falsified", "attack", 1],
        ["falsified", "branch-and-bound", 1],
        ["falsified", "misclassified", 1],
        ["unknown", "nothing", 1],
        ["verified", "branch-and-bound", 1],
        ["verified", "crown", 1],
        ["verified", "ibp", 2],
    ]


def test_decisions_say_whose_they_are_and_of_how_many_images():
    found = decisions(outcomes(verifiers={"cascade": CASCADE})).dropna(subset="verifier")
    assert found[["verifier", "eps", "seen"]].drop_duplicates().to_numpy().tolist() == [["cascade", 0.1, 8]]
    assert found["images"].sum() == 8


def test_every_radius_has_decisions_of_its_own():
    small = decided(0.05, ("verified", "ibp"), ("verified", "ibp"))
    found = decisions(outcomes(verifiers={"cascade-eps0.05": small, "cascade": CASCADE.head(2)})).dropna(subset="verifier")
    assert found[["verifier", "eps", "decided", "images", "seen"]].to_numpy().tolist() == [
        ["cascade-eps0.05", 0.05, "ibp", 2, 2],
        ["cascade", 0.1, "attack", 1, 2],
        ["cascade", 0.1, "misclassified", 1, 2],
    ]


def test_without_verifiers_there_are_no_decisions():
    found = decisions(outcomes())
    assert found.empty
    assert list(found.columns) == ["verifier", "eps", "status", "decided", "images", "seen"]


def test_together_an_image_counts_once_by_the_first_that_proves_it_or_else_by_what_breaks_it():
    nothing, wrong = ("unknown", "nothing"), ("falsified", "misclassified")
    ibp = decided(0.1, wrong, ("verified", "ibp"), nothing, nothing, nothing)
    crown = decided(0.1, wrong, ("verified", "crown"), ("verified", "crown"), nothing, nothing)
    larger = decided(0.2, wrong, nothing, nothing, nothing, ("falsified", "attack"))
    pgd = attacked(0.1, INF, INF, INF, 0.1, INF)
    own = outcomes({"pgd": pgd}, {"ibp": ibp, "crown": crown, "larger": larger})
    found = together(own)
    assert found["status"].tolist() == ["falsified", "verified", "verified", "falsified", "unknown"]
    assert found["decided"].tolist() == ["misclassified", "ibp", "crown", "attack", "nothing"]
    assert (found["status"] == "verified").tolist() == own.verified().tolist()
    rows = decisions(own)
    whole = rows[rows["verifier"].isna()]
    assert whole[["eps", "status", "decided", "images", "seen"]].to_numpy().tolist() == [
        [0.1, "falsified", "attack", 1, 5],
        [0.1, "falsified", "misclassified", 1, 5],
        [0.1, "unknown", "nothing", 1, 5],
        [0.1, "verified", "crown", 1, 5],
        [0.1, "verified", "ibp", 1, 5],
    ]
