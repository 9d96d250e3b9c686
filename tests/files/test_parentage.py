"""A checkpoint is refused where another file has taken its parent's place, and nowhere else."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sparrow.data import store
from sparrow.errors import CheckpointError, SparrowError
from sparrow.files import checkpoint
from sparrow.files import compact as compact_file
from sparrow.files.headers import read_header, sha256
from sparrow.files.parentage import refuse_other_parents
from sparrow.results.aggregate import aggregate
from sparrow.stages._failure import failed_checkpoint
from sparrow.stages.attack import attack
from sparrow.stages.finetune import finetune
from sparrow.stages.prune import prune
from sparrow.stages.verify import verify
from tests.analyses.jobs import on_network
from tests.conftest import replace_network
from tests.specs import labels

MEMBERS = ("dense", "pruned", "finetuned", "compact")
MODEL = {"model": {"kind": "cnn-small"}, "code": "test"}
EVALUATION = MODEL | {"seed": 0, "threat": {"norm": "linf", "eps": 0.1}}
CELL = {"cell": labels(method="lwm", ratio=0.5)}
TABLES = {"attacks": ["pgd"], "verifiers": []}
AGGREGATION = TABLES | {
    "objectives": {"benign": TABLES | {"minimum_norm": [], "not_in_era": [], "smoothed": [], "threat": EVALUATION["threat"]}},
    "analyses": {},
    "code": "test",
}


def load(family: SimpleNamespace, member: str) -> None:
    (compact_file if member == "compact" else checkpoint).load(getattr(family, member))


@pytest.mark.parametrize("member", MEMBERS)
def test_a_family_as_it_was_made_is_accepted(family: SimpleNamespace, member: str) -> None:
    load(family, member)


@pytest.mark.parametrize(
    ("replaced", "child", "member"),
    [
        ("dense", "pruned", "pruned"),
        ("dense", "pruned", "finetuned"),
        ("dense", "pruned", "compact"),
        ("pruned", "finetuned", "finetuned"),
        ("pruned", "finetuned", "compact"),
        ("finetuned", "compact", "compact"),
    ],
)
def test_a_checkpoint_with_another_ancestor_is_refused(family: SimpleNamespace, replaced: str, child: str, member: str) -> None:
    parent = getattr(family, replaced)
    named = sha256(parent)
    replace_network(parent)
    with pytest.raises(CheckpointError) as caught:
        load(family, member)
    assert str(caught.value) == (
        f"{getattr(family, child)}: was made from another {parent} than lies there now (sha256 {sha256(parent)[:12]}, its "
        f"header names {named[:12]}); delete it and what comes from it to make them anew"
    )


@pytest.mark.parametrize("replaced", MEMBERS[1:3])
def test_what_comes_before_is_not_touched_by_it(family: SimpleNamespace, replaced: str) -> None:
    replace_network(getattr(family, replaced))
    for member in MEMBERS[: MEMBERS.index(replaced) + 1]:
        load(family, member)


@pytest.mark.parametrize("gone", MEMBERS[:3])
def test_a_parent_that_is_gone_is_no_other(family: SimpleNamespace, gone: str) -> None:
    getattr(family, gone).unlink()
    for member in MEMBERS[MEMBERS.index(gone) + 1 :]:
        load(family, member)


def test_a_checkpoint_that_was_copied_away_is_accepted(family: SimpleNamespace, tmp_path: Path) -> None:
    replace_network(family.pruned)
    shutil.copy(family.finetuned, tmp_path / "mine.safetensors")
    checkpoint.load(tmp_path / "mine.safetensors")


def test_the_folder_that_one_is_in_makes_no_difference(family: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_network(family.finetuned)
    monkeypatch.chdir(family.compact.parent)
    with pytest.raises(CheckpointError, match=r"^compact.safetensors: was made from another \.\./finetuned.safetensors than"):
        compact_file.load(Path("compact.safetensors"))


def test_a_truncated_parent_is_named_itself(family: SimpleNamespace) -> None:
    family.dense.write_bytes(family.dense.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=f"^{family.dense}: truncated"):
        checkpoint.load(family.pruned)


def test_a_failure_that_was_inherited_from_another_network_is_refused(family: SimpleNamespace) -> None:
    # Made anew, the dense network may be fine; what failed because of the old one has to be tried again.
    failed_checkpoint("diverged", family.pruned, "pruned", {}, parent="0" * 64)
    with pytest.raises(CheckpointError, match=f"^{family.pruned}: was made from another {family.dense}"):
        checkpoint.load(family.pruned)


STAGES = {
    "finetune": (finetune, MODEL | CELL | {"objective": {"kind": "benign"}, "schedule": {"epochs": 1}}),
    "attack": (attack, EVALUATION | {"attack": {"kind": "fgsm"}}),
    "verify": (verify, EVALUATION | {"verifier": {"kind": "ibp"}}),
    "stability": (on_network, EVALUATION | {"analysis": {"kind": "stability"}}),
}


@pytest.mark.parametrize(("stage", "spec"), STAGES.values(), ids=STAGES)
def test_every_stage_fails_and_records_nothing(family: SimpleNamespace, tmp_path: Path, stage, spec: dict) -> None:
    replace_network(family.dense)
    folder = tmp_path / "outputs"
    folder.mkdir()
    network = {"parent": family.pruned, "curve": folder / "curve"} if stage is finetune else {"network": family.finetuned}
    with pytest.raises(CheckpointError, match=f"^{family.pruned}: was made from another {family.dense}"):
        stage(data=family.data, output=folder / "output", cost=folder / "cost.json", spec=spec, **network)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("stage", [prune, finetune])
def test_training_goes_on_with_the_data_that_it_began_with(family: SimpleNamespace, tmp_path: Path, stage) -> None:
    other = tmp_path / "other"
    part = store.Stored(np.zeros((10, 1, 8, 8), np.uint8), np.arange(10), np.arange(10))
    store.write(other, {"train": part, "validation": part}, 16, 10, "all")
    outputs = {name: tmp_path / name for name in ("output", "curve", "cost", *(["trace"] if stage is prune else []))}
    spec = STAGES["finetune"][1] | ({"method": {"kind": "lwm"}, "ratio": 0.5} if stage is prune else {})
    parent = family.dense if stage is prune else family.pruned
    with pytest.raises(CheckpointError, match=f"^{parent}: trained on a data set other than {other}"):
        stage(parent=parent, data=other, spec=spec, **outputs)
    assert not outputs["output"].exists()


@pytest.mark.parametrize("replaced", ["dense", "pruned"])
def test_aggregation_refuses_it_before_anything_is_written(family: SimpleNamespace, tmp_path: Path, replaced: str) -> None:
    replace_network(getattr(family, replaced))
    (tmp_path / "tables").mkdir()
    with pytest.raises(CheckpointError, match=f": was made from another {getattr(family, replaced)} than"):
        aggregate([family.dense, family.finetuned], [], tmp_path / "tables", AGGREGATION)
    assert list((tmp_path / "tables").iterdir()) == []


def test_aggregation_reads_every_file_once_for_its_digest(family: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr("sparrow.results.aggregate.sha256", lambda path: read.append(path) or sha256(path))
    with pytest.raises(SparrowError, match="pgd"):  # There is no outcome table to go on with.
        aggregate([family.dense, family.pruned, family.finetuned], [], family.root, AGGREGATION)
    assert sorted(read) == sorted([family.dense, family.pruned])


def test_a_digest_that_is_known_is_not_computed_again(family: SimpleNamespace) -> None:
    with pytest.raises(CheckpointError, match="sha256 known, its"):
        refuse_other_parents(family.finetuned, read_header(family.finetuned), lambda path: "known")


def test_a_damaged_parent_is_named_itself(family: SimpleNamespace) -> None:
    whole = bytearray(family.dense.read_bytes())
    whole[-400] ^= 0x40
    family.dense.write_bytes(whole)
    with pytest.raises(CheckpointError, match=r"dense\.safetensors: its content is not what its header says") as raised:
        load(family, "pruned")
    assert "pruned" not in str(raised.value)
