"""Which rule makes a checkpoint: those that train, or the one that imports."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sparrow.study import wildcards
from sparrow.study.load import load_study
from tests.study.test_targets import TINY

ONE = "digits/cnn-small/benign/seed0/dense"
OTHER = "digits/cnn-small/benign/seed0/lwm-0.90/pruned"


def made_by(path: str, **changes: Any) -> list[str]:
    """The sorts of rules that make the file `path`."""
    study = load_study(TINY | changes)
    patterns = {"trains": wildcards.dataset_of_trained(study), "imports": wildcards.dataset_of_imported(study)}
    return [sort for sort, dataset in patterns.items() if re.fullmatch(f"somewhere/(?:{dataset})/.*", f"somewhere/{path}")]


@pytest.mark.parametrize("suffix", [".safetensors", ".curve.csv", ".cost.json"])
@pytest.mark.parametrize(
    ("path", "sort"), [(ONE, "imports"), (OTHER, "trains"), (ONE.replace("seed0", "seed01"), "trains"), (f"{ONE}r", "trains")]
)
def test_a_checkpoint_is_trained_or_imported(path: str, sort: str, suffix: str) -> None:
    imports = {ONE: {"file": "theirs.pt"}}
    assert made_by(path + suffix, imports=imports) == [sort]


def test_a_study_without_imports_trains_all() -> None:
    assert made_by(f"{ONE}.safetensors") == ["trains"]


@pytest.mark.parametrize(
    ("names", "text", "fits"),
    [
        (["pgd", "fgsm"], "fgsm", True),
        (["pgd", "fgsm"], "pgdfgsm", False),
        (["pgd-eps0.1"], "pgd-eps0.1", True),
        (["pgd-eps0.1"], "pgd-eps001", False),
        ([], "pgd", False),
        ([], "", False),
    ],
)
def test_one_of_some_names_is_no_other(names: list[str], text: str, fits: bool) -> None:
    assert bool(re.fullmatch(wildcards.one_of(names), text)) == fits
