"""What a chain costs is summed over what a network comes from, and over nothing else."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from sparrow.results.budget import budgets, chains

PARENT = "digits/cnn-small/trades/seed"
EVALUATIONS = {"dense": 1000, "m-0.90/pruned": 30, "m-0.90/finetuned": 7}


def costs(seeds: int = 1, **counts: float) -> pd.DataFrame:
    stages = {"dense": "pretrain", "pruned": "prune", "finetuned": "finetune"}
    lines = [
        {"job": f"{PARENT}{seed}/{job}", "stage": stages[job.split("/")[-1]], "gradient_evaluations": count + seed}
        for seed in range(seeds)
        for job, count in (EVALUATIONS | counts).items()
    ]
    # An attack has nothing to do with it.
    return pd.DataFrame([*lines, {"job": f"{PARENT}0/dense/attacks/pgd", "stage": "attack", "gradient_evaluations": 9}])


def summary(stage: str, pipeline: str | None, seeds: int = 1) -> pd.DataFrame:
    own = {"dataset": "digits", "model": "cnn-small", "objective": "trades", "stage": stage, "pipeline": pipeline}
    return pd.DataFrame([own | {"method": "m", "ratio": 0.9, "seed": seed} for seed in range(seeds)])


@pytest.mark.parametrize(
    ("stage", "pipeline", "total"),
    [
        ("finetuned", "after", 1037),
        ("pruned", "after", 1030),
        ("finetuned", "before", 37),
        ("finetuned", "during", 37),
        ("pruned", "during", 30),
        # Of a method that only an import has, nothing is known; what is fine-tuned here comes from a pruned network.
        ("finetuned", None, 1037),
    ],
)
def test_a_chain_is_what_a_network_comes_from(stage: str, pipeline: str | None, total: int) -> None:
    (found,) = chains(costs(), summary(stage, pipeline)).to_dict("records")
    assert found["gradient_evaluations"] == total


def test_the_mean_is_over_seeds() -> None:
    (found,) = chains(costs(3), summary("finetuned", "after", 3)).to_dict("records")
    assert found["gradient_evaluations"] == 1037 + 3 * 1


def test_what_is_not_known_is_not_zero() -> None:
    known = costs()
    (found,) = chains(known[known["stage"] != "prune"], summary("finetuned", "after")).to_dict("records")
    assert math.isnan(found["gradient_evaluations"])


@pytest.mark.parametrize(("pipeline", "total"), [("after", 1037), ("before", 1037), ("during", 1037)])
def test_a_teacher_is_paid_for_once(pipeline: str, total: int) -> None:
    (found,) = chains(costs(), summary("finetuned", pipeline).assign(teacher="dense")).to_dict("records")
    assert found["gradient_evaluations"] == total


@pytest.mark.parametrize("stage", ["finetuned", "dense"])
def test_what_dense_networks_alone_cost_is_no_budget(stage: str) -> None:
    rounded = {"job": f"{PARENT}0/dense+int8", "stage": "quantise", "gradient_evaluations": 5}
    every = pd.concat([costs(), pd.DataFrame([rounded])]).assign(seconds=1.0)
    found = budgets(every, summary(stage, "after"))
    assert len(found) == (stage == "finetuned")
    assert not [name for name in found if name.startswith("quantise")]
