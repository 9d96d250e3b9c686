"""CCRP: who survives, the bounds of a round, and what a whole search leaves."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparrow.errors import ConfigError
from sparrow.methods import ccrp
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import FilterGroup, Layout
from sparrow.pruning.pruner import Batch, Pruner
from sparrow.settings import Threat
from sparrow.stages._mask_check import check_masks
from sparrow.stages.prune import prune
from sparrow.study.load import load_study
from sparrow.training.loop import Step
from tests.study.test_entry_flags import STUDY

THREAT = Threat(norm="linf", eps=0.05)
QUICK = {"population": 2, "generations": 1, "images": 12, "pgd_steps": 1}


def prepared(network: nn.Module, ratio: float, seed: int = 0, **params: object) -> Pruner:
    pruner = ccrp.prepare(ccrp.Params(**QUICK | params), ratio, torch.Generator().manual_seed(seed))
    pruner.network = network
    pruner.start(prunable_weights(network), Layout(network, (1, 8, 8)))
    return pruner


def searched(network: nn.Module, ratio: float, total: int = 8, seed: int = 0, **params: object) -> tuple[Pruner, list[int]]:
    """The pruner after `total` steps on noise, and how many of the filters were left after each of them."""
    pruner, left = prepared(network.train(), ratio, seed, **params), []
    weights, batches = prunable_weights(network), torch.Generator().manual_seed(0)
    optimiser = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    for number in range(total):
        images, labels = torch.rand(8, 1, 8, 8, generator=batches), torch.randint(3, (8,), generator=batches)
        step = Step(number, total, total, total, 0.1, lambda: None)
        optimiser.zero_grad()
        objective = functional.cross_entropy(network(images), labels)
        pruner.loss(Batch(network, images, labels, THREAT, lambda objective=objective: objective)).backward()
        pruner.after_backward(weights, step)
        optimiser.step()
        pruner.after_step(weights, step)
        assert all(not network.get_parameter(name)[~mask].any() for name, mask in pruner.masks.items())
        left.append(sum(int(kept.sum()) for kept in pruner.kept.values()))
    return pruner, left


def individual(fitness: int, filters: int) -> ccrp.Individual:
    return ccrp.Individual(fitness, torch.arange(10) < filters)


def test_the_fittest_come_first_and_of_equally_fit_ones_the_smallest() -> None:
    told = [individual(90, 10), individual(85, 3), individual(90, 8)]
    assert [(one.fitness, int(one.kept.sum())) for one in ccrp.best_first(told)] == [(90, 8), (90, 10), (85, 3)]


def test_a_round_has_bounds_by_hand(residual: nn.Module) -> None:
    # 0.75 in two rounds: each keeps half. Of 40 filters 20 stay after the first one at most, and with a leeway of 1.5 ten.
    pruner = prepared(residual, 0.75, rounds=2, leeway=1.5)
    assert pruner.bounds(40, 40, 1) == (10, 20)
    assert pruner.bounds(40, 40, 2) == (10, 10)
    # Where fewer are left than asked for, nothing has to go; and one always stays.
    assert pruner.bounds(40, 8, 2) == (2, 8)
    assert pruner.bounds(2, 1, 2) == (1, 1)


def test_children_keep_to_the_bounds_and_to_what_is_there(residual: nn.Module) -> None:
    pruner, now = prepared(residual, 0.5, mutation=0.5), torch.arange(20) % 4 > 0
    for _ in range(50):
        child = pruner.mutated(now, now, least=10)
        assert not child[~now].any()
        assert child.sum() >= 10
        mended = pruner.mend(child, now, 11, 13)
        assert not mended[~now].any()
        assert 11 <= mended.sum() <= 13
        # As many as are needed are changed.
        assert int((mended != child).sum()) == max(0, 11 - int(child.sum()), int(child.sum()) - 13)


def test_a_child_differs_from_its_parent_in_few_filters(residual: nn.Module) -> None:
    now = torch.ones(5000, dtype=torch.bool)
    child = prepared(residual, 0.5, mutation=0.1).mutated(now, now, least=1)
    assert float((child != now).float().mean()) == pytest.approx(0.1, abs=0.02)


class Told:
    """What is examined, with a fitness of how many of the first filters are kept and of the last ones are not."""

    def __init__(self) -> None:
        self.seen: list[ccrp.Individual] = []

    @contextmanager
    def filters(self, group: FilterGroup, kept: torch.Tensor) -> Iterator[None]:
        self.kept = kept
        yield

    def correct(self) -> int:
        first, last = self.kept.chunk(2)
        self.seen.append(ccrp.Individual(int(first.sum()) + int((~last).sum()), self.kept))
        return self.seen[-1].fitness


def test_an_evolution_by_hand() -> None:
    # Of 40 filters 10 to 30 stay: parents have 20 on average, and no individual is better than the winner.
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 3))
    found = []
    for global_seed in (0, 1):
        torch.manual_seed(global_seed)
        pruner = prepared(network, 0.25, rounds=1, leeway=3.0, population=6, generations=4, mutation=0.1)
        assert pruner.bounds(40, 40, 1) == (10, 30)
        told = Told()
        winner = pruner.evolve(told, pruner.layout.groups[0], 1)
        sizes = [int(one.kept.sum()) for one in told.seen]
        assert len(sizes) == 6 * (1 + 4)
        assert all(10 <= size <= 30 for size in sizes)
        assert sum(sizes[:6]) / 6 == pytest.approx(20, abs=4)
        assert torch.equal(winner, ccrp.best_first(told.seen)[0].kept)
        found.append([one.kept.tolist() for one in told.seen])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("winner", "lost"), [(range(1), [3, 2]), (range(3, 4), [2, 1]), (range(4), [3, 2]), (range(3), [3, 2])]
)
def test_the_ratio_is_met_by_what_harms_least(winner: range, lost: list, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two of four filters go: of those that the winner is without, or beside these, the last ones first.
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 3))
    pruner = prepared(network, 0.5, rounds=1)
    pruner.loss(Batch(network, torch.rand(2, 1, 8, 8), torch.tensor([0, 1]), THREAT, lambda: torch.zeros(())))
    kept = torch.tensor([place in winner for place in range(4)])
    monkeypatch.setattr(pruner, "evolve", lambda examined, group, rounds: kept)
    monkeypatch.setattr(ccrp.Examined, "least_harmful", lambda self, layout, filters: filters[::-1])
    pruner.search(prunable_weights(network), 1)
    assert [place for place in range(4) if not pruner.kept["1.weight"][place]] == sorted(lost)


def test_a_search_leaves_statistics_alone(residual: nn.Module) -> None:
    # Each of eight steps counts one batch; what is evaluated between them counts none.
    searched(residual, 0.5, rounds=2)
    assert residual[1].num_batches_tracked == 8


def test_what_is_in_the_way_of_an_evaluation_is_put_back(residual: nn.Module) -> None:
    before, layout = copy.deepcopy(residual.state_dict()), Layout(residual, (1, 8, 8))
    examined = ccrp.Examined(residual, torch.rand(6, 1, 8, 8), torch.arange(6) % 3, THREAT, 2)
    group, kept = layout.groups[0], torch.tensor([True, False, True, True])
    with examined.filters(group, kept):
        for name in group.layers:
            assert torch.equal(residual.get_parameter(name).flatten(1).any(dim=1), kept)
        assert torch.equal(residual[1].bias != 0, kept)
    assert all(torch.equal(before[name], value) for name, value in residual.state_dict().items())


def test_fitness_counts_images_and_attacked_images() -> None:
    # One pixel decides, the attack moves it by 0.1: of 0.5, 0.58 and 0.9, two are of the second class, one under attack.
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    network[1].weight.data, network[1].bias.data = torch.tensor([[0.0], [1.0]]), torch.tensor([0.5, 0.0])
    images = torch.tensor([0.45, 0.58, 0.9]).view(3, 1, 1, 1)
    examined = ccrp.Examined(network, images, torch.ones(3, dtype=torch.long), Threat(norm="linf", eps=0.1), 3)
    assert examined.correct() == 2 + 1


def test_the_filter_that_does_not_matter_goes_first() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, 3))
    network[3].weight.data, network[3].bias.data = torch.diag(torch.tensor([5.0, 0.0, 1.0])), torch.zeros(3)
    network[1].weight.data, network[1].bias.data = torch.zeros(3, 64), torch.ones(3)
    examined = ccrp.Examined(network, torch.rand(4, 1, 8, 8), torch.zeros(4, dtype=torch.long), THREAT, 1)
    order = examined.least_harmful(Layout(network, (1, 8, 8)), [("1.weight", place) for place in range(3)])
    # Without the last one the first class is more likely still, and without the first one less.
    assert [place for _, place in order] == [2, 1, 0]


def test_the_last_filter_of_a_group_stays() -> None:
    kept = {"a": torch.tensor([True, True]), "b": torch.tensor([True, True, True])}
    left = ccrp.without(kept, [("a", 0), ("a", 1), ("b", 2), ("b", 0)], 2)
    assert [mask.tolist() for mask in left.values()] == [[False, True], [True, True, False]]
    assert all(mask.all() for mask in kept.values())


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("rounds", [1, 3, 20])
def test_a_search_ends_at_the_ratio(residual: nn.Module, ratio: float, rounds: int) -> None:
    pruner, left = searched(residual, ratio, rounds=rounds)
    assert left == sorted(left, reverse=True)
    assert left[-1] == 20 - round(ratio * 20)
    weights = prunable_weights(residual)
    assert check_masks(pruner.end(weights), weights, pruner.layout, ratio, "filters") is None
    assert all(kept.any() for kept in pruner.kept.values())


def test_a_round_begins_with_a_search_as_soon_as_there_are_images(residual: nn.Module) -> None:
    # Eight images a batch, twelve asked for: the second step of each four.
    _, left = searched(residual, 0.8, rounds=2, leeway=1.0)
    assert left == [20, left[1], left[1], left[1], left[1], 4, 4, 4]
    assert left[1] < 20


def test_what_its_searches_evaluate_is_part_of_the_cost(dense: Path, digits: Path, training_spec: dict, tmp_path: Path) -> None:
    spent = []
    for method in ({"kind": "lwm", "steps": 2}, {"kind": "ccrp", "rounds": 1, **QUICK}):
        spec = training_spec | {"method": method, "ratio": 0.5, "method_threat": training_spec["threat"]}
        spec |= {"schedule": training_spec["schedule"] | {"epochs": 1}}
        files = (tmp_path / name for name in ("out.safetensors", "curve.csv", "trace.csv", "cost.json"))
        prune(dense, digits, *files, spec)
        spent.append(json.loads((tmp_path / "cost.json").read_text())["gradient_evaluations"])
    # Each of three layers has two parents and two children, each of which is attacked by one step on twelve images; that of the
    # whole network comes on top where filters are to be told apart by what they are worth.
    assert spent[1] - spent[0] in (3 * 4 * 12, 3 * 4 * 12 + 12)


def test_chance_is_the_generators(residual: nn.Module) -> None:
    kept = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(kept))
        pruner, _ = searched(copy.deepcopy(residual), 0.5, seed=seed, rounds=2)
        kept.append(torch.cat(list(pruner.kept.values())).tolist())
    assert kept[0] == kept[1] != kept[2]


def test_a_study_that_asks_it_for_weights_is_refused_in_one_line() -> None:
    told = re.escape("config.yaml: methods.ccrp.granularity: 'weight' is not valid: must be 'filter'")
    with pytest.raises(ConfigError, match=f"^{told}$"):
        load_study(STUDY | {"methods": {"ccrp": {"granularity": "weight"}}})
