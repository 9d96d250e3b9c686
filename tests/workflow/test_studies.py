"""The ready-made studies."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from pydantic import ValidationError

from sparrow import catalogue
from sparrow.estimate.rates import SHIPPED, Rates, read_rows
from sparrow.estimate.total import prices
from sparrow.estimate.work import STAGES, works
from sparrow.study import cells
from sparrow.study.config import Study
from sparrow.study.load import read_study
from tests.workflow.conftest import REPOSITORY, TINY, Checkout

STUDIES = [REPOSITORY / "config.yaml", *sorted((REPOSITORY / "workflow/studies").glob("*.yaml"))]
TWINS = [path for path in STUDIES if path.name.endswith(".smoke.yaml")]
PAPERS = [path.with_name(path.name.replace(".smoke", "")) for path in TWINS]
SLOW = {*TWINS, *PAPERS}

# Dense networks and cells of the papers' studies, by hand: data sets x (models of each objective) x (ratios of each method).
SIZES = {
    "sehwag2019": (2 + 1 + 1 + 2, 6 * (3 + 2)),
    "hydra2020": (2 * (2 + 2 + 1 + 1 + 2), 16 * 2 * 3),
    "deadwooding2022": (2, 2 * 5 * 3),
    "ap-benchmark": (2 * 2, 4 * 21 * 3),
    "certified-pruning2022": (2, 2 * (3 * 2 + 3 + 2)),
}


def count(settings: dict[str, Any]) -> int:
    """Cells of a study as its file has them."""
    networks = sum(len((entry or {}).get("models", settings["models"])) for entry in settings["objectives"].values())
    ratios = sum(len((entry or {}).get("ratios", settings["ratios"])) for entry in settings["methods"].values())
    return len(settings["seeds"]) * len(settings["datasets"]) * networks * ratios


@pytest.mark.parametrize(
    "study", [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path in SLOW else []) for path in STUDIES]
)
def test_study_can_be_planned(checkout: Checkout, study: Path) -> None:
    shutil.copy(study, checkout.root / "study.yaml")
    planned = checkout.planned()
    settings = yaml.safe_load(study.read_text())
    found = [sum(job.startswith(word) for job in planned) for word in ("Prune", "Fine-tune")]
    assert found == [count(settings), count(settings)]


@pytest.mark.parametrize(("verified", "drawn"), [("benign", ["cnn-small"]), ("trades", ["cnn7"])])
def test_what_decided_is_drawn_for_models_that_are_verified(checkout: Checkout, verified: str, drawn: list[str]) -> None:
    objectives = {"benign": {"models": ["cnn-small"]}, "trades": {"models": ["cnn7"]}}
    verifiers = {"smoothing": {"samples": 40}, "ibp": {"samples": 40, "objectives": [verified]}}
    checkout.write(TINY | {"models": {"cnn-small": None, "cnn7": None}, "objectives": objectives, "verifiers": verifiers})
    planned = checkout.planned()
    assert [job for job in planned if job.startswith("Draw decisions")] == [
        f"Draw decisions of {model} on digits" for model in drawn
    ]
    assert len([job for job in planned if job.startswith("Draw preservation")]) == 2


def test_every_paper_has_its_study_and_its_twin() -> None:
    assert {path.stem for path in PAPERS} == set(SIZES)
    assert all(path.is_file() for path in PAPERS)


@pytest.mark.parametrize("path", [*PAPERS, *TWINS], ids=lambda path: path.stem)
def test_the_papers_studies_are_valid_and_have_their_own_folders(path: Path) -> None:
    study = read_study(path)
    assert study.results == f"results/{path.stem.replace('.', '-')}"
    if path in PAPERS:
        assert (len(cells.parents(study)), len(cells.cells(study))) == SIZES[path.stem]


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_a_papers_study_opens_with_what_it_costs(path: Path) -> None:
    study = read_study(path)
    found = prices(works(study), Rates(read_rows(SHIPPED), "gpu"), {})
    assert [price.work for price in found if price.hours is None] == []
    jobs = sum(len(price.work.jobs) for price in found)
    hours = sum(price.hours for price in found)
    stages = {stage: sum(price.hours for price in found if price.work.stage == stage) for stage in STAGES}
    said = " ".join(line.removeprefix("#").strip() for line in path.read_text().splitlines() if line.startswith("#"))
    assert f"{len(cells.cells(study))} cells, {jobs} jobs, about {hours:,.0f} GPU hours" in said
    assert ", ".join(f"{stage} {own:,.0f}" for stage, own in stages.items() if own >= 0.5) in said


def shape(study: Study) -> dict[str, Any]:
    """What of a study decides which kinds of jobs there are, and what they do."""
    return {
        "objectives": {label: entry.kind for label, entry in study.objectives.items()},
        "optimisers": {label: study.schedule(label, "finetune").optimizer for label in study.objectives},
        "ramps": {label: study.schedule(label, "pretrain").ramp_epochs > 0 for label in study.objectives},
        "threats": {label: entry.threat is None for label, entry in study.objectives.items()},
        "methods": {
            label: (entry.kind, *(getattr(entry, name, None) for name in ("granularity", "allocation", "needs", "trains")))
            for label, entry in study.methods.items()
        },
        "attacks": {label: (e.kind, e.objectives, e.keep_examples) for label, e in study.attacks.items()},
        "verifiers": {label: (e.kind, e.objectives, getattr(e, "bounds", None)) for label, e in study.verifiers.items()},
        "augmented": [entry.augmentation.flip for entry in study.datasets.values()][:1],
        "others": (sorted(study.analyses), study.evaluate, study.published is None),
    }


@pytest.mark.parametrize(("paper", "twin"), list(zip(PAPERS, TWINS, strict=True)), ids=[path.stem for path in PAPERS])
def test_a_twin_does_all_that_its_study_does(paper: Path, twin: Path) -> None:
    assert shape(read_study(twin)) == shape(read_study(paper))


@pytest.mark.slow
@pytest.mark.parametrize("twin", TWINS, ids=lambda path: path.stem)
def test_a_twin_runs_to_its_report(checkout: Checkout, twin: Path) -> None:
    shutil.copy(twin, checkout.root / "study.yaml")
    checkout.run()
    study, results = read_study(twin), checkout.root / read_study(twin).results
    summary = pd.read_csv(results / "summary.csv")
    assert len(summary) == len(cells.parents(study)) + len(cells.cells(study))
    assert summary["failed"].isna().all()
    assert summary["benign"].between(0, 1).all()
    report = checkout.snakemake("--report", "report.html")
    assert report.returncode == 0, report.stderr[-3000:]


def methods_of(study: str) -> dict[str, dict]:
    """The methods of a ready-made study by label, each with its kind."""
    entries = yaml.safe_load((REPOSITORY / f"workflow/studies/{study}.yaml").read_text())["methods"]
    return {label: {"kind": label} | (entry or {}) for label, entry in entries.items()}


def test_the_study_of_all_methods_has_them_all() -> None:
    assert {entry["kind"] for entry in methods_of("digits-methods").values()} == set(catalogue.kinds("methods"))


def test_the_study_of_all_methods_has_every_allocation() -> None:
    settings = methods_of("digits-methods").values()
    assert {entry.get("allocation", "uniform") for entry in settings} == {"uniform", "erk", "lamp", "global"}


def _can_remove_filters(kind: str) -> bool:
    try:
        return catalogue.load("methods", kind).Params(granularity="filter").structure == "filters"
    except ValidationError:
        return False


def test_the_study_of_filters_has_every_method_that_can_remove_them() -> None:
    able = {kind for kind in catalogue.kinds("methods") if _can_remove_filters(kind)}
    assert {entry["kind"] for entry in methods_of("digits-filters").values()} == able
    assert {entry["granularity"] for entry in methods_of("digits-filters").values()} == {"filter"}


@pytest.mark.slow
def test_objectives_study_runs_to_its_summary(checkout: Checkout) -> None:
    shutil.copy(REPOSITORY / "workflow/studies/digits-objectives.yaml", checkout.root / "study.yaml")
    checkout.run()
    summary = pd.read_csv(checkout.root / "results/digits-objectives/summary.csv").set_index(["objective", "stage"])
    assert len(summary) == 2 + 2 * 2 * 3 * 4
    # Both objectives give networks worth pruning, and IBP training one that IBP can verify.
    assert (summary.xs("dense", level="stage")["era"] > 0.7).all()
    assert summary.loc[("ibp", "dense"), "vra_ibp"].item() > 0.6
    finetuned = summary.xs("finetuned", level="stage").query("ratio == 0.9").set_index("method", append=True)["era"]
    for objective in ("trades", "ibp"):
        for method in ("lwm", "lwm-global"):
            assert finetuned[objective, method] > finetuned[objective, "random"]
