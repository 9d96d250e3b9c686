"""State dicts of third parties: every form that is read, and what is refused."""

from __future__ import annotations

import json
import pickle
import warnings
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from sparrow.errors import CheckpointError
from sparrow.exchange import state_dict

STATE = {"0.weight": torch.tensor([[1.0, 2.0]]), "0.bias": torch.tensor([3.0])}
FORMS = {
    "plain": (STATE, ""),
    "ordered": (OrderedDict(STATE), ""),
    "with its training": ({"epoch": 3, "state_dict": STATE, "best": torch.tensor(1.0), "arch": "vgg"}, "its key 'state_dict'"),
    "net": ({"net": STATE, "acc": 91.5}, "its key 'net'"),
}


@pytest.mark.parametrize(("content", "place"), FORMS.values(), ids=FORMS)
def test_every_form_is_read(tmp_path: Path, content: dict, place: str) -> None:
    torch.save(content, tmp_path / "theirs.pth.tar")
    found, where, *_ = state_dict.read(tmp_path / "theirs.pth.tar")
    assert (list(found), where) == (list(STATE), place)
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "theirs.safetensors", {"made by": "somebody"})
    assert state_dict.read(tmp_path / "theirs.safetensors")[0].keys() == STATE.keys()


def test_a_key_chooses_among_several(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "ema": {"other": torch.zeros(1)}}, tmp_path / "theirs.pt")
    assert state_dict.read(tmp_path / "theirs.pt", "ema")[0].keys() == {"other"}


def _with_code(path: Path) -> None:
    torch.save(nn.Linear(2, 1), path)


def _torchscript(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.save(torch.jit.script(nn.Linear(2, 1)), path)


REFUSED = {
    "a whole module": (_with_code, "nothing else is ever unpickled"),
    "something else": (lambda path: path.write_bytes(b"no such thing"), "nothing else is ever unpickled"),
    "a text": (lambda path: path.write_bytes(b"hello"), "(not a file of torch.save's, or a damaged one); have"),
    "TorchScript": (_torchscript, "nothing else is ever unpickled (a TorchScript archive, which holds code); have its"),
    "an empty file": (lambda path: path.write_bytes(b""), "nothing else is ever unpickled"),
    "another pickle": (lambda path: path.write_bytes(pickle.dumps(STATE, protocol=4)), "nothing else is ever unpickled"),
    "half a file": (lambda path: (torch.save(STATE, path), path.write_bytes(path.read_bytes()[:200])), "nothing else"),
    "a list": (lambda path: torch.save([1, 2], path), "holds no state dict, but a list of 2; give its key"),
    "no state dict": (lambda path: torch.save({"last": STATE, "epoch": 3}, path), "give its key; the file holds last, epoch"),
    "nothing": (lambda path: None, "no such file"),
}


@pytest.mark.parametrize(("write", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_state_dict_is_one_line(tmp_path: Path, recwarn: pytest.WarningsRecorder, write, words: str) -> None:
    path = tmp_path / "theirs.pth"
    write(path)
    recwarn.clear()
    with pytest.raises(CheckpointError) as caught:
        state_dict.read(path)
    # Nor does torch say more before it.
    assert recwarn.list == []
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "epoch": 3}, tmp_path / "theirs.pt")
    with pytest.raises(CheckpointError, match="no state dict under the key 'ema'; it holds state_dict, epoch"):
        state_dict.read(tmp_path / "theirs.pt", "ema")


def test_a_checkpoint_of_ours_is_told_apart(family: SimpleNamespace) -> None:
    with pytest.raises(CheckpointError, match="one of Sparrow's own files"):
        state_dict.read(family.dense)


def test_truncated_safetensors_are_one_line(family: SimpleNamespace) -> None:
    family.dense.write_bytes(family.dense.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="truncated, or not a safetensors file"):
        state_dict.read(family.dense)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    # Tensors that share memory, too.
    shared = STATE | {"tied": STATE["0.weight"]}
    state_dict.write(tmp_path / "ours.safetensors", shared, {"a": 1})
    state_dict.write_pth(tmp_path / "ours.pth", shared)
    with safe_open(tmp_path / "ours.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["about"]) == {"a": 1}
    for name in ("ours.safetensors", "ours.pth"):
        found = state_dict.read(tmp_path / name).tensors
        assert {key: value.tolist() for key, value in found.items()} == {key: value.tolist() for key, value in shared.items()}
