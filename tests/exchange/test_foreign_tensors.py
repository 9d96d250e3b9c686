"""What a third party's tensors are beside plain weights: packed, masked, of other types, behind a normalisation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sparrow import catalogue
from sparrow.errors import CheckpointError
from sparrow.exchange import fit, state_dict
from sparrow.exchange.fit import Fitted, Target
from sparrow.networks.prunable import prunable_weights

SHAPE = (1, 8, 8)


def _build(kind: str = "cnn-small", seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    entry = catalogue.load("models", kind)
    return entry.build(entry.Params(), SHAPE, 10).eval()


def _imported(path: Path, content: object, ratio: float | None = None, kind: str = "cnn-small") -> tuple[nn.Module, Fitted]:
    """The network that is made of a file with `content`."""
    torch.save(content, path / "theirs.pth")
    found, network = state_dict.read(path / "theirs.pth"), _build(kind, 2)
    asked = Target(kind, SHAPE, ratio)
    return network, fit.fit(Path("theirs.pth"), found.tensors, network, asked, None, found.normalised)


def _refused(path: Path, content: object, **asked) -> list[str]:
    with pytest.raises(CheckpointError) as caught:
        _imported(path, content, **asked)
    return str(caught.value).split("\n")


TYPES = {
    "int8": lambda tensor: (tensor * 100).to(torch.int8),
    "bool": lambda tensor: tensor > 0,
    "complex64": lambda tensor: tensor.to(torch.complex64),
}


@pytest.mark.parametrize("name", TYPES)
def test_weights_of_no_floating_point_are_refused(tmp_path: Path, name: str) -> None:
    theirs = _build().state_dict()
    for key in ("0.weight", "7.bias"):
        theirs[key] = TYPES[name](theirs[key])
    assert _refused(tmp_path, theirs) == [
        f"theirs.pth: {key} is of {name}; valid: floating point, such as float32" for key in ("0.weight", "7.bias")
    ]


def test_weights_without_values_are_refused(tmp_path: Path) -> None:
    theirs = {name: tensor.to("meta") if name == "5.weight" else tensor for name, tensor in _build().state_dict().items()}
    assert _refused(tmp_path, theirs) == ["theirs.pth: 5.weight has no values (it is on torch's device meta)"]


def test_weights_that_single_precision_does_not_hold_are_refused(tmp_path: Path) -> None:
    theirs = {name: tensor.double() for name, tensor in _build().state_dict().items()}
    theirs["7.bias"][3] = 1e300
    assert _refused(tmp_path, theirs) == ["theirs.pth: not a cnn-small: 7.bias holds values that are not finite"]


PACKED = {
    "sparse coo": (Tensor.to_sparse, 0),
    "sparse csr": (Tensor.to_sparse_csr, 0),
    # Half a step of 0.01, which is what rounding to steps leaves.
    "quantised (qint8)": (lambda weight: torch.quantize_per_tensor(weight, 0.01, 0, torch.qint8), 0.005),
    # Three bits of mantissa: half of 2^-3 of the value; below 2^-6, half a step of 2^-9.
    "float8_e4m3fn": (lambda weight: weight.to(torch.float8_e4m3fn), 2**-4),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", PACKED)
def test_packed_weights_are_the_numbers_that_they_stand_for(tmp_path: Path, name: str) -> None:
    theirs, (pack, error) = _build().state_dict(), PACKED[name]
    network, found = _imported(tmp_path, theirs | {"5.weight": pack(theirs["5.weight"])})
    assert (network.state_dict()["5.weight"] - theirs["5.weight"]).abs().max() <= error + 1e-7
    assert network.state_dict()["5.weight"].dtype == torch.float32
    assert found.notes == [f"1 tensors were {name}: taken as the numbers that they stand for"]


def test_torchs_pruned_weights_are_multiplied_and_keep_their_masks(tmp_path: Path) -> None:
    theirs = _build()
    for name in ("0", "2", "5", "7"):
        prune.l1_unstructured(theirs.get_submodule(name), "weight", amount=0.9)
    with torch.no_grad():
        # A weight that happens to be zero, but was not pruned.
        kept = theirs[5].weight_mask.nonzero()[0].tolist()
        theirs[5].weight_orig[kept[0], kept[1]] = 0
    images = torch.rand(3, *SHAPE)
    network, found = _imported(tmp_path, {"state_dict": theirs.state_dict()}, ratio=0.9)
    assert torch.equal(network(images), theirs(images))
    assert all(torch.equal(found.masks[f"{name}.weight"], theirs.get_submodule(name).weight_mask != 0) for name in "0257")
    assert {"4 weights times their masks (torch.nn.utils.prune)", "these masks stay the network's"} <= set(found.notes)
    assert found.ratio == pytest.approx(0.9, abs=1e-3)


def test_a_bias_may_have_a_mask_too(tmp_path: Path) -> None:
    theirs = _build()
    prune.random_unstructured(theirs[5], "bias", amount=0.5)
    network, _ = _imported(tmp_path, theirs.state_dict())
    assert torch.equal(network[5].bias, theirs[5].bias_orig * theirs[5].bias_mask)


def test_half_of_a_product_is_refused(tmp_path: Path) -> None:
    theirs = _build()
    prune.identity(theirs[5], "weight")
    whole = theirs.state_dict()
    for gone, there in (("weight_mask", "weight_orig"), ("weight_orig", "weight_mask")):
        rest = {name: tensor for name, tensor in whole.items() if name != f"5.{gone}"}
        assert _refused(tmp_path, rest) == [f"theirs.pth: 5.{gone} is missing, of which 5.{there} is the other factor"]
    (line,) = _refused(tmp_path, whole | {"5.weight_mask": whole["5.weight_mask"] / 2})
    assert line == "theirs.pth: 5.weight_mask is of other values than 0 and 1; valid: 0 or 1 for each of (100, 128) weights"


def test_a_product_beside_its_factors_is_the_product_or_refused(tmp_path: Path) -> None:
    theirs = _build()
    prune.random_unstructured(theirs[5], "weight", amount=0.5)
    state, product = theirs.state_dict(), theirs[5].weight.detach()
    network, _ = _imported(tmp_path, state | {"5.weight": product})
    assert torch.equal(network[5].weight, product)
    (line,) = _refused(tmp_path, state | {"5.weight": product + 1})
    assert line == "theirs.pth: 5.weight is there, and is not 5.weight_orig times 5.weight_mask; leave out what is old"


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"normalization": "imagenet"}, ["its key 'normalization' says imagenet, of which nothing is taken over"]),
        ({"args": {"normalise": True}}, ["its key 'args.normalise' says True, of which nothing is taken over"]),
        ({"normalize": False, "epoch": 3}, []),
        ({"normalization": {"mean": [0.5], "std": [0.25]}}, []),
    ],
)
def test_a_normalisation_that_cannot_be_read_is_told(tmp_path: Path, beside: dict, said: list[str]) -> None:
    torch.save({"state_dict": _build().state_dict()} | beside, tmp_path / "theirs.pth")
    found = state_dict.read(tmp_path / "theirs.pth")
    assert found.unread == said
    assert (found.normalised is not None) == ("mean" in str(beside))


NORMALISED = {"mean": [0.3], "std": [0.4]}


def _flat() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 10))


def test_a_normalisation_goes_into_a_first_layer_that_does_not_pad(tmp_path: Path) -> None:
    from sparrow.exchange import normalisation

    network, images = _flat(), torch.rand(5, 3, 8, 8)
    mean, deviation = torch.tensor([0.49, 0.48, 0.44]), torch.tensor([0.2, 0.25, 0.3])
    expected = network((images - mean.view(3, 1, 1)) / deviation.view(3, 1, 1))
    found = normalisation.stated_beside({"net": {}, "normalization": {"mean": mean.tolist(), "std": deviation}})
    said = normalisation.fold_into_first_layer(tmp_path, network, found, (3, 8, 8))
    assert torch.allclose(network(images), expected, atol=1e-5)
    assert said == (
        "normalises its images (mean 0.49, 0.48, 0.44, deviation 0.2, 0.25, 0.3, from its key 'normalization'): taken into the "
        "weights and the bias of 0"
    )


@pytest.mark.parametrize("place", ["normalization", "config"])
def test_a_normalisation_that_a_file_tells_beside_its_weights_is_not_ignored(tmp_path: Path, place: str) -> None:
    content = {"state_dict": _build().state_dict(), place: {"mean": [0.3], "std": [0.4], "normalise": True}}
    if place == "config":
        content[place] = {"data_transform": NORMALISED}
    (line,) = _refused(tmp_path, content)
    assert line.startswith("theirs.pth: normalises its images (mean 0.3, deviation 0.4, from its key ")
    assert (
        "cannot take that over (it pads them with zeros): import one without; or, if it was trained without, save its" in line
    )


@pytest.mark.parametrize("beside", [{"mean": 0.0, "std": 1.0}, {"loss": {"mean": 0.4, "std": 0.1}}, {"epoch": 3}])
def test_what_is_no_normalisation_is_let_be(tmp_path: Path, beside: dict) -> None:
    theirs = _build().state_dict()
    network, found = _imported(tmp_path, {"state_dict": theirs, **beside})
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in network.state_dict().items())
    assert [note for note in found.notes if "normalises" in note] == []


def test_two_normalisations_that_differ_are_refused(tmp_path: Path) -> None:
    theirs = _build().state_dict() | {"mean": torch.tensor([0.5]), "std": torch.tensor([0.4])}
    (line,) = _refused(tmp_path, {"state_dict": theirs, "normalization": NORMALISED})
    assert "says twice by what it normalises its images" in line


def test_control_codes_of_a_file_are_never_shown(tmp_path: Path) -> None:
    theirs, red = _build().state_dict(), "\x1b[31m"
    contents = [
        {red: 1, "last": theirs},
        theirs | {f"{red}\n0.weight": torch.zeros(1)},
        {"state_dict": {red: 3}},
        {"net": [theirs, theirs], red: 1},
    ]
    for content in contents:
        lines = _refused(tmp_path, content)
        assert len(lines) == 1
        assert lines[0].isprintable()
    # Its own name for the class that it would have unpickled.
    (tmp_path / "bad.pth").write_bytes(b"\x80\x02c\x1b[31mevil\nclass\n.")
    with pytest.raises(CheckpointError) as caught:
        state_dict.read(tmp_path / "bad.pth")
    assert str(caught.value).isprintable()
    assert "(Unsupported global: GLOBAL evil.class was not an allowed global by default); have" in str(caught.value)


LISTS = {
    "one": ({"state_dict": "list of one"}, None, "its key 'state_dict.0'"),
    "by its place": ({"state_dict": "list of two"}, "state_dict.1", "its key 'state_dict.1'"),
    "deeper": ({"runs": [{"best.model": "mapping"}]}, "runs.0.best.model", "its key 'runs.0.best.model'"),
    "a key with a dot": ({"ema.model": "mapping"}, "ema.model", "its key 'ema.model'"),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_state_dicts_is_read_by_place(tmp_path: Path, name: str) -> None:
    theirs, (content, key, place) = _build().state_dict(), LISTS[name]

    def filled(value):
        made = {"list of one": [theirs], "list of two": [{"x": torch.zeros(1)}, theirs], "mapping": theirs}
        if isinstance(value, dict):
            return {key: filled(one) for key, one in value.items()}
        return [filled(one) for one in value] if isinstance(value, list) else made[value]

    torch.save(filled(content) | {"err": 0.3}, tmp_path / "theirs.pth")
    found = state_dict.read(tmp_path / "theirs.pth", key)
    assert (found.tensors.keys(), found.place) == (theirs.keys(), place)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (None, "state_dict is a list of 2 state dicts; give the key of one: state_dict.0, state_dict.1"),
        ("state_dict", "has no state dict under the key 'state_dict'; it holds state_dict (a list: state_dict.0 ...), err"),
        ("state_dict.2", "has no state dict under the key 'state_dict.2'; it holds state_dict (a list: state_dict.0 ...), err"),
    ],
)
def test_a_list_of_several_asks_for_one(tmp_path: Path, key: str | None, words: str) -> None:
    torch.save({"state_dict": [_build().state_dict()] * 2, "err": 0.3}, tmp_path / "theirs.pth")
    with pytest.raises(CheckpointError) as caught:
        state_dict.read(tmp_path / "theirs.pth", key)
    assert str(caught.value) == f"{tmp_path}/theirs.pth: {words}"


def test_masks_are_of_prunable_weights_alone(tmp_path: Path) -> None:
    theirs = _build()
    prune.random_unstructured(theirs[5], "bias", amount=0.5)
    for weight in prunable_weights(_build()).values():
        assert weight.all()
    _, found = _imported(tmp_path, theirs.state_dict(), ratio=None)
    assert found.masks == {}


def test_a_model_that_normalises_by_itself_takes_the_same_numbers(tmp_path: Path) -> None:
    entry, theirs = catalogue.load("models", "oval"), _build("oval").state_dict()
    torch.save({"state_dict": theirs, "normalization": NORMALISED}, tmp_path / "theirs.pth")
    found = state_dict.read(tmp_path / "theirs.pth")

    def fitted(**normalise) -> nn.Module:
        network = entry.build(entry.Params(**normalise), SHAPE, 10).eval()
        fit.fit(Path("theirs.pth"), found.tensors, network, Target("oval", SHAPE), None, found.normalised)
        return network

    with pytest.raises(CheckpointError, match=r"pads them with zeros.: give the model these numbers as `normalise: \{mean:"):
        fitted()
    with pytest.raises(CheckpointError, match=r"mean 0.3, deviation 0.4, .*; the model's `normalise` says otherwise"):
        fitted(normalise={"mean": [0.5], "std": [0.4]})
    network, images = fitted(normalise=NORMALISED), torch.rand(3, *SHAPE)
    plain = _build("oval")
    assert torch.allclose(network(images), plain((images - 0.3) / 0.4), atol=1e-5)
