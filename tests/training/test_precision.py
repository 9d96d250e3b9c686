"""What a schedule says of how a network computes: precision, layout, and which images it is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.data.augmentation import Augmentation
from sparrow.data.store import Part
from sparrow.settings import Threat
from sparrow.training.loop import train
from sparrow.training.schedule import Schedule


@pytest.fixture
def network() -> nn.Module:
    """A seeded network from 2 x 8 x 8 images to 4 classes."""
    convolution = nn.Conv2d(2, 3, 3, stride=2, padding=1)
    return nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))


def _part(size: int, seed: int) -> Part:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (size, 2, 8, 8), generator=generator, dtype=torch.uint8)
    return Part(pixels, torch.arange(size) % 4, torch.arange(size), 255)


def _train(network: nn.Module, objective, augmentation: Augmentation | None = None, **schedule) -> list[tuple]:
    data = {"train": _part(12, 0), "validation": _part(4, 1)}
    if augmentation:
        data["train"] = replace(data["train"], augmentation=augmentation)
    settings = Schedule(**{"epochs": 2, "batch_size": 4, "lr": 0.05} | schedule)
    generator = torch.Generator().manual_seed(0)
    return train(network, objective, data, settings, list(network.parameters()), generator, report=lambda line: None)


def _cross_entropy(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
    return functional.cross_entropy(model(images), labels)


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_layers_compute_in_the_precision_asked_for(network: nn.Module, precision: str, dtype: torch.dtype) -> None:
    seen = set()
    for layer in (network[0], network[3]):
        layer.register_forward_hook(lambda module, arguments, output: seen.add((module.training, output.dtype)))
    _train(network, _cross_entropy, precision=precision)
    assert seen == {(True, dtype), (False, dtype)}
    assert {(p.dtype, p.grad.dtype) for p in network.parameters()} == {(torch.float32, torch.float32)}


def test_lower_precision_learns_nearly_the_same(network: nn.Module) -> None:
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    rows, weights = {}, {}
    for precision in ("float32", "bfloat16"):
        network.load_state_dict(start)
        rows[precision] = _train(network, _cross_entropy, precision=precision, epochs=5)
        weights[precision] = nn.utils.parameters_to_vector(network.parameters()).detach()
    moved = (weights["float32"] - torch.cat([tensor.flatten() for tensor in start.values()])).norm()
    gap = (weights["float32"] - weights["bfloat16"]).norm()
    assert 0 < gap < 0.05 * moved


@pytest.mark.parametrize("kind", ["crown-ibp", "sabr", "mtl-ibp", "mixtrain"])
def test_certified_bounds_stay_in_full_precision(network: nn.Module, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sparrow.training.certified_loss import Bounds

    seen = set()

    def spied(name: str) -> None:
        original = getattr(Bounds, name)

        def bounds(*arguments, **options):
            result = original(*arguments, **options)
            seen.add((name, result.dtype))
            return result

        monkeypatch.setattr(Bounds, name, bounds)

    spied("margins")
    spied("mixed")
    entry = catalogue.load("objectives", kind)
    objective = entry.prepare(entry.Params(), Threat(eps=0.01))
    (*_, last) = _train(network, objective, precision="bfloat16", channels_last=True, ramp_epochs=1)
    assert seen >= {("mixed" if kind == "crown-ibp" else "margins", torch.float32)}
    assert {dtype for _, dtype in seen} == {torch.float32}
    assert last[3] < 10


@pytest.mark.parametrize("together", [False, True])
def test_batches_are_laid_out_as_asked_for(network: nn.Module, together: bool) -> None:
    seen = set()

    def objective(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
        seen.add(images.is_contiguous(memory_format=torch.channels_last))
        return _cross_entropy(model, images, labels, progress)

    _train(network, objective, channels_last=together)
    assert seen == {together}


def test_layout_changes_nothing_but_rounding(network: nn.Module) -> None:
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    apart = _train(network, _cross_entropy)
    network.load_state_dict(start)
    together = _train(network, _cross_entropy, channels_last=True)
    assert [row[3:5] for row in together] == [pytest.approx(row[3:5], rel=1e-5) for row in apart]


def test_training_images_are_augmented_and_validation_images_are_not(network: nn.Module) -> None:
    shown: dict[bool, list[Tensor]] = {True: [], False: []}

    def objective(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
        shown[model.training].append(images)
        return _cross_entropy(model, images, labels, progress)

    _train(network, objective, Augmentation(flip=True))
    sources = {True: _part(12, 0).images, False: _part(4, 1).images}
    for training, batches in shown.items():
        images = torch.cat(batches)
        same = [any(torch.equal(image, one) for one in sources[training]) for image in images]
        mirrored = [any(torch.equal(image, one.flip(-1)) for one in sources[training]) for image in images]
        assert [a or b for a, b in zip(same, mirrored, strict=True)] == [True] * len(images)
        assert any(mirrored) == training


def test_images_are_scaled_to_one(network: nn.Module) -> None:
    part = _part(12, 0)
    assert torch.equal(part.drawn(torch.tensor([3, 1])), part.pixels[[3, 1]].float() / 255)
    assert torch.equal(torch.cat([images for images, _ in part.batches(5)]), part.images)
    assert [len(labels) for _, labels in part.batches(5)] == [5, 5, 2]


@pytest.mark.parametrize("kind", ["mart", "smoothing", "adversarial"])
def test_losses_are_made_of_float32_logits(network: nn.Module, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    for name in ("log_softmax", "softmax", "cross_entropy"):
        original = getattr(functional, name)
        spied = lambda logits, *rest, original=original, **more: seen.add(logits.dtype) or original(logits, *rest, **more)  # noqa: E731
        monkeypatch.setattr(functional, name, spied)
    entry = catalogue.load("objectives", kind)
    _train(network, entry.prepare(entry.Params(), Threat(eps=0.03)), precision="bfloat16")
    assert seen == {torch.float32}
    # Nothing stays behind.
    assert network(torch.rand(1, 2, 8, 8)).dtype == torch.float32
    assert not network._forward_hooks
