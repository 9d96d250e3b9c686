"""N:M patterns: of every M consecutive inputs the N with the highest scores, from the scores to the fine-tuned network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.errors import ConfigError, SparrowError
from sparrow.files import checkpoint
from sparrow.methods import hydra, lwm, random, snip
from sparrow.models import cnn_small
from sparrow.networks.prunable import prunable_weights
from sparrow.pruning.masks import budget_of, inputs_of, keep_highest_of_each, masks_of
from sparrow.pruning.params import Method
from sparrow.stages._mask_check import check_masks
from sparrow.stages.finetune import finetune
from sparrow.stages.prune import prune
from sparrow.study import job_specs
from sparrow.study.load import load_study
from tests.specs import labels
from tests.study.test_entry_flags import STUDY

MODEL = {"kind": "cnn-small"}
CELL = labels(method="mine", ratio=0.5)
LAYERS = {"0.weight": 16, "2.weight": 256, "5.weight": 128, "7.weight": 100}
"""Inputs of CNN-small's layers on digits."""


def _masks(scores: dict[str, Tensor], params: Method, ratio: float) -> dict[str, Tensor]:
    return masks_of(scores, None, budget_of(scores, None, ratio, params, scores), params, scores)


def test_of_four_scores_the_two_highest_stay() -> None:
    scores = torch.tensor([[4.0, 1, 3, 2], [0, -1, -2, -3]])
    assert keep_highest_of_each(scores, 2, 4).tolist() == [[True, False, True, False], [True, True, False, False]]


def test_groups_are_consecutive_in_memory() -> None:
    # One output of 2 channels of 2 x 2 pixels: a channel is a group of four, whatever the other holds.
    scores = torch.tensor([[[[1.0, 2], [3, 4]], [[80, 70], [60, 50]]]])
    assert keep_highest_of_each(scores, 1, 4).tolist() == [[[[False, False], [False, True]], [[True, False], [False, False]]]]
    assert keep_highest_of_each(scores, 2, 8).sum(dim=(2, 3)).tolist() == [[0, 2]]


def test_of_equal_scores_the_first_go() -> None:
    assert keep_highest_of_each(torch.ones(1, 4), 1, 4).tolist() == [[False, False, False, True]]


@pytest.mark.parametrize(("text", "ratio"), [("2:4", 0.5), ("1:4", 0.75), ("3:4", 0.25), ("4:8", 0.5), ("1:3", 2 / 3)])
def test_every_group_of_every_layer_keeps_as_many(text: str, ratio: float) -> None:
    kept, among = map(int, text.split(":"))
    weights = {"conv": torch.randn(5, 24, 3, 3), "linear": torch.randn(7, 48), "one": torch.randn(1, 24)}
    params = lwm.Params(granularity=text)
    masks = _masks({name: weight.abs() for name, weight in weights.items()}, params, ratio)
    for name, mask in masks.items():
        assert mask.shape == weights[name].shape
        assert (mask.reshape(-1, among).sum(dim=1) == kept).all()
        groups = weights[name].abs().reshape(-1, among)
        chosen = mask.reshape(-1, among)
        assert (groups.masked_fill(~chosen, torch.inf).amin(dim=1) >= groups.masked_fill(chosen, 0).amax(dim=1)).all()
    assert check_masks(masks, weights, None, ratio, "weights", params) is None
    assert check_masks(masks, weights, None, ratio, "weights") is None


def test_a_spared_layer_stays_whole_and_the_others_keep_the_pattern() -> None:
    weights = {"odd": torch.randn(4, 27), "even": torch.randn(4, 8)}
    params = lwm.Params(granularity="2:4", dense_layers=["odd"])
    assert budget_of(weights, None, 0.5, params) == {"odd": 0, "even": 16}
    masks = _masks(weights, params, 0.5)
    assert masks["odd"].all()
    assert int(masks["even"].sum()) == 16
    assert check_masks(masks, weights, None, 0.5, "weights", params) is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda masks: masks["even"].__setitem__((0, slice(0, 3)), True), "does not keep 2:4 of even"),
        # As many as the ratio asks for, and not in the pattern.
        (lambda masks: masks["even"].copy_(torch.arange(8) < 4), "does not keep 2:4 of even"),
        (lambda masks: masks["odd"][0].fill_(False), "pruned weights of odd, which is to stay dense"),
    ],
)
def test_the_check_of_masks_finds_what_is_no_pattern(change, fault: str) -> None:
    weights = {"odd": torch.randn(4, 27), "even": torch.randn(4, 8)}
    params = lwm.Params(granularity="2:4", dense_layers=["odd"])
    masks = _masks(weights, params, 0.5)
    change(masks)
    assert check_masks(masks, weights, None, 0.5, "weights", params) == fault


def test_another_ratio_is_not_rounded_to_a_pattern() -> None:
    with pytest.raises(
        SparrowError, match=r"^the ratio is 0\.6, but 2:4 removes 0\.5 of the weights; valid: ratios: \[0\.5\]$"
    ):
        budget_of({"a": torch.ones(2, 4)}, None, 0.6, lwm.Params(granularity="2:4"))


def _refused(methods: dict, **changes: object) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        load_study(STUDY | {"methods": methods, "ratios": [0.5]} | changes)
    return str(refusal.value).splitlines()


@pytest.mark.parametrize(
    ("method", "line"),
    [
        (
            {"granularity": "4:2"},
            "granularity: '4:2' keeps 4 of every 2 weights; valid: N:M with N smaller than M, such as '2:4'",
        ),
        ({"granularity": "half"}, "granularity: 'half' is not valid: must be 'weight' or 'filter', or N:M such as '2:4'"),
        (
            {"granularity": "2:4", "allocation": "lamp"},
            "allocation is 'lamp', must be 'uniform' with granularity '2:4', the same in all layers",
        ),
        ({"granularity": "2:4", "steps": 3}, "steps is 3, must be 1 with granularity '2:4': no pattern lies on the way to it"),
        ({"dense_layers": ["0.weight"]}, "dense_layers is ['0.weight'], which needs a granularity such as '2:4'"),
    ],
)
def test_options_that_do_not_fit_are_one_line(method: dict, line: str) -> None:
    between = "." if line.startswith("granularity") else ": "
    assert _refused({"mine": {"kind": "lwm"} | method}) == [f"config.yaml: methods.mine{between}{line}"]


def test_scores_that_compete_over_the_network_have_to_be_told_not_to() -> None:
    line = "allocation is 'global', must be 'uniform' with granularity '2:4', the same in all layers"
    assert _refused({"snip": {"granularity": "2:4"}}) == [f"config.yaml: methods.snip: {line}"]
    assert snip.Params(granularity="2:4", allocation="uniform").structure == "N:M"


@pytest.mark.parametrize(
    "kind", ["harp", "mrpf", "ccrp", "fre", "iwi", "imp", "mad", "deadwooding", "flying-bird", "bcs", "dnr"]
)
def test_methods_whose_masks_are_not_scores_of_equal_layers_refuse_it(kind: str) -> None:
    (line,) = _refused({kind: {"granularity": "2:4"}})
    assert line.startswith(f"config.yaml: methods.{kind}.granularity: ")
    assert "'weight'" in line or "'filter'" in line or "unknown key 'granularity'" in line


def test_a_ratio_that_is_not_the_patterns_is_refused_before_any_job() -> None:
    line = "the ratio is 0.9, but 2:4 removes 0.5 of the weights; valid: ratios: [0.5]"
    own = {"kind": "lwm", "granularity": "2:4", "ratios": [0.5, 0.9]}
    assert _refused({"mine": own}) == [f"config.yaml: methods.mine.ratios: methods.mine: {line}"]
    assert _refused({"mine": {"kind": "lwm", "granularity": "2:4"}, "random": None}, ratios=[0.9]) == [
        f"config.yaml: ratios: methods.mine: {line}, below methods.mine"
    ]


def test_a_layer_that_does_not_fit_is_named_before_any_job() -> None:
    (line,) = _refused({"mine": {"kind": "lwm", "granularity": "4:8"}})
    assert line == (
        "config.yaml: methods.mine.granularity: models.cnn-small: 4:8 needs a multiple of 8 inputs in each layer, which "
        "7.weight (100) has not; valid: another granularity, or name it in dense_layers, where it stays as it is"
    )


def test_networks_are_ranked_by_their_pattern_and_the_layers_that_are_spared() -> None:
    methods = {
        "plain": {"kind": "lwm"},
        "two": {"kind": "lwm", "granularity": "2:4"},
        "four": {"kind": "lwm", "granularity": "4:8", "dense_layers": ["7.weight"]},
    }
    study = load_study(STUDY | {"methods": methods, "ratios": [0.5]})
    spec = job_specs.aggregate_spec(study)
    assert {path.split("/")[-2]: named for path, named in spec.patterns.items()} == {
        "two-0.50": "2:4",
        "four-0.50": "4:8, dense 7.weight",
    }
    assert [spec.methods[label].structure for label in methods] == ["weights", "N:M", "N:M"]


@pytest.mark.parametrize(
    ("kind", "params"),
    [(kind, {}) for kind in catalogue.kinds("models")]
    + [("oval", {"form": "wide"}), ("oval", {"form": "deep"}), ("mlp", {"hidden": [30, 20, 20]})]
    + [("mlp", {"normalise": {"mean": [0.5], "std": [0.5]}})],
)
def test_models_tell_the_inputs_of_their_layers(kind: str, params: dict) -> None:
    entry, shape = catalogue.load("models", kind), (3, 16, 16)
    settings = entry.Params(**params)
    built = inputs_of(prunable_weights(entry.build(settings, shape, 10)))
    told = settings.inputs(shape)
    assert told == {name: built[name] for name in told}
    assert next(iter(built)) in told


def _pruned(dense: Path, digits: Path, folder: Path, method: dict, **changes: object) -> Path:
    folder.mkdir(exist_ok=True)
    spec = {"code": "test", "model": MODEL, "cell": CELL, "method": {"kind": "lwm"} | method, "ratio": 0.5} | changes
    names = ("pruned.safetensors", "curve.csv", "trace.csv", "cost.json")
    prune(dense, digits, *(folder / name for name in names), spec)
    return folder / "pruned.safetensors"


def test_fine_tuning_revives_nothing_and_the_bytes_are_the_same_again(
    dense: Path, digits: Path, training_spec: dict, tmp_path: Path
) -> None:
    schedule = {"epochs": 1, "batch_size": 64, "lr": 0.01, "weight_decay": 0.005}
    found = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        pruned = _pruned(dense, digits, folder, {"granularity": "2:4"})
        tuned = folder / "tuned.safetensors"
        spec = training_spec | {"cell": CELL, "schedule": schedule}
        finetune(pruned, digits, tuned, folder / "curve.csv", folder / "cost.json", spec)
        found.append((pruned.read_bytes(), tuned.read_bytes()))
    assert found[0] == found[1]
    before, after = (checkpoint.load(path, MODEL) for path in (pruned, tuned))
    dense_weights = prunable_weights(checkpoint.load(dense, MODEL).model)
    for name, weight in prunable_weights(after.model).items():
        mask = before.masks[name]
        assert (mask.reshape(-1, 4).sum(dim=1) == 2).all()
        assert torch.equal(mask, keep_highest_of_each(dense_weights[name].detach().abs(), 2, 4))
        assert torch.equal(after.masks[name], mask)
        assert not weight[~mask].any()
        assert not torch.equal(weight, prunable_weights(before.model)[name])


def test_what_is_spared_is_counted_and_said(dense: Path, digits: Path, tmp_path: Path) -> None:
    pruned = _pruned(dense, digits, tmp_path, {"granularity": "4:8", "dense_layers": ["7.weight"]})
    loaded = checkpoint.load(pruned, MODEL)
    sizes = {name: mask.numel() for name, mask in loaded.masks.items()}
    share = 0.5 * (sum(sizes.values()) - sizes["7.weight"]) / sum(sizes.values())
    assert loaded.masks["7.weight"].all()
    assert loaded.header["warnings"] == [f"methods.lwm: leaves 7.weight dense, so that {share:.4f} of all weights are pruned"]


@pytest.mark.parametrize(
    ("method", "line"),
    [
        (
            {"granularity": "4:8"},
            "methods.lwm: 4:8 needs a multiple of 8 inputs in each layer, which 7.weight (100) has not; valid: another "
            "granularity, or name it in dense_layers, where it stays as it is",
        ),
        (
            {"granularity": "2:4", "dense_layers": ["head"]},
            f"methods.lwm: dense_layers: no weights head; valid: {', '.join(LAYERS)}",
        ),
    ],
)
def test_what_no_model_says_beforehand_is_refused_when_pruning_begins(
    dense: Path, digits: Path, tmp_path: Path, method: dict, line: str
) -> None:
    with pytest.raises(SparrowError, match=f"^{re.escape(line)}$"):
        _pruned(dense, digits, tmp_path, method)


@pytest.mark.parametrize("params", [hydra.Params(granularity="2:4"), random.Params(granularity="2:4")], ids=["hydra", "random"])
def test_masks_of_learned_and_of_drawn_scores_are_exact(params: Method) -> None:
    network = cnn_small.build(cnn_small.Params(), (1, 8, 8), 10)
    weights = prunable_weights(network)
    pruner = catalogue.load("methods", "hydra" if isinstance(params, hydra.Params) else "random").prepare(
        params, 0.5, torch.Generator().manual_seed(0)
    )
    pruner.network = network
    pruner.start(weights, _NoLayout())
    if isinstance(params, hydra.Params):
        # Also while it learns, the effective weights are in the pattern.
        assert all((weight.reshape(-1, 4) != 0).sum(dim=1).eq(2).all() for weight in weights.values())
    masks = pruner.end(weights)
    assert check_masks(masks, weights, None, 0.5, "weights", params) is None


class _NoLayout(nn.Module):
    """A layout without groups, which weights do not need."""

    groups: tuple = ()
