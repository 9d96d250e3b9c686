"""Paths of checkpoints, there and back."""

from __future__ import annotations

import pytest

from sparrow.files.paths import Cell, Checkpoint, Parent, parse

PARENT = Parent("cifar10", "wrn-28-4", "crown-ibp", 12)


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint(PARENT, None, "dense"),
        Checkpoint(PARENT, Cell(PARENT, "harp", 0.9), "pruned"),
        Checkpoint(PARENT, Cell(PARENT, "harp-authors", 0.995), "finetuned"),
    ],
)
def test_a_path_gives_its_checkpoint_back(checkpoint: Checkpoint) -> None:
    assert parse(checkpoint.path) == checkpoint


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("digits/cnn-small/benign/seed0", "names no checkpoint; valid: DATASET/MODEL"),
        ("digits/cnn-small/benign/seed0/pruned", "names no checkpoint"),
        ("digits/cnn-small/benign/seed0/lwm-0.90/dense", "names no checkpoint"),
        ("digits/cnn-small/benign/seed0/dense.safetensors", "names no checkpoint"),
        ("digits/cnn-small/benign/seed0/lwm-0.9/pruned", "would lie at 'digits/cnn-small/benign/seed0/lwm-0.90/pruned'"),
        ("digits/cnn-small/benign/seed00/dense", "would lie at 'digits/cnn-small/benign/seed0/dense'"),
    ],
)
def test_what_is_no_path_is_refused(path: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"valid|would") as caught:
        parse(path)
    assert words in str(caught.value)
