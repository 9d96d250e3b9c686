"""What the tables of several radii say together of one network, by hand, and when they contradict each other."""

import math

import pytest

from sparrow.errors import ContradictionError, SparrowError
from sparrow.files.csv_table import write_csv
from sparrow.files.outcome_table import COLUMNS, FAILED
from sparrow.radius import text
from sparrow.results.outcomes import read_outcomes, same
from sparrow.results.specs.outcomes import OutcomeTables
from tests.conftest import ABOUT

IMAGES = range(6)
WRONG = {0}  # The network misclassifies it as it is.


def attacked(eps, found=None, images=IMAGES, norm="linf", wrong=WRONG):
    """Rows of an attack's table at the radius `eps`; `found` says how far away the nearest adversarial image of an image is."""
    rows = []
    for image in images:
        distance = 0.0 if image in wrong else (found or {}).get(image, math.inf)
        status = "broken" if distance <= eps else "robust"
        rows.append((image, image, 9 if image in wrong else image, status, 0.5, distance, 0, "", "", norm, eps, text(eps)))
    return rows


def proved(eps, verified=(), images=IMAGES, norm="linf", wrong=WRONG):
    """Rows of a verifier's table at the radius `eps`."""
    rows = []
    for image in images:
        status = "falsified" if image in wrong else "verified" if image in verified else "unknown"
        rows.append((image, image, 9 if image in wrong else image, status, 0.5, "crown", norm, eps, text(eps)))
    return rows


@pytest.fixture
def read(tmp_path):
    """Writes tables, with six digits as the stages do, and reads them back; what is a text is why a table is missing."""

    def read(attacks=None, verifiers=None, eps=0.1, minimum_norm=(), smoothed=(), not_in_era=()):
        given = {"attacks": attacks or {"pgd": attacked(eps)}, "verifiers": verifiers or {"crown": proved(eps)}}
        for room, tables in given.items():
            (tmp_path / room).mkdir(exist_ok=True)
            for name, rows in tables.items():
                failed = isinstance(rows, str)
                write_csv(
                    tmp_path / room / f"{name}.csv",
                    FAILED if failed else COLUMNS[room],
                    [(*row, *ABOUT) for row in ([[rows]] if failed else rows)],
                )
        spec = {room: list(tables) for room, tables in given.items()}
        spec |= {"minimum_norm": list(minimum_norm), "smoothed": list(smoothed), "not_in_era": list(not_in_era)}
        spec |= {"threat": {"norm": "linf", "eps": eps}}
        return read_outcomes(tmp_path, OutcomeTables(**spec))

    return read


def yes(hits):
    return hits.index[hits].tolist()


# Image 1 falls at 0.05 and (to an attack that is no better) not at 0.1; 2 and 3 at 0.1, and 3 with a distance below 0.05.
SWEEP = {"pgd-eps0.05": attacked(0.05, {1: 0.05}), "pgd": attacked(0.1, {2: 0.1, 3: 0.04})}
# Image 4 falls a long way off, 2 sooner than the sweep has seen it.
NEAREST = {"fmn": attacked(0.1, {2: 0.08, 4: 0.25})}


@pytest.mark.parametrize(
    ("attacks", "eps", "robust"),
    [
        (SWEEP, 0.05, [2, 4, 5]),
        (SWEEP, 0.1, [4, 5]),
        (SWEEP, None, [4, 5]),
        # Nobody has asked at these radii.
        (SWEEP, 0.2, []),
        (SWEEP, 0.07, []),
        (SWEEP, 0.01, []),
        # The attack that finds distances is asked at every radius.
        (NEAREST, 0.01, [1, 2, 3, 4, 5]),
        (NEAREST, 0.09, [1, 3, 4, 5]),
        (NEAREST, 0.1, [1, 3, 4, 5]),
        (NEAREST, 0.24, [1, 3, 4, 5]),
        (NEAREST, 0.26, [1, 3, 5]),
        (NEAREST, 10, [1, 3, 5]),
        # And what the others have found counts there, too.
        (SWEEP | NEAREST, 0.03, [1, 2, 3, 4, 5]),
        (SWEEP | NEAREST, 0.045, [1, 2, 4, 5]),
        (SWEEP | NEAREST, 0.05, [2, 4, 5]),
        (SWEEP | NEAREST, 0.09, [4, 5]),
        (SWEEP | NEAREST, 0.2, [4, 5]),
        (SWEEP | NEAREST, 0.3, [5]),
    ],
)
def test_robust_is_what_no_attack_breaks_within_the_radius(read, attacks, eps, robust):
    found = read(attacks, minimum_norm=[name for name in attacks if name == "fmn"])
    assert yes(found.robust(eps)) == robust


def test_the_radius_of_a_table_of_distances_is_none_of_its_limits(read):
    # Its status is about a radius of its own, its distances are about all of them.
    found = read(
        {"pgd": attacked(0.1), "fmn-eps0.02": attacked(0.02, {1: 0.01, 2: 0.05, 3: 0.2})}, minimum_norm=["fmn-eps0.02"]
    )
    assert [yes(found.robust(eps)) for eps in (0.02, 0.1, 0.3)] == [[2, 3, 4, 5], [3, 4, 5], [4, 5]]


@pytest.mark.parametrize(
    ("eps", "seen"),
    [
        (0.05, [1, 2, 3]),  # Seen by the attack at 0.05 and by the one that finds distances.
        (0.1, [2, 3, 4]),  # By the attack at 0.1 and by the one that finds distances.
        (0.2, [1, 2, 3, 4]),  # By the latter alone.
    ],
)
def test_robust_is_about_the_images_that_everybody_asked_has_seen(read, eps, seen):
    attacks = {
        "pgd-eps0.05": attacked(0.05, images=[0, 1, 2, 3]),
        "pgd": attacked(0.1, images=[2, 3, 4, 5]),
        "fmn": attacked(0.1, images=[4, 3, 2, 1]),
    }
    assert read(attacks, minimum_norm=["fmn"]).robust(eps).index.tolist() == seen


def test_an_attack_at_another_radius_need_not_have_seen_an_image(read):
    # What it has seen counts, and what it has not seen is no gap.
    attacks = {"pgd-eps0.05": attacked(0.05, {1: 0.05}, images=[1, 2]), "pgd": attacked(0.1)}
    found = read(attacks).robust()
    assert (found.index.tolist(), yes(found)) == ([0, 1, 2, 3, 4, 5], [2, 3, 4, 5])


PROOFS = {
    "crown-eps0.05": proved(0.05, {1, 2}),
    "ibp-eps0.05": proved(0.05, {5}, images=[5, 4, 3, 2, 1]),
    "crown": proved(0.1, {0, 2, 4} - WRONG),
    "crown-eps0.2": proved(0.2, {3}, images=[3, 4]),
}


@pytest.mark.parametrize(
    ("eps", "verified", "seen"),
    [
        (0.05, [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),  # 3 and 4 by proofs for more.
        (0.1, [2, 3, 4], [0, 1, 2, 3, 4, 5]),
        (None, [2, 3, 4], [0, 1, 2, 3, 4, 5]),
        (0.2, [3], [3, 4]),
        # Nobody has asked, though the proofs for more would do.
        (0.15, [], []),
        (0.01, [], []),
        (0.3, [], []),
    ],
)
def test_verified_is_what_some_verifier_proves_for_the_radius_or_for_more(read, eps, verified, seen):
    found = read(verifiers=PROOFS).verified(eps)
    assert (yes(found), found.index.tolist()) == (verified, seen)


def test_a_proof_for_more_counts_only_where_everybody_asked_has_looked(read):
    verifiers = {"crown": proved(0.1, images=[0, 1]), "crown-eps0.2": proved(0.2, {1, 2})}
    found = read(verifiers=verifiers).verified()
    assert (yes(found), found.index.tolist()) == ([1], [0, 1])


@pytest.mark.parametrize("eps", [8 / 255, 2 / 255, 1 / 3, 1 / 7, 1e-05, 0.1 + 0.2, 1234567.0])
def test_a_radius_is_found_again_in_a_table_of_six_digits(read, eps):
    found = read({"pgd": attacked(eps, {1: eps})}, {"crown": proved(eps, {2})}, eps)
    assert (yes(found.robust()), yes(found.verified())) == ([2, 3, 4, 5], [2])
    # And not taken for its neighbour.
    assert len(found.robust(eps * 1.001)) == len(found.verified(eps * 1.001)) == 0


def test_the_radii_of_a_sweep_are_found_again(read):
    small, large = 2 / 255, 8 / 255
    found = read(
        {"pgd-small": attacked(small, {1: small}), "pgd": attacked(large, {2: large})},
        {"crown-small": proved(small, {3}), "crown": proved(large, {4})},
        large,
    )
    assert [yes(found.robust(eps)) for eps in (small, large)] == [[2, 3, 4, 5], [3, 4, 5]]
    assert [yes(found.verified(eps)) for eps in (small, large)] == [[3, 4], [4]]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (0.1, 0.1, True),
        (float(f"{2 / 255:.6g}"), 2 / 255, True),
        (0.1, 0.1001, False),
        (1e-05, 2e-05, False),
        (0.0, 0.1, False),
    ],
)
def test_two_radii_are_the_same_up_to_the_digits_of_a_table(first, second, expected):
    assert (same(first, second), same(second, first)) == (expected, expected)


def test_an_attack_that_finds_nothing_is_infinitely_far(read):
    table = read(NEAREST, minimum_norm=["fmn"]).attacks["fmn"]
    assert table["distance"].tolist() == [0, math.inf, 0.08, math.inf, 0.25, math.inf]


CONTRADICTIONS = {
    "at the same radius": (attacked(0.1, {3: 0.1}), proved(0.1, {2, 3})),
    "broken at less": (attacked(0.05, {3: 0.05}), proved(0.1, {2, 3})),
    "broken at more, and nearer": (attacked(0.1, {3: 0.04}), proved(0.05, {2, 3})),
    "a distance within the radius": (attacked(0.01, {3: 0.04}), proved(0.05, {2, 3})),
    "at a radius of many digits": (attacked(8 / 255, {3: 8 / 255}), proved(8 / 255, {2, 3})),
    "at a radius that is rounded up": (attacked(2 / 255, {3: 2 / 255}), proved(2 / 255, {2, 3})),
    "in l2": (attacked(0.05, {3: 0.05}, norm="l2"), proved(0.1, {2, 3}, norm="l2")),
}


@pytest.mark.parametrize(("tries", "proofs"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_proof_and_an_adversarial_image_within_it_are_a_contradiction(read, tries, proofs):
    with pytest.raises(ContradictionError, match=r"image 3 is verified by crown and broken by fmn at .* \(1 such images\)"):
        read({"fmn": tries, "pgd": attacked(0.1)}, {"crown": proofs}, minimum_norm=["fmn"])


def test_a_contradiction_names_the_norm_and_the_radius_of_the_proof(read):
    with pytest.raises(ContradictionError, match=r"at linf eps 0\.2 "):
        read({"pgd": attacked(0.1, {3: 0.1})}, {"crown": proved(0.1), "crown-eps0.2": proved(0.2, {3})})


def decided(eps, refuted=(), verified=(), by="branch-and-bound"):
    """Rows of a complete verifier's table: what it has refuted (`by`), and what it has proved."""
    rows = [list(row) for row in proved(eps, verified)]
    for image in refuted:
        rows[image][3], rows[image][5] = "falsified", by
    return rows


@pytest.mark.parametrize("by", ["branch-and-bound", "attack"])
@pytest.mark.parametrize(("refuted", "proofs"), [(0.1, 0.1), (0.05, 0.1), (8 / 255, 8 / 255)])
def test_a_proof_and_a_refutation_within_it_are_a_contradiction(read, refuted, proofs, by):
    verifiers = {"crown": proved(proofs, {3}), "complete": decided(refuted, {2, 3}, by=by)}
    with pytest.raises(ContradictionError, match=r"image 3 is verified by crown and falsified by complete at .* \(1 such"):
        read(verifiers=verifiers)


@pytest.mark.parametrize(
    ("refuted", "image", "norm"),
    [(0.2, 3, "linf"), (0.1, 2, "linf"), (0.05, 3, "l2")],
    ids=["at more", "another", "another norm"],
)
def test_a_refutation_of_something_else_is_no_contradiction(read, refuted, image, norm):
    rows = [(*row[:6], norm, *row[7:]) for row in decided(refuted, {image})]
    assert yes(read(verifiers={"crown": proved(0.1, {3}), "complete": rows}).verified()) == [3]


CONSISTENT = {
    "broken at more": (attacked(0.1, {3: 0.1}), proved(0.05, {3})),
    "broken at more, by a little": (attacked(0.1, {3: 0.06}), proved(0.05, {3})),
    "a distance beyond the radius": (attacked(0.1, {3: 0.25}), proved(0.1, {3})),
    "a distance at the very edge of a smaller radius": (attacked(0.1, {3: 2 / 255}), proved(2 / 255, {3})),
    "another image": (attacked(0.05, {2: 0.05}), proved(0.1, {3})),
    "in another norm": (attacked(0.05, {3: 0.05}, norm="l2"), proved(0.1, {3})),
    "in another norm at the same radius": (attacked(0.1, {3: 0.1}), proved(0.1, {3}, norm="l2")),
}


@pytest.mark.parametrize(("tries", "proofs"), CONSISTENT.values(), ids=CONSISTENT)
def test_what_can_both_be_true_is_no_contradiction(read, tries, proofs):
    found = read({"fmn": tries}, {"crown": proofs}, minimum_norm=["fmn"])
    assert 3 in yes(found.verified(proofs[0][7]))


def test_a_proof_for_a_smoothed_classifier_contradicts_nothing(read):
    verifiers = {"crown": proved(0.1), "smoothing": proved(0.1, {3})}
    found = read({"pgd": attacked(0.1, {3: 0.1})}, verifiers, smoothed=["smoothing"])
    assert (yes(found.verified()), list(found.smoothed), list(found.verifiers)) == ([], ["smoothing"], ["crown"])


def test_a_wrong_prediction_cannot_be_verified(read):
    proofs = [row if row[0] else (*row[:3], "verified", *row[4:]) for row in proved(0.1)]
    with pytest.raises(SparrowError, match=r"verifiers/crown\.csv: has a wrong prediction that is verified"):
        read(verifiers={"crown": proofs})


def test_a_table_of_several_radii_is_refused(read):
    with pytest.raises(SparrowError, match=r"attacks/pgd\.csv: has several radii"):
        read({"pgd": [*attacked(0.1, images=[1, 2]), *attacked(0.05, images=[3])]})


REASON = 'results/dense.safetensors: epoch 1: the training loss is nan, and "0.weight" is not finite; try a smaller lr'


def test_a_failed_attack_leaves_no_robust_image_at_any_radius(read):
    found = read(SWEEP | NEAREST | {"autoattack": REASON}, minimum_norm=["fmn"])
    assert [len(found.robust(eps)) for eps in (None, 0.05, 0.1, 0.2)] == [0, 0, 0, 0]
    assert found.failed == {"attacks": REASON}


def test_a_failed_attack_leaves_what_is_verified_and_what_is_correct(read):
    found = read({"pgd": attacked(0.1), "autoattack": REASON}, PROOFS)
    assert (yes(found.verified()), yes(found.correct())) == ([2, 3, 4], [1, 2, 3, 4, 5])


def test_a_failed_verifier_leaves_no_verified_image_at_any_radius(read):
    found = read(verifiers=PROOFS | {"alpha-crown": REASON})
    assert [len(found.verified(eps)) for eps in (None, 0.05, 0.1, 0.2)] == [0, 0, 0, 0]
    assert found.failed == {"verifiers": REASON}


def test_a_failed_verifier_leaves_what_is_robust(read):
    found = read(SWEEP, {"crown": REASON})
    assert (yes(found.robust()), yes(found.robust(0.05)), yes(found.correct())) == ([4, 5], [2, 4, 5], [1, 2, 3, 4, 5])


def test_a_failed_verifier_of_a_sweep_leaves_the_other_tables_to_be_looked_at(read):
    found = read(verifiers={"crown": proved(0.1, {3}), "crown-eps0.2": REASON})
    assert (list(found.verifiers), found.failed) == (["crown"], {"verifiers": REASON})


def test_a_failed_attack_that_finds_distances_is_none(read):
    assert read({"pgd": attacked(0.1), "fmn": REASON}, minimum_norm=["fmn"]).minimum_norm == []


def test_a_network_without_any_table_has_nothing_to_say(read):
    found = read({"pgd": REASON}, {"crown": REASON})
    assert [len(hits) for hits in (found.correct(), found.robust(), found.verified(), found.labels())] == [0, 0, 0, 0]
    assert found.failed == {"attacks": REASON, "verifiers": REASON}


def test_a_contradiction_is_found_beside_a_failed_table(read):
    with pytest.raises(ContradictionError, match="image 3"):
        read({"pgd": attacked(0.1, {3: 0.1}), "fmn": REASON}, {"crown": proved(0.1, {3})}, minimum_norm=["fmn"])


def test_an_attack_apart_narrows_no_era_and_keeps_its_curve(read):
    attacks = {"pgd": attacked(0.1, {2: 0.1}), "fmn": attacked(0.1, {3: 0.04, 4: 0.3}, images=[1, 2, 3, 4])}
    found = read(attacks, minimum_norm=["fmn"], not_in_era=["fmn"])
    assert found.robust().index.tolist() == [0, 1, 2, 3, 4, 5]
    assert 3 in yes(found.robust())
    # At other radii it is all there is.
    assert found.robust(0.05).index.tolist() == [1, 2, 3, 4]
    assert 3 not in yes(found.robust(0.05))


def test_an_attack_apart_that_fails_leaves_the_era(read):
    found = read({"pgd": attacked(0.1), "fmn": REASON}, minimum_norm=["fmn"], not_in_era=["fmn"])
    assert len(found.robust()) == 6
    assert list(found.failed.values()) == [REASON]
