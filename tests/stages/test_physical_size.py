"""Networks whose methods remove filters: small from pruning on, and the masked ones again where these are wanted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sparrow.data.store import read as read_data
from sparrow.errors import CheckpointError, NetworkError
from sparrow.files import checkpoint
from sparrow.files.digests import content_digest
from sparrow.files.headers import read
from sparrow.networks import cutting
from sparrow.stages.finetune import finetune
from sparrow.stages.prune import prune
from tests.specs import labels

MODEL = {"kind": "cnn-small"}
CELL = labels(method="mine", ratio=0.5)


def pruned_by(dense: Path, digits: Path, folder: Path, **method: object) -> Path:
    """A network pruned by half."""
    folder.mkdir(exist_ok=True)
    spec = {"code": "test", "model": MODEL, "cell": CELL, "method": {"kind": "lwm"} | method, "ratio": 0.5}
    names = ("pruned.safetensors", "curve.csv", "trace.csv", "cost.json")
    prune(dense, digits, *(folder / name for name in names), spec)
    return folder / "pruned.safetensors"


def finetuned_from(pruned: Path, digits: Path, training_spec: dict, folder: Path, batch_size: int = 64) -> Path:
    """A network fine-tuned for an epoch, with momentum and weight decay."""
    folder.mkdir(exist_ok=True)
    schedule = {"epochs": 1, "batch_size": batch_size, "lr": 0.01, "weight_decay": 0.005}
    output = folder / "finetuned.safetensors"
    spec = training_spec | {"cell": CELL, "schedule": schedule}
    finetune(pruned, digits, output, folder / "curve.csv", folder / "cost.json", spec)
    return output


@pytest.fixture(scope="module")
def pruned(dense: Path, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CNN-small without the half of its filters that LWM removes; tests must not write to it."""
    return pruned_by(dense, digits, tmp_path_factory.mktemp("cell"), granularity="filter")


@pytest.fixture(scope="module")
def finetuned(pruned: Path, digits: Path, training_spec: dict) -> Path:
    """The same, fine-tuned; tests must not write to it."""
    return finetuned_from(pruned, digits, training_spec, pruned.parent)


@pytest.fixture
def images(digits: Path) -> Tensor:
    return read_data(digits, "test")[0].images


def logits(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images)


@pytest.mark.parametrize("stage", ["pruned", "finetuned"])
def test_the_file_holds_half_of_the_filters(request: pytest.FixtureRequest, stage: str) -> None:
    _, tensors = read(request.getfixturevalue(stage))
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items() if name.startswith("weight/")} == {
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
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items() if name.startswith("kept/")} == {
        **{f"kept/0/{layer}.{key}": (size,) for layer, size in ((0, 16), (2, 32), (5, 100)) for key in ("weight", "bias")},
        "kept/1/2.weight": (16,),
        "kept/1/5.weight": (128,),
        "kept/1/7.weight": (100,),
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        # (8 * 16 + 8) + (16 * 8 * 16 + 16) + (50 * 64 + 50) + (10 * 50 + 10)
        ("parameters_left", 5960),
        # 4 x 4 and 2 x 2 outputs: 16 * (8 * 16) + 4 * (16 * 8 * 16) + 50 * 64 + 10 * 50
        ("multiply_adds_left", 13940),
        # Of the network as its architecture has it.
        ("multiply_adds", 50664),
        ("prunable", ["0.weight", "2.weight", "5.weight", "7.weight"]),
        ("model", MODEL),
    ],
)
def test_the_header_counts_what_is_left(finetuned: Path, key: str, value: object) -> None:
    assert checkpoint.load(finetuned, MODEL).header[key] == value
    assert "uncut" not in checkpoint.load(finetuned).header


def test_the_layers_know_their_sizes(finetuned: Path) -> None:
    model = checkpoint.load(finetuned).model
    first, second, third, last = (module for module in model if isinstance(module, nn.Conv2d | nn.Linear))
    assert (first.in_channels, first.out_channels, second.in_channels, second.out_channels) == (1, 8, 8, 16)
    assert (third.in_features, third.out_features, last.in_features, last.out_features) == (64, 50, 50, 10)
    assert not model.training


def test_made_twice_the_file_is_the_same_to_the_byte(pruned: Path, dense: Path, digits: Path, tmp_path: Path) -> None:
    assert pruned_by(dense, digits, tmp_path, granularity="filter").read_bytes() == pruned.read_bytes()


def test_the_masked_twin_gives_the_same_logits(finetuned: Path, images: Tensor) -> None:
    small = checkpoint.load(finetuned)
    twin = checkpoint.expanded(finetuned, small)
    found = logits(small.model, images)
    torch.testing.assert_close(logits(twin.model, images), found, atol=1e-5, rtol=1e-5)
    # They say something.
    assert len(found.argmax(dim=1).unique()) == 10
    assert found.std() > 1
    assert [tuple(twin.masks[name].shape) for name in ("0.weight", "2.bias")] == [(16, 1, 4, 4), (32,)]
    assert all(not twin.model.get_parameter(name)[~mask].any() for name, mask in twin.masks.items())
    assert int((~twin.masks["0.weight"]).sum()) == 8 * 16


def as_before(small: Path, folder: Path) -> Path:
    """A masked checkpoint, as earlier versions have written it in the place of a small one."""
    folder.mkdir()
    found = checkpoint.expanded(small, checkpoint.load(small))
    header = {key: value for key, value in found.header.items() if not key.endswith("_left")}
    checkpoint.save(folder / small.name, checkpoint.Checkpoint(found.model, found.masks, header | {"parent": None}))
    _, tensors = read(folder / small.name)
    assert not [name for name in tensors if name.startswith("kept/")]
    return folder / small.name


def test_fine_tuned_masked_and_at_its_size_a_network_is_the_same_to_rounding(
    pruned: Path, finetuned: Path, digits: Path, images: Tensor, training_spec: dict, tmp_path: Path
) -> None:
    masked = finetuned_from(as_before(pruned, tmp_path / "masked"), digits, training_spec, tmp_path / "masked")
    large, small = checkpoint.load(masked), checkpoint.load(finetuned)
    assert large.kept == {}
    assert large.model[0].out_channels == 16
    torch.testing.assert_close(logits(small.model, images), logits(large.model, images), atol=1e-3, rtol=1e-3)
    for name, tensor in small.model.state_dict().items():
        expected = cutting.sliced(large.model.state_dict()[name], small.kept.get(name, {}))
        torch.testing.assert_close(tensor, expected, atol=1e-4, rtol=1e-3)


def test_a_network_that_lost_single_weights_keeps_its_size(dense: Path, digits: Path, tmp_path: Path) -> None:
    found = checkpoint.load(pruned_by(dense, digits, tmp_path))
    assert found.kept == {}
    assert found.header["parameters_left"] == 22406
    assert found.header["multiply_adds_left"] == found.header["multiply_adds"] == 50664
    assert checkpoint.expanded(tmp_path, found) is found


def test_what_cannot_be_cut_stays_masked_and_says_so(
    dense: Path, digits: Path, training_spec: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_logits(first: nn.Module, second: nn.Module, images: Tensor) -> float:
        return 0.5

    monkeypatch.setattr(cutting, "difference", other_logits)
    pruned = pruned_by(dense, digits, tmp_path, granularity="filter")
    for path in (pruned, finetuned_from(pruned, digits, training_spec, tmp_path)):
        found = checkpoint.load(path)
        assert found.header["uncut"] == "without its removed filters its logits differ by 0.5 (relative)"
        assert found.kept == {}
        assert found.model[0].out_channels == 16
        assert int((~found.masks["0.weight"]).sum()) == 8 * 16


def rewritten(path: Path, output: Path, change) -> Path:
    """A copy of a file, its tensors and its header changed in place by `change`, with the digest of what it holds now."""
    header, tensors = read(path)
    change(header, tensors)
    header["content"], header["parent"] = content_digest(sorted(tensors.items())), None
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, output, {"sparrow": json.dumps(header)})
    return output


def keep_another_filter(header: dict, tensors: dict) -> None:
    tensors["kept/0/2.weight"][(~tensors["kept/0/2.weight"]).nonzero()[0]] = True


def keep_a_filter_more_everywhere(header: dict, tensors: dict) -> None:
    """Of the second layer alone, so that its bias and the layer behind it do not go with it."""
    keep_another_filter(header, tensors)
    tensors["weight/2.weight"] = torch.zeros(17, 8, 4, 4)
    tensors["mask/2.weight"] = torch.zeros(17, 8, 4, 4, dtype=torch.bool)
    header["parameters_left"] += 8 * 16


def lose_a_class(header: dict, tensors: dict) -> None:
    kept = torch.arange(10) != 3
    tensors |= {f"kept/0/7.{key}": kept.clone() for key in ("weight", "bias")}
    for name in ("weight/7.weight", "weight/7.bias", "mask/7.weight", "mask/7.bias"):
        if name in tensors:
            tensors[name] = tensors[name][kept]
    header["parameters_left"] -= 51


def mask_a_filter_that_is_there(header: dict, tensors: dict) -> None:
    for key in ("weight", "bias"):
        tensors[f"weight/2.{key}"][0] = 0
        tensors[f"mask/2.{key}"] = torch.ones_like(tensors[f"weight/2.{key}"], dtype=torch.bool)
        tensors[f"mask/2.{key}"][0] = False


def cut_kernels(header: dict, tensors: dict) -> None:
    tensors["kept/2/2.weight"] = torch.arange(4) < 3
    for kind in ("weight", "mask"):
        tensors[f"{kind}/2.weight"] = tensors[f"{kind}/2.weight"][:, :, :3]
    header["parameters_left"] -= 16 * 8 * 4


CONTRADICTIONS = {
    "a class less": (lose_a_class, r"without the filters that it lost its logits are \(1, 9\), of 10 classes"),
    "a filter that masks remove and nobody cut": (
        mask_a_filter_that_is_there,
        r"what it kept of 2\.bias is not what its masks",
    ),
    "others than the layer behind reads": (
        lambda header, tensors: tensors.__setitem__("kept/1/7.weight", ~tensors["kept/1/7.weight"]),
        r"what it kept of 7\.weight is not what its masks leave of the filters",
    ),
    "no mask": (
        lambda header, tensors: [tensors.pop(name) for name in list(tensors) if name.startswith("mask/")],
        r"what it kept of 0\.bias is not what its masks leave of the filters",
    ),
    "parts of kernels": (cut_kernels, "(the header says that|what it kept of|what its layers kept)"),
    "a reason for what is not so": (
        lambda header, tensors: header.__setitem__("uncut", "a layer is not known"),
        r"its filters are cut out, and its header says why they are not \(a layer is not known\)",
    ),
    "a header that counts others' work": (
        lambda header, tensors: header.__setitem__("multiply_adds_left", 50_664),
        "the header says that 50664 multiply-adds are left, 13940 are there",
    ),
    "more filters kept than there are": (
        keep_another_filter,
        r"not a cnn-small: 2\.weight is \(16, 8, 4, 4\), expected \(17, 8, 4, 4\) by what it kept of the cnn-small's filters",
    ),
    "nothing said of what was kept": (
        lambda header, tensors: [tensors.pop(name) for name in list(tensors) if name.startswith("kept/")],
        r"not a cnn-small: 0\.bias is \(8,\), expected \(16,\)$",
    ),
    "of a layer of another size": (
        lambda header, tensors: tensors.__setitem__("kept/0/0.bias", torch.ones(12, dtype=torch.bool)),
        r"what it kept of 0\.bias does not fit: that is \(16,\) in this architecture",
    ),
    "of no layer": (
        lambda header, tensors: tensors.__setitem__("kept/0/9.bias", torch.ones(12, dtype=torch.bool)),
        r"what it kept of 9\.bias does not fit: that is no tensor in this architecture",
    ),
    "of no dimension": (
        lambda header, tensors: tensors.__setitem__("kept/x/0.bias", torch.ones(16, dtype=torch.bool)),
        r"what it kept of 0\.bias does not fit",
    ),
    "nothing kept": (
        lambda header, tensors: tensors["kept/0/0.bias"].fill_(False),
        r"what it kept of 0\.bias does not fit",
    ),
    "a mask of the network before": (
        lambda header, tensors: tensors.__setitem__("mask/0.weight", torch.ones(16, 1, 4, 4, dtype=torch.bool)),
        r"the mask of 0\.weight does not fit its weights",
    ),
    "a header that counts others": (
        lambda header, tensors: header.__setitem__("parameters_left", 22406),
        "the header says that 22406 parameters are left, 5960 are there",
    ),
    "layers that do not fit together": (
        keep_a_filter_more_everywhere,
        "what its layers kept of each other's filters does not fit together",
    ),
}


@pytest.mark.parametrize(("change", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_masks_and_sizes_that_contradict_each_other_are_refused(finetuned: Path, tmp_path: Path, change, message: str) -> None:
    path = rewritten(finetuned, tmp_path / "tampered.safetensors", change)
    with pytest.raises(CheckpointError, match=f"^{path}: {message}"):
        checkpoint.load(path)


def test_the_masks_are_in_the_file_and_small(finetuned: Path) -> None:
    with safe_open(finetuned, framework="pt") as file:
        masks = {name: file.get_tensor(name) for name in file.keys() if name.startswith("mask/")}  # noqa: SIM118
    assert all(mask.all() for mask in masks.values())
    assert finetuned.stat().st_size < 5 * 5960 + 10_000


def test_lines_are_in_the_place_of_no_filter_that_was_cut_out(finetuned: Path) -> None:
    from sparrow.networks import grafting

    loaded = checkpoint.load(finetuned)
    grafting.graft(loaded.model, {"1": torch.zeros(8, 4, 4, dtype=torch.bool)}, 0.5, 0.0)
    with pytest.raises(NetworkError, match=f"^{finetuned}: has lines for the ReLUs that are left, and none for those of"):
        checkpoint.expanded(finetuned, loaded)
