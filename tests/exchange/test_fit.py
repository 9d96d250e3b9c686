"""A third party's tensors in a network of ours: what fits, what is made of scores, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.errors import CheckpointError
from sparrow.exchange import fit, keymap
from sparrow.exchange.fit import Target
from sparrow.networks.cutting import without_filters
from sparrow.networks.prunable import prunable_weights

SHAPE = (1, 8, 8)
PATH = Path("theirs.pth")


def _build(kind: str, seed: int, shape: tuple[int, int, int] = SHAPE) -> nn.Module:
    torch.manual_seed(seed)
    entry = catalogue.load("models", kind)
    return entry.build(entry.Params(), shape, 10).eval()


def _sparse(ratio: float, kind: str = "cnn-small") -> nn.Module:
    """A network whose layers have lost their smallest weights."""
    network = _build(kind, 1)
    for weight in prunable_weights(network).values():
        weight.data[weight.abs() < weight.abs().flatten().sort().values[int(ratio * weight.numel())]] = 0
    return network


def _fit(tensors: dict[str, Tensor], ratio: float | None = None, names: str = "ours", **asked):
    network = _build("cnn-small", 2)
    return network, fit.fit(PATH, tensors, network, Target("cnn-small", SHAPE, ratio, **asked), keymap.load(names))


def _same(network: nn.Module, tensors: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, tensors[name]) for name, tensor in network.state_dict().items())


WRAPPED = {
    "as it is": ("", []),
    "DataParallel": ("module.", ["names without module."]),
    "compiled": ("_orig_mod.module.", ["names without _orig_mod. module."]),
    "HARP's": ("module.basic_model.", ["names without module. basic_model."]),
}


@pytest.mark.parametrize(("prefix", "notes"), WRAPPED.values(), ids=WRAPPED)
def test_names_lose_what_wrappers_put_before_them(prefix: str, notes: list[str]) -> None:
    theirs = _build("cnn-small", 1).state_dict()
    network, found = _fit({f"{prefix}{name}": tensor for name, tensor in theirs.items()})
    assert _same(network, theirs)
    assert (found.masks, found.ratio, found.notes) == ({}, 0.0, notes)


def test_halves_become_floats() -> None:
    theirs = {name: tensor.half() for name, tensor in _build("cnn-small", 1).state_dict().items()}
    network, _ = _fit(theirs)
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32}
    assert _same(network, {name: tensor.float() for name, tensor in theirs.items()})


def test_masks_are_what_is_not_zero() -> None:
    theirs = _sparse(0.9)
    network, found = _fit(theirs.state_dict(), 0.9)
    assert found.masks.keys() == prunable_weights(network).keys()
    assert all(torch.equal(mask, theirs.get_parameter(name) != 0) for name, mask in found.masks.items())
    zeros = sum(int((weight == 0).sum()) for weight in prunable_weights(theirs).values())
    assert found.ratio == zeros / sum(weight.numel() for weight in prunable_weights(theirs).values())


def test_another_ratio_is_refused_unless_it_is_allowed() -> None:
    theirs = _sparse(0.9).state_dict()
    with pytest.raises(
        CheckpointError, match=r"^theirs.pth: 0\.8999 of its prunable weights are zero, the ratio 0\.95 was asked"
    ):
        _fit(theirs, 0.95)
    assert _fit(theirs, 0.95, allow_ratio=True)[1].ratio == pytest.approx(0.9, abs=0.001)
    # Half a percent is what a layer that was left whole may make.
    assert _fit(theirs, 0.896)[1].ratio == _fit(theirs, 0.9)[1].ratio


class _Scored(nn.Module):
    """A layer that computes with the weights of the largest scores alone, as HYDRA's and HARP's do."""

    def __init__(self, scores: Tensor, kept: float | Tensor) -> None:
        super().__init__()
        self.scores, self.dropped = scores, int((1 - kept) * scores.numel())

    def forward(self, weight: Tensor) -> Tensor:
        mask = torch.ones_like(self.scores)
        mask.view(-1)[self.scores.abs().flatten().sort().indices[: self.dropped]] = 0
        return weight * mask


def _scored(share: dict[str, float] | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A state dict with scores (and shares), and the weights that its network computes with at a ratio of 0.9."""
    theirs = _build("cnn-small", 1)
    tensors, effective = dict(theirs.state_dict()), dict(theirs.state_dict())
    for number, (name, weight) in enumerate(prunable_weights(theirs).items()):
        scores, layer, kept = torch.randn(weight.shape), name.removesuffix("weight"), 0.1
        tensors[f"{layer}popup_scores"] = scores
        if share:
            tensors[f"{layer}k_score"] = torch.tensor(share[number])
            kept = 0.01 + (1 - 0.01) * torch.sigmoid(torch.tensor(share[number]))
        effective[name] = _Scored(scores, kept)(weight.detach())
    return tensors, effective


def test_scores_stand_for_the_mask_of_the_largest() -> None:
    tensors, effective = _scored()
    network, found = _fit(tensors, 0.9)
    assert _same(network, effective)
    assert found.notes == ["4 weights times the mask of their scores"]
    assert all(int((~mask).sum()) == int(0.9 * mask.numel()) for mask in found.masks.values())


def test_shares_say_how_many_a_layer_keeps() -> None:
    tensors, effective = _scored({0: -1.0, 1: -2.0, 2: -2.4, 3: 0.5})
    network, found = _fit(tensors, 0.9, allow_ratio=True)
    assert _same(network, effective)
    assert found.notes == ["4 weights times the mask of their scores and shares"]


def test_a_dense_network_computes_without_its_scores() -> None:
    tensors, _ = _scored()
    network, found = _fit(tensors)
    assert _same(network, tensors)
    assert found.notes == ["4 tensors of scores left out: a dense network computes without them"]


def test_a_neutral_normalisation_is_left_out() -> None:
    theirs = _build("cnn-small", 1).state_dict()
    layers = {"normalize.mean": torch.zeros(1, 1, 1), "normalize.std": torch.ones(1, 1, 1)}
    network, found = _fit(layers | {f"model.{name}": tensor for name, tensor in theirs.items()})
    assert _same(network, theirs)
    assert found.notes == [
        "names without model.",
        "mean 0, deviation 1, from normalize.mean and normalize.std: left out, it changes nothing",
    ]


def test_counters_may_be_missing_and_unused_modules_there() -> None:
    # Checkpoints of old releases have no counters; some wide residual networks have a group of blocks too many.
    theirs = _build("wrn-28-4", 1)
    tensors = {name: tensor for name, tensor in theirs.state_dict().items() if not name.endswith("num_batches_tracked")}
    tensors |= {f"sub_{name}": tensor for name, tensor in tensors.items() if name.startswith("block1.")}
    network = _build("wrn-28-4", 2)
    found = fit.fit(PATH, tensors, network, Target("wrn-28-4", SHAPE), keymap.load("robustbench"))
    images = torch.rand(2, *SHAPE)
    assert torch.equal(network(images), theirs(images))
    assert found.notes[0].split(" ")[0] == str(sum(name.startswith("sub_") for name in tensors))
    assert "has no num_batches_tracked for 25 batch norms" in found.notes[1]


def test_others_names_are_ours_by_the_map() -> None:
    theirs = _build("resnet18", 1)
    names = keymap.load("torchvision")
    tensors = {names.to_theirs("resnet18", name): tensor for name, tensor in theirs.state_dict().items()}
    assert "layer2.0.downsample.1.running_var" in tensors
    network = _build("resnet18", 2)
    found = fit.fit(PATH, tensors, network, Target("resnet18", SHAPE), names)
    assert _same(network, theirs.state_dict())
    # What no tensor says.
    (note,) = found.notes
    assert note.startswith("torchvision's own weights expect normalised images (mean 0.485")


def _filters(bias: float) -> nn.Module:
    """A network without the first half of its filters, but for their biases."""
    network = _build("cnn-small", 1)
    *layers, _ = prunable_weights(network)
    for name in layers:
        half = len(network.get_parameter(name)) // 2
        network.get_parameter(name).data[:half] = 0
        network.get_parameter(f"{name.removesuffix('weight')}bias").data[:half] = bias
    # A weight that is zero by chance in a filter that is there.
    network.get_parameter(layers[0]).data[-1, 0, 0, 0] = 0
    return network


def test_whole_filters_are_counted_with_their_biases() -> None:
    theirs = _filters(0.0)
    network, found = _fit(theirs.state_dict(), 0.5, granularity="filter")
    assert found.ratio == 0.5
    first = next(iter(prunable_weights(network)))
    assert found.masks[first].flatten(1).all(dim=1).tolist() == [False] * 8 + [True] * 8
    assert found.masks[f"{first.removesuffix('weight')}bias"].tolist() == [False] * 8 + [True] * 8


def test_a_ratio_that_is_one_of_filters_is_pointed_to() -> None:
    with pytest.raises(CheckpointError) as caught:
        _fit(_filters(0.0).state_dict(), 0.5)
    expected = "0.5000 of its filters are zero: granularity filter (--filters) takes the ratio for that"
    assert str(caught.value).endswith(expected)
    # Not where single weights are gone, or the ratio is one of filters already.
    for tensors, asked in ((_sparse(0.75), {}), (_filters(0.0), {"granularity": "filter"})):
        with pytest.raises(CheckpointError, match=r"with allow_ratio \(--allow-ratio\)$"):
            _fit(tensors.state_dict(), 0.9, **asked)


def test_filters_that_still_give_something_are_not_gone() -> None:
    with pytest.raises(CheckpointError, match=r"0.bias is not zero where the filters are"):
        _fit(_filters(0.1).state_dict(), 0.5, granularity="filter")


def _cut(masked: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network of `_filters` without what these would have been."""
    masks = {name: weight != 0 for name, weight in prunable_weights(masked).items()}
    return without_filters(masked, SHAPE, masks).state_dict()


def test_a_network_whose_filters_are_cut_out_is_the_masked_one() -> None:
    theirs, images = _filters(0.0), torch.rand(4, *SHAPE)
    small = _cut(theirs)
    assert small["0.weight"].shape == (8, 1, 4, 4)
    network, found = _fit(small, 0.5, granularity="filter")
    assert found.ratio == 0.5
    # Which ones went is not known: the first ones stay.
    assert found.masks["0.weight"].flatten(1).all(dim=1).tolist() == [True] * 8 + [False] * 8
    assert not any(network.get_parameter(name)[~mask].any() for name, mask in found.masks.items())
    assert torch.equal(network.get_parameter("0.weight")[:8], theirs.get_parameter("0.weight")[8:])
    assert found.notes == [
        "74 filters were cut out of it; which ones is not known, and the last of each layer have their places"
    ]
    with torch.no_grad():
        assert torch.allclose(network(images), theirs(images), atol=1e-6)


@pytest.mark.parametrize("more", [{}, {"head.weight": torch.zeros(2, 2)}])
def test_a_network_whose_filters_are_cut_out_is_told_how_it_is_taken(more: dict[str, Tensor]) -> None:
    with pytest.raises(CheckpointError, match=r"not a cnn-small: filters may have been cut out of it: with granularity filter"):
        _fit(_cut(_filters(0.0)) | more, 0.5)


def test_layers_that_were_cut_and_do_not_fit_together_are_refused_by_name() -> None:
    small = _cut(_filters(0.0))
    small["2.weight"] = small["2.weight"][:, :5].clone()
    with pytest.raises(CheckpointError, match=r"not a cnn-small: 2\.weight is \(16, 5, 4, 4\), expected \(16, 8, 4, 4\)$"):
        _fit(small, 0.5, granularity="filter")
    # Without its being said, a network of another size is none of this architecture.
    with pytest.raises(CheckpointError, match=r"not a cnn-small: 0\.weight is \(8, 1, 4, 4\), expected \(16, 1, 4, 4\)"):
        _fit(_cut(_filters(0.0)), 0.5)


def _without(name: str):
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if key != name}


REFUSED = {
    "a tensor is missing": (_without("5.bias"), None, ["not a cnn-small: 5.bias is missing, expected (100,)"]),
    "a tensor too many": (
        lambda t: t | {"9.w": torch.zeros(2)},
        None,
        ["not a cnn-small: 9.w is (2,), expected no such tensor"],
    ),
    "another shape": (
        lambda t: t | {"5.bias": torch.zeros(7)} | {"7.bias": torch.zeros(3)},
        None,
        ["5.bias is (7,), expected (100,)", "7.bias is (3,), expected (10,)"],
    ),
    "not finite": (lambda t: t | {"5.bias": torch.full((100,), torch.inf)}, None, ["5.bias holds values that are not finite"]),
    "normalised images": (
        lambda t: t | {"mean": torch.tensor([0.5])},
        None,
        ["normalises its images (mean 0.5, deviation 1, from mean), and networks here take images in [0, 1] as they are"],
    ),
    "twice the same": (lambda t: t | {"module.5.bias": torch.zeros(100)}, None, ["two tensors are 5.bias without module."]),
    "scores of channels": (
        lambda t: t | {"0.popup_scores": torch.zeros(16, 1, 1, 1)},
        0.9,
        ["0.popup_scores is (16, 1, 1, 1), its weight (16, 1, 4, 4); valid: a score a weight"],
    ),
    "scores of nothing": (
        lambda t: t | {"9.popup_scores": torch.zeros(2)},
        0.9,
        ["9.popup_scores is (2,), its weight missing"],
    ),
}


@pytest.mark.parametrize(("change", "ratio", "words"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_gets_one_line_each(change, ratio: float | None, words: list[str]) -> None:
    with pytest.raises(CheckpointError) as caught:
        _fit(change(_build("cnn-small", 1).state_dict()), ratio)
    lines = str(caught.value).split("\n")
    assert len(lines) == len(words)
    assert all(line.startswith("theirs.pth: ") and word in line for line, word in zip(lines, words, strict=True))


def test_another_network_altogether_is_a_dozen_lines() -> None:
    with pytest.raises(CheckpointError) as caught:
        _fit(_build("resnet18", 1).state_dict())
    lines = str(caught.value).split("\n")
    assert len(lines) == fit.MOST_LINES + 1
    assert lines[-1].startswith("theirs.pth: not a cnn-small: and ")


def test_a_masked_network_gives_the_logits_of_the_authors_layers() -> None:
    tensors, effective = _scored()
    network, _ = _fit(tensors, 0.9)
    images = torch.rand(3, *SHAPE)
    hidden = functional.relu(functional.conv2d(images, effective["0.weight"], effective["0.bias"], stride=2, padding=1))
    hidden = functional.relu(functional.conv2d(hidden, effective["2.weight"], effective["2.bias"], stride=2, padding=1))
    hidden = functional.relu(functional.linear(hidden.flatten(1), effective["5.weight"], effective["5.bias"]))
    assert torch.allclose(network(images), functional.linear(hidden, effective["7.weight"], effective["7.bias"]), atol=1e-6)
