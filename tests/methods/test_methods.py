"""What each pruning method does, step by step, on tensors that a pencil can follow."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.adversary.fgsm import fgsm
from sparrow.errors import SparrowError
from sparrow.methods import deadwooding, harp, hydra, lwm, snip
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout
from sparrow.pruning.learned_scores import initial_scores
from sparrow.pruning.learned_shares import FilterBudget, WeightBudget
from sparrow.pruning.pruner import Batch, Pruner
from sparrow.pruning.sparse_targets import distance
from sparrow.settings import Threat
from sparrow.stages._mask_check import check_masks
from sparrow.training.loop import Step


def _prepare(kind: str, ratio: float, seed: int = 0, **params: object) -> Pruner:
    entry = catalogue.load("methods", kind)
    return entry.prepare(entry.Params(**params), ratio, torch.Generator().manual_seed(seed))


def _never() -> None:
    raise AssertionError("the batch was evaluated again")


def _step(number: int = 0, total: int = 4, per_epoch: int = 2, again: Callable = _never) -> Step:
    return Step(number, total, per_epoch, total, 0.1, again)


def _layer(rows: list) -> dict[str, nn.Parameter]:
    return {"layer": nn.Parameter(torch.tensor(rows))}


@pytest.fixture
def layout(tiny: nn.Module) -> Layout:
    return Layout(tiny, (1, 4, 4))


# Random.


def test_random_filters_go_whole(tiny: nn.Module, layout: Layout) -> None:
    masks = _prepare_and_end("random", tiny, layout, 0.5)
    assert sorted(masks["0.weight"].flatten(1).sum(dim=1).tolist()) == [0, 0, 9]
    assert sorted(masks["3.weight"].sum(dim=1).tolist()) == [0] * 4 + [12] * 4
    assert masks["5.weight"].all()


def _prepare_and_end(kind: str, model: nn.Module, layout: Layout, ratio: float, seed: int = 0) -> dict[str, Tensor]:
    pruner = _prepare(kind, ratio, seed, granularity="filter")
    pruner.start(prunable_weights(model), layout)
    return pruner.end(prunable_weights(model))


def test_random_filters_spare_no_place(tiny: nn.Module, layout: Layout) -> None:
    kept = sum(_prepare_and_end("random", tiny, layout, 0.5, seed)["3.weight"].any(dim=1).float() for seed in range(500))
    assert (kept / 500).tolist() == pytest.approx([0.5] * 8, abs=0.1)


# Lowest weight magnitude, in steps.


@pytest.mark.parametrize(("step", "ratio"), [(0, 0), (1, 0.5), (2, 0.75), (3, 0.875)])
def test_lwm_steps_keep_the_same_share_of_what_was_left(step: int, ratio: float) -> None:
    assert lwm.step_ratio(0.875, step, 3) == pytest.approx(ratio)


@pytest.mark.parametrize("ratio", [0.1, 0.3])
def test_the_last_step_of_lwm_has_the_ratio_to_the_bit(ratio: float) -> None:
    assert lwm.step_ratio(ratio, 3, 3) == ratio


def test_iterative_lwm_by_hand() -> None:
    # Of eight weights, three steps leave 4, 2 and 1. There are six steps of training: three after each of the first two.
    weights = _layer([[1.0, -2.0, 3.0, -4.0], [5.0, -6.0, 7.0, -8.0]])
    weight = weights["layer"]
    pruner = _prepare("lwm", 0.875, steps=3)
    (learned,) = pruner.start(weights, None)
    assert learned is weight
    assert weight.flatten().tolist() == [0, 0, 0, 0, 5, -6, 7, -8]
    left = []
    for number in range(6):
        weight.grad = torch.ones_like(weight)
        pruner.after_backward(weights, _step(number, total=6, per_epoch=6))
        # What is gone has no gradient.
        assert torch.equal(weight.grad, (weight != 0).float())
        # Training makes -8 small, and touches what is gone.
        weight.data += torch.tensor([[9.0, 9.0, 9.0, 9.0], [0.0, 0.0, 0.0, 2.5]])
        pruner.after_step(weights, _step(number, total=6, per_epoch=6))
        left.append(int(weight.count_nonzero()))
    assert left == [4, 4, 2, 2, 2, 2]
    # -8 was -0.5 at the second step, so -6 and 7 stayed.
    assert weight.flatten().tolist() == [0, 0, 0, 0, 0, -6, 7, 0]
    assert pruner.end(weights)["layer"].flatten().tolist() == [False] * 6 + [True, False]
    assert weight.flatten().tolist() == [0, 0, 0, 0, 0, 0, 7, 0]


@pytest.mark.parametrize(
    ("total", "steps", "after"),
    [(6, 3, [2]), (6, 2, []), (6, 4, [1, 3]), (5, 4, [1, 3]), (100, 5, [24, 49, 74]), (1, 2, [])],
)
def test_iterative_lwm_prunes_at_even_distances(total: int, steps: int, after: list) -> None:
    weights = {"layer": nn.Parameter(torch.arange(1.0, 1001.0).view(10, 100))}
    pruner, found = _prepare("lwm", 0.9, steps=steps), []
    pruner.start(weights, None)
    for number in range(total):
        before = weights["layer"].count_nonzero()
        pruner.after_step(weights, _step(number, total))
        if weights["layer"].count_nonzero() != before:
            found.append(number)
    assert found == after
    assert int(pruner.end(weights)["layer"].sum()) == 100


def test_iterative_lwm_under_lamp_divides_by_the_dense_weights() -> None:
    # LAMP scores of the dense layers: 1/30, 4/29, 9/25 and 1 in one, 1/4, 1/3, 1/2 and 1 in the other.
    weights = {"uneven": nn.Parameter(torch.tensor([[1.0, 2.0, 3.0, 4.0]])), "even": nn.Parameter(torch.ones(1, 4))}
    pruner = _prepare("lwm", 5 / 8, steps=2, allocation="lamp")
    pruner.start(weights, None)
    # The first step removes 8 (1 - sqrt(3/8)) of them, 3 in whole numbers.
    assert [weight.tolist() for weight in weights.values()] == [[[0, 0, 3, 4]], [[0, 1, 1, 1]]]
    # As they are now, two more of the second layer would go; by the dense ones, one of each.
    weights["even"].data = torch.tensor([[0.0, 0.1, 0.1, 1.0]])
    masks = pruner.end(weights)
    assert [mask.tolist() for mask in masks.values()] == [[[False, False, False, True]], [[False, False, True, True]]]


def test_iterative_lwm_trains_all_parameters() -> None:
    assert _prepare("lwm", 0.5, steps=2).others == "all"


@pytest.mark.parametrize("granularity", ["weight", "filter"])
@pytest.mark.parametrize("allocation", ["uniform", "erk", "lamp", "global"])
def test_iterative_lwm_revives_nothing(residual: nn.Module, allocation: str, granularity: str) -> None:
    weights, layout = prunable_weights(residual), Layout(residual, (1, 8, 8))
    pruner = _prepare("lwm", 0.8, steps=5, allocation=allocation, granularity=granularity)
    pruner.start(weights, layout)
    gone = {name: weight == 0 for name, weight in weights.items()}
    for number in range(20):
        for weight in weights.values():
            weight.data += 0.1 * torch.randn(weight.shape)
        pruner.after_step(weights, _step(number, total=20))
        assert all((weights[name] == 0)[zeros].all() for name, zeros in gone.items())
        gone = {name: weight == 0 for name, weight in weights.items()}
    masks = pruner.end(weights)
    assert not any(masks[name][zeros].any() for name, zeros in gone.items())
    assert check_masks(masks, weights, layout, 0.8, f"{granularity}s") is None


def test_iterative_lwm_with_many_steps_revives_no_filter() -> None:
    layers = nn.Conv2d(1, 16, 4), nn.Conv2d(16, 32, 4), nn.Flatten(), nn.Linear(128, 100), nn.Linear(100, 10)
    network = nn.Sequential(*layers)
    weights = prunable_weights(network)
    pruner, gone = _prepare("lwm", 0.5, steps=40, allocation="erk", granularity="filter"), 0
    pruner.start(weights, Layout(network, (1, 8, 8)))
    for number in range(39):
        pruner.after_step(weights, _step(number, total=39))
        left = ~pruner.masks["1.weight"].flatten(1).any(dim=1)
        assert int(left.sum()) >= gone
        gone = int(left.sum())


# Connection sensitivity.


def test_snip_by_hand() -> None:
    # Averaged over two batches the gradient of the first is 0, and that of the third 1.5.
    weights = _layer([[4.0, -3.0, 2.0, 1.0]])
    pruner = _prepare("snip", 0.5, batches=2)
    assert pruner.start(weights, None) == []
    for number, gradient in enumerate([[5.0, 1.0, 1.0, -0.5], [-5.0, 1.0, 2.0, -0.5]]):
        weights["layer"].grad = torch.tensor([gradient])
        pruner.after_backward(weights, _step(number))
        pruner.after_step(weights, _step(number))
    # |w g| is 0, 6, 6 and 1.
    assert pruner.end(weights)["layer"].tolist() == [[False, True, True, False]]
    assert weights["layer"].tolist() == [[4, -3, 2, 1]]


@pytest.mark.parametrize(("batches", "per_epoch", "taken"), [(1, 5, 1), (3, 5, 3), (7, 5, 7), (None, 5, 5), (None, 1, 1)])
def test_snip_takes_one_step_a_batch(batches: int | None, per_epoch: int, taken: int) -> None:
    assert snip.Params(batches=batches).steps_of(10 * per_epoch, per_epoch) == taken


def test_no_method_takes_more_steps_than_its_schedule_has() -> None:
    assert snip.Params(batches=99).steps_of(20, 5) == 20
    assert hydra.Params().steps_of(20, 5) == 20
    assert [lwm.Params(steps=steps).steps_of(20, 5) for steps in (1, 3)] == [0, 20]


def test_snip_competes_over_the_whole_network_if_told_so() -> None:
    weights = {"small": nn.Parameter(torch.ones(1, 2)), "large": nn.Parameter(torch.ones(1, 2))}
    for allocation, kept in [("global", [[[False, False]], [[True, True]]]), ("uniform", [[[False, True]], [[False, True]]])]:
        pruner = _prepare("snip", 0.5, allocation=allocation)
        pruner.start(weights, None)
        weights["small"].grad, weights["large"].grad = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, -4.0]])
        pruner.after_backward(weights, _step())
        assert [mask.tolist() for mask in pruner.end(weights).values()] == kept


# ADMM.


def test_admm_by_hand() -> None:
    weights = _layer([[1.0, -2.0, 3.0, 4.0]])
    weight = weights["layer"]
    pruner = _prepare("admm", 0.5, rho=0.1, rho_growth=2.0, updates=3)
    assert pruner.others == "all"
    (learned,) = pruner.start(weights, None)
    assert learned is weight
    # Z is W without its two smallest, and U is 0: the gradient gains 0.1 (W - Z).
    weight.grad = torch.ones(1, 4)
    pruner.after_backward(weights, _step(0, total=6))
    assert weight.grad.flatten().tolist() == pytest.approx([1.1, 0.8, 1, 1])
    pruner.after_step(weights, _step(0, total=6))
    assert list(pruner.trace().values()) == pytest.approx([0.1, math.sqrt(5), 0])
    # After the second of six steps rho doubles, Z becomes (5, 0, 0, 4) and U what W has beside it: (0, -2, 3, 0).
    weight.data = torch.tensor([[5.0, -2.0, 3.0, 4.0]])
    pruner.after_step(weights, _step(1, total=6))
    weight.grad = torch.zeros(1, 4)
    pruner.after_backward(weights, _step(2, total=6))
    assert weight.grad.flatten().tolist() == pytest.approx([0, 0.2 * -4, 0.2 * 6, 0])
    # |W - Z| is that of (0, -2, 3, 0), and Z moved by (5, 0, -3, 0).
    assert list(pruner.trace()) == ["rho", "primal residual |W - Z|", "dual residual rho |Z - Z'|"]
    assert list(pruner.trace().values()) == pytest.approx([0.2, math.sqrt(13), 0.2 * math.sqrt(34)])
    # W + U is (5, -4, 6, 3) now: Z becomes (5, 0, 6, 0) and U (0, -4, 0, 3).
    weight.data = torch.tensor([[5.0, -2.0, 3.0, 3.0]])
    pruner.after_step(weights, _step(2, total=6))
    pruner.after_step(weights, _step(3, total=6))
    weight.grad = torch.zeros(1, 4)
    pruner.after_backward(weights, _step(4, total=6))
    assert weight.grad.flatten().tolist() == pytest.approx([0, 0.4 * -6, 0.4 * -3, 0.4 * 6])
    assert list(pruner.trace().values()) == pytest.approx([0.4, math.sqrt(4 + 9 + 9), 0.4 * math.sqrt(36 + 16)])
    # Two updates lie between three parts. At the end magnitudes decide, not Z, and the values are W's own.
    pruner.after_step(weights, _step(5, total=6))
    assert pruner.trace()["rho"] == pytest.approx(0.4)
    assert pruner.end(weights)["layer"].tolist() == [[True, False, False, True]]
    assert weight.tolist() == [[5, -2, 3, 3]]


@pytest.mark.parametrize(("updates", "total", "after"), [(1, 6, []), (3, 6, [1, 3]), (4, 6, [1, 2, 4]), (10, 3, [0, 1, 2])])
def test_admm_updates_between_even_parts(updates: int, total: int, after: list) -> None:
    weights, found = _layer([[1.0, 2.0]]), []
    pruner = _prepare("admm", 0.5, rho=1.0, rho_growth=2.0, updates=updates)
    pruner.start(weights, None)
    rho = 1.0
    for number in range(total):
        pruner.after_step(weights, _step(number, total))
        if pruner.trace()["rho"] != rho:
            found.append(number)
            rho = pruner.trace()["rho"]
    assert found == after


def test_admm_ranks_filters_by_l2_norm(tiny: nn.Module, layout: Layout) -> None:
    # (3, 0, ...) is longer than (1, 1, 1, 0, ...) and (0.5, 0.5, ...), whose L1 norms are as large and larger.
    weights = prunable_weights(tiny)
    weights["0.weight"].data.zero_()
    weights["0.weight"].data[0, 0, 0, 0] = 3
    weights["0.weight"].data[1, 0, 0] = 1
    weights["0.weight"].data[2] = 0.5
    pruner = _prepare("admm", 0.5, granularity="filter")
    pruner.start(weights, layout)
    assert pruner.end(weights)["0.weight"].flatten(1).all(dim=1).tolist() == [True, False, False]


def test_admm_penalty_is_the_gradient_of_its_formula() -> None:
    weights = {"layer": nn.Parameter(torch.randn(4, 5))}
    pruner = _prepare("admm", 0.5, rho=0.3, updates=2)
    pruner.start(weights, None)
    pruner.after_step(weights, _step(1, total=4))
    weights["layer"].data += torch.randn(4, 5)
    penalty = 0.5 * pruner.rho * (weights["layer"] - pruner.targets["layer"] + pruner.duals["layer"]).square().sum()
    (expected,) = torch.autograd.grad(penalty, weights["layer"])
    weights["layer"].grad = torch.zeros(4, 5)
    pruner.after_backward(weights, _step(2, total=4))
    assert torch.allclose(weights["layer"].grad, expected, atol=1e-6)


def test_distance_is_that_over_all_layers() -> None:
    first = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([[0.0], [4.0]])}
    assert distance(first, {name: torch.zeros_like(value) for name, value in first.items()}) == 5


# Learned scores, and S2AP.


def test_filter_scores_start_at_l1_norms() -> None:
    # Four inputs a filter; norms 2 and 4: sqrt(9 / 4) times 1/2 and 1.
    weight = torch.tensor([[[[0.5, -0.5], [0.5, -0.5]]], [[[-1.0, 1.0], [1.0, 1.0]]]])
    scores = initial_scores(weight, 9.0, by_filter=True)
    assert (scores.shape, scores.flatten().tolist()) == ((2, 1, 1, 1), [0.75, 1.5])


def test_hydra_gradient_of_a_filter_is_the_sum_over_its_group(residual: nn.Module) -> None:
    weights, layout = prunable_weights(residual), Layout(residual, (1, 8, 8))
    dense = {name: weight.detach().clone() for name, weight in weights.items()}
    pruner = _prepare("hydra", 0.5, granularity="filter")
    pruner.start(weights, layout)
    # The output layer has no scores.
    assert set(pruner.scores) == set(weights) - {"7.weight"}
    for weight in weights.values():
        weight.grad = torch.randn(weight.shape)
    pruner.after_backward(weights, _step())
    for name in ("0.weight", "3.conv2.weight"):
        expected = sum((weights[one].grad[2] * dense[one][2]).sum().item() for one in ("0.weight", "3.conv2.weight"))
        assert pruner.scores[name].grad[2].item() == pytest.approx(expected, rel=1e-4)
    alone = (weights["3.conv1.weight"].grad[1] * dense["3.conv1.weight"][1]).sum().item()
    assert pruner.scores["3.conv1.weight"].grad[1].item() == pytest.approx(alone, rel=1e-4)


def test_hydra_keeps_groups_whole_while_it_learns(residual: nn.Module) -> None:
    weights, layout = prunable_weights(residual), Layout(residual, (1, 8, 8))
    pruner = _prepare("hydra", 0.5, granularity="filter")
    pruner.start(weights, layout)
    # Half of four filters: the scores of both layers decide together, 1 + 9, 8 + 1, 2 + 3 and 4 + 0.
    pruner.scores["0.weight"].copy_(torch.tensor([1.0, -8.0, 2.0, -4.0]).view(4, 1, 1, 1))
    pruner.scores["3.conv2.weight"].copy_(torch.tensor([-9.0, 1.0, 3.0, 0.0]).view(4, 1, 1, 1))
    pruner.after_step(weights, _step())
    for name in ("0.weight", "3.conv2.weight"):
        assert weights[name].flatten(1).any(dim=1).tolist() == [True, True, False, False]


W0 = [[4.0, -2.0], [1.0, 3.0]]


def _s2ap(gamma: float, gradient: list, worst: list, again: list) -> tuple[Tensor, list, Tensor]:
    """One step of HYDRA with S2AP from the scores W0 / 4: the gradient it takes, the weights it takes it at, its scores."""
    weights, seen = _layer(W0), []
    pruner = _prepare("hydra", 0.5, init_gain=2.0, s2ap_gamma=gamma)
    (score,) = pruner.start(weights, None)

    def evaluate_again() -> None:
        seen.append(weights["layer"].flatten().tolist())
        weights["layer"].grad = torch.tensor(again)

    weights["layer"].grad = torch.tensor(gradient)
    with torch.no_grad():
        pruner.after_backward(weights, _step(again=evaluate_again))
    assert seen == worst
    before = score.clone()
    pruner.after_step(weights, _step())
    # The weights of the next step are those of the scores, not of the worst ones nearby.
    assert weights["layer"].flatten().tolist() == [4, 0, 0, 3]
    return score.grad, seen, before


def test_without_s2ap_a_batch_is_evaluated_once() -> None:
    gradient, seen, scores = _s2ap(0.0, [[0.0, -1.0], [0.0, 0.0]], [], [])
    assert gradient.tolist() == [[0, -2], [0, 0]]
    assert seen == []
    assert scores.tolist() == [[1, -0.5], [0.25, 0.75]]


def test_s2ap_by_hand() -> None:
    # Scores (1, -0.5, 0.25, 0.75) have the length sqrt(1.875); dL/ds is (-1) (-2) (-1) = -2 for the second, so that one goes
    # half the length down, to -1.18, and 4 and -2 are kept instead of 4 and 3. The gradient there is that of the step.
    gradient, _, scores = _s2ap(0.5, [[0.0, -1.0], [0.0, 0.0]], [[4, -2, 0, 0]], [[1.0, 1.0], [1.0, 1.0]])
    assert gradient.tolist() == [[4, 2], [1, 3]]
    assert scores.tolist() == [[1, -0.5], [0.25, 0.75]]


@pytest.mark.parametrize("kind", ["hydra", "harp"])
def test_s2ap_begins_after_its_warmup(kind: str) -> None:
    # One and a half epochs of two steps.
    weights, found = _layer(W0), []
    pruner = _prepare(kind, 0.5, s2ap_gamma=0.1, s2ap_warmup_epochs=1.5)
    pruner.start(weights, None)
    for number in range(6):
        weights["layer"].grad = torch.ones(2, 2)
        pruner.after_backward(weights, _step(number, total=6, again=lambda number=number: found.append(number)))
    assert found == [3, 4, 5]


def test_s2ap_takes_the_sign_of_the_worst_scores() -> None:
    # dL/ds is (-1) (-2) (-1) = -2 and 1 * 3 * 1 = 3; the fourth goes up by gamma |s| 3 / sqrt(13), the second down. With the
    # opposite gradients the second goes up through zero, from -0.5 to 0.26, and the fourth down through it, to -0.39.
    gradient, _, _ = _s2ap(1.0, [[0.0, 1.0], [0.0, -1.0]], [[4, 0, 0, 3]], [[1.0, 1.0], [1.0, 1.0]])
    length = math.sqrt(1.875)
    assert -0.5 + length * 2 / math.sqrt(13) == pytest.approx(0.26, abs=0.01)
    assert 0.75 - length * 3 / math.sqrt(13) == pytest.approx(-0.39, abs=0.01)
    assert gradient.tolist() == [[4, -2], [1, -3]]


def test_s2ap_does_without_a_gradient() -> None:
    gradient, _, _ = _s2ap(0.5, [[0.0, 0.0], [0.0, 0.0]], [[4, 0, 0, 3]], [[1.0, 1.0], [1.0, 1.0]])
    assert gradient.tolist() == [[4, 2], [1, 3]]


def test_s2ap_moves_each_layer_by_its_own_length() -> None:
    weights = {"a": nn.Parameter(torch.randn(4, 6)), "b": nn.Parameter(100 * torch.randn(3, 4))}
    pruner, moved = _prepare("hydra", 0.5, s2ap_gamma=0.1), {}
    pruner.start(weights, None)
    before = {name: score.clone() for name, score in pruner.scores.items()}

    def evaluate_again() -> None:
        for name, score in pruner.scores.items():
            moved[name] = score - before[name]

    for weight in weights.values():
        weight.grad = torch.randn(weight.shape)
    pruner.differentiate(weights)
    gradients = {name: score.grad.clone() for name, score in pruner.scores.items()}
    pruner.after_backward(weights, _step(again=evaluate_again))
    for name, score in before.items():
        assert moved[name].norm().item() == pytest.approx(0.1 * score.norm().item(), rel=1e-4)
        # Up the gradient.
        assert functional.cosine_similarity(moved[name].flatten(), gradients[name].flatten(), dim=0).item() > 0.9999
        assert torch.equal(pruner.scores[name], score)


# HARP.


def test_harp_shares_lie_between_the_floor_and_one() -> None:
    assert harp.shares(torch.tensor([-100.0, 0.0, math.log(3), 100.0]), 0.2).tolist() == pytest.approx([0.2, 0.6, 0.8, 1])


@pytest.mark.parametrize(
    ("ratio", "params", "share"),
    [
        # The released strategies keep 10 %, whatever the target.
        (0.9, {}, 0.1),
        (0.95, {}, 0.1),
        (0.99, {}, 0.1),
        (0.99, {"start": 0.99}, 0.99),
        # On the budget, where the start would be under it.
        (0.5, {}, 0.5),
        (0.001, {"start": 0.2}, 0.0999 + 0.9001 * 0.99),
        # At least one hundredth of the way up from the floor.
        (0.9, {"floor": 0.999}, 0.0999 + 0.9001 * 0.01),
    ],
)
def test_harp_starts_from_a_share_that_is_not_below_the_budget(ratio: float, params: dict, share: float) -> None:
    weights = {"a": nn.Parameter(torch.randn(4, 6)), "b": nn.Parameter(torch.randn(3, 4))}
    pruner = _prepare("harp", ratio, **params)
    *scores, rates = pruner.start(weights, None)
    assert [score.shape for score in scores] == [(4, 6), (3, 4)]
    lowest = params.get("floor", 0.1) * (1 - ratio)
    assert harp.shares(rates, lowest).tolist() == pytest.approx([share] * 2, abs=1e-6)
    trace = pruner.trace()
    assert trace.pop("gamma") == 0.01
    assert trace == pytest.approx(
        {"kept / target": share / (1 - ratio), "kept share of a": share, "kept share of b": share}, abs=1e-5
    )


def test_harp_masks_follow_the_shares() -> None:
    weights = {"a": nn.Parameter(torch.arange(1.0, 11.0).view(2, 5)), "b": nn.Parameter(torch.arange(1.0, 21.0).view(4, 5))}
    pruner = _prepare("harp", 0.5, floor=0.0, start=0.99)
    *_, rates = pruner.start(weights, None)
    # 99 % of 10 and of 20 are all of them.
    assert [int(weight.count_nonzero()) for weight in weights.values()] == [10, 20]
    rates.copy_(torch.tensor([0.3, 0.001]).logit())
    pruner.after_step(weights, _step())
    # 3 of 10, and of 20 the one that every layer keeps.
    assert [weight[weight != 0].tolist() for weight in weights.values()] == [[8, 9, 10], [20]]


def test_harp_gradients_by_hand() -> None:
    # 3 of 6 weights are to be kept, and the floor is 0.05: with a sigmoid of 0.4 less than half is, with 0.8 more.
    weights = {"a": nn.Parameter(torch.tensor([[1.0, 2.0, -3.0, 4.0]])), "b": nn.Parameter(torch.tensor([[5.0, -6.0]]))}
    pruner = _prepare("harp", 0.5, gamma=0.2)
    *_, rates = pruner.start(weights, None)
    for share, pull in [(0.4, [-8.0, 2.5]), (0.8, [-8 + 0.8 / 3, 2.5 + 0.4 / 3])]:
        rates.copy_(torch.full((2,), share).logit())
        weights["a"].grad, weights["b"].grad = torch.tensor([[1.0, 1.0, 1.0, -2.0]]), torch.tensor([[0.5, 0.0]])
        pruner.after_backward(weights, _step())
        # dL/dM = dL/dW * W0 adds up to 1 + 2 - 3 - 8 and to 2.5; the penalty 0.2 (kept / 3 - 1) adds 0.8 / 3 and 0.4 / 3.
        slope = 0.95 * share * (1 - share)
        assert rates.grad.tolist() == pytest.approx([slope * value for value in pull], rel=1e-3)
    assert pruner.scores["a"].grad.tolist() == [[1, 2, 3, -8]]


def test_harp_gradients_are_those_of_the_straight_through_estimator() -> None:
    # The masks count as |s| for the scores and as k for the rates; autograd of that says the same.
    inputs, labels = torch.randn(5, 6), torch.tensor([0, 1, 2, 3, 0])
    weights = {"a": nn.Parameter(torch.randn(7, 6)), "b": nn.Parameter(torch.randn(4, 7))}
    dense = {name: weight.detach().clone() for name, weight in weights.items()}
    pruner = _prepare("harp", 0.9, gamma=0.3)
    *scores, rates = pruner.start(weights, None)
    functional.cross_entropy((inputs @ weights["a"].T).relu() @ weights["b"].T, labels).backward()
    pruner.after_backward(weights, _step())

    masks = pruner.masks()
    learned = [score.detach().clone().requires_grad_() for score in scores]
    learned_rates = rates.detach().clone().requires_grad_()
    kept = harp.shares(learned_rates, 0.01)
    effective = {}
    for place, name in enumerate(weights):
        through = learned[place].abs() + kept[place]
        effective[name] = dense[name] * (masks[name] + through - through.detach())
    loss = functional.cross_entropy((inputs @ effective["a"].T).relu() @ effective["b"].T, labels)
    loss = loss + 0.3 * ((42 * kept[0] + 28 * kept[1]) / 7 - 1).clamp_min(0)
    expected = torch.autograd.grad(loss, [*learned, learned_rates])
    assert all(torch.allclose(one.grad, two, atol=1e-5) for one, two in zip([*scores, rates], expected, strict=True))
    assert rates.grad.abs().min() > 0


def test_harp_rates_of_a_group_learn_from_all_its_layers(residual: nn.Module) -> None:
    weights, layout = prunable_weights(residual), Layout(residual, (1, 8, 8))
    dense = {name: weight.detach().clone() for name, weight in weights.items()}
    pruner = _prepare("harp", 0.5, granularity="filter", gamma=1e-9)
    *_, rates = pruner.start(weights, layout)
    for weight in weights.values():
        weight.grad = torch.randn(weight.shape)
    pruner.after_backward(weights, _step())
    total = {name: (weights[name].grad * dense[name]).sum().item() for name in weights}
    slope = 0.95 * torch.sigmoid(rates) * (1 - torch.sigmoid(rates))
    expected = [
        total["0.weight"] + total["3.conv2.weight"],
        total["3.conv1.weight"],
        total["4.conv1.weight"],
        total["4.conv2.weight"] + total["4.shortcut.0.weight"],
    ]
    assert (rates.grad / slope).tolist() == pytest.approx(expected, rel=1e-3)


def test_harp_gamma_grows_until_the_budget_is_met_and_then_stays() -> None:
    weights = {"a": nn.Parameter(torch.randn(4, 6)), "b": nn.Parameter(torch.randn(3, 4))}
    pruner = _prepare("harp", 0.5, gamma=0.1, start=0.99)
    *_, rates = pruner.start(weights, None)
    gammas = []
    for number in range(10):
        if number == 5:  # In the third epoch.
            rates.fill_(-3.0)
        if number == 8:
            rates.fill_(3.0)
        pruner.after_step(weights, _step(number, total=10, per_epoch=2))
        gammas.append(pruner.trace()["gamma"])
    assert gammas == pytest.approx([0.1, 0.2, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3])


def test_harp_penalty_uses_the_gamma_of_its_epoch() -> None:
    weights = {"a": nn.Parameter(torch.ones(2, 3))}
    pruner = _prepare("harp", 0.5, gamma=0.1, start=0.99)
    *_, rates = pruner.start(weights, None)
    slope = 0.95 * torch.sigmoid(rates) * (1 - torch.sigmoid(rates))
    for number, gamma in enumerate([0.1, 0.1, 0.2, 0.2, 0.3]):
        weights["a"].grad = torch.zeros(2, 3)
        pruner.after_backward(weights, _step(number, total=6))
        assert (rates.grad / slope).tolist() == pytest.approx([gamma / 0.5], rel=1e-4)
        pruner.after_step(weights, _step(number, total=6))


@pytest.mark.parametrize("granularity", ["weight", "filter"])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9, 0.99])
def test_harp_meets_its_budget_whatever_it_has_learned(residual: nn.Module, ratio: float, granularity: str) -> None:
    if granularity == "filter":
        ratio = min(ratio, 0.87)  # Of four filters, more would leave none to be compared with.
    weights, layout = prunable_weights(residual), Layout(residual, (1, 8, 8))
    pruner = _prepare("harp", ratio, granularity=granularity)
    *_, rates = pruner.start(weights, layout)
    for seed in range(5):
        rates.copy_(3 * torch.randn(rates.shape, generator=torch.Generator().manual_seed(seed)))
        masks = pruner.end(weights)
        assert check_masks(masks, weights, layout, ratio, pruner.budget) is None
        if granularity == "weight":
            size = sum(mask.numel() for mask in masks.values())
            assert sum(int((~mask).sum()) for mask in masks.values()) == round(ratio * size)


def test_harp_with_s2ap_takes_the_rates_gradient_at_the_worst_scores() -> None:
    weights = _layer(W0)
    pruner = _prepare("harp", 0.5, init_gain=2.0, s2ap_gamma=0.5)
    score, rates = pruner.start(weights, None)
    rates.copy_(torch.zeros(1))
    pruner.after_step(weights, _step())
    slope, kept = 0.95 / 4, 0.05 + 0.95 / 2

    def evaluate_again() -> None:
        assert weights["layer"].flatten().tolist() == [4, -2, 0, 0]
        weights["layer"].grad = torch.ones(2, 2)

    weights["layer"].grad = torch.tensor([[0.0, -1.0], [0.0, 0.0]])
    pruner.after_backward(weights, _step(again=evaluate_again))
    assert score.grad.tolist() == [[4, 2], [1, 3]]
    # dL/dM adds up to 4 - 2 + 1 + 3, and k = 0.525 is above the budget of 0.5.
    assert kept > 0.5
    assert rates.grad.tolist() == pytest.approx([slope * (6 + 0.01 / 0.5)], rel=1e-4)
    assert score.tolist() == [[1, -0.5], [0.25, 0.75]]


# Budgets for learned shares.


def test_weight_budget_counts_what_is_kept() -> None:
    weights = {"a": torch.zeros(2, 5), "b": torch.zeros(3, 10)}
    budget = WeightBudget(weights, None, 0.75)
    # 5 + 3 of the 10 that the ratio leaves.
    assert budget.kept(torch.tensor([0.5, 0.1])).item() == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("shares", "lost"),
    [
        # 5 + 3 = 8 times 1.25 are 10: 6.25 and 3.75.
        ((0.5, 0.1), {"a": 4, "b": 26}),
        # Those that stay are all in the first, but for the one that every layer is spared.
        ((1.0, 0.0001), {"a": 1, "b": 29}),
        # 9 + 18 = 27 are 10 with 3.33 and 6.67.
        ((0.9, 0.6), {"a": 7, "b": 23}),
        # 10 + 3 = 13 times 10 / 13.
        ((1.0, 0.1), {"a": 2, "b": 28}),
    ],
)
def test_weight_budget_by_hand(shares: tuple, lost: dict) -> None:
    weights = {"a": torch.zeros(2, 5), "b": torch.zeros(3, 10)}
    assert WeightBudget(weights, None, 0.75).exactly(torch.tensor(shares)) == lost


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9, 0.99])
def test_weight_budget_is_exact_for_any_shares(ratio: float) -> None:
    weights = {"a": torch.zeros(5, 9), "b": torch.zeros(30, 33), "c": torch.zeros(3, 3), "d": torch.zeros(100, 10)}
    budget = WeightBudget(weights, None, ratio)
    for seed in range(30):
        shares = torch.rand(4, generator=torch.Generator().manual_seed(seed)).clamp_min(0.001) ** 2
        lost = budget.exactly(shares)
        assert sum(lost.values()) == round(ratio * (45 + 990 + 9 + 1000))
        # Layers stay in the order of their shares, to one weight.
        kept = sorted(
            (share, 1 - lost[name] / weights[name].numel()) for share, name in zip(shares.tolist(), weights, strict=True)
        )
        assert all(low[1] <= high[1] + 1 / 9 for low, high in pairwise(kept))


@pytest.fixture
def convolutions() -> FilterBudget:
    """The budget, at ratio 0.5, of a network of two convolutions and a linear layer on 4 x 4 pixels.

    2 filters of 9 weights at 16 places make 288 multiply-adds, 4 of 18 at 4 places 288, and 3 classes of 16 inputs 48. Half
    of the filters leave 144 + 72 + 24 = 240.
    """
    layers = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(16, 3)
    network = nn.Sequential(*layers)
    return FilterBudget(prunable_weights(network), Layout(network, (1, 4, 4)), 0.5)


@pytest.mark.parametrize(
    ("shares", "multiply_adds"),
    [((1.0, 1.0), 624), ((0.5, 0.5), 240), ((0.5, 1.0), 144 + 144 + 48), ((1.0, 0.25), 288 + 72 + 12), ((0.3, 0.7), 180.48)],
)
def test_filter_budget_counts_multiply_adds(convolutions: FilterBudget, shares: tuple, multiply_adds: float) -> None:
    assert convolutions.kept(torch.tensor(shares)).item() == pytest.approx(multiply_adds / 240)


@pytest.mark.parametrize(
    ("lost", "fits"),
    [((1, 2), True), ((1, 1), False), ((0, 3), False), ((1, 3), True), ((0, 0), False)],
)
def test_filter_budget_fits(convolutions: FilterBudget, lost: tuple, fits: bool) -> None:
    assert convolutions.fits({"0.weight": lost[0], "1.weight": lost[1]}) is fits


@pytest.mark.parametrize(
    ("shares", "lost"),
    [
        # The shares reach a second filter in both layers at once, and that is too much; but in the second layer it fits.
        ((0.5, 0.25), (1, 2)),
        # Times 2.5 the second layer would have a third filter, and that is too much; the first has its second at 3 only.
        ((0.25, 0.25), (1, 2)),
        # The first layer keeps one filter, however small its share.
        ((0.001, 1.0), (1, 2)),
    ],
)
def test_filter_budget_by_hand(convolutions: FilterBudget, shares: tuple, lost: tuple) -> None:
    assert convolutions.exactly(torch.tensor(shares)) == {"0.weight": lost[0], "1.weight": lost[1]}


def test_filter_budget_counts_coupled_layers_together(residual: nn.Module) -> None:
    budget = FilterBudget(prunable_weights(residual), Layout(residual, (1, 8, 8)), 0.5)
    assert budget.sizes == {"0.weight": 4, "3.conv1.weight": 4, "4.conv1.weight": 6, "4.conv2.weight": 6}
    stem, inner, wide, out = 0.25, 0.5, 1 / 3, 2 / 3
    left = 2304 * stem + 9216 * stem * inner * 2 + 3456 * stem * wide + 5184 * wide * out + 384 * stem * out + 72 * out
    target = 2304 / 2 + 9216 / 4 * 2 + 3456 / 4 + 5184 / 4 + 384 / 4 + 72 / 2
    assert budget.kept(torch.tensor([stem, inner, wide, out])).item() == pytest.approx(left / target)


# Deadwooding.


@pytest.mark.parametrize(("ratio", "mass"), [(0.5, 0.3), (0.25, 0.1), (0.75, 0.6), (0.1, 0.0)])
def test_small_mass_by_hand(ratio: float, mass: float) -> None:
    assert deadwooding.small_mass(torch.tensor([3.0, -1.0, 2.0, -4.0]), ratio).item() == pytest.approx(mass)


def test_small_mass_of_nothing_is_nothing() -> None:
    assert deadwooding.small_mass(torch.zeros(4), 0.5).item() == 0


def test_small_mass_has_a_gradient_that_shrinks_small_weights() -> None:
    weights = torch.tensor([3.0, -1.0, 2.0, -4.0], requires_grad=True)
    deadwooding.small_mass(weights, 0.5).backward()
    # d/dw of (1 + 2) / 10: 1/10 - 3/100 for the small ones, -3/100 for the others, each times its sign.
    assert weights.grad.tolist() == pytest.approx([-0.03, -0.07, 0.07, 0.03])


@pytest.fixture
def linear() -> nn.Module:
    """A linear network of two pixels and two classes, weights (1, -1) and (0, 2), without bias."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    network[1].weight.data = torch.tensor([[1.0, -1.0], [0.0, 2.0]])
    return network


@pytest.mark.parametrize(
    ("threat", "pixels", "found"),
    [
        # The loss of class 0 climbs along (-1, 3): down in the first pixel, up in the second.
        (Threat(eps=0.1), (0.5, 0.5), (0.4, 0.6)),
        (Threat(eps=0.1), (0.05, 0.95), (0.0, 1.0)),
        (Threat(norm="l2", eps=math.sqrt(0.1)), (0.5, 0.5), (0.4, 0.8)),
        (Threat(norm="l2", eps=math.sqrt(0.1)), (0.05, 0.5), (0.0, 0.8)),
    ],
)
def test_fgsm_by_hand(linear: nn.Module, threat: Threat, pixels: tuple, found: tuple) -> None:
    images = torch.tensor(pixels).view(1, 1, 1, 2)
    attacked = fgsm(linear, images, torch.tensor([0]), threat)
    assert attacked.flatten().tolist() == pytest.approx(found, abs=1e-6)
    assert not attacked.requires_grad
    assert images.flatten().tolist() == pytest.approx(pixels)


@pytest.mark.parametrize("training", [True, False])
def test_fgsm_leaves_the_network_alone(residual: nn.Module, training: bool) -> None:
    before = {name: tensor.clone() for name, tensor in residual.state_dict().items()}
    fgsm(residual.train(training), torch.rand(4, 1, 8, 8), torch.arange(4) % 3, Threat(eps=0.1))
    assert residual.training is training
    assert all(torch.equal(tensor, before[name]) for name, tensor in residual.state_dict().items())
    assert all(parameter.grad is None for parameter in residual.parameters())


def _batch(model: nn.Module, objective: float = 0.0) -> Batch:
    images = torch.tensor([[0.5, 0.5], [0.2, 0.7]]).view(2, 1, 1, 2)
    return Batch(model, images, torch.tensor([0, 1]), Threat(eps=0.1), lambda: torch.tensor(objective))


def test_deadwooding_starts_as_the_objective(linear: nn.Module) -> None:
    pruner = _prepare("deadwooding", 0.5)
    pruner.start(prunable_weights(linear), None)
    assert pruner.others == "all"
    assert pruner.loss(_batch(linear, 1.25)).item() == 1.25


def test_deadwooding_multipliers_ascend_by_the_epochs_mean_violation(linear: nn.Module) -> None:
    weights = prunable_weights(linear)
    pruner = _prepare("deadwooding", 0.5, dual_step=0.5)
    pruner.start(weights, None)
    # Magnitudes 0, 1, 1 and 2: half of the weights hold a quarter. The dense network violates nothing else.
    pruner.loss(_batch(linear))
    pruner.after_step(weights, _step(0, total=8))
    assert pruner.trace()["multiplier of sparsity"] == 0
    # All weights doubled: small weights hold as much as before, and the logits spread twice as far under FGSM.
    dense, batch = linear[1].weight.detach().clone(), _batch(linear)
    linear[1].weight.data *= 2
    attacked = fgsm(linear, batch.images, batch.labels, batch.threat)
    clean, worst = ((images.flatten(1) @ dense.T) for images in (batch.images, attacked))
    accuracy = functional.cross_entropy(2 * clean, batch.labels) - functional.cross_entropy(clean, batch.labels)
    robustness = functional.mse_loss(2 * clean, 2 * worst) - functional.mse_loss(clean, worst)
    # The eps of FGSM moves the logits by (0.2, 0.2) and (0.2, 0.2), or as much the other way.
    assert robustness.item() == pytest.approx(3 * 0.04, rel=1e-4)
    pruner.loss(batch)
    pruner.after_step(weights, _step(1, total=8))
    residuals = {"sparsity": 0.25, "accuracy": max(0, accuracy.item()) / 2, "robustness": 0.06}
    found = pruner.trace()
    assert found.pop("pruned") == 0
    multipliers = {f"multiplier of {name}": 0.5 * value for name, value in residuals.items()}
    assert found == pytest.approx({f"residual of {name}": value for name, value in residuals.items()} | multipliers, rel=1e-4)
    # The next epoch's loss weighs its violations by them, and starts counting anew.
    expected = 1 + 0.125 * 0.25 + 0.5 * residuals["accuracy"] * max(0, accuracy.item()) + 0.03 * 0.12
    assert pruner.loss(_batch(linear, 1.0)).item() == pytest.approx(expected, rel=1e-4)
    pruner.after_step(weights, _step(2, total=8))
    pruner.loss(_batch(linear))
    pruner.after_step(weights, _step(3, total=8))
    assert pruner.trace()["residual of robustness"] == pytest.approx(0.12, rel=1e-4)
    assert pruner.trace()["multiplier of robustness"] == pytest.approx(0.03 + 0.06, rel=1e-4)


def test_deadwooding_violation_below_zero_counts_as_none(linear: nn.Module) -> None:
    weights = prunable_weights(linear)
    pruner = _prepare("deadwooding", 0.5)
    pruner.start(weights, None)
    pruner.loss(_batch(linear))
    linear[1].weight.data *= 0.5
    for number in range(2):
        pruner.loss(_batch(linear))
        pruner.after_step(weights, _step(number, total=8))
    # Half the weights, half the spread: less than is allowed.
    assert pruner.trace()["residual of robustness"] == 0


@pytest.mark.parametrize(("share", "total", "after"), [(0.5, 8, 3), (0.3, 8, 2), (0.01, 8, 0), (0.99, 8, 7), (0.5, 5, 2)])
def test_deadwooding_prunes_once_and_the_whole_network(share: float, total: int, after: int) -> None:
    weights = {"a": nn.Parameter(torch.arange(1.0, 7.0).view(2, 3)), "b": nn.Parameter(torch.arange(-5.5, -1.5).view(2, 2))}
    pruner, zeros, pruned = _prepare("deadwooding", 0.55, dual_share=share), [], []
    pruner.start(weights, None)
    for number in range(total):
        for weight in weights.values():
            weight.grad = torch.ones_like(weight)
        pruner.after_backward(weights, _step(number, total))
        frozen = sum(int((weight.grad == 0).sum()) for weight in weights.values())
        assert frozen == (6 if number > after else 0)
        # Training would bring everything back.
        for weight in weights.values():
            weight.data += 0.25 * weight.grad
        pruner.after_step(weights, _step(number, total))
        zeros.append(sum(int((weight == 0).sum()) for weight in weights.values()))
        pruned.append(pruner.trace()["pruned"])
    # 5.5 of 10 weights, to the nearest even one.
    assert zeros == [0] * after + [6] * (total - after)
    assert pruned == [0] * after + [1] * (total - after)
    masks = pruner.end(weights)
    assert all(torch.equal(masks[name], weight != 0) for name, weight in weights.items())


def test_deadwooding_prunes_the_smallest_of_all_layers() -> None:
    weights = {"small": nn.Parameter(torch.tensor([[0.1, -0.2, 0.6]])), "large": nn.Parameter(torch.tensor([[-5.0, 0.5, 4.0]]))}
    pruner = _prepare("deadwooding", 0.5)
    pruner.start(weights, None)
    pruner.after_step(weights, _step(1, total=4))
    assert [mask.tolist() for mask in pruner.end(weights).values()] == [[[False, False, True]], [[True, False, True]]]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_deadwooding_distils_from_the_dense_network(linear: nn.Module, share: float) -> None:
    weights, batch = prunable_weights(linear), _batch(linear, 100.0)
    dense = linear[1].weight.detach().clone()
    pruner = _prepare("deadwooding", 0.5, distillation=share, temperature=2.0)
    pruner.start(weights, None)
    pruner.loss(batch)
    pruner.after_step(weights, _step(3, total=4))
    assert weights["1.weight"].tolist() == [[0, -1], [0, 2]]
    attacked = fgsm(linear, batch.images, batch.labels, batch.threat).flatten(1)
    teacher, student = batch.images.flatten(1) @ dense.T, attacked @ weights["1.weight"].T
    p, q = (teacher / 2).softmax(dim=1), (student / 2).softmax(dim=1)
    divergence = 4 * (p * (p / q).log()).sum(dim=1).mean()
    expected = (1 - share) * functional.cross_entropy(student, batch.labels) + share * divergence
    # The study's objective has no part in it.
    assert pruner.loss(batch).item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_teacher_is_the_dense_network_whatever_happens_to_the_pruned_one(linear: nn.Module) -> None:
    pruner = _prepare("deadwooding", 0.5)
    pruner.start(prunable_weights(linear), None)
    pruner.loss(_batch(linear))
    linear[1].weight.data.zero_()
    assert pruner.teacher[1].weight.tolist() == [[1, -1], [0, 2]]
    assert not pruner.teacher.training


# All methods at once are in test_pruning.py.


def test_a_hook_that_nothing_calls_any_more_is_told() -> None:
    told = r"^test_methods: its pruner defines `enough`, .*; valid: `steps_of` in the class Params$"
    with pytest.raises(SparrowError, match=told.replace("test_methods", __name__)):
        type("Own", (Pruner,), {"enough": lambda self: True, "__module__": __name__})


def test_a_method_may_do_without_the_hooks(tiny: nn.Module) -> None:
    pruner = Pruner()
    batch = SimpleNamespace(objective=lambda: "the objective")
    assert pruner.start({}, None) == []
    assert pruner.loss(batch) == "the objective"
    assert pruner.after_backward({}, _step()) is None
    assert pruner.after_step({}, _step()) is None
    assert pruner.trace() == {}
    with pytest.raises(NotImplementedError):
        pruner.end({})


def test_harp_puts_back_the_values_of_weights_that_it_keeps_in_the_end() -> None:
    # Training has gone below the budget, so that the end keeps more than the last step did.
    weights = _layer([[1.0, -2.0, 3.0, -4.0], [5.0, -6.0, 7.0, -8.0]])
    dense = weights["layer"].detach().clone()
    pruner = _prepare("harp", 0.5, floor=0.0)
    *_, rates = pruner.start(weights, None)
    rates.fill_(math.log(0.25 / 0.75))
    pruner.after_step(weights, _step())
    assert int(weights["layer"].count_nonzero()) == 2
    masks = pruner.end(weights)
    assert int(masks["layer"].sum()) == 4
    assert torch.equal(weights["layer"].detach(), dense * masks["layer"])


def test_weight_budget_keeps_to_the_floor_and_spares_a_weight_a_layer() -> None:
    # Every share is scaled down to meet the ratio, but not below the floor; a share of 160 that rounds to 0 leaves one.
    weights = {"small": torch.ones(10, 16), "first": torch.ones(100, 100), "second": torch.ones(100, 100)}
    budget = WeightBudget(weights, None, 0.99)
    lost = budget.exactly(torch.tensor([0.002, 0.9, 0.1]), 0.001)
    assert sum(lost.values()) == round(0.99 * 20_160)
    assert lost["small"] == 159
    assert 10_000 - lost["second"] > 0.001 * 10_000


def test_snip_scores_compete_over_the_whole_network_as_in_the_paper() -> None:
    assert catalogue.load("methods", "snip").Params().allocation == "global"
