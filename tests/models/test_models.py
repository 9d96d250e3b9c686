"""Networks: their size, what they accept, and which of their tensors are pruned."""

from __future__ import annotations

import ast
import inspect

import pytest
import torch
from torch import nn

from sparrow import catalogue
from sparrow.networks import residual, wide_residual
from sparrow.networks.cutting import without_filters
from sparrow.networks.prunable import norm_parameters, prunable_weights
from sparrow.settings import Threat
from sparrow.verification.bounds import smallest_margin


def _build(kind: str, shape: tuple[int, int, int], classes: int = 10) -> nn.Module:
    entry = catalogue.load("models", kind)
    entry.check(entry.Params(), shape)
    return entry.build(entry.Params(), shape, classes)


@pytest.mark.parametrize(
    ("kind", "shape", "parameters"),
    [
        ("cnn-small", (3, 32, 32), 214_918),
        ("cnn-large", (3, 32, 32), 2_466_858),
        ("cnn-small", (1, 8, 8), 22_406),
        ("cnn7", (3, 32, 32), 17_192_650),
        ("vgg16-bn", (3, 32, 32), 15_311_818),
        ("resnet18", (3, 32, 32), 11_173_962),
        ("preact-resnet18", (3, 32, 32), 11_172_170),
        ("wrn-28-4", (3, 32, 32), 5_849_050),
        # Layer by layer: (inputs * kernel + 1) * outputs.
        ("mlp", (1, 28, 28), 785 * 256 + 257 * 256 + 257 * 10),
        ("oval", (3, 32, 32), 49 * 8 + 129 * 16 + 1025 * 100 + 101 * 10),
        ("resnet2b", (3, 32, 32), 28 * 8 + (73 + 9) * 16 + 3 * 145 * 16 + 1025 * 100 + 101 * 10),
        ("resnet4b", (3, 32, 32), 28 * 16 + (145 + 17) * 32 + (6 * 289 + 289 + 33) * 32 + 513 * 100 + 101 * 10),
        ("trades-cnn", (1, 28, 28), 10 * 32 + 289 * 32 + 289 * 64 + 577 * 64 + 1025 * 200 + 201 * 200 + 201 * 10),
        ("wrn-28-10", (3, 32, 32), 36_479_194),
    ],
)
def test_size_is_that_of_the_literature(kind: str, shape: tuple[int, int, int], parameters: int) -> None:
    assert sum(parameter.numel() for parameter in _build(kind, shape).parameters()) == parameters


def test_resnet50_has_the_size_that_it_has_on_imagenet() -> None:
    assert sum(parameter.numel() for parameter in _build("resnet50", (3, 224, 224), 1000).parameters()) == 25_557_032


def test_a_preact_resnet18_without_the_last_norm_is_smaller_by_it() -> None:
    entry = catalogue.load("models", "preact-resnet18")
    model = entry.build(entry.Params(bn_before_fc=False), (3, 32, 32), 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_171_146


@pytest.mark.parametrize(
    ("form", "parameters"),
    [("wide", 214_918), ("deep", 49 * 8 + 2 * 73 * 8 + 129 * 8 + 513 * 100 + 101 * 10)],
)
def test_ovals_networks_have_their_sizes(form: str, parameters: int) -> None:
    entry = catalogue.load("models", "oval")
    model = entry.build(entry.Params(form=form), (3, 32, 32), 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize(("kind", "relus"), [("resnet2b", 6244), ("resnet4b", 14436)])
def test_small_residual_networks_have_as_many_relus_as_their_authors_say(kind: str, relus: int, monkeypatch) -> None:
    # The table in alpha-beta-CROWN's models/cifar10_resnet/README.md.
    model, count, relu = _build(kind, (3, 32, 32)), [], torch.relu
    monkeypatch.setattr(torch, "relu", lambda inputs: count.append(inputs.numel()) or relu(inputs))
    model(torch.rand(1, 3, 32, 32))
    assert sum(count) == relus


NAMES = {
    "oval": ["0.weight", "2.bias", "5.weight", "7.weight"],
    "mlp": ["1.weight", "3.bias", "5.weight"],
    "resnet2b": [
        "conv1.weight",
        "layer1.0.conv1.bias",
        "layer1.0.shortcut.0.weight",
        "layer1.1.conv2.weight",
        "linear2.weight",
    ],
    "resnet4b": ["conv1.weight", "layer2.0.shortcut.0.bias", "layer2.1.conv2.weight", "linear1.weight", "linear2.weight"],
    "trades-cnn": [
        "feature_extractor.conv1.weight",
        "feature_extractor.conv4.bias",
        "classifier.fc2.bias",
        "classifier.fc3.bias",
    ],
    "vgg16-bn": ["features.0.weight", "features.1.running_var", "features.41.bias", "classifier.0.weight", "classifier.4.bias"],
    "resnet18": ["conv1.weight", "bn1.bias", "layer2.0.shortcut.0.weight", "layer2.0.shortcut.1.running_mean", "linear.bias"],
    "preact-resnet18": ["conv1.weight", "layer1.0.bn1.weight", "layer4.0.shortcut.0.weight", "bn.weight", "linear.weight"],
    "wrn-28-4": ["conv1.weight", "block1.layer.0.convShortcut.weight", "block3.layer.3.bn2.bias", "bn1.weight", "fc.bias"],
    "resnet50": ["conv1.weight", "layer1.0.downsample.0.weight", "layer4.2.conv3.weight", "fc.weight"],
}


@pytest.mark.parametrize("kind", NAMES)
def test_tensors_have_the_names_that_published_checkpoints_have(kind: str) -> None:
    state = _build(kind, (3, 32, 32)).state_dict()
    assert set(NAMES[kind]) <= set(state)
    assert (next(iter(state)), list(state)[-1]) == (NAMES[kind][0], NAMES[kind][-1].replace("weight", "bias"))


def _dirac(block: nn.Module) -> nn.Module:
    """The block with convolutions that hand on their input, and batch norm that does next to nothing."""
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.dirac_(module.weight)
    return block.eval()


X = torch.tensor([-2.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
RELU = X.clamp_min(0)


@pytest.mark.parametrize("block", [residual.PreActivated, wide_residual.Block])
def test_a_preactivated_block_by_hand(block: type[nn.Module]) -> None:
    assert torch.allclose(_dirac(block(2, 2, 1))(X), RELU + X, atol=1e-3)
    # Where the shape changes, the shortcut starts behind the first ReLU.
    found = _dirac(block(2, 4, 2))(X)
    assert found.shape == (1, 4, 2, 2)
    assert torch.allclose(found[:, :2], 2 * RELU[..., :2, :2], atol=1e-3)
    assert not found[:, 2:].any()


def test_a_basic_block_is_torchvisions() -> None:
    from torchvision.models.resnet import BasicBlock

    ours = residual.Basic(3, 4, 2)
    theirs = BasicBlock(3, 4, 2, nn.Sequential(nn.Conv2d(3, 4, 1, 2, bias=False), nn.BatchNorm2d(4)))
    theirs.load_state_dict({name.replace("shortcut", "downsample"): value for name, value in ours.state_dict().items()})
    images = torch.randn(2, 3, 6, 6)
    assert torch.equal(ours(images), theirs(images))
    assert torch.allclose(_dirac(residual.Basic(2, 2, 1))(X), 2 * RELU, atol=1e-3)


@pytest.mark.parametrize("kind", ["cnn7", "vgg16-bn", "resnet18", "preact-resnet18", "wrn-28-4"])
def test_networks_with_batch_norm_can_be_bounded(kind: str) -> None:
    model, images = _build(kind, (1, 32, 32)).eval(), torch.rand(1, 1, 32, 32)
    labels = model(images).argmax(dim=1)
    with torch.no_grad():
        logits = model(images)[0]
        bound = smallest_margin(model, images, labels, Threat(eps=1e-9), 10, "IBP")
    found = logits.sort().values
    # The ball is a point but for rounding, which deep networks fresh from their initialisation blow up.
    assert bound.item() <= (found[-1] - found[-2]).item() + 1e-4
    assert bound.isfinite().all()


@pytest.mark.parametrize("kind", catalogue.kinds("models"))
def test_output_is_one_logit_a_class(kind: str) -> None:
    assert _build(kind, (2, 17, 20), classes=7)(torch.rand(3, 2, 17, 20)).shape == (3, 7)


@pytest.mark.parametrize("kind", catalogue.kinds("models"))
def test_smallest_image_that_passes_the_check_can_be_classified(kind: str) -> None:
    def fits(side: int) -> bool:
        try:
            return bool(_build(kind, (1, side, side)))
        except ValueError:
            return False

    side = next(side for side in range(1, 64) if fits(side))
    assert _build(kind, (1, side, side)).eval()(torch.rand(1, 1, side, side)).isfinite().all()


@pytest.mark.parametrize("kind", ["cnn-small", "cnn-large", "vgg16-bn"])
@pytest.mark.parametrize("shape", [(3, 3, 32), (3, 32, 3), (1, 2, 2)])
def test_too_small_image_is_refused(kind: str, shape: tuple[int, int, int]) -> None:
    entry = catalogue.load("models", kind)
    with pytest.raises(ValueError, match=f"images of {shape[1]} x {shape[2]} pixels are too small"):
        entry.check(entry.Params(), shape)


@pytest.fixture
def normed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4)), nn.Linear(4, 2)
    )


def test_weights_of_convolutions_and_linear_layers_are_prunable(normed: nn.Module) -> None:
    assert list(prunable_weights(normed)) == ["0.weight", "3.0.weight", "4.weight"]


def test_prunable_weights_are_the_parameters_themselves(normed: nn.Module) -> None:
    # Pruners write in place, so a copy would leave the network as it is.
    assert prunable_weights(normed)["3.0.weight"] is normed[3][0].weight


def test_norm_parameters_are_scales_and_shifts(normed: nn.Module) -> None:
    expected = [normed[1].weight, normed[1].bias, normed[3][1].weight, normed[3][1].bias]
    assert list(map(id, norm_parameters(normed))) == list(map(id, expected))


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 16, 40), (1, 52, 20)])
def test_vgg16_of_odd_sides_is_the_same_network_in_words_that_bounds_know(shape: tuple[int, int, int]) -> None:
    model, images = _build("vgg16-bn", shape).eval(), torch.rand(2, *shape)
    pooled = nn.functional.adaptive_avg_pool2d(model.features(images), 2)
    assert torch.equal(model(images), model.classifier(pooled.flatten(1)))
    for layer in model.classifier[::2]:
        # From its initialisation its logits are next to nothing.
        nn.init.normal_(layer.weight, std=0.1)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
        bound = smallest_margin(model, images, labels, Threat(eps=1e-9), 10, "IBP")
        best, second = model(images).sort(dim=1, descending=True).values[:, :2].T
    assert torch.allclose(bound, best - second, rtol=0.05, atol=1e-3)


def test_filters_can_be_cut_out_of_vgg16_on_small_images() -> None:
    shape = (1, 28, 28)
    model, images = _build("vgg16-bn", shape).eval(), torch.rand(2, *shape)
    last = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)][-1]
    norm = model.get_submodule(f"features.{int(last.split('.')[1]) + 1}")
    with torch.no_grad():
        norm.running_mean.uniform_()
        for tensor in (model.get_submodule(last).weight, norm.weight, norm.bias):
            tensor[3:9] = 0
    masks = {
        name: weight != 0 if name == f"{last}.weight" else torch.ones_like(weight, dtype=torch.bool)
        for name, weight in prunable_weights(model).items()
    }
    smaller = without_filters(model, shape, masks)
    assert smaller.get_submodule(last).out_channels == 506
    assert smaller.classifier[0].in_features == 4 * 506
    assert torch.allclose(smaller(images), model(images), atol=1e-5)


def test_bounds_of_a_network_in_training_are_those_without_dropout() -> None:
    model, images = _build("trades-cnn", (1, 16, 16)), torch.rand(3, 1, 16, 16)
    nn.init.normal_(model.classifier.fc3.weight, std=0.1)
    labels = model.eval()(images).argmax(dim=1)
    expected = smallest_margin(model, images, labels, Threat(eps=0.01), 10, "IBP")
    assert torch.equal(smallest_margin(model.train(), images, labels, Threat(eps=0.01), 10, "IBP"), expected)
    # And yet it drops out.
    assert not torch.equal(model(images), model(images))


def test_no_two_models_are_built_by_the_same_lines() -> None:
    found: dict[str, list[str]] = {}
    for kind in catalogue.kinds("models"):
        entry = catalogue.load("models", kind)
        (build,) = ast.parse(inspect.getsource(entry.build)).body
        # With the file's own constants, which say how wide and how deep.
        constants = [one for one in ast.parse(inspect.getsource(entry)).body if isinstance(one, ast.Assign)]
        found.setdefault("\n".join(map(ast.unparse, [*constants, *build.body[1:]])), []).append(kind)
    assert [kinds for kinds in found.values() if len(kinds) > 1] == []
