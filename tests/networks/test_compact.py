"""Networks without their filters in files of their own, as earlier versions wrote them beside masked checkpoints."""

import copy
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sparrow.errors import CheckpointError
from sparrow.files import checkpoint
from sparrow.files import compact as compact_file
from sparrow.files.digests import content_digest
from sparrow.files.headers import COMPACT_FORMAT, FORMAT, read
from sparrow.networks.cutting import without_filters
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout, filter_masks
from tests.older import save_compact


@pytest.fixture
def files(family):
    """The file of a compact network."""
    return family.compact, family.finetuned


def logits(model, images):
    with torch.no_grad():
        return model(images)


def test_a_loaded_network_is_in_eval_mode(files):
    assert not compact_file.load(files[0])[0].training


def test_a_network_with_norms_and_shortcuts_is_found_again(residual, files, tmp_path, monkeypatch):
    shape, weights = (1, 8, 8), prunable_weights(residual)
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    layout = Layout(residual, shape)
    for name in {name for group in layout.groups for name in group.layers}:
        masks[name][0] = False
    masks |= filter_masks(residual, layout, masks)
    for name, mask in masks.items():
        residual.get_parameter(name).data.mul_(mask)
    smaller = without_filters(residual, shape, masks)
    save_compact(tmp_path / "compact", smaller, compact_file.load(files[0])[1] | {"parent": None})
    entry = SimpleNamespace(build=lambda *arguments: copy.deepcopy(residual))
    monkeypatch.setattr("sparrow.catalogue.from_spec", lambda room, spec: (entry, None))
    loaded, _ = compact_file.load(tmp_path / "compact")
    images = torch.rand(5, *shape)
    torch.testing.assert_close(logits(loaded, images), logits(residual, images), atol=1e-5, rtol=1e-5)
    sizes = [module.num_features for module in loaded.modules() if isinstance(module, nn.BatchNorm2d)]
    assert sizes == [module.num_features - 1 for module in residual.modules() if isinstance(module, nn.BatchNorm2d)]


def rewritten(path, output, change):
    """A copy of a file, its tensors and its header changed in place by `change`, with the digest of what it holds now."""
    header, tensors = read(path, expected=COMPACT_FORMAT)
    change(header, tensors)
    header["content"] = content_digest(sorted(tensors.items()))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, output, {"sparrow": json.dumps(header)})
    return output


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def lose_a_tensor(path):
    rewritten(path, path, lambda header, tensors: tensors.pop("weight/5.bias"))


def gain_a_tensor(path):
    rewritten(path, path, lambda header, tensors: tensors.__setitem__("weight/9.bias", torch.ones(3)))


def strip_the_header(path):
    save_file(read(path, expected=COMPACT_FORMAT)[1], path)


def lose_a_key(path):
    rewritten(path, path, lambda header, tensors: header.pop("shape"))


FAULTS = {
    "truncated": (truncate, "truncated, or not a safetensors file"),
    "empty": (lambda path: path.write_bytes(b""), "truncated, or not a safetensors file"),
    "text": (lambda path: path.write_text("a network" * 100), "truncated, or not a safetensors file"),
    "gone": (lambda path: path.unlink(), "no such file"),
    "without a header": (strip_the_header, "not written by Sparrow"),
    "without the shape": (lose_a_key, "the header lacks shape"),
    "without a tensor": (lose_a_tensor, "not a cnn-small .*5.bias"),
    "with one too many": (gain_a_tensor, "not a cnn-small .*9.bias"),
}


@pytest.mark.parametrize(("damage", "message"), FAULTS.values(), ids=FAULTS)
def test_a_file_that_is_no_compact_network_is_named(files, tmp_path, damage, message):
    (tmp_path / "alone").mkdir()
    path = tmp_path / "alone/compact.safetensors"
    shutil.copy(files[0], path)
    damage(path)
    with pytest.raises(CheckpointError, match=f"^{path}: .*{message}"):
        compact_file.load(path)


def test_a_checkpoint_is_no_compact_network(files):
    with pytest.raises(CheckpointError, match=f"^{files[1]}: format '{FORMAT}', expected '{COMPACT_FORMAT}'$"):
        compact_file.load(files[1])


def test_a_compact_network_is_no_checkpoint(files):
    with pytest.raises(CheckpointError, match=f"^{files[0]}: format '{COMPACT_FORMAT}', expected '{FORMAT}'$"):
        checkpoint.load(files[0])
