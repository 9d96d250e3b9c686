"""A job that was stopped, wherever that was, ends with the bytes of one that nobody stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors import safe_open

from sparrow import catalogue
from sparrow.errors import SparrowError
from sparrow.jobs import journal, resume_point
from sparrow.jobs.interruption import Interrupted
from sparrow.jobs.resume_point import ResumePoint
from sparrow.pruning.params import Method, Needs
from sparrow.stages.attack import attack
from sparrow.stages.finetune import finetune
from sparrow.stages.pretrain import pretrain
from sparrow.stages.prune import prune
from sparrow.stages.verify import verify
from tests.specs import initial_network, labels

SCHEDULE = {"epochs": 2, "batch_size": 500, "optimizer": "adam", "lr": 0.005}
SPEC = {
    "cell": labels(),
    "code": "test",
    "model": {"kind": "cnn-small"},
    "objective": {"kind": "benign"},
    "threat": {"norm": "linf", "eps": 0.05},
    "schedule": SCHEDULE,
}
STEPS = 2 * 3  # 1,257 training images.


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the next job save and stop the `n`-th time that it could."""

    def after(chances: int) -> None:
        left = [chances]

        def offer(self: ResumePoint, *arguments: object) -> None:
            left[0] -= 1
            if left[0] == 0:
                self.save(*arguments)
                raise Interrupted

        monkeypatch.setattr(ResumePoint, "save_if_due", offer)

    return after


def same_after_stops(job: Callable[[Path], None], folder: Path, stopping: Callable, stops: list[int]) -> list[int]:
    """Run a job whole and with `stops`, and compare all that they leave; the gradient evaluations of both."""
    whole, parts = folder / "whole", folder / "parts"
    for place in (whole, parts):
        place.mkdir()
    stopping(10**9)
    job(whole)
    for chances in stops:
        stopping(chances)
        with pytest.raises(Interrupted):
            job(parts)
        assert [path.name for path in parts.iterdir()] == ["out.resume.safetensors"]
        torch.manual_seed(99)  # Another process would be in another state.
    stopping(10**9)
    job(parts)
    files = sorted(path.name for path in whole.iterdir())
    assert sorted(path.name for path in parts.iterdir()) == files
    for name in files:
        if name != "cost.json":
            assert (parts / name).read_bytes() == (whole / name).read_bytes(), name
    return [json.loads((place / "cost.json").read_text())["gradient_evaluations"] for place in (whole, parts)]


def _pretraining(data: Path, **changes: object) -> Callable[[Path], None]:
    # Beside the data, so that the job's folder holds nothing but what it leaves.
    parent = initial_network(data.with_name(f"initial-{sha256(repr(changes).encode()).hexdigest()[:8]}"), SPEC | changes)
    return lambda folder: pretrain(
        parent, data, folder / "out.safetensors", folder / "curve.csv", folder / "cost.json", SPEC | changes
    )


def test_gradients_are_clipped_as_before(digits: Path, tmp_path: Path, stopping: Callable) -> None:
    same_after_stops(_pretraining(digits, schedule=SCHEDULE | {"max_grad_norm": 0.01}), tmp_path, stopping, [2])


# In the first epoch, in the validation after it, in the second, twice in a row; each epoch has three steps and a batch of
# validation images.
@pytest.mark.parametrize("stops", [[1], [4], [6], [2, 1, 3]])
def test_training_goes_on_anywhere(stops: list[int], digits: Path, tmp_path: Path, stopping: Callable) -> None:
    evaluations = same_after_stops(_pretraining(digits), tmp_path, stopping, stops)
    assert evaluations[0] == evaluations[1] > 0


def test_training_goes_on_where_the_last_image_has_joined_the_batch_before(
    digits: Path, tmp_path: Path, stopping: Callable
) -> None:
    # 1167 images, 583 and 584 a step.
    changes = {"model": {"kind": "cnn7"}, "objective": {"kind": "benign"}, "schedule": SCHEDULE | {"batch_size": 583}}
    evaluations = same_after_stops(_pretraining(digits, **changes), tmp_path, stopping, [1])
    assert evaluations[0] == evaluations[1] > 0


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("adversarial", {"steps": 2}),
        ("fgsm", {}),
        ("smoothing", {}),
        ("mixtrain", {"probability": 0.5}),
        ("crown-ibp", {"initialisation": "ibp"}),
        ("sabr", {}),
    ],
)
def test_every_source_of_chance_goes_on(kind: str, params: dict, digits: Path, tmp_path: Path, stopping: Callable) -> None:
    schedule = SCHEDULE | {"optimizer": "sgd", "lr": 0.01, "ramp_epochs": 1}
    job = _pretraining(digits, objective={"kind": kind, **params}, schedule=schedule)
    evaluations = same_after_stops(job, tmp_path, stopping, [2, 3])
    assert evaluations[0] == evaluations[1]


METHODS = {
    "hydra": {"kind": "hydra"},
    "hydra-s2ap": {"kind": "hydra", "s2ap_gamma": 0.01, "granularity": "filter"},
    "harp": {"kind": "harp"},
    "harp-filter": {"kind": "harp", "granularity": "filter"},
    "lwm-iterative": {"kind": "lwm", "steps": 3},
    "admm": {"kind": "admm", "updates": 3},
    "boosting-ticket": {"kind": "boosting-ticket"},
    "deadwooding": {"kind": "deadwooding"},
    # An exchange a step, of three an epoch.
    "dnr": {"kind": "dnr", "every": 0.3},
    "flying-bird": {"kind": "flying-bird", "every": 0.3, "every_late": 0.3},
    "flying-bird-plus": {"kind": "flying-bird-plus", "every": 0.3, "every_late": 0.3, "growth": "gradient", "epochs_seen": 2},
    "random-scratch": {"kind": "random-scratch"},
    "imp": {"kind": "imp"},
    "snip": {"kind": "snip", "batches": None},
    "fre": {"kind": "fre", "steps": 3},
    "ccrp": {"kind": "ccrp", "rounds": 2, "population": 2, "generations": 1, "images": 600, "pgd_steps": 1},
    "mrpf": {"kind": "mrpf", "batches": None, "ascents": 2},
    "iwi": {"kind": "iwi"},
    "mad": {"kind": "mad", "steps": 2, "mask_steps": 2},
    "pwoa": {"kind": "pwoa"},
    "bcs": {"kind": "bcs"},
    "twinrep": {"kind": "twinrep", "prune_at": 0.5},
    "twinrep-filter": {"kind": "twinrep", "initialisation": "split", "granularity": "filter"},
    "vericompress": {"kind": "vericompress"},
    "vericompress-filter": {"kind": "vericompress", "granularity": "filter"},
    "robust-bird": {"kind": "robust-bird", "masks": 2, "distance": 0.9},
    "rst": {"kind": "rst"},
    "undecayed": {"kind": "undecayed", "batches": None},
}


def test_every_method_that_trains_is_tried_here() -> None:
    kinds = {method["kind"] for method in METHODS.values()}
    assert kinds == set(catalogue.kinds("methods")) - {"random"}


def _pruning(parent: Path, data: Path, method: dict, **changes: object) -> Callable[[Path], None]:
    spec = SPEC | {"method": method, "ratio": 0.8, "method_threat": SPEC["threat"]} | changes
    return lambda folder: prune(
        parent, data, folder / "out.safetensors", folder / "curve.csv", folder / "trace.csv", folder / "cost.json", spec
    )


@pytest.mark.parametrize("label", METHODS)
@pytest.mark.parametrize("stops", [[1], [1, 1]])
def test_pruning_goes_on(label: str, stops: list[int], dense: Path, digits: Path, tmp_path: Path, stopping: Callable) -> None:
    job = _pruning(dense, digits, METHODS[label])
    evaluations = same_after_stops(job, tmp_path, stopping, stops)
    assert evaluations[0] == evaluations[1] > 0


def test_scores_under_a_pattern_go_on(dense: Path, digits: Path, tmp_path: Path, stopping: Callable) -> None:
    job = _pruning(dense, digits, {"kind": "hydra", "granularity": "2:4"}, ratio=0.5)
    evaluations = same_after_stops(job, tmp_path, stopping, [1, 1])
    assert evaluations[0] == evaluations[1] > 0


CHANGING = ["admm", "deadwooding", "harp", "lwm-iterative", "fre", "ccrp", "iwi", "pwoa", "bcs", "twinrep", "dnr"]


@pytest.mark.parametrize("label", [*CHANGING, "flying-bird", "flying-bird-plus"])
def test_pruning_goes_on_after_the_method_has_changed_its_mind(
    label: str, dense: Path, digits: Path, tmp_path: Path, stopping: Callable
) -> None:
    # In the second epoch there are duals, masks and a teacher that `start` did not make.
    same_after_stops(_pruning(dense, digits, METHODS[label]), tmp_path, stopping, [6])


# Two rounds of an epoch each: before and after the step to rewind to, in the validation before the first prune, in the second
# round, in its validation, and twice.
@pytest.mark.parametrize("stops", [[1], [2], [4], [5], [8], [3, 2]])
@pytest.mark.parametrize("params", [{"rewind": "lr"}, {"rewind_epochs": 0.6}], ids=["lr", "weights"])
def test_rounds_go_on(params: dict, stops: list[int], dense: Path, digits: Path, tmp_path: Path, stopping: Callable) -> None:
    job = _pruning(dense, digits, {"kind": "imp"} | params, schedule=SCHEDULE | {"cycles": 2})
    evaluations = same_after_stops(job, tmp_path, stopping, stops)
    assert evaluations[0] == evaluations[1] > 0


# In the validation of the first epoch, within the second, in the validation after it, when the ticket is known, and both.
@pytest.mark.parametrize("stops", [[4], [6], [8], [7, 1]])
def test_a_search_that_is_over_before_its_schedule_ends_with_the_same_epoch(
    stops: list[int], dense: Path, digits: Path, tmp_path: Path, stopping: Callable
) -> None:
    method = METHODS["robust-bird"]
    job = _pruning(dense, digits, method, schedule=SCHEDULE | {"epochs": 4})
    evaluations = same_after_stops(job, tmp_path, stopping, stops)
    assert evaluations[0] == evaluations[1] > 0
    assert len((tmp_path / "whole/curve.csv").read_text().splitlines()) == 1 + method["masks"]


def test_finetuning_goes_on_and_revives_nothing(dense: Path, digits: Path, tmp_path: Path, stopping: Callable) -> None:
    (tmp_path / "pruned").mkdir()
    _pruning(dense, digits, {"kind": "lwm"})(tmp_path / "pruned")
    parent = tmp_path / "pruned/out.safetensors"

    def job(folder: Path) -> None:
        finetune(parent, digits, folder / "out.safetensors", folder / "curve.csv", folder / "cost.json", SPEC)

    same_after_stops(job, tmp_path, stopping, [5])


def test_bounds_that_are_no_chains_go_on(digits: Path, tmp_path: Path, stopping: Callable) -> None:
    # What auto_LiRPA makes of the network is made anew, with the statistics of batch norms as they are.
    changes = {"model": {"kind": "resnet2b"}, "objective": {"kind": "fgsm"}, "nrs": {"weight": 0.1}}
    evaluations = same_after_stops(_pretraining(digits, **changes), tmp_path, stopping, [2, 3])
    assert evaluations[0] == evaluations[1] > 0


@pytest.mark.parametrize("kind", ["adversarial", "ibp"])
def test_learning_from_a_teacher_goes_on(kind: str, dense: Path, digits: Path, tmp_path: Path, stopping: Callable) -> None:
    (tmp_path / "pruned").mkdir()
    _pruning(dense, digits, {"kind": "lwm"})(tmp_path / "pruned")
    parent = tmp_path / "pruned/out.safetensors"
    spec = SPEC | {"objective": {"kind": kind}, "distillation": {"alpha": 0.5}, "nrs": {}}

    def job(folder: Path) -> None:
        finetune(parent, digits, folder / "out.safetensors", folder / "curve.csv", folder / "cost.json", spec, [dense])

    evaluations = same_after_stops(job, tmp_path, stopping, [2, 3])
    assert evaluations[0] == evaluations[1] > 0


ATTACKS = [
    {"kind": "pgd", "steps": 3, "restarts": 2},
    {"kind": "fmn", "steps": 5},
    {"kind": "autoattack", "steps": 2, "queries": 5},
]


@pytest.mark.parametrize("spec", ATTACKS, ids=lambda spec: spec["kind"])
def test_attacks_keep_finished_batches(spec: dict, dense: Path, digits: Path, tmp_path: Path, stopping: Callable) -> None:
    attack_spec = {
        "seed": 0,
        "code": "test",
        "model": SPEC["model"],
        "attack": spec | {"samples": 30, "batch_size": 8},
        "threat": {"norm": "linf", "eps": 0.1},
    }

    def job(folder: Path) -> None:
        attack(dense, digits, folder / "out.csv", folder / "cost.json", attack_spec, folder / "examples.safetensors")

    evaluations = same_after_stops(job, tmp_path, stopping, [2, 1])
    assert evaluations[0] == evaluations[1] > 0


VERIFIERS = [
    {"kind": "crown"},
    {"kind": "cascade", "bounds": ["ibp", "crown", "branch-and-bound"], "domains": 20, "iterations": 2, "seconds": 600},
    {"kind": "branch-and-bound", "domains": 20, "iterations": 2, "seconds": 600, "samples": 4},
    {"kind": "smoothing", "n": 50, "n0": 5},
]


@pytest.mark.parametrize("spec", VERIFIERS, ids=lambda spec: spec["kind"])
def test_verifiers_keep_finished_batches(spec: dict, dense: Path, digits: Path, tmp_path: Path, stopping: Callable) -> None:
    verifier_spec = {
        "seed": 0,
        "code": "test",
        "model": SPEC["model"],
        "verifier": {"samples": 12, "batch_size": 4} | spec,
        "threat": {"norm": "linf", "eps": 0.05},
    }

    def job(folder: Path) -> None:
        verify(dense, digits, folder / "out.csv", folder / "cost.json", verifier_spec)

    evaluations = same_after_stops(job, tmp_path, stopping, [2, 1])
    assert evaluations[0] == evaluations[1]


def test_finished_batches_are_not_done_again(dense: Path, digits: Path, tmp_path: Path, stopping, monkeypatch) -> None:
    from sparrow.attacks import pgd

    seen, original = [], pgd.attack
    monkeypatch.setattr(pgd, "attack", lambda model, images, *rest: seen.append(len(images)) or original(model, images, *rest))
    spec = {"seed": 0, "code": "test", "model": SPEC["model"], "attack": {"kind": "pgd", "samples": 30, "batch_size": 8}}
    spec["threat"] = {"norm": "linf", "eps": 0.1}
    stopping(2)
    with pytest.raises(Interrupted):
        attack(dense, digits, tmp_path / "out.csv", tmp_path / "cost.json", spec)
    before = len(seen)
    stopping(10**9)
    attack(dense, digits, tmp_path / "out.csv", tmp_path / "cost.json", spec)
    assert (before, len(seen)) == (2, 4)


def test_an_evaluation_told_to_end_in_a_batch_keeps_those_before(dense, digits, tmp_path, monkeypatch) -> None:
    from sparrow.attacks import pgd

    calls, original = [], pgd.attack

    def told_in_the_third(*arguments: object) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 3:
            raise Interrupted
        return original(*arguments)

    monkeypatch.setattr(pgd, "attack", told_in_the_third)
    spec = {"seed": 0, "code": "test", "model": SPEC["model"], "attack": {"kind": "pgd", "samples": 30, "batch_size": 8}}
    spec["threat"] = {"norm": "linf", "eps": 0.1}
    with pytest.raises(Interrupted):
        attack(dense, digits, tmp_path / "out.csv", tmp_path / "cost.json", spec)
    attack(dense, digits, tmp_path / "out.csv", tmp_path / "cost.json", spec)
    assert len(calls) == 3 + 2


def test_the_same_key_elsewhere_is_another(tmp_path: Path) -> None:
    # Halves of a batch that did not fit number their images from zero.
    generator = torch.Generator()

    def half(number: int) -> str:
        return journal.compute_once(f"half {number}", lambda: journal.compute_once("ibp [0, 1]", lambda: f"of {number}"))

    for _ in range(2):
        with journal.open_journal(ResumePoint(tmp_path / "out.csv", SPEC, []), generator):
            assert [half(0), half(1)] == ["of 0", "of 1"]


def test_a_point_that_does_not_fit_into_memory_is_done_without(dense, digits, tmp_path, monkeypatch, capsys) -> None:
    def full(*arguments: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("sparrow.jobs.packing.pack", full)
    monkeypatch.setenv(resume_point.VARIABLE, "0")
    spec = {"seed": 0, "code": "test", "model": SPEC["model"], "verifier": {"kind": "cascade", "bounds": ["ibp"], "samples": 9}}
    verify(dense, digits, tmp_path / "out.csv", tmp_path / "cost.json", spec | {"threat": {"norm": "linf", "eps": 0.05}})
    said = capsys.readouterr().out
    assert "warning: no resume point: DefaultCPUAllocator: can't allocate memory" in said
    assert "do not fit" not in said


# Whose it is.


@pytest.mark.parametrize("change", [{"code": "other"}, {"cell": labels(1)}, {"schedule": SCHEDULE | {"lr": 0.004}}])
def test_a_point_of_another_job_is_ignored_and_replaced(change, digits, tmp_path, stopping, capsys) -> None:
    stopping(4)
    with pytest.raises(Interrupted):
        _pretraining(digits)(tmp_path)
    point = tmp_path / "out.resume.safetensors"
    before = point.read_bytes()
    stopping(1)
    with pytest.raises(Interrupted):
        _pretraining(digits, **change)(tmp_path)
    assert "of another configuration, code, input, version or machine; starting anew" in capsys.readouterr().out
    assert point.read_bytes() != before


@pytest.mark.parametrize("name", ["torch.get_num_threads", "sparrow.jobs.resume_point.software_and_device"])
def test_a_point_from_another_machine_is_ignored(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ResumePoint(tmp_path / "out.csv", SPEC, []).save(lambda: [(1, {})])
    assert ResumePoint(tmp_path / "out.csv", SPEC, []).load() == ((1, {}),)
    value = 7 if "threads" in name else {"device": "cuda: another"}
    monkeypatch.setattr(name, lambda *unused: value)
    assert ResumePoint(tmp_path / "out.csv", SPEC, []).load() is None


@pytest.mark.parametrize("given", ["1m", "nan", "-1", "inf"])
def test_an_interval_that_is_none_is_refused(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(resume_point.VARIABLE, given)
    with pytest.raises(SparrowError, match=rf"SPARROW_RESUME_SECONDS: '{given}' is no number of seconds; valid: 0 or more"):
        ResumePoint(tmp_path / "out.csv", SPEC, [])


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, "cut"])
def test_a_damaged_point_is_ignored(content: bytes | str, digits: Path, tmp_path: Path, stopping: Callable) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    stopping(10**9)
    _pretraining(digits)(tmp_path / "whole")
    stopping(4)
    with pytest.raises(Interrupted):
        _pretraining(digits)(tmp_path / "parts")
    point = tmp_path / "parts/out.resume.safetensors"
    point.write_bytes(point.read_bytes()[:-50] if content == "cut" else content)
    stopping(10**9)
    _pretraining(digits)(tmp_path / "parts")
    assert (tmp_path / "parts/out.safetensors").read_bytes() == (tmp_path / "whole/out.safetensors").read_bytes()
    assert not point.exists()


def test_other_input_makes_it_another_job(dense: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(dense.read_bytes() + b" ")
    first, second = (ResumePoint(tmp_path / "out.csv", SPEC, [path]) for path in (dense, other))
    first.save(lambda: [(1, {})])
    assert first.load() == ((1, {}),)
    assert second.load() is None


def test_a_failed_network_leaves_no_point(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(resume_point.VARIABLE, "0")
    saved = []
    original = ResumePoint.save
    monkeypatch.setattr(ResumePoint, "save", lambda self, *rest: saved.append(1) or original(self, *rest))
    _pretraining(digits, schedule=SCHEDULE | {"optimizer": "sgd", "lr": 1e9})(tmp_path)
    assert saved
    assert not (tmp_path / "out.resume.safetensors").exists()
    with safe_open(tmp_path / "out.safetensors", framework="np") as file:
        assert "failed" in file.metadata()["sparrow"]


def test_a_job_that_fails_otherwise_keeps_its_point(digits, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(resume_point.VARIABLE, "0")

    def full(*arguments: object) -> None:
        raise SparrowError("no room")

    job = _pretraining(digits)
    monkeypatch.setattr("sparrow.files.checkpoint.save", full)
    with pytest.raises(SparrowError, match="no room"):
        job(tmp_path)
    assert (tmp_path / "out.resume.safetensors").exists()


# When.


def test_points_are_written_no_more_often_than_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("sparrow.jobs.resume_point.time.monotonic", lambda: now[0])
    monkeypatch.setenv(resume_point.VARIABLE, "30")
    point, saved = ResumePoint(tmp_path / "out.csv", SPEC, []), []
    for second in range(100):
        now[0] = float(second)
        point.save_if_due(lambda second=second: saved.append(second) or [(second, {})])
    assert saved == [30, 60, 90]


def test_writing_takes_a_small_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("sparrow.jobs.resume_point.time.monotonic", lambda: now[0])
    monkeypatch.setenv(resume_point.VARIABLE, "1")
    point, saved = ResumePoint(tmp_path / "out.csv", SPEC, []), []

    def slow() -> list:
        saved.append(now[0])
        now[0] += 10
        return [(0, {})]

    while now[0] < 1000:
        point.save_if_due(slow)
        now[0] += 1
    assert saved == [1, 211, 421, 631, 841]


def test_a_full_disk_costs_the_point_not_the_job(digits, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv(resume_point.VARIABLE, "0")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sparrow.jobs.resume_point.save_file", full)
    _pretraining(digits)(tmp_path)
    assert (tmp_path / "out.safetensors").exists()
    said = capsys.readouterr().out
    assert "warning: no resume point" in said
    assert "no space left on device" in said
    assert "run again" not in said
    assert not list(tmp_path.glob("*resume*"))


def test_a_method_with_a_state_that_cannot_be_written_down_says_so(dense, digits, tmp_path, monkeypatch, capsys) -> None:
    from sparrow.methods import lwm
    from sparrow.pruning.one_shot import OneShot

    class Odd(OneShot):
        def start(self, weights, layout):
            super().start(weights, layout)
            self.odd = iter(())
            return []

    class Params(Method):
        needs: ClassVar[Needs] = "schedule"

    monkeypatch.setattr(lwm, "Params", Params)
    monkeypatch.setattr(lwm, "prepare", lambda params, ratio, generator: Odd(params, ratio, torch.abs))
    monkeypatch.setenv(resume_point.VARIABLE, "0")
    _pruning(dense, digits, {"kind": "lwm"})(tmp_path)
    assert "no resume points: there is a tuple_iterator in the state of the job" in capsys.readouterr().out
    assert (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("stops", [[1], [2, 1]])
def test_a_method_may_say_itself_what_its_state_is(
    stops: list[int], dense: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopping: Callable
) -> None:
    from sparrow.methods import hydra
    from sparrow.pruning.learned_scores import Scored

    prepare = hydra.prepare

    class Counter:
        """Nothing that can be written down."""

        steps = 0

    def own(params, ratio, generator):
        pruner = prepare(params, ratio, generator)

        class Own(type(pruner)):
            def start(self, weights, layout):
                self.counter = Counter()
                return super().start(weights, layout)

            def after_step(self, weights, step):
                assert step.number == self.counter.steps
                self.counter.steps += 1
                super().after_step(weights, step)

            def state_dict(self):
                return {"scores": self.scores, "steps": self.counter.steps}

            def load_state_dict(self, state):
                assert all(state["scores"][name] is score for name, score in self.scores.items())
                self.counter.steps = state["steps"]

            def end(self, weights):
                assert self.counter.steps == STEPS
                return super().end(weights)

        return Own(params, params.init_gain, params.s2ap_gamma, params.freeze_norms)

    assert isinstance(prepare(hydra.Params(), 0.5, torch.Generator()), Scored)
    monkeypatch.setattr(hydra, "prepare", own)
    same_after_stops(_pruning(dense, digits, {"kind": "hydra"}), tmp_path, stopping, stops)
