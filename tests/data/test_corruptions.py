"""Corrupted images: by hand, and against what the script that made CIFAR-10-C makes of the same images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.random import Generator

from sparrow.data.corruptions import kernels
from sparrow.data.corruptions.choice import chosen, misfit
from sparrow.data.corruptions.digital import contrast
from sparrow.data.corruptions.making import CORRUPTIONS, corrupted
from sparrow.data.corruptions.params import Corruptions, Kind
from sparrow.data.corruptions.weather import brightness, plasma
from sparrow.files.corruption_kinds import KINDS

CIFAR, DIGITS = (3, 32, 32), (1, 8, 8)
FEW = ("gaussian_noise", "shot_noise", "impulse_noise", "brightness", "contrast")


def generators(count: int, seed: int = 0) -> list[Generator]:
    return [np.random.default_rng([seed, number]) for number in range(count)]


@pytest.fixture(scope="module")
def blocks() -> np.ndarray:
    """20 images (20, 3, 32, 32), uint8, of 8 x 8 blocks of random colours."""
    images = [np.kron(np.random.default_rng(seed).integers(0, 256, (8, 8, 3)), np.ones((4, 4, 1), int)) for seed in range(20)]
    return np.moveaxis(np.array(images, np.uint8), -1, 1)


# Root mean square of the change, in grey levels, at severities 1 to 5: of what make_cifar_c.py (commit ca36008, with
# ImageMagick 6.9.11, OpenCV 5.0.0, scikit-image 0.26.0 and Pillow 13.0.0) made of these images; of what is random, in ten runs.
SCRIPTS = {
    "gaussian_noise": (9.98, 14.78, 19.50, 21.78, 24.08),
    "shot_noise": (7.98, 11.17, 17.31, 19.83, 23.94),
    "impulse_noise": (14.70, 21.06, 25.83, 33.18, 39.29),
    "defocus_blur": (4.35, 11.16, 17.06, 21.81, 32.45),
    "glass_blur": (46.38, 46.01, 41.65, 62.82, 57.70),
    "motion_blur": (23.87, 33.97, 40.93, 41.03, 46.23),
    "zoom_blur": (28.23, 32.59, 37.78, 42.93, 47.49),
    "snow": (13.93, 27.89, 31.34, 43.43, 59.26),
    "fog": (14.67, 29.02, 37.77, 44.72, 53.59),
    "brightness": (8.52, 16.69, 23.94, 30.21, 40.31),
    "contrast": (18.47, 36.93, 44.31, 51.70, 62.78),
    "elastic_transform": (68.50, 63.58, 56.86, 53.69, 45.12),
    "pixelate": (25.92, 36.21, 18.21, 0.00, 36.21),
    "jpeg_compression": (23.09, 25.50, 26.79, 28.42, 31.05),
}
# The sum of all levels that it made, where nothing is random; at 0 a few are off by one.
SUMS = {
    "defocus_blur": (8000925, 8000965, 8000916, 0, 8006603),
    "zoom_blur": (8011701, 8013963, 8018511, 8027198, 8037542),
    "contrast": (7991984, 7993472, 7992528, 7991312, 7990944),
    "pixelate": (8025735, 8029384, 8023668, 8021824, 8029384),
}
STEADY = ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")


@pytest.mark.parametrize("kind", KINDS)
def test_images_change_as_much_as_by_the_script(blocks: np.ndarray, kind: str) -> None:
    if kind not in SCRIPTS:
        assert kind not in CORRUPTIONS
        return
    for severity, expected in enumerate(SCRIPTS[kind], start=1):
        made = corrupted(blocks, 255, range(len(blocks)), kind, severity)
        change = math.sqrt(np.square(made.astype(float) - blocks).mean())
        # 20 images are few where each has one random number, such as a direction.
        assert change == pytest.approx(expected, rel=0.002 if kind in STEADY else 0.1, abs=0.01)
        if exact := SUMS.get(kind, [0] * 5)[severity - 1]:
            assert made.sum() == exact


@pytest.mark.parametrize(
    ("severity", "total", "one"),
    [(1, 7989956, [97, 130, 115]), (2, 7985848, [128, 107, 91]), (3, 7981802, [146, 93, 78]), (5, 7977222, [158, 83, 74])],
)
def test_at_one_angle_motion_blur_is_imagemagicks_to_the_level(
    blocks: np.ndarray, severity: int, total: int, one: list[int]
) -> None:
    radius, sigma = {1: (6, 1), 2: (6, 1.5), 3: (6, 2), 5: (9, 2.5)}[severity]
    images = np.moveaxis(blocks, 1, -1).astype(float)
    made = np.array([kernels.motion(image, radius, sigma, 17) for image in images])
    assert (made.sum(), made[0, 5, 7].tolist()) == (total, one)


def test_a_constant_image_is_as_it_was_after_any_blur() -> None:
    grey = np.full((2, 3, 32, 32), 100, np.uint8)
    for kind in ("defocus_blur", "motion_blur", "zoom_blur", "glass_blur", "pixelate", "elastic_transform"):
        made = corrupted(grey, 255, [0, 1], kind, 3)
        # Cut to whole levels, what is a rounding error below is a level lower.
        assert np.abs(made.astype(int) - 100).max() <= (kind in ("zoom_blur", "glass_blur", "elastic_transform")), kind


def test_contrast_and_brightness_by_hand() -> None:
    halves = np.zeros((1, 2, 2, 1))
    halves[0, 0] = 1
    # 0.5 and 15 % of the distance to it.
    assert contrast(halves, 5, []).ravel() / 255 == pytest.approx([0.575, 0.575, 0.425, 0.425])
    assert brightness(np.full((1, 1, 1, 3), 0.5), 3, []).ravel() / 255 == pytest.approx([0.65] * 3)
    # The value 0.5 becomes 0.65, and the other channels keep their ratio to it; black becomes grey, and white stays white.
    colours = np.array([[[[0.5, 0.2, 0.0], [0.0, 0.0, 0.0], [1.0, 0.95, 0.9]]]])
    assert brightness(colours, 3, [])[0, 0] / 255 == pytest.approx(
        np.array([[0.65, 0.26, 0.0], [0.15, 0.15, 0.15], [1.0, 0.95, 0.9]])
    )


def test_noise_has_its_mean_and_spread() -> None:
    grey = np.full((40, 32, 32, 3), 0.5)
    noise = CORRUPTIONS["gaussian_noise"](grey, 3, generators(40)) / 255 - 0.5
    assert noise.mean() == pytest.approx(0, abs=0.001)
    assert noise.std() == pytest.approx(0.08, rel=0.01)
    # A count of 100 photons to white: of 50, the variance is 50.
    shot = CORRUPTIONS["shot_noise"](grey, 3, generators(40)) / 255
    assert (shot.mean(), shot.std()) == (pytest.approx(0.5, rel=0.01), pytest.approx(math.sqrt(50) / 100, rel=0.01))
    impulse = CORRUPTIONS["impulse_noise"](grey, 3, generators(40)) / 255
    assert [(impulse == value).mean() for value in (0, 0.5, 1)] == pytest.approx([0.015, 0.97, 0.015], abs=0.001)
    # Each channel by itself.
    assert 0 < (impulse == 0.5).all(axis=-1).mean() < 0.95


def test_a_disk_smaller_than_a_pixel_is_a_gaussian() -> None:
    kernel = kernels.disk(0.3, 0.4)
    side = math.exp(-1 / (2 * 0.4**2))
    assert kernel.sum() == pytest.approx(1)
    assert kernel.max() == pytest.approx(1 / (1 + 2 * side) ** 2)
    assert kernels.disk(1, 1e-3)[1:4, 1:4] == pytest.approx(np.array([[0, 0.2, 0], [0.2, 0.2, 0.2], [0, 0.2, 0]]))


def test_motion_goes_to_one_side() -> None:
    line = np.zeros((1, 9, 1))
    line[0, 8] = 255
    moved = kernels.motion(line, 2, 1, 0)[0, :, 0]
    weights = np.exp(-(np.arange(5.0) ** 2) / 2)
    # From the right end leftwards; past the edge, the edge's pixel goes on.
    expected = [255 * weights[8 - place :].sum() / weights.sum() for place in range(9)]
    assert moved == pytest.approx(np.floor(expected), abs=1)
    assert (moved[:4] == 0).all()
    assert (np.diff(moved[4:]) > 0).all()


def test_nearer_is_the_middle_enlarged() -> None:
    image = np.arange(16.0).reshape(1, 4, 4, 1)
    assert kernels.nearer(image, 1)[0] == pytest.approx(image[0])
    # 2 of 4 pixels, at 0, 1/3, 2/3 and 1 between them.
    rows = 5 + np.arange(4) / 3
    assert kernels.nearer(image, 2)[0, :, :, 0] == pytest.approx(rows[None] + 4 * np.arange(4)[:, None] / 3)


def test_a_cloud_has_no_edges_and_is_between_nothing_and_all() -> None:
    clouds = [plasma(32, 2, generator) for generator in generators(30)]
    assert all((cloud.min(), cloud.max()) == (0, 1) for cloud in clouds)
    inside = np.mean([np.abs(np.diff(cloud, axis=0)).mean() for cloud in clouds])
    around = np.mean([np.abs(cloud[0] - cloud[-1]).mean() for cloud in clouds])
    assert around == pytest.approx(inside, rel=0.3)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_an_image_is_the_same_alone_and_among_others_in_any_order(blocks: np.ndarray, kind: str) -> None:
    indices = list(range(40, 60))
    together = corrupted(blocks, 255, indices, kind, 4)
    assert together.shape == blocks.shape
    assert (corrupted(blocks[7:8], 255, [47], kind, 4) == together[7]).all()
    assert (corrupted(blocks[::-1], 255, indices[::-1], kind, 4) == together[::-1]).all()


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_grey_images_are_corrupted_as_grey_ones(blocks: np.ndarray, kind: str) -> None:
    grey = blocks[:, :1, :28, :28]
    made = corrupted(grey, 255, range(20), kind, 3)
    assert (made.shape, made.dtype) == (grey.shape, np.uint8)
    assert (made != grey).any() or kind == "pixelate"


def test_images_whose_white_is_another_are_spread_over_all_levels() -> None:
    sixteen = np.array([0, 4, 8, 16], np.uint8).reshape(1, 1, 2, 2)
    # The mean is 0.4375, of whose distance 15 % are left.
    levels = [255 * (0.4375 + 0.15 * (value / 16 - 0.4375)) for value in (0, 4, 8, 16)]
    assert corrupted(sixteen, 16, [0], "contrast", 5).ravel().tolist() == [int(level) for level in levels]


def test_which_kinds_there_are_of_which_images() -> None:
    everything, some = Corruptions(), Corruptions(kinds=["snow", "gaussian_noise"])
    assert chosen(everything, CIFAR) == [kind for kind in KINDS if kind != "frost"]
    assert chosen(everything, (1, 28, 28)) == chosen(everything, CIFAR)
    assert chosen(everything, DIGITS) == list(FEW)
    assert chosen(everything, (3, 64, 64)) == list(FEW)
    assert chosen(Corruptions(file="CIFAR-10-C.tar"), CIFAR) == list(KINDS)
    assert chosen(some, CIFAR) == ["gaussian_noise", "snow"]
    assert (misfit(some, CIFAR), misfit(everything, DIGITS)) == (None, None)
    assert misfit(some, DIGITS) == (
        "snow: it is for square images of 28 to 32 pixels, 1 or 3 channels, and these have 8 x 8, 1; valid: " + ", ".join(FEW)
    )
    frost = misfit(Corruptions(kinds=["frost"]), CIFAR)
    assert frost is not None
    assert frost.startswith("frost: it needs photographs, and is in the published archive (`file`) alone; valid: gaussian")


def test_the_settings_know_the_kinds() -> None:
    assert Kind.__args__ == KINDS
    assert set(CORRUPTIONS) == {*KINDS} - {"frost"}
