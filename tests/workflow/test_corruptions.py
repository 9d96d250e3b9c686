"""Corruptions and what reads their tables, in a small study from its images to its figures."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tests.workflow.conftest import TINY, Checkout, copy_checkout

pytestmark = pytest.mark.slow  # A study, twice.

STUDY: dict[str, Any] = TINY | {
    "datasets": {"digits": {"corruptions": {"samples": 40, "severities": [3]}}},
    "methods": {"lwm": None},
    "attacks": {"fgsm": {"samples": 40}},
    "verifiers": {"ibp": {"samples": 40}},
    "analyses": {"corruptions": None, "potential": {"delta": 0.2}},
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = copy_checkout(tmp_path_factory.mktemp("corruptions"))
    checkout.write(STUDY)
    checkout.said = checkout.run()
    return checkout


def table(ran: Checkout, name: str) -> pd.DataFrame:
    return pd.read_csv(ran.root / f"results/{name}.csv")


def test_images_are_corrupted_once_and_every_network_sees_them(ran: Checkout) -> None:
    assert [path.name for path in (ran.root / "results").rglob("*corrupted.safetensors")] == ["corrupted.safetensors"]
    found = table(ran, "corruptions")
    assert found.groupby("stage")["kind"].nunique().to_dict() == {"dense": 7, "finetuned": 7}
    assert (found["images"] == 40).all()
    summary = table(ran, "summary").set_index("stage")["corruptions_accuracy"]
    means = found[(found["kind"] == "mean") & found["severity"].isna()].set_index("stage")["accuracy"]
    assert summary.to_dict() == pytest.approx(means.to_dict())
    costs = table(ran, "costs").set_index("job")["stage"]
    assert costs["digits/corrupted"] == "corrupt"


def test_answers_to_each_image_are_what_the_accuracies_are_of(ran: Checkout) -> None:
    images, accuracies = table(ran, "corruptions.images"), table(ran, "corruptions")
    for stage in ("dense", "finetuned"):
        own = images[images["stage"] == stage]
        shares = accuracies[(accuracies["stage"] == stage) & (accuracies["severity"] == 3)].set_index("kind")["accuracy"]
        for kind in ("gaussian_noise", "brightness"):
            assert (own[kind] == own["label"]).mean() == pytest.approx(shares[kind])
        assert own["snow"].isna().all()


def test_potential_has_read_them(ran: Checkout) -> None:
    found = table(ran, "potential")
    assert found["distribution"].tolist()[:4] == ["benign", "era", "vra", "corrupted"]
    assert found["distribution"].nunique() == 4 + 5
    dense = table(ran, "corruptions")
    dense = dense[(dense["stage"] == "dense") & (dense["kind"] == "mean") & (dense["severity"] == 3)]["accuracy"].item()
    assert found.set_index("distribution")["dense"]["corrupted"] == pytest.approx(dense, abs=1e-5)
    excess = table(ran, "potential.excess").set_index("distribution")
    assert (excess["ratio"] == 0.9).all()
    for name in ("corruptions", "potential"):
        assert (ran.root / f"results/figures/digits.cnn-small.{name}.svg").is_file()


def test_other_corruptions_run_what_reads_them_alone(ran: Checkout) -> None:
    assert ran.planned() == []
    ran.write(STUDY | {"datasets": {"digits": {"corruptions": {"samples": 40, "severities": [1]}}}})
    planned = ran.planned()
    ran.write(STUDY)
    assert "Corrupt the test images of digits" in planned
    assert sum(line.startswith("Analyse ") for line in planned) == 3
    assert not [line for line in planned if line.startswith(("Prepare", "Pre-train", "Prune", "Attack", "Verify"))]
