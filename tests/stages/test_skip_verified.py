"""Attacks that leave out what a verifier has proven: the same images stand, and none of the proven ones is attacked."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sparrow.errors import SparrowError
from sparrow.files.outcome_table import COLUMNS, verified_images
from sparrow.settings import Threat
from sparrow.stages.attack import attack
from sparrow.stages.verify import verify
from sparrow.study import cells, comparison, job_specs
from sparrow.study.load import load_study
from tests.conftest import write_failed
from tests.study import test_cells as test_plan
from tests.study.test_config import changed, complaints

EPS = 0.03
COMMON = {"seed": 0, "code": "test", "model": {"kind": "cnn-small"}, "threat": {"norm": "linf", "eps": EPS}}


@pytest.fixture
def proofs(dense: Path, digits: Path, tmp_path: Path) -> Path:
    """What CROWN-IBP verifies of the digits network."""
    path = tmp_path / "crown-ibp.csv"
    verify(dense, digits, path, tmp_path / "cost.json", COMMON | {"verifier": {"kind": "crown-ibp", "samples": 60}})
    return path


@pytest.fixture
def outcomes(dense: Path, digits: Path, tmp_path: Path):
    """Runs PGD on the digits network; its table and how many gradients it asked for."""

    def run(*tables: Path) -> tuple[pd.DataFrame, int]:
        spec = COMMON | {"attack": {"kind": "pgd", "steps": 5, "samples": 60, "restarts": 1}}
        attack(dense, digits, tmp_path / "pgd.csv", tmp_path / "pgd.json", spec, proofs=list(tables))
        cost = pd.read_json(tmp_path / "pgd.json", typ="series")
        return pd.read_csv(tmp_path / "pgd.csv"), int(cost["gradient_evaluations"])

    return run


def test_what_is_proven_is_not_attacked_and_stands(outcomes, proofs):
    (everything, all_gradients), (fewer, gradients) = outcomes(), outcomes(proofs)
    proven = everything["index"].isin(verified_images(proofs, Threat(eps=EPS)))
    correct = everything["label"] == everything["prediction"]
    assert 3 < proven.sum() < correct.sum()
    assert gradients * correct.sum() == all_gradients * (correct & ~proven).sum()
    assert (fewer.loc[proven, ["status", "distance"]] == ["robust", float("inf")]).all(axis=None)
    assert fewer["status"].tolist() == everything["status"].tolist()
    # Their margin is that of the image as it is.
    assert (fewer.loc[proven, "margin"] >= everything.loc[proven, "margin"]).all()
    assert fewer["index"].tolist() == everything["index"].tolist()


def test_tables_are_put_together(outcomes, proofs, tmp_path):
    table = pd.read_csv(proofs)
    proven = table[table["status"] == "verified"].index
    halves = []
    for number, part in enumerate((proven[::2], proven[1::2])):
        half = table.copy()
        half.loc[part, "status"] = "unknown"
        halves.append(tmp_path / f"half{number}.csv")
        half.to_csv(halves[-1], index=False)
    assert outcomes(*halves)[1] == outcomes(proofs)[1]


def test_a_network_that_no_bound_fits_has_no_proofs(tmp_path):
    path = tmp_path / "failed.csv"
    write_failed(path, "layer X cannot be bounded")
    assert verified_images(path, Threat(eps=EPS)) == set()


@pytest.mark.parametrize(
    ("threat", "words"),
    [
        (Threat(eps=0.04), "verifies against linf eps 0.03; valid: linf eps 0.04"),
        (Threat(norm="l2", eps=EPS), "verifies against linf eps 0.03; valid: l2 eps 0.03"),
    ],
)
def test_proofs_against_another_threat_are_refused(proofs, threat, words):
    with pytest.raises(SparrowError) as caught:
        verified_images(proofs, threat)
    assert str(caught.value) == f"{proofs}: {words}"


@pytest.mark.parametrize("text", ["", "index,status\n1,verified\n", ",".join(COLUMNS["verifiers"]), "{columns}\n1,verified"])
def test_what_is_no_table_is_refused(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text.format(columns=",".join(COLUMNS["verifiers"])))
    with pytest.raises(SparrowError, match=r"table\.csv: not a readable outcome table"):
        verified_images(path, Threat(eps=EPS))


def test_an_attack_waits_for_the_proofs_at_its_own_radius():
    of = test_plan.sweeping(
        pgd={"eps": [0.05, 0.1, 0.2], "skip_verified": ["vibp", "vcrown"]}, fgsm={}, vcrown={"kind": "crown", "eps": [0.1, 0.2]}
    )
    waits = {
        name: [one.name for one in cells.verifiers_trusted_by(of, table, "benign")]
        for name, table in cells.tables(of, "attacks").items()
    }
    assert waits == {"pgd-eps0.05": [], "pgd": ["vibp", "vcrown"], "pgd-eps0.2": ["vcrown-eps0.2"], "fgsm": []}


def test_networks_that_the_verifier_leaves_out_are_attacked_whole():
    study = load_study(changed(("attacks.pgd.skip_verified", ["ibp"]), ("verifiers.ibp.objectives", ["crown-ibp"])))
    (pgd,) = (table for table in cells.tables(study, "attacks").values() if table.entry == "pgd")
    waits = {
        objective: [one.name for one in cells.verifiers_trusted_by(study, pgd, objective)] for objective in study.objectives
    }
    assert waits == {"benign": [], "adversarial": [], "crown-ibp": ["ibp"]}


IBP = ("verifiers.ibp", None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            [("attacks.pgd.skip_verified", ["ipb"]), IBP],
            "attacks.pgd.skip_verified: unknown verifier 'ipb'; valid: cascade, ibp",
        ),
        (
            [("attacks.pgd.skip_verified", ["crown"]), ("verifiers.crown", {"eps": 0.3})],
            "attacks.pgd.skip_verified: crown verifies no network at a radius at which pgd attacks it",
        ),
        (
            [
                ("attacks.pgd", {"skip_verified": ["ibp"], "objectives": ["benign"]}),
                ("verifiers.ibp", {"objectives": ["crown-ibp"]}),
            ],
            "attacks.pgd.skip_verified: ibp verifies no network at a radius at which pgd attacks it",
        ),
        (
            [("attacks.pgd.skip_verified", ["cascade"]), ("verifiers.cascade.attacks", ["pgd"])],
            "attacks: attacks.pgd waits for verifiers.cascade waits for attacks.pgd; "
            "valid: a `skip_verified` or `attacks` without one of them",
        ),
        (
            [("attacks.pgd.skip_verified", ["sure"]), ("verifiers.sure", {"kind": "smoothing"})],
            "attacks.pgd.skip_verified: sure verifies a smoothed classifier, not the network that pgd attacks",
        ),
    ],
)
def test_what_an_attack_may_not_believe_is_refused(changes, said):
    assert complaints(changed(*changes)) == [f"config.yaml: {said}"]


def test_a_search_for_distances_leaves_nothing_out():
    (line,) = complaints(changed(("attacks.fmn.skip_verified", ["cascade"])))
    assert line.startswith("config.yaml: attacks.fmn.skip_verified: unknown key")


def test_the_verifiers_that_an_attack_trusts_are_in_its_input_and_not_in_its_spec():
    before, after = (load_study(changed(*more)) for more in ([], [("attacks.pgd.skip_verified", ["cascade"])]))
    parent = cells.parents(before)[0]
    assert job_specs.attack_spec(before, parent, "pgd") == job_specs.attack_spec(after, parent, "pgd")


def test_an_attack_may_wait_for_a_cascade_that_waits_for_another():
    assert load_study(changed(("attacks.pgd.skip_verified", ["cascade"]))).verifiers["cascade"].attacks == ["fmn"]


def test_tables_set_beside_published_ones_say_so():
    attack = {"kind": "autoattack", "skip_verified": ["ibp", "cascade"]}
    study = load_study(changed(("attacks.aa", attack), IBP, ("published", {})))
    assert comparison.published_spec(study).nonstandard["aa"] == "skip_verified ibp and cascade"
