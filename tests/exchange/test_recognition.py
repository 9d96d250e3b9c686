"""What an imported network makes of the validation images, and what is told if that is next to nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from sparrow.data.store import Header, Part
from sparrow.exchange.recognition import recognise
from sparrow.models import cnn_small
from sparrow.stages.imported import import_checkpoint
from sparrow.study import job_specs
from sparrow.study.load import load_study
from tests.default_study import default_study

ROOT = Path(__file__).parents[2]
NAMES = tuple(str(number) for number in range(12))
IMAGES = 36


class _Greys(nn.Module):
    """Of images of one pixel, the class whose grey is nearest: `greys` (classes,)."""

    def __init__(self, greys: Tensor) -> None:
        super().__init__()
        self.greys = greys

    def forward(self, images: Tensor) -> Tensor:
        return -(images.flatten(1) - self.greys).abs()


LEVELS = torch.arange(12) * 20.0 / 255


def _validation() -> Part:
    """Three images of each of twelve classes, of the grey 20 times its number."""
    labels = torch.arange(12).repeat_interleave(3)
    return Part((labels * 20).to(torch.uint8).view(-1, 1, 1, 1), labels, torch.arange(IMAGES), 255)


def _recognised(greys: Tensor, names: tuple[str, ...] = NAMES):
    return recognise(_Greys(greys), _validation(), Header("", (1, 1, 1), 12, 255, "", names))


def test_a_network_that_knows_its_images_is_counted() -> None:
    lines, warning = _recognised(LEVELS)
    assert lines == [
        "1.0000 of 36 validation images classified rightly (the largest class is 0.0833 of them)",
        f"logits, in their order: {', '.join(NAMES)}",
    ]
    assert warning == ""


def test_classes_in_the_order_of_torchvision_are_told() -> None:
    order = sorted(NAMES)
    _, warning = _recognised(LEVELS[[int(name) for name in order]])
    # Only 0 and 1 are where they are by number.
    assert warning == (
        f"{2 / 12:.4f} of 36 validation images classified rightly (the largest class is 0.0833 of them): 1.0000 if the classes "
        "were in the order of their names as text: `class_order: string`"
    )


def test_a_normalisation_that_nothing_says_is_told() -> None:
    images = _validation().images
    _, warning = _recognised((LEVELS - images.mean()) / images.std(), names=())
    assert warning.endswith(": 1.0000 if the images were normalised, so it expects a normalisation")


def test_a_network_of_other_images_is_told() -> None:
    lines, warning = _recognised(torch.zeros(12) + torch.arange(12) * 1e-6, names=())
    assert (
        warning
        == f"{lines[0]}: near chance: does it expect normalised images, other classes or another order of classes? "
        + ("(docs/exchange.md)")
    )


def test_of_many_images_some_of_all_classes_are_counted() -> None:
    labels = torch.arange(12).repeat_interleave(100)
    part = Part((labels * 20).to(torch.uint8).view(-1, 1, 1, 1), labels, torch.arange(1200), 255)
    lines, _ = recognise(_Greys(LEVELS), part, Header("", (1, 1, 1), 12, 255, ""))
    # Every third one; of 100 images a class, at most 34.
    assert lines == ["1.0000 of 400 validation images classified rightly (the largest class is 0.0850 of them)"]


@pytest.mark.parametrize(("place", "warned"), [("dense", True), ("lwm-0.50/pruned", False)])
def test_the_import_warns_of_a_network_that_hardly_knows_its_images(
    family: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture, place: str, warned: bool
) -> None:
    torch.manual_seed(1)
    torch.save(cnn_small.build(cnn_small.Params(), (1, 8, 8), 10).state_dict(), tmp_path / "theirs.pth")
    shutil.copy(family.data, tmp_path / "data.safetensors")
    study = default_study()
    path = f"digits/cnn-small/benign/seed0/{place}"
    entry = {"file": str(tmp_path / "theirs.pth"), "allow_ratio": True}
    spec = job_specs.import_spec(load_study(study | {"imports": {path: entry}}), path)
    told = import_checkpoint(tmp_path / "theirs.pth", tmp_path / "data.safetensors", tmp_path / "out.safetensors", spec)
    assert told.startswith(f"warning: {tmp_path}/out.safetensors: 0.") == warned
    assert "validation images classified rightly" in capsys.readouterr().out
