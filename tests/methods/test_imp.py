"""Iterative magnitude pruning, round by round on weights that a pencil can follow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sparrow.estimate.work import works
from sparrow.methods import imp
from sparrow.networks.prunable import prunable_weights
from sparrow.pruning.pruner import Pruner
from sparrow.study.load import load_study
from sparrow.training.loop import CurveRow, Step
from sparrow.training.schedule import Schedule
from tests.default_study import default_study

OWN = Schedule(epochs=7, lr=0.3)
PRETRAIN = Schedule(epochs=30, lr=0.1, momentum=0.8, warmup_epochs=6, ramp_epochs=12)


@pytest.mark.parametrize(
    ("ratio", "count"),
    # 0.2 and 0.36 are what one and two rounds remove, to the bit or not.
    [(0.5, 4), (0.8, 8), (0.9, 11), (0.95, 14), (0.99, 21), (0.1, 1), (0.2, 1), (0.36, 2), (0.361, 3)],
)
def test_rounds_follow_from_the_ratio(ratio: float, count: int) -> None:
    assert imp.rounds(ratio, 0.2) == count


def test_each_round_removes_a_fifth_of_what_is_left_and_the_last_one_the_rest() -> None:
    # 5 * 0.8^i: 4, 3.2, 2.56, 2.05 and 1.64, where 2 are to stay.
    assert [imp.kept_after(done, 5, 0.6, 0.2) for done in range(1, 6)] == [4, 3, 3, 2, 2]
    assert [imp.kept_after(done, 1000, 0.4, 0.2) for done in range(1, 4)] == [800, 640, 600]


class _Layers(nn.Module):
    """Two layers with given weights, and a bias and a running statistic beside them."""

    def __init__(self, first: list[float], second: list[float]) -> None:
        super().__init__()
        self.first, self.second = (nn.Parameter(torch.tensor([row], dtype=torch.float64)) for row in (first, second))
        self.bias = nn.Parameter(torch.zeros(1))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def weights(self) -> dict[str, Tensor]:
        return {"first": self.first, "second": self.second}

    def values(self) -> list[list[float]]:
        return [weight.flatten().tolist() for weight in self.weights().values()]


def _started(network: nn.Module, weights: dict[str, Tensor], ratio: float, **params: object) -> Pruner:
    pruner = imp.prepare(imp.Params(**params), ratio, torch.Generator())
    pruner.network = network
    assert [id(tensor) for tensor in pruner.start(weights, None)] == [id(weight) for weight in weights.values()]
    return pruner


def _step(number: int, per_epoch: int, per_cycle: int, total: int = 100) -> Step:
    return Step(number, total, per_epoch, per_cycle, 0.1, lambda: None)


def _round(pruner: Pruner, network: _Layers, trained: tuple[list[float], list[float]], number: int = 0) -> None:
    """A round of one step, after which the weights are `trained`."""
    weights = network.weights()
    for weight in weights.values():
        weight.grad = torch.ones_like(weight)
    pruner.after_backward(weights, _step(number, 1, 1))
    assert all(torch.equal(weight.grad, pruner.masks[name].to(weight)) for name, weight in weights.items())
    for weight, row in zip(weights.values(), trained, strict=True):
        weight.data = torch.tensor([row], dtype=torch.float64)
    network.bias.data += 1
    network.seen += 1
    pruner.after_step(weights, _step(number, 1, 1))
    assert all(not weight[~pruner.masks[name]].any() for name, weight in weights.items())
    pruner.epoch(CurveRow(number + 1, 0.1, 1.0, 0.0, 0.0, 0.0, None))
    assert all(not weight[~pruner.masks[name]].any() for name, weight in weights.items())


def test_rounds_by_hand() -> None:
    # 6 weights, of which 5, 4, 3, 2 and 2 are left: training leaves them as they are, and brings back what is gone.
    trained = [4.0, -1.0, 3.0], [0.5, 2.0, 5.0]
    network, left = _Layers(*trained), []
    pruner = _started(network, network.weights(), 0.6)
    for number in range(5):
        _round(pruner, network, trained, number)
        left.append(network.values())
    assert left == [
        [[4, -1, 3], [0, 2, 5]],
        [[4, 0, 3], [0, 2, 5]],
        [[4, 0, 3], [0, 0, 5]],
        [[4, 0, 0], [0, 0, 5]],
        [[4, 0, 0], [0, 0, 5]],
    ]
    masks = pruner.end(network.weights())
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "first": [[True, False, False]],
        "second": [[False, False, True]],
    }
    assert pruner.warning() is None


def test_no_layer_is_emptied_and_the_warning_says_which_one_would_have_been() -> None:
    # 4, 3, 3, 2 and 2 of five weights stay: 0.5 goes, then -1, then 2 would, but it is its layer's last; so 3 does.
    trained = [4.0, -1.0, 3.0], [0.5, 2.0]
    network = _Layers(*trained)
    pruner, left = _started(network, network.weights(), 0.6), []
    for number in range(5):
        _round(pruner, network, trained, number)
        left.append(network.values())
        assert (pruner.warning() is None) is (number < 3)
    assert left[1:] == [[[4, 0, 3], [0, 2]], [[4, 0, 3], [0, 2]], [[4, 0, 0], [0, 2]], [[4, 0, 0], [0, 2]]]
    assert pruner.warning() == "ranking all layers together would have emptied second; one weight stays in each"


def test_the_last_step_of_the_schedule_ends_the_last_round_however_many_there_were() -> None:
    network = _Layers([4.0, -1.0, 3.0], [0.5, 2.0, 5.0])
    pruner = _started(network, network.weights(), 0.6)
    pruner.after_step(network.weights(), _step(0, 1, 1, total=1))
    pruner.epoch(CurveRow(1, 0.1, 1.0, 0.0, 0.0, 0.0, None))
    assert network.values() == [[4, 0, 0], [0, 0, 5]]


def test_the_whole_network_is_rewound_to_its_start() -> None:
    network = _Layers([4.0, -1.0, 3.0], [0.5, 2.0, 5.0])
    pruner = _started(network, network.weights(), 0.5)
    # Magnitudes after training decide: 0.1 is the smallest. Values are those of before.
    _round(pruner, network, ([7.0, 1.0, 0.1], [2.0, 3.0, 4.0]))
    assert network.values() == [[4, -1, 0], [0.5, 2, 5]]
    assert (network.bias.item(), network.seen.item()) == (0, 0)


def test_rewinding_the_learning_rate_leaves_the_network_as_it_is_trained() -> None:
    network = _Layers([4.0, -1.0, 3.0], [0.5, 2.0, 5.0])
    pruner = _started(network, network.weights(), 0.5, rewind="lr")
    _round(pruner, network, ([7.0, 1.0, 0.1], [2.0, 3.0, 4.0]))
    assert network.values() == [[7, 1, 0], [2, 3, 4]]
    assert (network.bias.item(), network.seen.item()) == (1, 1)


def test_weights_may_be_rewound_to_a_later_step_of_the_first_round() -> None:
    # Two steps an epoch, two epochs a round; every step adds one. One and a half epochs are three steps.
    network = _Layers([4.0, -1.0, 3.0], [0.5, 2.0, 5.0])
    weights = network.weights()
    pruner = _started(network, weights, 0.5, rewind_epochs=1.5)
    for number in range(8):
        for parameter in network.parameters():
            parameter.data += 1
        network.seen += 1
        pruner.after_step(weights, _step(number, 2, 4))
        if number % 2:
            before = network.values()
            pruner.epoch(CurveRow(number // 2 + 1, 0.1, 1.0, 0.0, 0.0, 0.0, None))
            # In the middle of a round nothing happens.
            assert (network.values() == before) is (number % 4 == 1)
        if number == 3:
            # 4 more: -1 has become 3, the smallest. 3 more than at the start are rewound to.
            assert network.values() == [[7, 0, 6], [3.5, 5, 8]]
            assert (network.bias.item(), network.seen.item()) == (3, 3)
    # The second round has gone on from there, and is rewound to the same: four more, and 7.5 was the smallest.
    assert network.values() == [[7, 0, 6], [0, 5, 8]]
    assert (network.bias.item(), network.seen.item()) == (3, 3)


def test_batch_norm_is_rewound_too(residual: nn.Module) -> None:
    weights = prunable_weights(residual)
    before = {name: tensor.clone() for name, tensor in residual.state_dict().items()}
    pruner = _started(residual, weights, 0.2)
    for tensor in residual.state_dict().values():
        tensor.add_(1)
    pruner.after_step(weights, _step(0, 1, 1))
    pruner.epoch(CurveRow(1, 0.1, 1.0, 0.0, 0.0, 0.0, None))
    masks = pruner.end(weights)
    assert sum(int((~mask).sum()) for mask in masks.values()) == round(0.2 * sum(mask.numel() for mask in masks.values()))
    for name, tensor in residual.state_dict().items():
        assert torch.equal(tensor, before[name] * masks.get(name, torch.tensor(1)))


def test_a_round_is_a_pre_training() -> None:
    schedule = imp.Params().schedule(0.9, OWN, PRETRAIN)
    assert schedule == Schedule(**PRETRAIN.model_dump() | {"epochs": 330, "cycles": 11})


def test_a_search_is_priced_as_so_many_pre_trainings_as_it_has_rounds() -> None:
    config = default_study()
    own = {"methods": {"imp": {"round_epochs": 10}}, "ratios": [0.5, 0.9], "objectives": {"benign": None}}
    study = load_study(config | own)
    steps = {(work.stage, *(job.rsplit("/")[-2] for job in work.jobs)): work.steps for work in works(study)}
    # Thirty epochs of pre-training; 4 and 11 rounds of ten, and a last training each, as long as pre-training.
    dense = steps["pretrain", "seed0"]
    assert steps["prune", "imp-0.50"] == 4 * dense / 3
    assert steps["prune", "imp-0.90"] == 11 * dense / 3
    assert steps["finetune", "imp-0.50", "imp-0.90"] == dense


def test_accelerated_rounds_have_their_ramp_in_proportion() -> None:
    schedule = imp.Params(round_epochs=5).schedule(0.5, OWN, PRETRAIN)
    assert (schedule.epochs, schedule.cycles, schedule.epochs_per_cycle) == (20, 4, 5)
    assert (schedule.warmup_epochs, schedule.ramp_epochs) == pytest.approx((1, 2))
    assert (schedule.lr, schedule.momentum) == (0.1, 0.8)


@pytest.mark.parametrize(("warmup", "ramp"), [(0, 30), (30, 0), (0.1, 29.9), (7, 23), (1 / 3, 30 - 1 / 3)])
def test_a_ramp_of_the_whole_schedule_still_fits_when_it_is_shortened(warmup: float, ramp: float) -> None:
    pretrain = Schedule(epochs=30, warmup_epochs=warmup, ramp_epochs=ramp)
    for target in range(1, 40):
        schedule = imp.Params(round_epochs=target).schedule(0.9, OWN, pretrain)
        assert schedule.warmup_epochs + schedule.ramp_epochs == pytest.approx(target)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rewind": "lr", "rewind_epochs": 2}, "rewind_epochs is 2, must be 0 with rewind: lr"),
        ({"round_epochs": 3, "rewind_epochs": 3.5}, r"rewind_epochs is 3.5, must be at most round_epochs \(3\)"),
        ({"fraction": 1.0}, "less than 1"),
        ({"round_epochs": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused(params: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        imp.Params(**params)


def test_weights_of_after_a_round_cannot_be_rewound_to() -> None:
    with pytest.raises(ValueError, match=r"rewind_epochs is 31, must be at most the epochs of pretrain \(30\)"):
        imp.Params(rewind_epochs=31).schedule(0.9, OWN, PRETRAIN)
