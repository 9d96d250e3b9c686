"""Stratified, seeded train/validation/test split."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from sparrow.data.augmentation import NONE, Augmentation
from sparrow.data.corruptions.params import NONE_SAID, Corruptions
from sparrow.settings import Settings


class HeldOut(Settings):
    """The split of a data set with an official test set, and the augmentation of its training images."""

    images: ClassVar[tuple[int, int | None] | None] = None
    """How many images there are, if that is known before they are read: in the training set and in the official test set;
    in all and None, where there is no official test set. None if it is not known."""
    validation: float = Field(0.1, gt=0, lt=1)
    """Share of the training images held out for validation."""
    split_seed: int = Field(0, ge=0)
    """Seed of the split, which every seed of a study shares."""
    augmentation: Augmentation = NONE
    """What is done to training images, each time that they are seen."""
    corruptions: Corruptions = NONE_SAID
    """How test images are corrupted, for an analysis that asks for that."""
    extra: str | None = Field(None, min_length=1)
    """An .npz of images to train on besides: `image`, uint8, (n, height, width, channels) or (n, channels, height, width), and
    `label`, whole numbers. None of them is held out. A path is relative to the working directory."""
    extra_samples: int | None = Field(None, ge=1)
    """The first so many of `extra`; all if null."""
    extra_share: float | None = Field(None, gt=0, lt=1)
    """Share of each batch that is drawn from `extra`; an epoch is then as long as without it. If null, all are drawn alike."""

    @model_validator(mode="after")
    def _has_extra_images_to_take(self) -> HeldOut:
        for key in ("extra_samples", "extra_share"):
            if self.extra is None and getattr(self, key) is not None:
                raise ValueError(f"{key} is {getattr(self, key):g}, but `extra` names no file")
        return self


class SplitParams(HeldOut):
    """The split of a data set without an official test set, and the augmentation of its training images."""

    validation: float = Field(0.15, gt=0, lt=1)
    """Share of the images held out for validation."""
    test: float = Field(0.2, gt=0, lt=1)
    """Share of the images held out for testing."""

    @model_validator(mode="after")
    def _leaves_images_to_train_on(self) -> SplitParams:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test is {self.validation + self.test:g}, must be below 1")
        return self


def sizes(params: HeldOut) -> tuple[int, int, int] | None:
    """Numbers of training, validation and test images, the extra ones not among them, of a data set that says how many it has.

    None for one that does not.
    """
    if params.images is None:
        return None
    whole, test = params.images
    if test is not None:
        validation = math.ceil(whole * params.validation)
        return whole - validation, validation, test
    if not isinstance(params, SplitParams):
        return None
    test = math.ceil(whole * params.test)
    validation = math.ceil((whole - test) * (params.validation / (1 - params.test)))
    return whole - test - validation, validation, test


def split(labels: np.ndarray, params: SplitParams) -> dict[str, np.ndarray]:
    """Indices (int64) of `labels` (n,) by part: `train` and `validation` ascending, `test` ordered by `in_turns`."""
    rest, test = _divided(np.arange(len(labels)), labels, params.test, params.split_seed)
    train, validation = _divided(rest, labels, params.validation / (1 - params.test), params.split_seed)
    return {
        "train": np.sort(train),
        "validation": np.sort(validation),
        "test": in_turns(labels, params.split_seed, np.sort(test)),
    }


def hold_out(labels: np.ndarray, params: HeldOut) -> dict[str, np.ndarray]:
    """Indices (int64, ascending) of the training images' `labels` (n,) by part: `train` and `validation`."""
    train, validation = _divided(np.arange(len(labels)), labels, params.validation, params.split_seed)
    return {"train": np.sort(train), "validation": np.sort(validation)}


def in_turns(labels: np.ndarray, seed: int, indices: np.ndarray | None = None) -> np.ndarray:
    """`indices` of `labels` (n,), or all, in a seeded random order in which the classes take turns.

    One of each class comes first, then another of each class, and so on: the first k images, the subset that `samples: k`
    evaluates, are stratified, too.
    """
    shuffled = np.random.default_rng(seed).permutation(np.arange(len(labels)) if indices is None else indices)
    turn = np.zeros(len(shuffled), dtype=np.int64)
    for label in np.unique(labels[shuffled]):
        own = labels[shuffled] == label
        turn[own] = np.arange(own.sum())
    return shuffled[np.argsort(turn, kind="stable")]


def _divided(indices: np.ndarray, labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two parts of `indices`, in random order, stratified by label: 1 - `share` of them, and `share` of them."""
    from sklearn.model_selection import train_test_split

    left, taken = train_test_split(indices, test_size=share, stratify=labels[indices], random_state=seed)
    return left, taken
