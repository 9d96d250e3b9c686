"""What keeps a large study possible: jobs that plan only themselves, batches, and a scheduler that rests."""

from __future__ import annotations

import re

import pytest
import yaml
from benchmarks import dag

from sparrow.study import cells
from sparrow.study.load import load_study
from tests.workflow.conftest import REPOSITORY, TINY, Checkout

NAMED = "    raise ValueError('named')\n    for parent in parents(study):\n"
SEEDS = TINY | {"seeds": [0, 1], "methods": {"lwm": None}}


@pytest.mark.parametrize("size", [100, 1000, 3000, 10_000])
def test_the_benchmarked_study_has_as_many_cells_as_were_asked_for(size: int) -> None:
    study = load_study(dag.study(size))
    assert len(cells.cells(study)) == size
    # With its parents' share, six jobs to a cell.
    assert len(cells.tables(study, "attacks")) + len(cells.tables(study, "verifiers")) == 4


@pytest.mark.parametrize("cells", [0, 50, 150, -100])
def test_the_benchmark_refuses_a_size_that_it_cannot_make(cells: int) -> None:
    with pytest.raises(ValueError, match=f"^{cells} cells: valid are multiples of 100"):
        dag.study(cells)


def test_a_job_elsewhere_plans_itself_alone(checkout: Checkout) -> None:
    wildcards = "dataset=digits,model=cnn-small,objective=benign,seed=0,checkpoint=lwm-0.90/finetuned,verifier=ibp"
    remote = ("--mode", "remote", "--force", "--allowed-rules", "verify", "--target-jobs", f"verify:{wildcards}")
    assert checkout.planned(*remote) == ["Verify benign cnn-small lwm-0.90/finetuned by ibp"]


def test_reading_a_study_names_none_of_its_files(checkout: Checkout) -> None:
    """The rule that reads all of them learns their names when it is planned, and in no job elsewhere."""
    with checkout.edited("src/sparrow/study/cells.py", "    for parent in parents(study):\n", NAMED):
        assert checkout.planned("results/digits/data.safetensors") == ["Prepare digits: load, split, store"]
        assert "named" in checkout.snakemake("--dry-run").stdout


def test_a_batch_is_a_part_of_the_study(checkout: Checkout) -> None:
    checkout.write(SEEDS)
    everything, batch = checkout.planned("aggregate"), checkout.planned("--batch", "aggregate=1/2", "aggregate")
    # The data, and of each seed four networks, of which two are evaluated in four ways; one batch is one seed.
    assert len(everything) == 1 + 2 * (4 + 2 * 4) + 1
    assert len(batch) == 1 + (4 + 2 * 4)
    assert {job for job in batch if "seed" in job} == {
        "Draw the initial weights of cnn-small on digits (benign, seed 0)",
        "Pre-train cnn-small on digits (benign, seed 0)",
    }


@pytest.mark.parametrize(("asked", "found"), [((), "None"), (("--max-jobs-per-timespan", "50/1s"), "50")], ids=["not", "asked"])
def test_jobs_are_limited_only_if_asked(checkout: Checkout, asked: tuple[str, ...], found: str) -> None:
    snakefile = checkout.root / "Snakefile"
    snakefile.write_text(
        snakefile.read_text()
        + "\n\nonsuccess:\n    limit = workflow.scheduler.job_rate_limiter\n"
        + "    print('limit:', limit and limit.max_jobs, file=sys.stderr)\n"
    )
    said = checkout.run("results/digits/data.safetensors", *asked)
    assert re.findall(r"^limit: (.+)$", said, flags=re.MULTILINE) == [found]


def test_the_default_profile_bounds_what_is_weighed_in_each_round() -> None:
    profile = yaml.safe_load((REPOSITORY / "workflow/profiles/default/config.yaml").read_text())
    # As many as run at once must fit in.
    assert profile["scheduler-subsample"] >= 100
