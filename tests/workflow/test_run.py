"""What a run leaves behind, and what it does with bad input."""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path

import pandas as pd
import pytest

from tests.workflow.conftest import REPOSITORY, TINY, Checkout

DENSE = "results/digits/cnn-small/benign/seed0/dense"


def test_all_results_are_there(finished: Checkout) -> None:
    summary = pd.read_csv(finished.root / "results/summary.csv")
    assert sorted(summary["method"]) == ["dense", "hydra", "lwm"]
    assert {"benign", "era", "era_fgsm", "vra", "vra_alpha-crown", "preserved_era"} <= set(summary.columns)
    costs = pd.read_csv(finished.root / "results/costs.csv")
    # The data set, a dense network, two pruned and fine-tuned, and three of these evaluated in four ways.
    assert len(costs) == 1 + 1 + 2 * 2 + 3 * 4
    for figure in ("accuracy", "preservation", "sparsity", "curves"):
        for suffix in ("svg", "png"):
            assert (finished.root / f"results/figures/digits.cnn-small.{figure}.{suffix}").stat().st_size > 1000


def test_verified_implies_robust_implies_correct(finished: Checkout) -> None:
    for table in (finished.root / "results").rglob("attacks/*.csv"):
        attacked = pd.read_csv(table)
        robust = attacked[attacked["status"] == "robust"]
        assert (robust["prediction"] == robust["label"]).all()


def test_second_run_gives_the_same_bytes(finished: Checkout, checkout: Checkout) -> None:
    # On one core, and with every job importing for itself: neither may make a difference.
    checkout.run("--cores", "1", "--no-hooks")
    files = ["summary.csv", "outcomes.csv", "layers.csv", "figures/digits.cnn-small.accuracy.svg"]
    files += [str(path.relative_to(finished.root / "results")) for path in (finished.root / "results").rglob("*.safetensors")]
    assert len(files) > 8
    for file in files:
        assert (checkout.root / "results" / file).read_bytes() == (finished.root / "results" / file).read_bytes(), file


def test_pretraining_comes_from_the_cache(checkout: Checkout, tmp_path: Path) -> None:
    environment = {**os.environ, "SNAKEMAKE_OUTPUT_CACHE": str(tmp_path / "cache")}
    (tmp_path / "cache").mkdir()
    for place in ("first", "second"):
        (tmp_path / place).mkdir()
        checkout.run(f"{DENSE}.safetensors", "--cache", "pretrain", "--directory", place, environment=environment)
    first, second = (tmp_path / place / f"{DENSE}.cost.json" for place in ("first", "second"))
    # No two trainings take the same time to the millisecond: equal costs mean one training.
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"methods": {"hidra": None}}, ["methods.hidra", "'hidra'", "hydra, lwm, random"]),
        ({"ratios": [1.0]}, ["ratios.0", "1.0", "less than 1"]),
        ({"seeds": [0, 0]}, ["seeds", "0 appears 2 times"]),
    ],
)
def test_bad_config_is_one_line_before_any_job(checkout: Checkout, change: dict, words: list[str]) -> None:
    checkout.write(copy.deepcopy(TINY) | change)
    done = checkout.snakemake()
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("study.yaml: ")]
    assert all(word in line for word in words)
    assert "Traceback" not in done.stderr
    assert not (checkout.root / "results").exists()


def test_truncated_checkpoint_is_refused_by_name(checkout: Checkout) -> None:
    checkout.run(f"{DENSE}.safetensors")
    file = checkout.root / f"{DENSE}.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    done = checkout.snakemake(f"{DENSE}/attacks/fgsm.csv", "--rerun-triggers", "mtime")
    assert done.returncode != 0
    assert re.search(rf"error: {DENSE}.safetensors: truncated", done.stderr)
    assert "Traceback" not in (checkout.root / "results/logs/digits/cnn-small/benign/seed0/dense/attacks/fgsm.log").read_text()


def test_every_rule_declares_its_resources_and_environment() -> None:
    for file in (REPOSITORY / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            for directive in ("threads:", "mem_mb=", "runtime=", "conda:", "log:", "message:"):
                assert directive in rule, f"{file.name}, rule {rule.split(':')[0]}: no {directive}"


def test_gpu_jobs_say_so() -> None:
    declared = {f.stem for f in (REPOSITORY / "workflow/rules").glob("*.smk") if "gpu=1" in f.read_text()}
    assert declared == {"pretrain", "prune", "finetune", "attack", "verify"}


def test_readme_example_is_a_method_in_one_file(checkout: Checkout) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    name, code = re.search(r"<!-- example: (\w+)\.py -->\n```python\n(.*?)```", readme, re.DOTALL).groups()
    (checkout.root / f"src/sparrow/pruning/{name}.py").write_text(code)
    label = name.replace("_", "-")
    checkout.write(TINY | {"methods": {label: None}})
    pruned = f"results/digits/cnn-small/benign/seed0/{label}-0.90/pruned.safetensors"
    checkout.run(pruned)
    assert (checkout.root / pruned).is_file()
