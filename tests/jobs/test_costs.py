"""What a job costs, and how the costs of all jobs are collected."""

import json

import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy

from sparrow.errors import CheckpointError, InheritedError, NetworkError
from sparrow.jobs.costs import METER, Meter, record_cost
from sparrow.results.costs import collect_costs


@pytest.fixture
def model():
    return torch.nn.Linear(3, 2)


def images(count):
    return torch.ones(count, 3)


def test_a_backward_pass_counts_every_sample(model):
    with Meter().watching(model) as meter:
        model(images(5)).sum().backward()
    assert meter.gradient_evaluations == 5


def test_a_gradient_with_respect_to_the_images_counts(model):
    # This is how attacks ask.
    inputs = images(5).requires_grad_()
    with Meter().watching(model) as meter:
        torch.autograd.grad(cross_entropy(model(inputs), torch.zeros(5, dtype=torch.long)), inputs)
    assert meter.gradient_evaluations == 5


def test_passes_add_up(model):
    with Meter().watching(model) as meter:
        for count in (5, 4, 1):
            model(images(count)).sum().backward()
    assert meter.gradient_evaluations == 10


def test_two_backward_passes_through_one_forward_pass_count_twice(model):
    with Meter().watching(model) as meter:
        loss = model(images(5)).sum()
        loss.backward(retain_graph=True)
        loss.backward()
    assert meter.gradient_evaluations == 10


def test_a_loss_of_two_forward_passes_counts_both(model):
    # TRADES: one on the images, one on what the attack has found.
    with Meter().watching(model) as meter:
        (model(images(5)).sum() + model(images(5)).sum()).backward()
    assert meter.gradient_evaluations == 10


def test_a_forward_pass_alone_counts_nothing(model):
    with Meter().watching(model) as meter:
        model(images(5))
    assert meter.gradient_evaluations == 0


def test_a_forward_pass_without_gradients_counts_nothing(model):
    with torch.no_grad(), Meter().watching(model) as meter:
        model(images(5))
    assert meter.gradient_evaluations == 0


def test_a_model_no_longer_watched_counts_nothing(model):
    with Meter().watching(model) as meter:
        pass
    model(images(5)).sum().backward()
    assert meter.gradient_evaluations == 0


def test_a_model_is_no_longer_watched_after_an_error(model):
    meter = Meter()
    with pytest.raises(RuntimeError), meter.watching(model):
        model(torch.ones(5, 4))
    model(images(5)).sum().backward()
    assert meter.gradient_evaluations == 0


def test_bounds_are_watched_like_logits(model):
    meter = Meter()
    meter.watch(model(images(5))).sum().backward()
    assert meter.gradient_evaluations == 5


def test_the_cost_of_a_job_is_written(tmp_path):
    with record_cost(tmp_path / "cost.json"):
        METER.add(7)
    cost = json.loads((tmp_path / "cost.json").read_text())
    assert set(cost) == {"seconds", "peak_memory_mb", "gradient_evaluations"}
    assert cost["gradient_evaluations"] == 7


def test_a_job_does_not_pay_for_the_one_before(tmp_path):
    METER.add(7)
    with record_cost(tmp_path / "cost.json"):
        METER.add(1)
    assert json.loads((tmp_path / "cost.json").read_text())["gradient_evaluations"] == 1


def test_a_process_with_torch_has_a_peak_memory(tmp_path):
    with record_cost(tmp_path / "cost.json"):
        pass
    # In MiB: bytes or KiB would be far out of this range.
    assert 50 < json.loads((tmp_path / "cost.json").read_text())["peak_memory_mb"] < 50_000


def test_what_else_a_job_measures_is_written_beside_its_cost(tmp_path):
    with record_cost(tmp_path / "cost.json") as also:
        also["latency_ms"] = 0.25
    cost = json.loads((tmp_path / "cost.json").read_text())
    assert set(cost) == {"seconds", "peak_memory_mb", "gradient_evaluations", "latency_ms"}
    assert cost["latency_ms"] == 0.25


def test_a_failed_job_writes_no_cost(tmp_path):
    with pytest.raises(ValueError, match="failed"), record_cost(tmp_path / "cost.json"):
        raise ValueError("failed")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [NetworkError("diverged"), InheritedError("diverged before")])
def test_a_job_whose_network_fails_writes_its_cost(tmp_path, error):
    # It was spent all the same, and the workflow waits for the file.
    def job():
        with record_cost(tmp_path / "cost.json") as also:
            METER.add(7)
            also["latency_ms"] = 0.25
            raise error

    with pytest.raises(NetworkError, match=str(error)):
        job()
    cost = json.loads((tmp_path / "cost.json").read_text())
    assert (cost["gradient_evaluations"], cost["latency_ms"]) == (7, 0.25)
    assert set(cost) == {"seconds", "peak_memory_mb", "gradient_evaluations", "latency_ms"}


def test_a_job_that_fails_for_another_reason_writes_no_cost(tmp_path):
    with pytest.raises(CheckpointError), record_cost(tmp_path / "cost.json"):
        raise CheckpointError("no such file")
    assert list(tmp_path.iterdir()) == []


JOBS = {
    "digits/data": "data",
    "digits/cnn-small/benign/seed0/dense": "pretrain",
    "digits/cnn-small/benign/seed0/dense/attacks/pgd": "attack",
    "digits/cnn-small/benign/seed0/lwm-0.90/pruned": "prune",
    "digits/cnn-small/benign/seed0/lwm-0.90/finetuned": "finetune",
    "digits/cnn-small/benign/seed0/lwm-0.90/finetuned/verifiers/crown": "verify",
    "digits/cnn-small/benign/seed0/dense/attacks/pgd-eps0.00001": "attack",
    "digits/cnn-small/benign/seed0/lwm-0.90/finetuned/verifiers/cascade-eps0.05": "verify",
    "digits/cnn-small/benign/seed0/dense/analyses/stability": "analyse",
    "digits/cnn-small/benign/seed0/lwm-0.90/finetuned/analyses/stability": "analyse",
    # Attacks and verifiers may have any label.
    "digits/cnn-small/benign/seed0/dense/attacks/stability": "attack",
    "digits/cnn-small/benign/seed0/dense/verifiers/compact": "verify",
}


@pytest.fixture
def files(tmp_path):
    """A cost file of every kind of job."""
    paths = [tmp_path / f"{job}.cost.json" for job in JOBS]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"seconds": 1.5, "peak_memory_mb": 300.0, "gradient_evaluations": number}))
    return paths


def test_every_job_is_one_row_with_its_stage(files, tmp_path):
    collect_costs(files, tmp_path / "costs.csv")
    table = pd.read_csv(tmp_path / "costs.csv")
    assert dict(zip(table["job"], table["stage"], strict=True)) == JOBS


def test_a_row_holds_its_jobs_cost(files, tmp_path):
    collect_costs(files[1:2], tmp_path / "costs.csv")
    assert (tmp_path / "costs.csv").read_text() == (
        "job,stage,seconds,peak_memory_mb,gradient_evaluations\ndigits/cnn-small/benign/seed0/dense,pretrain,1.5,300.0,1\n"
    )


def test_what_only_some_jobs_have_is_in_their_rows(files, tmp_path):
    files[5].write_text(json.dumps({"seconds": 1.5, "tried": 0.25, "kept": 0.5}))
    collect_costs(files, tmp_path / "costs.csv")
    table = pd.read_csv(tmp_path / "costs.csv").set_index("job")
    assert table[["tried", "kept"]].dropna().to_dict("index") == {list(JOBS)[5]: {"tried": 0.25, "kept": 0.5}}


def test_there_is_no_column_for_what_no_job_has(files, tmp_path):
    collect_costs(files, tmp_path / "costs.csv")
    assert list(pd.read_csv(tmp_path / "costs.csv").columns) == [
        *("job", "stage", "seconds", "peak_memory_mb", "gradient_evaluations")
    ]


def test_the_order_of_the_files_does_not_matter(files, tmp_path):
    collect_costs(files, tmp_path / "one.csv")
    collect_costs(files[::-1], tmp_path / "two.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
