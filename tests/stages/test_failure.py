"""Networks that cannot be used: each stage writes down why, and what comes after it knows."""

from __future__ import annotations

import contextlib
import csv
import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import nn

from sparrow import catalogue
from sparrow.data import store
from sparrow.errors import CheckpointError, InheritedError, NetworkError, SparrowError
from sparrow.files import checkpoint
from sparrow.files import examples as examples_file
from sparrow.files.headers import failure, read_header, sha256
from sparrow.files.outcome_table import FAILED
from sparrow.files.specs import Spec
from sparrow.results.aggregate import aggregate
from sparrow.results.collected import write_collected
from sparrow.settings import Threat
from sparrow.stages._evaluation import failed_table, origin
from sparrow.stages._failure import failed_checkpoint, recorded
from sparrow.stages._origin import header
from sparrow.stages.analyse_tables import analyse_tables
from sparrow.stages.attack import attack
from sparrow.stages.finetune import finetune
from sparrow.stages.pretrain import pretrain
from sparrow.stages.prune import prune
from sparrow.stages.specs.training import TrainingSpec
from sparrow.stages.verify import verify
from sparrow.training.loop import CURVE_COLUMNS
from sparrow.verification.decision import decide_by
from tests.analyses.jobs import configured_of, on_network
from tests.specs import initial_network

CELL = {"dataset": "digits", "model": "cnn-small", "objective": "benign", "seed": 0}
PRUNED_CELL = CELL | {"method": "lwm", "ratio": 0.9}
REASON = "results/digits/cnn-small/benign/seed0/dense.safetensors: epoch 1: the training loss is nan"
TRAINING = {"code": "test", "model": {"kind": "cnn-small"}, "objective": {"kind": "benign"}}
TRAINING |= {"schedule": {"epochs": 2, "batch_size": 256}}
SPEC = Spec(code="test")
EVALUATION = {"seed": 0, "code": "test", "model": {"kind": "cnn-small"}, "threat": {"norm": "linf", "eps": 0.1}}


def stage(error: Exception | None):
    """A stage that fails, and what is recorded of it."""
    calls = []

    def record(message: str, output: Path, **others) -> None:
        calls.append((message, output, others))

    @recorded(record)
    def run(network: Path, output: Path, spec: dict, examples: Path | None = None) -> None:
        """Do it."""
        if error is not None:
            raise error

    return run, calls


def test_a_stage_that_succeeds_records_nothing_and_says_nothing() -> None:
    run, calls = stage(None)
    assert (run(Path("in"), Path("out"), {}), calls) == (None, [])


def test_a_failed_network_is_recorded_with_the_name_of_the_output() -> None:
    run, calls = stage(NetworkError("0.weight is not finite"))
    run(Path("in"), Path("out/dense"), {"a": 1})
    assert calls == [("out/dense: 0.weight is not finite", Path("out/dense"), {"network": Path("in"), "spec": {"a": 1}})]


def test_a_failed_network_is_one_line_for_the_user(capsys: pytest.CaptureFixture) -> None:
    run, _ = stage(NetworkError("0.weight is not finite"))
    told = run(Path("in"), Path("out/dense"), {})
    assert told == "warning: out/dense: 0.weight is not finite; recorded, the study goes on without it"
    # And one for the log.
    assert capsys.readouterr().out == "failed: out/dense: 0.weight is not finite\n"


def test_a_failure_is_inherited_as_it_is_and_in_silence(capsys: pytest.CaptureFixture) -> None:
    run, calls = stage(InheritedError(REASON))
    assert run(Path("in"), Path("out/pruned"), {}) is None
    assert [message for message, *_ in calls] == [REASON]
    assert capsys.readouterr().out == f"failed: {REASON}\n"


@pytest.mark.parametrize("error", [SparrowError("a"), CheckpointError("b"), ValueError("c"), KeyboardInterrupt("d")], ids=repr)
def test_any_other_error_is_not_recorded(error: BaseException) -> None:
    run, calls = stage(error)
    with pytest.raises(type(error), match=str(error)):
        run(Path("in"), Path("out"), {})
    assert calls == []


@pytest.mark.parametrize("by_name", [True, False])
def test_what_is_recorded_is_given_the_stages_arguments(by_name: bool) -> None:
    run, calls = stage(NetworkError("bad"))
    if by_name:
        run(examples=Path("kept"), spec={}, output=Path("out"), network=Path("in"))
    else:
        run(Path("in"), Path("out"), {}, Path("kept"))
    assert calls == [("out: bad", Path("out"), {"network": Path("in"), "spec": {}, "examples": Path("kept")})]


def test_a_stage_that_records_keeps_its_name_and_its_words() -> None:
    run, _ = stage(None)
    assert (run.__name__, run.__doc__) == ("run", "Do it.")


@pytest.fixture
def failed(tmp_path: Path) -> Path:
    """A checkpoint that says why there is no network."""
    path = tmp_path / "failed.safetensors"
    failed_checkpoint(REASON, path, "dense", CELL)
    return path


def test_a_failed_checkpoint_says_who_and_why(failed: Path) -> None:
    found = failure(failed)
    assert {key: found[key] for key in ("stage", "cell", "failed")} == {"stage": "dense", "cell": CELL, "failed": REASON}


def test_a_failed_checkpoint_cannot_be_loaded(failed: Path) -> None:
    with pytest.raises(InheritedError) as caught:
        checkpoint.load(failed, {"kind": "cnn-small"})
    assert str(caught.value) == REASON


def test_a_checkpoint_with_a_network_is_no_failure(dense: Path) -> None:
    assert failure(dense) is None


def test_a_truncated_failure_is_a_bad_file(failed: Path) -> None:
    failed.write_bytes(failed.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=f"{failed}: truncated"):
        failure(failed)


def test_a_failed_checkpoint_is_the_same_to_the_byte(failed: Path, tmp_path: Path) -> None:
    failed_checkpoint(REASON, tmp_path / "again", "dense", dict(reversed(CELL.items())))
    assert (tmp_path / "again").read_bytes() == failed.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"again", "failed.safetensors"}


def test_a_failed_table_is_one_row(family: SimpleNamespace, tmp_path: Path) -> None:
    reason = 'dense: "0.weight", and\nothers'
    failed_table(reason, tmp_path / "table.csv", family.dense, family.data, SPEC)
    with open(tmp_path / "table.csv", newline="") as file:
        assert list(csv.reader(file)) == [FAILED, [reason, *origin(family.dense, family.data, SPEC)]]


class Job:
    """Runs a stage in a folder and looks at what it has left."""

    def __init__(self, folder: Path, digits: Path) -> None:
        self.folder, self._digits = folder, digits

    def run(self, stage, network: Path | None = None, spec: dict | None = None, **more: object) -> str | None:
        """What the stage returns; its outputs are named after what they are."""
        outputs = {"output": self.path("output"), "cost": self.path("cost.json")}
        if stage in (pretrain, prune, finetune):
            outputs["curve"] = self.path("curve.csv")
        if stage is prune:
            outputs["trace"] = self.path("trace.csv")
        if stage is pretrain and network is None:
            network = initial_network(self.folder.parent / "initial", spec)
        if network is not None:
            outputs["parent" if stage in (pretrain, prune, finetune) else "network"] = network
        return stage(data=self._digits, spec=spec, **outputs, **more)

    def path(self, name: str) -> Path:
        return self.folder / name

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}

    def cost(self) -> dict:
        return json.loads(self.path("cost.json").read_text())

    def reason(self) -> str:
        """Why the output is none: of a table the only cell, of a checkpoint in its header."""
        try:
            return failure(self.path("output"))["failed"]
        except CheckpointError:
            table = pd.read_csv(self.path("output"))
        assert (list(table.columns), len(table)) == (FAILED, 1)
        return table["failed"].item()


@pytest.fixture
def job(tmp_path: Path, digits: Path) -> Job:
    (tmp_path / "job").mkdir()
    return Job(tmp_path / "job", digits)


CASCADE = {"verifier": {"kind": "cascade", "bounds": ["ibp"], "attacks": ["pgd"]}}
PRUNING = TRAINING | {"cell": PRUNED_CELL, "ratio": 0.9}
# A stage, what it is told, and what it leaves beside its output and its cost.
STAGES = {
    "prune": (prune, PRUNING | {"method": {"kind": "lwm"}}, {"curve.csv", "trace.csv"}),
    "prune by training": (prune, PRUNING | {"method": {"kind": "hydra"}}, {"curve.csv", "trace.csv"}),
    "finetune": (finetune, TRAINING | {"cell": PRUNED_CELL}, {"curve.csv"}),
    "attack": (attack, EVALUATION | {"attack": {"kind": "fgsm"}}, set()),
    "verify": (verify, EVALUATION | {"verifier": {"kind": "ibp"}}, set()),
    "verify by a cascade": (verify, EVALUATION | CASCADE, set()),
    "certify": (verify, EVALUATION | {"verifier": {"kind": "smoothing"}}, set()),
    "stability": (on_network, EVALUATION | {"analysis": {"kind": "stability"}}, set()),
}


@pytest.mark.parametrize(("stage", "spec", "more"), STAGES.values(), ids=STAGES)
def test_a_stage_inherits_a_failure(job: Job, failed: Path, stage, spec: dict, more: set) -> None:
    assert job.run(stage, failed, spec) is None
    assert job.reason() == REASON
    # The workflow waits for all outputs.
    assert job.files() == {"output", "cost.json", *more}
    assert job.cost()["gradient_evaluations"] == 0


@pytest.mark.parametrize("name", ["prune", "finetune"])
def test_a_training_stage_hands_a_failure_on_under_its_own_name(job: Job, failed: Path, name: str) -> None:
    stage, spec, _ = STAGES[name]
    job.run(stage, failed, spec)
    found = failure(job.path("output"))
    assert (found["stage"], found["cell"]) == ({"prune": "pruned", "finetune": "finetuned"}[name], PRUNED_CELL)
    assert job.path("curve.csv").read_text() == ",".join(CURVE_COLUMNS) + "\n"


def test_pruning_that_failed_has_an_empty_trace(job: Job, failed: Path) -> None:
    job.run(prune, failed, STAGES["prune"][1])
    assert job.path("trace.csv").read_text() == "epoch,name,value\n"


def test_an_attack_that_inherits_a_failure_keeps_no_examples(job: Job, failed: Path) -> None:
    job.run(attack, failed, STAGES["attack"][1], examples=job.path("examples"))
    indices, images = examples_file.read(job.path("examples"))
    assert (len(indices), len(images)) == (0, 0)
    assert read_header(job.path("examples"), examples_file.FORMAT)["network"] == sha256(failed)


def test_a_cascade_can_read_the_examples_of_an_attack_that_failed(
    job: Job, dense: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not of a network that failed, which it cannot load: of one that the attack alone could not cope with.
    def refuse(*args) -> None:
        raise NetworkError("no gradient")

    with monkeypatch.context() as failing:
        failing.setattr("sparrow.stages.attack.predict", refuse)
        job.run(attack, dense, STAGES["attack"][1], examples=job.path("examples"))
    assert job.reason().endswith("no gradient")
    spec = EVALUATION | {"verifier": CASCADE["verifier"] | {"samples": 20}}
    assert job.run(verify, dense, spec, examples=[job.path("examples")]) is None
    assert "attack" not in set(pd.read_csv(job.path("output"))["decided"])


def test_a_bound_that_a_verifier_cannot_compute_is_a_gap_of_its_own(
    job: Job, dense: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args) -> None:
        raise NetworkError("auto_LiRPA cannot bound layer 3 (Tanh)")

    monkeypatch.setattr("sparrow.stages.verified_images.decide_by", refuse)
    told = job.run(verify, dense, STAGES["verify"][1])
    assert job.reason() == f"{job.path('output')}: auto_LiRPA cannot bound layer 3 (Tanh)"
    assert told == f"warning: {job.reason()}; recorded, the study goes on without it"
    assert job.files() == {"output", "cost.json"}


def steep(scale: float, start: float, third: tuple[float, float]) -> nn.Module:
    """A network of two pixels and three classes, whose logits are 5, 0 and the sum of two equal ReLUs, weighed by `third`.

    Their input is `scale` times (the first pixel - `start`): it is steep inside, whatever the logits are.
    """
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3)).eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[scale, 0.0], [scale, 0.0], [0.0, 1.0]]))
        model[1].bias.copy_(torch.tensor([-start * scale, -start * scale, 0.0]))
        model[3].weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [*third, 0.0]]))
        model[3].bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
    return model


# In the last one the third class gets inf - inf at 0.41: it has no bound that is a number, and the second class a good one.
STEEP = {
    "1e10": steep(1e10, 0.405, (2e-7, 0.0)),
    "1e16": steep(1e16, 0.405, (2e-13, 0.0)),
    "no numbers": steep(1e25, 0.4, (1e20, -5e19)),
}


@pytest.mark.parametrize("kind", ["ibp", "crown-ibp", "crown", "alpha-crown", "branch-and-bound", "cascade"])
@pytest.mark.parametrize("model", STEEP.values(), ids=STEEP)
def test_huge_numbers_prove_nothing(kind: str, model: nn.Module) -> None:
    image, label, threat = torch.tensor([[[[0.3, 0.5]]]]), torch.tensor([0]), Threat(norm="linf", eps=0.11)
    assert model(image).tolist() == [[5, 0, 0]]
    # At the edge of the perturbation set it is wrong. Next to nothing of the set is, and no gradient leads there.
    assert model(image + 0.1099).argmax() == 2
    entry = catalogue.load("verifiers", kind)
    params = entry.Params(**{"bounds": ["branch-and-bound"]} if kind == "cascade" else {})
    # To say that there is no bound is fine, and so is not to know.
    with contextlib.suppress(NetworkError):
        assert not decide_by(entry, kind, model, image, label, params, threat, 3).verified.any()


def diverging(**schedule: object) -> dict:
    """A schedule that no network survives."""
    return {"schedule": TRAINING["schedule"] | {"lr": 1e9} | schedule}


def test_a_training_that_diverges_is_recorded_with_the_layer(job: Job) -> None:
    told = job.run(pretrain, spec=TRAINING | {"cell": CELL} | diverging())
    reason = job.reason()
    assert reason.startswith(f"{job.path('output')}: epoch 1: the training loss is nan, and ")
    assert reason.endswith(".weight is not finite; training diverged, try a smaller lr")
    assert told == f"warning: {reason}; recorded, the study goes on without it"


def test_a_training_that_diverges_leaves_all_outputs(job: Job, digits: Path) -> None:
    job.run(pretrain, spec=TRAINING | {"cell": CELL} | diverging())
    assert job.files() == {"output", "cost.json", "curve.csv"}
    assert job.path("curve.csv").read_text() == ",".join(CURVE_COLUMNS) + "\n"
    # One epoch was spent until it was noticed.
    assert job.cost()["gradient_evaluations"] == len(store.read(digits, "train")[0])


@pytest.mark.parametrize("objective", catalogue.kinds("objectives"))
def test_every_objective_that_diverges_is_recorded(job: Job, objective: str) -> None:
    # Attacks and bounds inside the loss have to survive a network that is none. The decay makes each step 1e12 times larger.
    params = catalogue.load("objectives", objective).Params.model_fields
    loss = {"objective": {"kind": objective} | ({"steps": 1} if "steps" in params else {})}
    loss |= {"threat": EVALUATION["threat"]} if "eps" in params else {}
    told = job.run(pretrain, spec=TRAINING | {"cell": CELL} | loss | diverging(weight_decay=1e3))
    assert "training diverged" in job.reason()
    assert told.startswith("warning: ")


def test_pruning_that_diverges_is_recorded(job: Job, dense: Path) -> None:
    told = job.run(prune, dense, PRUNING | {"method": {"kind": "admm"}} | diverging())
    assert failure(job.path("output"))["stage"] == "pruned"
    assert told == f"warning: {job.reason()}; recorded, the study goes on without it"
    assert job.files() == {"output", "cost.json", "curve.csv", "trace.csv"}
    assert [job.path(f"{name}.csv").read_text().count("\n") for name in ("curve", "trace")] == [1, 1]


def test_fine_tuning_that_diverges_is_recorded(job: Job, dense: Path) -> None:
    told = job.run(finetune, dense, TRAINING | {"cell": PRUNED_CELL} | diverging())
    assert failure(job.path("output"))["stage"] == "finetuned"
    assert told == f"warning: {job.reason()}; recorded, the study goes on without it"
    assert job.files() == {"output", "cost.json", "curve.csv"}


def test_a_training_that_diverges_in_its_last_step_is_recorded(job: Job) -> None:
    # The loss before that step was fine and the weights after it are finite, but no logit is a number.
    job.run(pretrain, spec=TRAINING | {"cell": CELL} | diverging(epochs=1, batch_size=2000, lr=1e30))
    assert "diverged" in job.reason()


@pytest.fixture(scope="module")
def overflowing(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of finite weights, so large that the logits are not numbers."""
    entry = catalogue.load("models", "cnn-small")
    model = entry.build(entry.Params(), (1, 8, 8), 10)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1e30)
    about = store.read(digits, "test")[1]
    path = tmp_path_factory.mktemp("overflowing") / "dense.safetensors"
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in model.named_parameters()}
    spec = TrainingSpec(cell=PRUNED_CELL, **TRAINING)
    checkpoint.save(path, checkpoint.Checkpoint(model, masks, header("finetuned", spec, about)))
    assert not model(store.read(digits, "test")[0].images).isfinite().all()
    return path


OVERFLOWS = {
    **{kind: (attack, EVALUATION | {"attack": {"kind": kind, "samples": 20}}) for kind in ("fgsm", "pgd", "fmn")},
    **{kind: (verify, EVALUATION | {"verifier": {"kind": kind, "samples": 20}}) for kind in ("crown", "branch-and-bound")},
    "smoothing": (verify, EVALUATION | {"verifier": {"kind": "smoothing", "samples": 20, "n0": 2, "n": 2}}),
    "stability": (on_network, EVALUATION | {"analysis": {"kind": "stability", "samples": 20}}),
}


@pytest.mark.parametrize(("stage", "spec"), OVERFLOWS.values(), ids=OVERFLOWS)
def test_a_network_whose_logits_are_no_numbers_is_a_gap(job: Job, overflowing: Path, stage, spec: dict) -> None:
    # A margin that is not a number would be refused as a damaged table, and the whole study with it.
    told = job.run(stage, overflowing, spec)
    assert str(job.path("output")) in job.reason()
    assert told == f"warning: {job.reason()}; recorded, the study goes on without it"


def test_an_analysis_of_all_tables_that_cannot_use_a_network_is_a_gap(
    failed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args) -> None:
        raise NetworkError("no era")

    monkeypatch.setattr(catalogue.load("analyses", "stability"), "analyse", refuse)
    evaluated = {"attacks": [], "verifiers": [], "minimum_norm": [], "not_in_era": [], "smoothed": []}
    spec = {"code": "test", "analysis": {"kind": "stability"}, "seed": 0}
    spec |= {"objectives": {"benign": evaluated | {"threat": EVALUATION["threat"]}}}
    output = tmp_path / "eras.csv"
    told = analyse_tables(output=output, cost=tmp_path / "cost.json", spec=spec, networks=[failed], tables=[], analysed=[])
    assert told == f"warning: {output}: no era; recorded, the study goes on without it"
    with open(output, newline="") as file:
        names, row = csv.reader(file)
    assert (names, row[0]) == (FAILED, f"{output}: no era")
    assert (tmp_path / "cost.json").is_file()


def test_a_failed_network_is_a_gap_in_every_table(tmp_path: Path, digits: Path) -> None:
    """From a training that diverges to the tables, through all stages."""
    family = tmp_path / "digits/cnn-small/benign/seed0"
    dense, cell = family / "dense.safetensors", family / "lwm-0.90"
    pruned, finetuned = cell / "pruned.safetensors", cell / "finetuned.safetensors"
    files = [tmp_path / name for name in ("curve.csv", "cost.json")]
    family.mkdir(parents=True)
    spec = TRAINING | {"cell": CELL} | diverging()
    pretrain(initial_network(family, spec), digits, dense, *files, spec)
    cell.mkdir()
    prune(dense, digits, pruned, tmp_path / "curve.csv", tmp_path / "trace.csv", tmp_path / "cost.json", STAGES["prune"][1])
    finetune(pruned, digits, finetuned, *files, STAGES["finetune"][1])
    for network in (dense, finetuned):
        folder = network.with_suffix("")
        for room in ("attacks", "verifiers", "analyses"):
            (folder / room).mkdir(parents=True)
        attack(network, digits, folder / "attacks/fgsm.csv", files[1], STAGES["attack"][1])
        verify(network, digits, folder / "verifiers/ibp.csv", files[1], STAGES["verify"][1])
        on_network(network, digits, folder / "analyses/stability.csv", files[1], STAGES["stability"][1])
    tables = {"attacks": ["fgsm"], "verifiers": ["ibp"]}
    evaluated = tables | {"minimum_norm": [], "not_in_era": [], "smoothed": [], "threat": EVALUATION["threat"]}
    spec = tables | {"code": "test", "objectives": {"benign": evaluated}, "analyses": {"stability": configured_of("stability")}}
    counted = [network.with_suffix("") / "analyses/stability.csv" for network in (dense, finetuned)]
    told = aggregate(
        [dense, finetuned],
        counted,
        tmp_path,
        spec,
    )
    write_collected(counted, tmp_path / "stability.csv", spec["analyses"])
    assert told == (f"warning: 2 of 2 networks have no full result; the column `failed` of {tmp_path}/summary.csv says why")
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert summary["stage"].tolist() == ["dense", "finetuned"]
    assert summary["failed"].tolist() == [failure(dense)["failed"]] * 2
    assert summary[["benign", "era", "vra", "nonzero", "preserved_era"]].isna().all(axis=None)
    for name in ("outcomes", "layers", "recall", "ranking", "security", "stability", "decisions"):
        text = (tmp_path / f"{name}.csv").read_text()
        # No row, and nothing that a reader would take for a number.
        assert len(text.splitlines()) <= 1, name
