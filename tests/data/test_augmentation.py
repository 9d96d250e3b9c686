"""Crops and flips."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sparrow.data.augmentation import CIFAR, Augmentation, augmented


@pytest.fixture
def images() -> Tensor:
    return torch.randint(1, 256, (64, 3, 6, 5), dtype=torch.uint8)


def _crops(image: Tensor, by: int) -> list[Tensor]:
    """Every window of the padded image."""
    padded, (height, width) = functional.pad(image, (by, by, by, by)), image.shape[1:]
    return [padded[:, y : y + height, x : x + width] for y in range(2 * by + 1) for x in range(2 * by + 1)]


def test_nothing_is_done_unless_asked_for(images: Tensor) -> None:
    before = torch.get_rng_state()
    assert augmented(images, Augmentation()) is images
    assert torch.equal(torch.get_rng_state(), before)


def test_each_image_is_cropped_on_its_own(images: Tensor) -> None:
    result = augmented(images, Augmentation(crop=2))
    assert (result.shape, result.dtype) == (images.shape, torch.uint8)
    places = []
    for image, crop in zip(images, result, strict=True):
        matches = [place for place, window in enumerate(_crops(image, 2)) if torch.equal(window, crop)]
        assert len(matches) == 1
        places += matches
    # 64 draws of 25 windows: seen from every side.
    assert len(set(places)) > 15


def test_every_second_image_is_mirrored(images: Tensor) -> None:
    result = augmented(images, Augmentation(flip=True))
    mirrored = [torch.equal(new, old.flip(-1)) for new, old in zip(result, images, strict=True)]
    kept = [torch.equal(new, old) for new, old in zip(result, images, strict=True)]
    assert [a or b for a, b in zip(mirrored, kept, strict=True)] == [True] * 64
    assert 16 < sum(mirrored) < 48


def test_same_seed_same_images(images: Tensor) -> None:
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(augmented(images, CIFAR))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
