"""Cutting pruned filters out of a network: what is left gives the same logits, and is counted and timed."""

import copy
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sparrow.data.store import read as read_data
from sparrow.errors import CheckpointError, NetworkError
from sparrow.files import checkpoint
from sparrow.files import compact as compact_file
from sparrow.files.digests import content_digest
from sparrow.files.headers import COMPACT_FORMAT, FORMAT, read, sha256
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout, filter_masks, without_filters
from sparrow.stages.compact import compact
from sparrow.stages.finetune import finetune
from sparrow.stages.prune import prune
from tests.specs import labels

MODEL = {"kind": "cnn-small"}
SPEC = {"model": MODEL, "code": "test"}
LAYERS = ["0.weight", "2.weight", "5.weight", "7.weight"]


def fine_tuned(dense, digits, training_spec, folder, method, ratio):
    """A network pruned by `method` and fine-tuned for an epoch."""
    own = {"cell": labels(method="mine", ratio=ratio), "method": method, "ratio": ratio}
    names = ("pruned.safetensors", "curve.csv", "trace.csv", "cost.json")
    prune(dense, digits, *(folder / name for name in names), {"code": "test", "model": MODEL} | own)
    spec = training_spec | {"cell": own["cell"], "schedule": {"epochs": 1, "batch_size": 64, "lr": 0.01}}
    output = folder / "finetuned.safetensors"
    finetune(folder / "pruned.safetensors", digits, output, folder / "curve.csv", folder / "cost.json", spec)
    return output


@pytest.fixture(scope="module")
def finetuned(dense, digits, training_spec, tmp_path_factory):
    """CNN-small without the half of its filters that LWM removes; tests must not write to it."""
    method = {"kind": "lwm", "granularity": "filter"}
    return fine_tuned(dense, digits, training_spec, tmp_path_factory.mktemp("filters"), method, 0.5)


def cut(network, digits, folder):
    """The files of a compact network."""
    folder.mkdir(exist_ok=True)
    output, cost = folder / "compact.safetensors", folder / "cost.json"
    compact(network, digits, output, cost, SPEC)
    return output, cost


@pytest.fixture(scope="module")
def files(finetuned, digits, tmp_path_factory):
    """The compact network and its cost; tests must not write to them."""
    return cut(finetuned, digits, tmp_path_factory.mktemp("compact"))


@pytest.fixture
def images(digits):
    return read_data(digits, "test")[0].images


def logits(model, images):
    with torch.no_grad():
        return model(images)


def test_the_smaller_network_gives_the_same_logits(finetuned, files, images):
    smaller, _ = compact_file.load(files[0])
    torch.testing.assert_close(logits(smaller, images), logits(checkpoint.load(finetuned).model, images), atol=1e-5, rtol=1e-5)


def test_the_networks_to_compare_are_not_trivial(finetuned, images):
    # Otherwise equal logits would say little.
    found = logits(checkpoint.load(finetuned).model, images)
    assert len(found.argmax(dim=1).unique()) == 10
    assert found.std() > 1


def test_the_smaller_network_has_half_of_the_filters(files):
    _, tensors = read(files[0], expected=COMPACT_FORMAT)
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        "weight/0.weight": (8, 1, 4, 4),
        "weight/0.bias": (8,),
        "weight/2.weight": (16, 8, 4, 4),
        "weight/2.bias": (16,),
        # 16 channels of 2 x 2 pixels.
        "weight/5.weight": (50, 64),
        "weight/5.bias": (50,),
        "weight/7.weight": (10, 50),
        "weight/7.bias": (10,),
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        # (8 * 16 + 8) + (16 * 8 * 16 + 16) + (50 * 64 + 50) + (10 * 50 + 10)
        ("parameters_left", 5960),
        # 4 x 4 and 2 x 2 outputs: 16 * (8 * 16) + 4 * (16 * 8 * 16) + 50 * 64 + 10 * 50
        ("multiply_adds", 13940),
        ("stage", "finetuned"),
        ("model", MODEL),
        # The code that cut; what trained it is in its parent's header.
        ("code", SPEC["code"]),
        ("config", {}),
    ],
)
def test_the_header_counts_what_is_left(files, key, value):
    assert compact_file.load(files[0])[1][key] == value


def test_the_header_names_the_network_that_it_was_cut_from(finetuned, files):
    assert compact_file.load(files[0])[1]["parent"] == sha256(finetuned)


def test_the_modules_know_their_new_sizes(files):
    smaller, _ = compact_file.load(files[0])
    first, second, third, last = (module for module in smaller if isinstance(module, nn.Conv2d | nn.Linear))
    assert (first.in_channels, first.out_channels, second.in_channels, second.out_channels) == (1, 8, 8, 16)
    assert (third.in_features, third.out_features, last.in_features, last.out_features) == (64, 50, 50, 10)


def test_a_loaded_network_is_in_eval_mode(files):
    assert not compact_file.load(files[0])[0].training


@pytest.mark.parametrize("key", ["latency_ms", "latency_masked_ms", "seconds"])
def test_the_cost_has_latencies(files, key):
    assert json.loads(files[1].read_text())[key] > 0


def test_latencies_are_not_in_the_file_that_must_not_vary(files):
    assert [key for key in compact_file.load(files[0])[1] if "latency" in key] == []


def test_cut_twice_the_file_is_the_same_to_the_byte(finetuned, files, digits, tmp_path):
    again, _ = cut(finetuned, digits, tmp_path)
    assert again.read_bytes() == files[0].read_bytes()


@pytest.mark.parametrize("masks", [True, False], ids=["nothing is pruned", "single weights are pruned"])
def test_a_network_with_all_of_its_filters_stays_as_it_is(dense, digits, images, tmp_path, masks):
    loaded = checkpoint.load(dense)
    kept = {name: torch.ones_like(loaded.model.get_parameter(name), dtype=torch.bool) for name in LAYERS}
    for name in [] if masks else LAYERS:
        kept[name][0].flatten()[1:] = False
        loaded.model.get_parameter(name).data.mul_(kept[name])
    checkpoint.save(tmp_path / "whole.safetensors", checkpoint.Checkpoint(loaded.model, kept, loaded.header))
    output, _ = cut(tmp_path / "whole.safetensors", digits, tmp_path)
    smaller, header = compact_file.load(output)
    assert (header["parameters_left"], header["multiply_adds"]) == (22406, 50664)
    assert torch.equal(logits(smaller, images), logits(loaded.model, images))


def test_a_network_with_norms_and_shortcuts_is_found_again(residual, files, tmp_path, monkeypatch):
    # No model of the catalogue has them yet.
    shape, weights = (1, 8, 8), prunable_weights(residual)
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    layout = Layout(residual, shape)
    for name in {name for group in layout.groups for name in group.layers}:
        masks[name][0] = False
    masks |= filter_masks(residual, layout, masks)
    for name, mask in masks.items():
        residual.get_parameter(name).data.mul_(mask)
    smaller = without_filters(residual, shape, masks)
    compact_file.save(tmp_path / "compact", smaller, compact_file.load(files[0])[1])
    entry = SimpleNamespace(build=lambda *arguments: copy.deepcopy(residual))
    monkeypatch.setattr("sparrow.catalogue.from_spec", lambda room, spec: (entry, None))
    loaded, _ = compact_file.load(tmp_path / "compact")
    images = torch.rand(5, *shape)
    torch.testing.assert_close(logits(loaded, images), logits(residual, images), atol=1e-5, rtol=1e-5)
    sizes = [module.num_features for module in loaded.modules() if isinstance(module, nn.BatchNorm2d)]
    assert sizes == [module.num_features - 1 for module in residual.modules() if isinstance(module, nn.BatchNorm2d)]


def rewritten(path, output, change):
    """A copy of a file, its tensors and its header changed in place by `change`, with the digest of what it holds now."""
    header, tensors = read(path, expected=read_format(path))
    change(header, tensors)
    header["content"] = content_digest(sorted(tensors.items()))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, output, {"sparrow": json.dumps(header)})
    return output


def read_format(path):
    try:
        return read(path)[0]["format"]
    except CheckpointError:
        return COMPACT_FORMAT


def removed(tensors, name="0.bias"):
    """The first filter that is gone."""
    return int((~tensors[f"mask/{name}"]).nonzero()[0])


def revive_bias(header, tensors):
    """A filter without weights that gives something all the same; no mask says otherwise."""
    tensors["weight/2.bias"][removed(tensors, "2.bias")] = 3.0
    del tensors["mask/2.bias"]


def test_a_bias_that_outlived_its_filter_is_a_gap(finetuned, digits, tmp_path):
    tampered = rewritten(finetuned, tmp_path / "tampered.safetensors", revive_bias)
    output, _ = cut(tampered, digits, tmp_path / "out")
    told = rf"^{output}: without its pruned filters its logits differ by [\d.]+ \(relative\)$"
    with pytest.raises(NetworkError, match=told):
        compact_file.load(output)


def test_a_bias_that_is_not_finite_is_recorded(finetuned, digits, tmp_path):
    def change(header, tensors):
        tensors["weight/7.bias"][0] = torch.nan

    tampered = rewritten(finetuned, tmp_path / "tampered.safetensors", change)
    cut(tampered, digits, tmp_path / "out")
    with pytest.raises(NetworkError, match=r"7\.bias holds values that are not finite"):
        compact_file.load(tmp_path / "out/compact.safetensors")


def mask_another(header, tensors):
    """A mask that says a filter is gone which is there."""
    kept = int(tensors["mask/0.bias"].nonzero()[0])
    tensors["mask/0.weight"][kept] = False


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (mask_another, "0.weight"),
        (lambda header, tensors: tensors["weight/0.bias"].add_(1), "0.bias"),
        (lambda header, tensors: tensors["weight/5.weight"].add_(1), "5.weight"),
    ],
    ids=["mask", "bias", "weight"],
)
def test_masks_that_do_not_fit_are_refused(finetuned, digits, tmp_path, change, name):
    tampered = rewritten(finetuned, tmp_path / "tampered.safetensors", change)
    with pytest.raises(CheckpointError, match=f"^{tampered}: the mask of {name} does not fit its weights$"):
        cut(tampered, digits, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_network_of_another_model_is_refused(finetuned, digits, tmp_path):
    with pytest.raises(CheckpointError, match=rf"^{finetuned}: holds the model .*, expected \{{'kind': 'cnn-large'\}}$"):
        compact(finetuned, digits, tmp_path / "out", tmp_path / "cost.json", SPEC | {"model": {"kind": "cnn-large"}})


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
    path = tmp_path / "compact.safetensors"
    shutil.copy(files[0], path)
    damage(path)
    with pytest.raises(CheckpointError, match=f"^{path}: .*{message}"):
        compact_file.load(path)


def test_a_checkpoint_is_no_compact_network(finetuned):
    with pytest.raises(CheckpointError, match=f"^{finetuned}: format '{FORMAT}', expected '{COMPACT_FORMAT}'$"):
        compact_file.load(finetuned)


def test_a_compact_network_is_no_checkpoint(files):
    with pytest.raises(CheckpointError, match=f"^{files[0]}: format '{COMPACT_FORMAT}', expected '{FORMAT}'$"):
        checkpoint.load(files[0])
