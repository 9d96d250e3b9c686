"""Checkpoints: what is written comes back, and what is not a checkpoint is refused in one line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from sparrow import catalogue
from sparrow.errors import CheckpointError, NetworkError
from sparrow.files.checkpoint import Checkpoint, load, save
from sparrow.files.digests import content_digest
from sparrow.networks.prunable import prunable_weights
from tests.specs import labels

HEADER = {
    "stage": "pruned",
    "model": {"kind": "cnn-small"},
    "shape": [1, 8, 8],
    "classes": 10,
    "data": "digest",
    "data_regime": "held out 15 %",
    "cell": labels(),
    "config": {"ratio": 0.5},
    "code": "code",
    "parent": "another",
}


@pytest.fixture
def pruned() -> Checkpoint:
    """A seeded CNN-small with a random half of its weights pruned."""
    torch.manual_seed(0)
    entry = catalogue.load("models", "cnn-small")
    model = entry.build(entry.Params(), (1, 8, 8), 10)
    masks = {name: torch.rand(weight.shape) > 0.5 for name, weight in prunable_weights(model).items()}
    for name, weight in prunable_weights(model).items():
        weight.data.mul_(masks[name])
    return Checkpoint(model, masks, HEADER)


@pytest.fixture
def saved(pruned: Checkpoint, tmp_path: Path) -> Path:
    save(tmp_path / "pruned.safetensors", pruned)
    return tmp_path / "pruned.safetensors"


def test_weights_come_back(pruned: Checkpoint, saved: Path) -> None:
    before, after = pruned.model.state_dict(), load(saved).model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_masks_come_back(pruned: Checkpoint, saved: Path) -> None:
    masks = load(saved).masks
    assert masks.keys() == pruned.masks.keys()
    assert all(mask.dtype == torch.bool and torch.equal(mask, pruned.masks[name]) for name, mask in masks.items())


def test_header_comes_back(saved: Path) -> None:
    assert HEADER.items() <= load(saved, {"kind": "cnn-small"}).header.items()


def test_header_names_the_parameters(pruned: Checkpoint, saved: Path) -> None:
    # Costs are counted from the file alone, without torch and without the network.
    header = load(saved).header
    assert header["parameters"] == [name for name, _ in pruned.model.named_parameters()]
    assert header["prunable"] == list(pruned.masks)


def test_header_counts_the_multiply_adds(saved: Path) -> None:
    # 16 filters of 16 weights at 4 x 4 places, 32 of 256 at 2 x 2, then 128 x 100 and 100 x 10.
    assert load(saved).header["multiply_adds"] == 16 * 16 * 16 + 4 * 32 * 256 + 12_800 + 1000


def _without_first_filter(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with the first filter of the first convolution gone whole: weights, bias and all."""
    masks = {name: mask.clone() for name, mask in checkpoint.masks.items()}
    masks["0.weight"][0], masks["0.bias"] = False, torch.arange(16) > 0
    for name in ("0.weight", "0.bias"):
        checkpoint.model.get_parameter(name).data.mul_(masks[name])
    return Checkpoint(checkpoint.model, masks, checkpoint.header)


def test_header_names_versions_and_device(saved: Path) -> None:
    header = load(saved).header
    assert header["versions"].keys() == {"python", "sparrow", "torch", "numpy", "auto_LiRPA", "torch-pruning"}
    assert header["versions"]["torch"] == torch.__version__
    assert header["device"].startswith("cpu: ")


def test_masks_of_biases_come_back(pruned: Checkpoint, tmp_path: Path) -> None:
    save(tmp_path / "filters", _without_first_filter(pruned))
    assert load(tmp_path / "filters").masks["0.bias"].tolist() == [False] + [True] * 15


def test_one_mask_may_be_that_of_two_tensors(pruned: Checkpoint, tmp_path: Path) -> None:
    # As those of a filter's norm are: its scale and its shift go together.
    mask = torch.ones(100, dtype=torch.bool)
    pruned.masks["5.bias"] = mask
    pruned.masks["7.bias"] = mask[:10]
    save(tmp_path / "shared.safetensors", pruned)
    assert load(tmp_path / "shared.safetensors").masks["7.bias"].tolist() == [True] * 10


def test_revived_bias_is_not_written(pruned: Checkpoint, tmp_path: Path) -> None:
    filters = _without_first_filter(pruned)
    filters.model[0].bias.data[0] = 1e-8
    with pytest.raises(CheckpointError, match=r"1 pruned weights of 0\.bias are not zero"):
        save(tmp_path / "filters", filters)


def test_revived_bias_is_refused(pruned: Checkpoint, tmp_path: Path) -> None:
    save(tmp_path / "filters", _without_first_filter(pruned))
    tensors = load_file(tmp_path / "filters")
    tensors["weight/0.bias"][0] = 1e-8
    _rewrite(tmp_path / "filters", tensors)
    with pytest.raises(CheckpointError, match=r"the mask of 0\.bias does not fit its weights"):
        load(tmp_path / "filters")


def test_dense_network_has_no_masks(pruned: Checkpoint, tmp_path: Path) -> None:
    save(tmp_path / "dense", Checkpoint(pruned.model, {}, HEADER))
    assert load(tmp_path / "dense").masks == {}


def test_network_comes_back_in_eval_mode(saved: Path) -> None:
    assert not load(saved).model.training


def test_file_is_the_same_to_the_byte(pruned: Checkpoint, saved: Path, tmp_path: Path) -> None:
    save(tmp_path / "again", pruned)
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


def test_nothing_but_the_file_is_left(saved: Path) -> None:
    assert list(saved.parent.iterdir()) == [saved]


def _rewrite(path: Path, tensors: dict[str, Tensor], **header: object) -> None:
    """The checkpoint at `path` with other tensors and with changes to its header."""
    with safe_open(path, framework="pt") as file:
        old = json.loads(file.metadata()["sparrow"])
    own = {"content": content_digest(sorted(tensors.items()))}
    save_file(tensors, path, {"sparrow": json.dumps(old | own | header)})


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _remove(path: Path) -> None:
    path.unlink()


def _foreign(path: Path) -> None:
    save_file(load_file(path), path)


def _other_format(path: Path) -> None:
    _rewrite(path, load_file(path), format="sparrow-checkpoint/0")


def _other_architecture(path: Path) -> None:
    _rewrite(path, load_file(path), model={"kind": "cnn-large"})


def _other_shape(path: Path) -> None:
    _rewrite(path, load_file(path), shape=[3, 8, 8])


def _lost_tensor(path: Path) -> None:
    tensors = load_file(path)
    del tensors["weight/0.bias"]
    _rewrite(path, tensors)


def _misshapen_mask(path: Path) -> None:
    _rewrite(path, load_file(path) | {"mask/0.weight": torch.ones(3, 3, dtype=torch.bool)})


def _mask_of_nothing(path: Path) -> None:
    _rewrite(path, load_file(path) | {"mask/nothing": torch.ones(3, dtype=torch.bool)})


def _revived_weight(path: Path) -> None:
    tensors = load_file(path)
    tensors["weight/0.weight"][~tensors["mask/0.weight"]] = 1e-8
    _rewrite(path, tensors)


def _float_mask(path: Path) -> None:
    tensors = load_file(path)
    _rewrite(path, tensors | {"mask/0.weight": tensors["mask/0.weight"].float()})


def _unknown_model(path: Path) -> None:
    _rewrite(path, load_file(path), model={"kind": "cnn-tiny"})


def _unknown_parameter(path: Path) -> None:
    _rewrite(path, load_file(path), model={"kind": "cnn-small", "width": 3})


def _lost_key(path: Path, key: str = "shape") -> None:
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["sparrow"])
    del header[key]
    save_file(load_file(path), path, {"sparrow": json.dumps(header)})


def _header_that_is_a_list(path: Path) -> None:
    save_file(load_file(path), path, {"sparrow": "[]"})


SPOILERS = [_truncate, _empty, _remove, _foreign, _other_format, _other_architecture, _other_shape, _lost_tensor]
SPOILERS += [_misshapen_mask, _mask_of_nothing, _revived_weight, _float_mask, _unknown_model, _unknown_parameter, _lost_key]
SPOILERS += [_header_that_is_a_list]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_bad_file_is_named_in_one_line(saved: Path, spoil) -> None:
    spoil(saved)
    with pytest.raises(CheckpointError) as caught:
        load(saved)
    assert str(caught.value).startswith(f"{saved}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["config", "code", "parent", "versions", "device", "data"])
def test_file_that_does_not_say_where_it_comes_from_is_refused(saved: Path, key: str) -> None:
    _lost_key(saved, key)
    with pytest.raises(CheckpointError, match=f"^{saved}: the header lacks {key}; delete"):
        load(saved)


def test_other_model_than_expected_is_named_in_one_line(saved: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        load(saved, {"kind": "cnn-large"})
    assert str(caught.value) == f"{saved}: holds the model {{'kind': 'cnn-small'}}, expected {{'kind': 'cnn-large'}}"


class _Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_pickle_is_refused_unopened(tmp_path: Path) -> None:
    path, trap = tmp_path / "model.pt", tmp_path / "sprung"
    path.write_bytes(pickle.dumps(_Trap(trap)))
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load(path)
    assert not trap.exists()


def _diverge(checkpoint: Checkpoint, value: float) -> None:
    checkpoint.model[0].bias.data[0] = value


def _revive(checkpoint: Checkpoint, value: float) -> None:
    checkpoint.model[0].weight.data[~checkpoint.masks["0.weight"]] = value


@pytest.mark.parametrize(
    ("spoil", "value", "error", "message"),
    [
        (_diverge, float("nan"), NetworkError, "0.bias holds values that are not finite; training diverged"),
        (_diverge, float("inf"), NetworkError, "0.bias holds values that are not finite; training diverged"),
        (_revive, 1e-8, CheckpointError, r"bad: \d+ pruned weights of 0.weight are not zero"),
    ],
)
def test_bad_network_is_not_written(pruned: Checkpoint, tmp_path: Path, spoil, value: float, error, message: str) -> None:
    spoil(pruned, value)
    with pytest.raises(error, match=message):
        save(tmp_path / "bad", pruned)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_save_leaves_the_old_file(pruned: Checkpoint, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(tensors: dict, path: Path, metadata: dict) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    before = saved.read_bytes()
    monkeypatch.setattr("sparrow.files.checkpoint.save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        save(saved, pruned)
    assert saved.read_bytes() == before
