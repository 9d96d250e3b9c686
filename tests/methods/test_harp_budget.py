"""HARP's budgets: filters are met as nearly as whole ones permit, and a search that ends far off is told."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from sparrow import catalogue
from sparrow.errors import SparrowError
from sparrow.files import checkpoint
from sparrow.methods import harp
from sparrow.models import cnn_small
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout
from sparrow.pruning.learned_shares import FilterBudget
from sparrow.results.aggregate import aggregate
from sparrow.stages.finetune import finetune
from sparrow.stages.prune import prune


def network() -> tuple[FilterBudget, list[int]]:
    model = cnn_small.build(cnn_small.Params(), (1, 8, 8), 10)
    budget = FilterBudget(prunable_weights(model), Layout(model, (1, 8, 8)), 0.9)
    return budget, list(budget.sizes.values())


def multiply_adds(kept: list[int]) -> int:
    """CNN-small's on 8 x 8 images, by hand: kernels of 4 x 4, stride 2, padding 1."""
    first, second, hidden = kept
    return 16 * first * 16 + 4 * second * first * 16 + hidden * second * 4 + 10 * hidden


def test_filters_are_kept_while_they_fit() -> None:
    budget, sizes = network()
    # Uniform pruning at 0.9 leaves 2 of 16, 3 of 32 and 10 of 100.
    target = multiply_adds([2, 3, 10])
    assert budget.kept(torch.tensor([2 / 16, 3 / 32, 10 / 100])).item() == pytest.approx(1)
    # Scaled by one number, these shares stop where the second layer's seventh filter would be too much: 0.9086 of the target.
    shares = torch.tensor([0.02, 0.2, 0.11])
    rounded = [max(1, round(size * share * 1.0155)) for size, share in zip(sizes, shares.tolist(), strict=True)]
    assert rounded == [1, 6, 11]
    assert multiply_adds(rounded) / target == pytest.approx(0.9086, abs=1e-4)
    assert multiply_adds([1, 7, 11]) > target
    assert multiply_adds([2, 6, 11]) > target
    # The last layer has room for three more, and with them the target is met to the multiply-add.
    lost = budget.exactly(shares)
    assert [size - count for size, count in zip(sizes, lost.values(), strict=True)] == [1, 6, 14]
    assert multiply_adds([1, 6, 14]) == target


def test_a_ratio_that_leaves_a_layer_no_filter_has_no_budget() -> None:
    model = cnn_small.build(cnn_small.Params(), (1, 8, 8), 10)
    with pytest.raises(
        SparrowError, match=r"^the ratio 0\.97 would remove all 16 filters of 0\.weight; valid: at most 0\.9687$"
    ):
        FilterBudget(prunable_weights(model), Layout(model, (1, 8, 8)), 0.97)


@pytest.mark.parametrize("seed", range(20))
def test_no_filter_more_would_fit_whatever_the_shares(seed: int) -> None:
    budget, _ = network()
    lost = budget.exactly(torch.rand(3, generator=torch.Generator().manual_seed(seed)) ** 3 + 1e-3)
    assert budget.fits(lost)
    for block, count in lost.items():
        assert count == 0 or not budget.fits({**lost, block: count - 1})


def ended(share: float, ratio: float, **params: float) -> str | None:
    """What is told of a search in which two layers of equal size end at this share."""
    torch.manual_seed(0)
    weights = {name: nn.Parameter(torch.randn(20, 50)) for name in ("a", "b")}
    pruner = harp.prepare(harp.Params(**params), ratio, torch.Generator())
    *_, rates = pruner.start(weights, None)
    lowest = 0.1 * (1 - ratio)
    rates.fill_(float(torch.tensor((share - lowest) / (1 - lowest)).logit()))
    pruner.end(weights)
    return pruner.warning()


@pytest.mark.parametrize(("share", "ratio"), [(0.5, 0.5), (0.54, 0.5), (0.46, 0.5), (0.109, 0.9)])
def test_nothing_is_told_of_a_search_that_ends_near_its_budget(share: float, ratio: float) -> None:
    assert ended(share, ratio) is None


@pytest.mark.parametrize(("share", "ratio", "said"), [(0.99, 0.5, "1.98"), (0.2, 0.5, "0.40"), (0.0565, 0.99, "5.65")])
def test_a_search_that_ends_far_from_its_budget_is_told(share: float, ratio: float, said: str) -> None:
    assert f"ended at {said} times the budget of weights" in ended(share, ratio)


def test_the_warning_stands_in_headers_log_and_summary(dense: Path, digits: Path, training_spec: dict, tmp_path: Path) -> None:
    root = tmp_path / "digits/cnn-small/adversarial/seed0"
    (root / "harp-0.99").mkdir(parents=True)
    pruned, tuned = root / "harp-0.99/pruned.safetensors", root / "harp-0.99/finetuned.safetensors"
    cell = {"dataset": "digits", "model": "cnn-small", "objective": "adversarial", "seed": 0, "method": "harp", "ratio": 0.99}
    spec = training_spec | {"cell": cell, "ratio": 0.99, "method": {"kind": "harp"}}
    spec["schedule"] = spec["schedule"] | {"epochs": 1}
    files = {name: tmp_path / name for name in ("curve", "trace", "cost")}
    told = prune(dense, digits, pruned, files["curve"], files["trace"], files["cost"], spec)
    assert told.startswith(f"warning: {pruned}: methods.harp: its search ended at ")
    message = told.removeprefix(f"warning: {pruned}: ")
    assert checkpoint.load(pruned).header["warnings"] == [message]
    own = {key: value for key, value in spec.items() if key not in ("method", "ratio")}
    assert finetune(pruned, digits, tuned, files["curve"], files["cost"], own) is None
    assert checkpoint.load(tuned).header["warnings"] == [message]
    objectives = {"adversarial": {"attacks": [], "not_in_era": [], "minimum_norm": [], "verifiers": [], "smoothed": []}}
    objectives["adversarial"]["threat"] = {"norm": "linf", "eps": 0.1}
    of_none = {"attacks": [], "verifiers": [], "objectives": objectives, "analyses": {}, "code": "test"}
    aggregate([tuned], [], tmp_path, of_none)
    table = pd.read_csv(tmp_path / "summary.csv")
    assert table["warnings"].tolist() == [message]


def test_other_methods_have_nothing_to_tell() -> None:
    entry = catalogue.load("methods", "lwm")
    assert entry.prepare(entry.Params(), 0.5, torch.Generator()).warning() is None
