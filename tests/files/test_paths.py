"""Paths of checkpoints, there and back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sparrow.files.paths import (
    CELL_PATTERN,
    CHECKPOINT_PATTERN,
    IDENTITY,
    JOB_OF_CELL,
    WILDCARDS,
    Cell,
    Checkpoint,
    Parent,
    checkpoint_at,
    checkpoint_of,
    identity_of,
    parse,
    stage_of,
)

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


DENSE = Checkpoint(PARENT, None, "dense")
PRUNED = Checkpoint(PARENT, Cell(PARENT, "harp-authors", 0.995), "finetuned")


@pytest.mark.parametrize(
    ("job", "stage", "about"),
    [
        ("cifar10/data", "data", None),
        (DENSE.path, "pretrain", DENSE),
        (PRUNED.path, "finetune", PRUNED),
        (f"{PRUNED.cell.path}/pruned", "prune", Checkpoint(PARENT, PRUNED.cell, "pruned")),
        (f"{DENSE.path}/attacks/pgd-eps0.1", "attack", DENSE),
        (f"{PRUNED.path}/verifiers/crown", "verify", PRUNED),
        (f"{PRUNED.path}/compact", "compact", PRUNED),
        (f"{PARENT.path}/latency", "latency", DENSE),
    ],
)
def test_a_job_is_of_a_stage_and_about_a_checkpoint(job: str, stage: str, about: Checkpoint | None) -> None:
    assert stage_of(job) == stage
    assert checkpoint_of(job) == about


def test_a_path_of_no_job_is_of_no_stage() -> None:
    with pytest.raises(KeyError):
        stage_of(f"{PRUNED.path}/else")


@pytest.mark.parametrize("one", [DENSE, PRUNED])
def test_who_a_checkpoint_is_says_its_path_and_its_header_alike(one: Checkpoint, tmp_path: Path) -> None:
    cell = PARENT._asdict() | ({"method": one.cell.method, "ratio": one.cell.ratio} if one.cell else {})
    assert one.identity() == identity_of({"stage": one.stage, "cell": cell})
    assert list(one.identity()) == IDENTITY
    assert checkpoint_at(tmp_path / f"{one.path}.safetensors") == one


def test_a_file_elsewhere_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names no checkpoint"):
        checkpoint_at(tmp_path / "dense.safetensors")


def test_patterns_find_what_paths_say() -> None:
    def found(pattern: str, path: str) -> dict[str, str]:
        text = re.sub(r"\{(\w+)\}", lambda name: f"(?P<{name[1]}>{WILDCARDS[name[1]]})", pattern)
        return re.fullmatch(text, path).groupdict()

    names = {"dataset": "cifar10", "model": "wrn-28-4", "objective": "crown-ibp", "seed": "12"}
    assert found(CHECKPOINT_PATTERN, DENSE.path) == names | {"checkpoint": "dense"}
    assert found(CHECKPOINT_PATTERN, PRUNED.path) == names | {"checkpoint": "harp-authors-0.995/finetuned"}
    cell = names | {"method": "harp-authors", "ratio": "0.995"}
    assert found(CELL_PATTERN, PRUNED.cell.path) == cell
    assert re.match(JOB_OF_CELL, f"{PRUNED.path}/attacks/pgd").groupdict() == cell | {"of": "finetuned"}
