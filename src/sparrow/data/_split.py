"""Stratified, seeded train/validation/test split."""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from sparrow.settings import Settings


class SplitParams(Settings):
    """How a data set is divided. The split depends on nothing but these, so every seed of a study shares it."""

    validation: float = Field(0.15, gt=0, lt=1)
    """Share of the images held out for validation."""
    test: float = Field(0.2, gt=0, lt=1)
    """Share of the images held out for testing."""
    split_seed: int = Field(0, ge=0)
    """Seed of the split."""

    @model_validator(mode="after")
    def _leaves_images_to_train_on(self) -> SplitParams:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test is {self.validation + self.test:g}, must be below 1")
        return self


def split(labels: np.ndarray, params: SplitParams) -> dict[str, np.ndarray]:
    """Indices (int64, ascending for train and validation) of `labels` (n,) by part.

    The test part comes in a seeded random order in which the classes take turns, so that its first k images, the subset
    that `samples: k` evaluates, are stratified too.
    """
    from sklearn.model_selection import train_test_split

    everything = np.arange(len(labels))
    rest, test = train_test_split(everything, test_size=params.test, stratify=labels, random_state=params.split_seed)
    share = params.validation / (1 - params.test)
    train, validation = train_test_split(rest, test_size=share, stratify=labels[rest], random_state=params.split_seed)
    return {"train": np.sort(train), "validation": np.sort(validation), "test": _in_turns(np.sort(test), labels, params)}


def _in_turns(indices: np.ndarray, labels: np.ndarray, params: SplitParams) -> np.ndarray:
    """`indices` shuffled, then one of each class, another of each class, and so on."""
    shuffled = np.random.default_rng(params.split_seed).permutation(indices)
    turn = np.zeros(len(shuffled), dtype=np.int64)
    for label in np.unique(labels[shuffled]):
        own = labels[shuffled] == label
        turn[own] = np.arange(own.sum())
    return shuffled[np.argsort(turn, kind="stable")]
