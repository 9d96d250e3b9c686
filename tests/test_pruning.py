"""Pruning methods: exact counts, known masks, and the two stages from a dense to a fine-tuned network."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune as reference

from sparrow import catalogue, checkpoint
from sparrow.data._store import read
from sparrow.errors import SparrowError
from sparrow.models._prunable import prunable_weights
from sparrow.pruning import hydra
from sparrow.pruning import random as random_method
from sparrow.pruning._masks import keep_highest
from sparrow.pruning._pruner import OneShot, Pruner
from sparrow.stages.finetune import finetune
from sparrow.stages.prune import prune

KINDS = catalogue.kinds("methods")
# 45, 27 and 35 weights: half of them is not a whole number.
SHAPES = {"first": (5, 1, 3, 3), "second": (3, 9), "third": (5, 7)}


def _weights(seed: int = 0) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in SHAPES.items()}


def _prepare(kind: str, ratio: float, seed: int = 0, **params: object) -> Pruner:
    entry = catalogue.load("methods", kind)
    return entry.prepare(entry.Params(**params), ratio, torch.Generator().manual_seed(seed))


def _masks(kind: str, weights: dict[str, nn.Parameter], ratio: float, seed: int = 0, **params: object) -> dict[str, Tensor]:
    """The masks of a method, after three steps on made-up gradients if it learns."""
    pruner = _prepare(kind, ratio, seed, **params)
    learned, gradients = pruner.start(weights), torch.Generator().manual_seed(1)
    for _ in range(3 if learned else 0):
        for weight in weights.values():
            weight.grad = torch.randn(weight.shape, generator=gradients)
        pruner.after_backward(weights)
        for tensor in learned:
            tensor.data -= 0.1 * tensor.grad
        pruner.after_step(weights)
    return pruner.end(weights)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_loses_its_share_exactly(kind: str, ratio: float) -> None:
    masks = _masks(kind, _weights(), ratio)
    assert [int((~mask).sum()) for mask in masks.values()] == [round(ratio * size) for size in (45, 27, 35)]


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9, 0.99])
def test_global_lwm_prunes_its_share_of_the_whole_exactly(ratio: float) -> None:
    masks = _masks("lwm", _weights(), ratio, scope="global")
    assert sum(int((~mask).sum()) for mask in masks.values()) == round(ratio * 107)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_bool_and_fit_their_weights(kind: str) -> None:
    masks = _masks(kind, _weights(), 0.5)
    assert {name: (mask.dtype, mask.shape) for name, mask in masks.items()} == {
        name: (torch.bool, shape) for name, shape in SHAPES.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_decided_by_weights_and_generator(kind: str) -> None:
    masks = []
    for global_seed in (0, 1):
        torch.manual_seed(global_seed)
        masks.append(_masks(kind, _weights(), 0.5, seed=7))
    assert all(torch.equal(masks[0][name], masks[1][name]) for name in SHAPES)


@pytest.mark.parametrize(
    ("scores", "ratio", "kept"),
    [
        ([3.0, 1.0, 2.0, 4.0], 0.5, [True, False, False, True]),
        ([1.0, 1.0, 1.0, 1.0], 0.5, [False, False, True, True]),
        ([1.0, 2.0, 1.0, 1.0], 0.5, [False, True, False, True]),
        ([3.0, 1.0, 2.0, 4.0], 0.1, [True, True, True, True]),
    ],
)
def test_ties_go_in_the_order_of_memory(scores: list, ratio: float, kept: list) -> None:
    assert keep_highest(torch.tensor(scores), ratio).tolist() == kept


def test_lwm_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([[0.5, -3.0, 0.1], [-0.2, 2.0, -1.0]]))
    assert _masks("lwm", {"layer": weight}, 0.5)["layer"].tolist() == [[False, True, False], [False, True, True]]


def test_global_lwm_by_hand() -> None:
    weights = {"small": nn.Parameter(torch.tensor([[0.1, -0.2, 0.6]])), "large": nn.Parameter(torch.tensor([[-5.0, 0.5, 4.0]]))}
    masks = _masks("lwm", weights, 0.5, scope="global")
    assert [mask.tolist() for mask in masks.values()] == [[[False, False, True]], [[True, False, True]]]


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.9])
def test_lwm_is_the_l1_pruning_of_torch(ratio: float) -> None:
    weights = _weights()
    masks = _masks("lwm", weights, ratio)
    for name, weight in weights.items():
        layer = nn.Module()
        layer.register_parameter("weight", nn.Parameter(weight.detach().clone()))
        reference.l1_unstructured(layer, "weight", amount=ratio)
        assert torch.equal(masks[name], layer.weight_mask.bool())


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.9])
def test_global_lwm_is_the_global_l1_pruning_of_torch(ratio: float) -> None:
    weights = _weights()
    masks = _masks("lwm", weights, ratio, scope="global")
    layers = {name: nn.Module() for name in weights}
    for name, layer in layers.items():
        layer.register_parameter("weight", nn.Parameter(weights[name].detach().clone()))
    pairs = [(layer, "weight") for layer in layers.values()]
    reference.global_unstructured(pairs, pruning_method=reference.L1Unstructured, amount=ratio)
    assert all(torch.equal(masks[name], layer.weight_mask.bool()) for name, layer in layers.items())


def test_random_masks_do_not_look_at_the_weights() -> None:
    masks = [_masks("random", _weights(seed), 0.5, seed=7) for seed in (0, 1)]
    assert all(torch.equal(masks[0][name], masks[1][name]) for name in SHAPES)


def test_random_masks_depend_on_the_generator() -> None:
    assert not torch.equal(*(_masks("random", _weights(), 0.5, seed=seed)["first"] for seed in (0, 1)))


def test_random_pruning_spares_no_position() -> None:
    weights = {"layer": nn.Parameter(torch.ones(2, 5))}
    kept = sum(_masks("random", weights, 0.7, seed=seed)["layer"].float() for seed in range(1000)) / 1000
    assert kept.flatten().tolist() == pytest.approx([0.3] * 10, abs=0.06)


W0 = [[2.0, -1.0, 0.5], [-4.0, 3.0, 0.1]]


def test_hydra_starts_at_scores_proportional_to_the_weights() -> None:
    # Three inputs a unit and a largest weight of 4: sqrt(6 / 3) / 4 times the weights.
    scores = hydra.initial_scores(torch.tensor(W0), 6.0)
    assert scores.flatten().tolist() == pytest.approx([2**0.5 / 4 * weight for row in W0 for weight in row])


def test_hydra_counts_a_filter_s_inputs_over_its_window() -> None:
    scores = hydra.initial_scores(torch.ones(4, 2, 3, 3), 6.0)
    assert scores.unique().tolist() == pytest.approx([(6 / 18) ** 0.5])


def test_hydra_takes_a_layer_of_zeros() -> None:
    assert hydra.initial_scores(torch.zeros(2, 3), 6.0).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_hydra_starts_from_the_masks_of_lwm() -> None:
    weights = _weights()
    expected = _masks("lwm", weights, 0.9)
    pruner = _prepare("hydra", 0.9)
    pruner.start(weights)
    assert all(torch.equal(mask, expected[name]) for name, mask in pruner.end(weights).items())


def test_hydra_step_by_hand() -> None:
    # Half of six weights stay: 2, -4 and 3 at first. The gradient lowers the score of 2 and raises that of -1.
    weight = nn.Parameter(torch.tensor(W0))
    pruner = _prepare("hydra", 0.5)
    (score,) = pruner.start({"layer": weight})
    assert weight.tolist() == [[2, 0, 0], [-4, 3, 0]]
    weight.grad = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    pruner.after_backward({"layer": weight})
    # dL/ds = dL/dW * W0 * sign(s): 1 * 2 * 1, then 0.5 * (-1) * (-1).
    assert score.grad.tolist() == [[2, 0.5, 0], [0, 0, 0]]
    score.data -= 0.5 * score.grad  # From 0.707 to -0.293, and from -0.354 to -0.604.
    pruner.after_step({"layer": weight})
    assert weight.tolist() == [[0, -1, 0], [-4, 3, 0]]


def test_hydra_gradient_is_that_of_the_straight_through_estimator() -> None:
    # The estimator passes the gradient as if the mask were |s|, so autograd of L(W0 |s|) says the same.
    weight, inputs, labels = nn.Parameter(torch.randn(4, 6)), torch.randn(5, 6), torch.tensor([0, 1, 2, 3, 0])
    dense = weight.detach().clone()
    pruner = _prepare("hydra", 0.5)
    (score,) = pruner.start({"layer": weight})
    surrogate = score.detach().clone().requires_grad_()
    weight.data = dense * surrogate.detach().abs()
    functional.cross_entropy(inputs @ weight.T, labels).backward()
    pruner.after_backward({"layer": weight})
    functional.cross_entropy(inputs @ (dense * surrogate.abs()).T, labels).backward()
    assert score.grad.flatten().tolist() == pytest.approx(surrogate.grad.flatten().tolist(), abs=1e-6)


def test_hydra_weights_never_drift() -> None:
    # Zeros come back at their old values, however often masks have changed.
    weights = _weights()
    dense = copy.deepcopy(weights)
    masks = _masks("hydra", weights, 0.5)
    start = _prepare("hydra", 0.5)
    start.start(copy.deepcopy(dense))
    assert any(not torch.equal(mask, start.end(dense)[name]) for name, mask in masks.items())
    assert all(torch.equal(weights[name], dense[name] * mask) for name, mask in masks.items())


@pytest.mark.parametrize("freeze", [True, False])
def test_hydra_trains_norms_unless_told_otherwise(freeze: bool) -> None:
    assert _prepare("hydra", 0.5, freeze_norms=freeze).trains_norms is not freeze


def _spec(training_spec: dict, kind: str, ratio: float = 0.9, epochs: int = 1) -> dict:
    schedule = training_spec["schedule"] | {"epochs": epochs, "optimizer": "sgd", "lr": 0.1}
    return training_spec | {"method": {"kind": kind}, "ratio": ratio, "schedule": schedule}


def _prune(dense: Path, data: Path, folder: Path, spec: dict) -> Path:
    output = folder / f"{spec['method']['kind']}.safetensors"
    prune(dense, data, output, folder / "pruned.csv", folder / "cost.json", spec)
    return output


@pytest.fixture(scope="module", params=KINDS)
def chain(request: pytest.FixtureRequest, dense: Path, digits: Path, training_spec: dict, tmp_path_factory) -> dict[str, Path]:
    """The files of a digits network on its way through the stages, for one method."""
    folder = tmp_path_factory.mktemp(request.param)
    pruned = _prune(dense, digits, folder, _spec(training_spec, request.param))
    files = {"dense": dense, "pruned": pruned, "finetuned": folder / "finetuned", "curve": folder / "finetuned.csv"}
    finetune(pruned, digits, files["finetuned"], files["curve"], folder / "cost.json", training_spec)
    return files


def test_pruned_weights_are_dense_ones_under_the_mask(chain: dict[str, Path]) -> None:
    dense, pruned = checkpoint.load(chain["dense"]).model.state_dict(), checkpoint.load(chain["pruned"])
    for name, tensor in pruned.model.state_dict().items():
        assert torch.equal(tensor, dense[name] * pruned.masks.get(name, True))


def test_fine_tuning_keeps_the_masks(chain: dict[str, Path]) -> None:
    before, after = checkpoint.load(chain["pruned"]).masks, checkpoint.load(chain["finetuned"]).masks
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_fine_tuned_weights_are_zero_exactly_where_pruned(chain: dict[str, Path]) -> None:
    finetuned = checkpoint.load(chain["finetuned"])
    weights = prunable_weights(finetuned.model)
    assert weights.keys() == finetuned.masks.keys()
    assert all(torch.equal(weights[name] != 0, mask) for name, mask in finetuned.masks.items())


def test_fine_tuning_moves_every_weight_that_is_left(chain: dict[str, Path]) -> None:
    before, after = (prunable_weights(checkpoint.load(chain[stage]).model) for stage in ("pruned", "finetuned"))
    moved = sum(int((after[name] != before[name]).sum()) for name in before)
    # A kept weight whose unit is dead has no gradient; there are a few.
    assert moved > 0.5 * sum(int(weight.count_nonzero()) for weight in before.values())


def test_pruned_weights_have_no_share_in_the_clipped_gradient(dense, digits, training_spec, tmp_path) -> None:
    # One step on all images, its gradient clipped: what is left moves by lr times the limit, as if nothing else existed.
    schedule = {"epochs": 1, "batch_size": 5000, "lr": 0.1, "momentum": 0.0, "max_grad_norm": 0.01}
    pruned = _prune(dense, digits, tmp_path, _spec(training_spec, "random"))
    spec = training_spec | {"schedule": schedule}
    finetune(pruned, digits, tmp_path / "finetuned", tmp_path / "curve.csv", tmp_path / "cost.json", spec)
    before, after = (checkpoint.load(path).model.parameters() for path in (pruned, tmp_path / "finetuned"))
    moved = torch.cat([(new - old).flatten() for old, new in zip(before, after, strict=True)]).norm().item()
    assert moved == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_header_tells_method_and_parents(chain: dict[str, Path]) -> None:
    pruned, finetuned = (checkpoint.load(chain[stage]).header for stage in ("pruned", "finetuned"))
    assert pruned["config"]["method"] == {"kind": chain["pruned"].stem}
    assert pruned["parent"] == checkpoint.file_digest(chain["dense"])
    assert finetuned["parent"] == checkpoint.file_digest(chain["pruned"])


def test_learned_masks_beat_random_ones(dense: Path, digits: Path, training_spec: dict, tmp_path: Path) -> None:
    part, _ = read(digits, "validation")
    losses = {}
    for kind in ("hydra", "random"):
        model = checkpoint.load(_prune(dense, digits, tmp_path, _spec(training_spec, kind, epochs=3))).model
        losses[kind] = functional.cross_entropy(model(part.images), part.labels).item()
    assert losses["hydra"] < losses["random"] - 0.5


def _keeps_all(weights: dict) -> dict:
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}


def _prunes_all(weights: dict) -> dict:
    return {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in weights.items()}


def _keeps_a_few_too_many(weights: dict) -> dict:
    return {name: keep_highest(weight.detach().abs(), 0.89) for name, weight in weights.items()}


def _forgets_a_layer(weights: dict) -> dict:
    return {name: keep_highest(weight.detach().abs(), 0.9) for name, weight in list(weights.items())[1:]}


def _forgets_everything(weights: dict) -> dict:
    return {}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (_keeps_all, "pruned 0 of "),
        (_prunes_all, "pruned .* the ratio 0.9 asks for"),
        (_keeps_a_few_too_many, "pruned .* the ratio 0.9 asks for"),
        (_forgets_a_layer, "gave masks for"),
        (_forgets_everything, "gave masks for"),
    ],
)
def test_method_without_the_ratio_is_refused(bad, message, dense, digits, training_spec, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(random_method, "prepare", lambda params, ratio, generator: OneShot(bad))
    with pytest.raises(SparrowError, match=rf"methods\.random: {message}"):
        _prune(dense, digits, tmp_path, _spec(training_spec, "random"))
    assert list(tmp_path.iterdir()) == []
