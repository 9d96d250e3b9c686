"""Analyses of one's own: a file each, of every scope, in a study that knows nothing else of them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from tests.workflow.conftest import REPOSITORY, TINY, Checkout, copy_checkout

OWN = REPOSITORY / "tests/workflow/own_analyses"
FOLDER = "src/sparrow/analyses"
LABELS = ("class-counts", "noise", "agreement", "weights-left", "votes", "eras")
CELL = "digits/cnn-small/benign/seed0/lwm-0.90"
PLACES = {
    "class-counts": ["digits"],
    "noise": [f"digits/cnn-small/benign/seed{seed}/{end}" for seed in (0, 1) for end in ("dense", "lwm-0.90/finetuned")],
    "agreement": [f"digits/cnn-small/benign/seed{seed}/lwm-0.90/finetuned" for seed in (0, 1)],
    "weights-left": [f"digits/cnn-small/benign/seed{seed}" for seed in (0, 1)],
    "votes": ["digits/cnn-small/benign/seeds/dense", "digits/cnn-small/benign/seeds/lwm-0.90/finetuned"],
    "eras": ["."],
}
STUDY = TINY | {
    "training": {stage: {"epochs": 6, "batch_size": 64} for stage in ("pretrain", "prune", "finetune")},
    "seeds": [0, 1],
    "methods": {"lwm": {"granularity": "filter"}},
    "attacks": {"fgsm": {"samples": 40}},
    "verifiers": {"ibp": {"samples": 40}},
    "outputs": {"noise": 0.05, "draws": 2, "samples": 40},
    "analyses": dict.fromkeys(LABELS),
}


def example() -> tuple[str, str]:
    """Name and text of the file that docs/extending.md shows."""
    text = (REPOSITORY / "docs/extending.md").read_text()
    found = re.search(r"<!-- example: (agreement\.py) -->\n```python\n(.*?)```\n<!-- end -->", text, re.DOTALL)
    return found[1], found[2]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with a file of each scope, in which a small study has been run to its end."""
    checkout = copy_checkout(tmp_path_factory.mktemp("own"))
    for file in OWN.glob("*.py"):
        (checkout.root / FOLDER / file.name).write_text(file.read_text())
    name, text = example()
    (checkout.root / FOLDER / name).write_text(text)
    checkout.write(STUDY)
    checkout.said = checkout.run()
    return checkout


def table(own: Checkout, name: str) -> pd.DataFrame:
    return pd.read_csv(own.root / f"results/{name}.csv", dtype={"ratio": str})


@pytest.mark.parametrize(("label", "places"), PLACES.items(), ids=PLACES)
def test_a_scope_says_what_there_is_a_job_for(own: Checkout, label: str, places: list[str]) -> None:
    root = own.root / "results"
    found = sorted(str(path.parents[1].relative_to(root)) for path in root.rglob(f"analyses/{label}.csv"))
    assert found == places
    assert all((root / place / f"analyses/{label}.cost.json").is_file() for place in places)


COLUMNS = {
    "class-counts": ["dataset", "label", "images"],
    "class-counts.sizes": ["dataset", "part", "images"],
    "noise": ["dataset", "model", "objective", "method", "ratio", "seed", "stage", "draw", "right", "images"],
    "agreement": ["dataset", "model", "objective", "method", "ratio", "seed", "stage", "images", "agreeing"],
    "weights-left": ["dataset", "model", "objective", "method", "ratio", "seed", "stage", "weights", "cut"],
    "votes": ["dataset", "model", "objective", "method", "ratio", "stage", "seeds", "agreed", "with_dense"],
    "eras": ["method", "ratio", "seed", "own", "dense", "right", "noisy"],
}


@pytest.mark.parametrize(("name", "columns"), COLUMNS.items(), ids=COLUMNS)
def test_all_jobs_are_collected_with_who_they_are_about_in_front(own: Checkout, name: str, columns: list[str]) -> None:
    assert list(table(own, name).columns) == columns


def test_a_data_set_is_counted(own: Checkout) -> None:
    sizes = table(own, "class-counts.sizes").set_index("part")["images"]
    assert sizes.sum() == 1797
    counts = table(own, "class-counts")
    assert (counts["label"].tolist(), counts["images"].sum()) == (list(range(10)), sizes["test"])


def test_every_network_meets_noise_of_its_own_seed(own: Checkout) -> None:
    found = table(own, "noise")
    assert found[["method", "seed", "draw"]].to_numpy().tolist() == [
        [method, seed, draw] for method in ("dense", "lwm") for seed in (0, 1) for draw in (0, 1)
    ]
    assert ((found["right"] > 0) & (found["right"] <= 20)).all()


def test_a_summary_is_in_the_summary(own: Checkout) -> None:
    summary, noise = table(own, "summary").set_index(["method", "seed"]), table(own, "noise")
    right = noise.groupby(["method", "seed"])["right"].sum() / 40
    assert list(summary.columns[-4:]) == ["agreement_share", "noise_accuracy", "network", "data"]
    assert summary["noise_accuracy"].to_dict() == pytest.approx(right.to_dict())
    # Of a pair the pruned network has it.
    assert summary["agreement_share"].isna().to_dict() == {key: key[0] == "dense" for key in right.to_dict()}
    agreement = table(own, "agreement").set_index(["method", "seed"])
    shares = (agreement["agreeing"] / agreement["images"]).to_dict()
    assert summary["agreement_share"].dropna().to_dict() == pytest.approx(shares, rel=1e-5)


def test_a_family_has_a_row_for_each_network(own: Checkout) -> None:
    found = table(own, "weights-left")
    assert found[["method", "ratio", "seed", "stage", "cut"]].to_numpy().tolist() == [
        [method, ratio, seed, stage, cut]
        for seed in (0, 1)
        for method, ratio, stage, cut in (("dense", "0.0", "dense", False), ("lwm", "0.9", "finetuned", True))
    ]
    nonzero = table(own, "summary").set_index(["method", "seed"])["nonzero"].to_dict()
    assert found.set_index(["method", "seed"])["weights"].to_dict() == nonzero


def test_seeds_are_together(own: Checkout) -> None:
    found = table(own, "votes").set_index("method")
    assert found["seeds"].to_dict() == {"dense": 2, "lwm": 2}
    # Dense networks agree with themselves.
    assert found.loc["dense", "agreed"] == found.loc["dense", "with_dense"] > 0
    assert found.loc["lwm", "with_dense"] <= found.loc["lwm", "agreed"]


def test_tables_give_the_summarys_numbers(own: Checkout) -> None:
    summary = table(own, "summary").set_index(["method", "seed"])["era"]
    for row in table(own, "eras").itertuples():
        assert (row.own, row.dense) == pytest.approx((summary["lwm", row.seed], summary["dense", row.seed]))


def test_what_each_costs_is_told(own: Checkout) -> None:
    costs = table(own, "costs")
    found = costs[costs["stage"] == "analyse"]["job"].str.split("/").str[-1].value_counts().to_dict()
    assert found == {label: len(places) for label, places in PLACES.items()}


def test_the_figure_is_drawn_and_the_report_has_the_files_words(own: Checkout) -> None:
    assert (own.root / "results/figures/digits.cnn-small.agreement.svg").stat().st_size > 1000
    own.run("--report", "report.html")
    text = (own.root / "report.html").read_text()
    assert "How often pruned networks agree with their dense one" in text
    assert "name the same class, right or wrong" in text


def analysed(jobs: list[str]) -> set[str]:
    """Of the jobs that a dry run would do, which analyses, and what else besides tables of all jobs and the report."""
    return {job.rpartition(": ")[2] for job in jobs if job.startswith("Analyse")} | {
        job for job in jobs if not job.startswith(("Analyse", "Aggregate", "Lay out", "Collect", "Draw"))
    }


EDITS = {
    "analyse": ("return [(len(images), int((dense == pruned).sum()))]", "return [(len(images), 1)]", {"agreement"}),
    "its columns": ('("images", "agreeing")', '("images", "same")', {"agreement"}),
    "draw": ('"same class (%)"', '"agreement (%)"', set()),
    "summary": ('return {"share":', 'return {"part":', set()),
    "a comment": ("On how many images.", "How many images.", set()),
}


@pytest.mark.parametrize(("old", "new", "runs"), EDITS.values(), ids=EDITS)
def test_an_edit_runs_again_what_it_touches(own: Checkout, old: str, new: str, runs: set[str]) -> None:
    with own.edited(f"{FOLDER}/agreement.py", old, new):
        jobs = own.planned()
        assert analysed(jobs) == runs
        assert any(job.startswith("Aggregate") for job in jobs) == (old not in ('"same class (%)"', "On how many images."))
        assert any(job.startswith("Draw agreement") for job in jobs) == (old != "On how many images.")


def test_a_setting_runs_its_analysis_alone(own: Checkout) -> None:
    own.write(STUDY | {"analyses": STUDY["analyses"] | {"noise": {"samples": 10}}})
    assert analysed(own.planned()) == {"noise"}
    own.write(STUDY)


def test_an_analysis_that_is_added_is_not_forgotten_where_a_table_is_asked_for(own: Checkout) -> None:
    own.write(STUDY | {"analyses": STUDY["analyses"] | {"louder": {"kind": "noise", "samples": 5}}})
    alone, whole = own.planned("results/summary.csv"), own.planned()
    own.write(STUDY)
    assert analysed(alone) == {"louder"}
    assert "Aggregate all outcome tables" in alone
    assert "Collect louder of all jobs" in whole


def test_nothing_is_left_to_do_in_a_study_that_has_been_run(own: Checkout) -> None:
    assert own.planned() == []


def test_a_network_that_cannot_be_used_is_a_gap_with_a_reason(own: Checkout) -> None:
    line = "    images = subject.data.part"
    raises = '    from sparrow.errors import NetworkError\n    raise NetworkError("it has no taste")\n' + line
    with own.edited(f"{FOLDER}/agreement.py", line, raises):
        said = own.run("results/summary.csv", "results/agreement.csv")
    assert "it has no taste; recorded, the study goes on without it" in said
    summary = table(own, "summary").set_index(["method", "seed"])
    assert all("it has no taste" in summary.loc[("lwm", seed), "failed"] for seed in (0, 1))
    assert summary.loc["dense", "failed"].isna().all()
    assert "agreement_share" not in summary
    assert table(own, "agreement").empty
    own.run()
    assert len(table(own, "agreement")) == 2


def test_every_file_says_what_it_is_about(own: Checkout) -> None:
    header = {}
    for label, places in PLACES.items():
        with open(own.root / "results" / places[-1] / f"analyses/{label}.csv", newline="") as file:
            header[label] = next(csv.DictReader(file))
    assert {label for label, row in header.items() if not row["network"]} == {"class-counts"}
    assert {label for label, row in header.items() if not row["data"]} == {"eras"}
    costs = [json.loads(path.read_text()) for path in Path(own.root / "results").rglob("analyses/*.cost.json")]
    assert len(costs) == sum(map(len, PLACES.values()))
    assert all(cost["seconds"] >= 0 for cost in costs)


@pytest.mark.parametrize("label", ["agreement", "votes"])
def test_a_table_that_was_cut_is_refused(own: Checkout, label: str) -> None:
    path = own.root / "results" / PLACES[label][0] / f"analyses/{label}.csv"
    before = path.read_bytes()
    lines = before.decode().splitlines(keepends=True)
    path.write_text("".join([*lines[:-1], lines[-1], lines[-1]]))
    done = own.snakemake("results/summary.csv", "--rerun-triggers", "mtime")
    path.write_bytes(before)
    assert done.returncode != 0
    assert f"has {len(lines)} rows, and had {len(lines) - 1} when it was written" in done.stderr
