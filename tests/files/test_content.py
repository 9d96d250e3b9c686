"""Files that say what is in them, and what they are about: what was changed, cut or exchanged is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sparrow.data import store
from sparrow.errors import CheckpointError, SparrowError
from sparrow.files import content
from sparrow.files import examples as examples_file
from sparrow.files.digests import content_digest
from sparrow.files.headers import FORMAT, KEYS_OF, read, read_header, sha256
from sparrow.files.outcome_table import ORIGIN, verified_images
from sparrow.jobs import interruption
from sparrow.jobs.interruption import Interrupted
from sparrow.jobs.resume_point import VARIABLE, ResumePoint
from sparrow.results.costs import collect_costs
from sparrow.settings import Threat
from sparrow.stages.attack import attack
from sparrow.stages.finetune import finetune
from sparrow.stages.pretrain import pretrain
from sparrow.stages.verify import verify
from tests.conftest import replace_network
from tests.specs import initial_network, labels

TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool, torch.int64, torch.int32, torch.uint8]


def rewritten(path: Path, change: Callable[[dict, dict], None]) -> None:
    """The same file with other tensors or another header."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["sparrow"])
    tensors = load_file(path)
    change(tensors, header)
    save_file(tensors, path, {"sparrow": json.dumps(header, sort_keys=True)})


def test_a_digest_of_tensors_is_that_of_their_file(tmp_path: Path) -> None:
    tensors = {f"b/{number}": (torch.rand(3, 4) * 9).to(kind) for number, kind in enumerate(TYPES)}
    tensors |= {"a": torch.tensor(2.5), "c": torch.empty(0, 3, 8, 8), "b": torch.rand(700, 600)}  # Of more than one piece.
    save_file(tensors, tmp_path / "file", {"sparrow": "{}"})
    assert content.of_file(tmp_path / "file") == content_digest(sorted(tensors.items()))
    own = {name: tensor for name, tensor in tensors.items() if name.startswith("b/")}
    assert content.of_file(tmp_path / "file", "b/") == content_digest(sorted(own.items()))
    as_numpy = sorted((name, tensor.numpy()) for name, tensor in tensors.items() if tensor.dtype != torch.bfloat16)
    assert content_digest(as_numpy) == content_digest((name, tensors[name]) for name, _ in as_numpy)


CHANGES = {
    "a value": {"a": torch.tensor([1.0, 3.0])},
    "a shape": {"a": torch.tensor([[1.0, 2.0]])},
    "a type": {"a": torch.tensor([1.0, 2.0]).view(torch.int32)},
    "a name": {"b": torch.tensor([1.0, 2.0])},
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES)
def test_whatever_differs_is_another_content(changed: dict) -> None:
    assert content_digest(changed.items()) != content_digest([("a", torch.tensor([1.0, 2.0]))])


@pytest.mark.parametrize("spoiled", [b"", b"\xff" * 8, b"\x09\0\0\0\0\0\0\0{}", b"\x02\0\0\0\0\0\0\0[]"])
def test_what_is_no_file_of_tensors_has_none(tmp_path: Path, spoiled: bytes) -> None:
    (tmp_path / "file").write_bytes(spoiled)
    with pytest.raises(CheckpointError, match=f"^{tmp_path / 'file'}: truncated, or not a safetensors file"):
        content.of_file(tmp_path / "file")


def test_the_code_is_no_part_of_what_a_job_was_told(family: SimpleNamespace) -> None:
    spec = {"seed": 0, "threat": {"norm": "linf", "eps": 0.1}}
    assert content.of_spec(spec | {"code": "a"}) == content.of_spec(dict(reversed(spec.items())) | {"code": "b"})
    assert content.of_spec(spec) != content.of_spec(spec | {"seed": 1})


@pytest.mark.parametrize("member", ["dense", "pruned", "finetuned", "compact"])
def test_a_weight_that_was_changed_is_refused(family: SimpleNamespace, member: str) -> None:
    path = getattr(family, member)
    expected = read_header(path, *KEYS_OF)["format"]
    read(path, "np", expected)

    def change(tensors: dict, header: dict) -> None:
        tensors["weight/5.bias"][7] += 1e-3

    rewritten(path, change)
    for framework in ("pt", "np"):
        with pytest.raises(CheckpointError, match=f"^{path}: its content is not what its header says .*run again$"):
            read(path, framework, expected)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_label_that_was_changed_is_seen_by_whoever_reads_it(family: SimpleNamespace, part: str) -> None:
    def change(tensors: dict, header: dict) -> None:
        tensors[f"{part}/labels"][0] = 9

    rewritten(family.data, change)
    for name in ("train", "validation", "test"):
        if name != part:
            store.read(family.data, name)
    with pytest.raises(CheckpointError, match=f"^{family.data}: its content is not what its header says"):
        store.read(family.data, part)


@pytest.mark.parametrize("key", KEYS_OF[store.FORMAT])
def test_a_data_set_whose_header_lacks_a_key_is_named(family: SimpleNamespace, key: str) -> None:
    rewritten(family.data, lambda tensors, header: header.pop(key))
    with pytest.raises(SparrowError, match=f"^{family.data}: the header lacks {key}; delete the file and run again$"):
        store.read(family.data, "test")


@pytest.mark.parametrize(("key", "value"), [("content", {}), ("content", None), ("shape", 3), ("extra", {"more": 1})])
def test_a_data_set_whose_header_is_odd_is_named(family: SimpleNamespace, key: str, value: object) -> None:
    rewritten(family.data, lambda tensors, header: header.update({key: value}))
    with pytest.raises(SparrowError, match=f"^{family.data}: "):
        store.read(family.data, "train")


@pytest.mark.parametrize("number", [1, 99])
def test_a_file_of_another_version_says_what_to_do(family: SimpleNamespace, number: int) -> None:
    rewritten(family.dense, lambda tensors, header: header.update(format=f"sparrow-checkpoint/{number}"))
    with pytest.raises(CheckpointError) as caught:
        read(family.dense)
    assert str(caught.value) == (
        f"{family.dense}: format 'sparrow-checkpoint/{number}', expected '{FORMAT}': another version of Sparrow wrote it; "
        "delete it, and what was made from it, and run again"
    )


def _evaluation(role: str, entry: dict) -> dict:
    return {"seed": 3, "code": "test", "model": {"kind": "cnn-small"}, role: entry, "threat": {"norm": "linf", "eps": 0.05}}


@pytest.fixture
def proofs(family: SimpleNamespace, tmp_path: Path) -> Path:
    """What IBP says of a network that has learned nothing."""
    spec = _evaluation("verifier", {"kind": "ibp"})
    verify(family.finetuned, family.data, tmp_path / "ibp.csv", tmp_path / "cost.json", spec)
    return tmp_path / "ibp.csv"


def _attack(family: SimpleNamespace, folder: Path, proofs: list[Path] = (), examples: Path | None = None) -> None:
    spec = _evaluation("attack", {"kind": "fgsm"})
    attack(family.finetuned, family.data, folder / "fgsm.csv", folder / "cost.json", spec, examples, proofs)


def test_tables_say_what_they_are_about(family: SimpleNamespace, proofs: Path) -> None:
    network, data = read_header(family.finetuned)["content"], read_header(family.data, store.FORMAT)["digest"]
    expected = [network[:16], data[:16], content.of_spec(_evaluation("verifier", {"kind": "ibp"}))]
    lines = proofs.read_text().splitlines()
    assert [line.split(",")[-3:] for line in lines] == [ORIGIN, *[expected] * 10]


def test_a_proof_about_another_network_or_data_set_is_not_believed(family: SimpleNamespace, proofs: Path) -> None:
    _attack(family, proofs.parent, [proofs])
    own = dict(zip(ORIGIN, proofs.read_text().splitlines()[1].split(",")[-3:], strict=True))
    assert verified_images(proofs, Threat(eps=0.05), own) == verified_images(proofs, Threat(eps=0.05))
    for name, what in (("network", "network than lies there now"), ("data", "data set")):
        with pytest.raises(SparrowError, match=rf"^{proofs}: is about another {what} \(column {name} "):
            verified_images(proofs, Threat(eps=0.05), own | {name: "f" * 16})
    (proofs.parent / "fgsm.csv").unlink()
    replace_network(family.finetuned)
    with pytest.raises(
        SparrowError, match=rf"^{proofs}: is about another network than lies there now .*; delete it and run again$"
    ):
        _attack(family, proofs.parent, [proofs])
    assert not (proofs.parent / "fgsm.csv").exists()


def test_examples_of_another_network_or_that_were_changed_are_refused(family: SimpleNamespace, tmp_path: Path) -> None:
    examples = tmp_path / "fgsm.examples.safetensors"
    _attack(family, tmp_path, examples=examples)
    assert read_header(examples, examples_file.FORMAT)["network"] == sha256(family.finetuned)
    # This network is wrong about nearly all images as they are, and nothing is to be found.
    examples_file.write(examples, torch.tensor([31, 35]), torch.rand(2, 1, 8, 8), {"network": sha256(family.finetuned)})
    spec = _evaluation("verifier", {"kind": "cascade", "bounds": ["ibp"], "attacks": ["fgsm"]})

    def cascade() -> None:
        verify(family.finetuned, family.data, tmp_path / "cascade.csv", tmp_path / "cost.json", spec, [examples])

    cascade()
    (tmp_path / "cascade.csv").unlink()
    whole = examples.read_bytes()
    rewritten(examples, lambda tensors, header: tensors["images"].mul_(0.5))
    with pytest.raises(SparrowError, match=f"^{examples}: its content is not what its header says"):
        cascade()
    examples.write_bytes(whole)
    named = sha256(family.finetuned)[:12]
    replace_network(family.finetuned)
    with pytest.raises(
        SparrowError, match=rf"^{examples}: adversarial examples of another {family.finetuned} .* names {named}\)"
    ):
        cascade()
    assert not (tmp_path / "cascade.csv").exists()


TRAINING = {
    "cell": labels(),
    "code": "test",
    "model": {"kind": "cnn-small"},
    "objective": {"kind": "benign"},
    "schedule": {"epochs": 2, "batch_size": 500, "optimizer": "adam", "lr": 0.005},
}


def _zeroed(path: Path) -> None:
    """A quarter of the payload is zero, as on a disk that was switched off."""
    whole = bytearray(path.read_bytes())
    begin = 8 + int.from_bytes(whole[:8], "little")
    quarter = (len(whole) - begin) // 4
    whole[begin + quarter : begin + 2 * quarter] = bytes(quarter)
    path.write_bytes(whole)


def _header_changed(path: Path) -> None:
    """Another epoch than the one that it was saved in."""
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["sparrow"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    about["cost"]["seconds"] += 1000
    save_file(tensors, path, {"sparrow": json.dumps(about)})


@pytest.mark.parametrize("damage", [_zeroed, _header_changed])
def test_a_damaged_resume_point_is_not_gone_on_from(digits, tmp_path, monkeypatch, capsys, damage: Callable) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    left = [3]

    def stop() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Interrupted

    def job(folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        parent = initial_network(tmp_path / "parent", TRAINING)
        pretrain(parent, digits, folder / "out.safetensors", folder / "curve.csv", folder / "cost.json", TRAINING)
        return folder / "out.safetensors"

    whole = job(tmp_path / "whole")
    with monkeypatch.context() as stopped:
        stopped.setattr(interruption, "raise_if_requested", stop)
        with pytest.raises(Interrupted):
            job(tmp_path / "parts")
    (point,) = (tmp_path / "parts").iterdir()
    damage(point)
    capsys.readouterr()
    parts = job(tmp_path / "parts")
    said = capsys.readouterr().out
    assert f"{point}: damaged; starting anew" in said
    assert "going on from" not in said
    assert parts.read_bytes() == whole.read_bytes()
    assert not point.exists()


def test_a_resume_point_that_is_whole_is_read_back(tmp_path: Path) -> None:
    trees = [({"dict": [["a", {"tensor": "0"}]]}, {"0": torch.rand(3, dtype=torch.bfloat16)}), ({"list": [1, 2.5]}, {})]
    point = ResumePoint(tmp_path / "out", {"a": (1, 2)}, [])
    point.save(lambda: trees)
    first, second = ResumePoint(tmp_path / "out", {"a": (1, 2)}, []).load()
    assert (first[0], second) == (trees[0][0], trees[1])
    assert torch.equal(first[1]["0"], trees[0][1]["0"])


BAD_COSTS = ["", '{"seconds": 1.2, "peak_mem', "[1, 2]", "{}", '{"seconds": "long"}', '{"seconds": NaN}', "\0\0"]


@pytest.mark.parametrize("text", BAD_COSTS)
def test_a_cost_that_was_cut_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "digits/data.cost.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(SparrowError, match=rf"^{path}: .*; delete it and run again$") as caught:
        collect_costs([path], tmp_path / "costs.csv")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "costs.csv").exists()


def test_a_checkpoint_names_its_curve(family: SimpleNamespace, tmp_path: Path) -> None:
    spec = TRAINING | {"schedule": {"epochs": 1, "batch_size": 20, "optimizer": "adam", "lr": 0.01}}
    finetune(family.pruned, family.data, tmp_path / "out", tmp_path / "curve.csv", tmp_path / "cost.json", spec)
    assert read_header(tmp_path / "out")["curve"] == sha256(tmp_path / "curve.csv")
