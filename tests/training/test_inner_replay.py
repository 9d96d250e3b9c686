"""Inner maximisations are solved once a batch, and their solutions replayed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.errors import SparrowError
from sparrow.settings import Threat
from sparrow.training import inner_replay


@pytest.fixture
def calls() -> list[Tensor]:
    """What has been found so far."""
    return []


@pytest.fixture
def find(calls: list[Tensor]) -> Callable[[], Tensor]:
    """Finds something new each time."""

    def new() -> Tensor:
        calls.append(torch.full((2,), float(len(calls))))
        return calls[-1]

    return new


def test_outside_of_a_context_everything_is_found_anew(find, calls) -> None:
    assert [inner_replay.solve(find).tolist() for _ in range(2)] == [[0, 0], [1, 1]]
    assert len(calls) == 2


def test_inside_nothing_is_replayed_unless_asked_for(find, calls) -> None:
    with inner_replay.record():
        assert [inner_replay.solve(find).tolist() for _ in range(2)] == [[0, 0], [1, 1]]


def test_a_replay_gives_the_same_tensors_in_their_order_and_finds_nothing(find, calls) -> None:
    with inner_replay.record() as replay:
        first = [inner_replay.solve(find), inner_replay.solve(find)]
        replayed = replay(lambda: [inner_replay.solve(find), inner_replay.solve(find)])
    assert [id(tensor) for tensor in replayed] == [id(tensor) for tensor in first]
    assert len(calls) == 2


def test_a_replay_can_be_repeated(find, calls) -> None:
    with inner_replay.record() as replay:
        first = inner_replay.solve(find)
        assert replay(lambda: inner_replay.solve(find)) is first
        assert replay(lambda: inner_replay.solve(find)) is first
    assert len(calls) == 1


def test_after_a_replay_new_solutions_are_found_and_remembered(find) -> None:
    with inner_replay.record() as replay:
        inner_replay.solve(find)
        replay(lambda: inner_replay.solve(find))
        inner_replay.solve(find)
        assert replay(lambda: [inner_replay.solve(find).tolist(), inner_replay.solve(find).tolist()]) == [[0, 0], [1, 1]]


def test_a_replay_returns_what_the_function_does(find) -> None:
    with inner_replay.record() as replay:
        assert replay(lambda: "result") == "result"


def test_a_replay_that_fails_is_over(find, calls) -> None:
    with inner_replay.record() as replay:
        inner_replay.solve(find)
        with pytest.raises(ZeroDivisionError):
            replay(lambda: 1 / 0)
        assert inner_replay.solve(find) is calls[1]


def test_a_context_forgets_what_the_one_before_found(find) -> None:
    with inner_replay.record():
        inner_replay.solve(find)
    with inner_replay.record() as replay:
        second = inner_replay.solve(find)
        assert replay(lambda: inner_replay.solve(find)) is second


def test_after_a_context_nothing_is_remembered(find, calls) -> None:
    with inner_replay.record():
        inner_replay.solve(find)
    assert inner_replay.solve(find) is calls[1]
    with inner_replay.record() as replay:
        replayed = replay(lambda: [inner_replay.solve(find) for _ in range(0)])
    assert replayed == []


def test_a_context_that_fails_is_over(find, calls) -> None:
    def fail() -> None:
        with inner_replay.record():
            inner_replay.solve(find)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with inner_replay.record() as replay:
        assert inner_replay.solve(find) is calls[1]
        assert replay(lambda: inner_replay.solve(find)) is calls[1]


def test_an_inner_context_ends_the_memory_of_the_outer_one(find, calls) -> None:
    # There is one memory; a loop in a loop starts afresh, and so does what comes after it.
    with inner_replay.record() as outer:
        inner_replay.solve(find)
        with inner_replay.record() as replay:
            assert inner_replay.solve(find) is calls[1]
            assert replay(lambda: inner_replay.solve(find)) is calls[1]
        assert inner_replay.solve(find) is calls[2]
        with pytest.raises(StopIteration):
            outer(lambda: inner_replay.solve(find))


def test_a_replay_draws_the_same_random_numbers_and_leaves_the_stream_alone() -> None:
    torch.manual_seed(3)
    first, after = torch.rand(3), torch.rand(3)
    torch.manual_seed(3)
    with inner_replay.record() as replay:
        assert torch.equal(torch.rand(3), first)
        assert torch.equal(replay(lambda: torch.rand(3)), first)
        assert torch.equal(torch.rand(3), after)


OBJECTIVES = [*((kind, {}) for kind in catalogue.kinds("objectives")), ("sabr", {"subselection": 1})]


@pytest.mark.parametrize(("kind", "params"), OBJECTIVES, ids=lambda value: str(value))
def test_an_objective_that_says_that_it_perturbs_does(
    kind: str, params: dict, tiny: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = catalogue.load("objectives", kind)
    settings, solved, solve = entry.Params(**params), [], inner_replay.solve
    monkeypatch.setattr(inner_replay, "solve", lambda find: solved.append(solve(find)) or solved[-1])
    entry.prepare(settings, Threat(eps=0.1))(tiny, torch.rand(6, 1, 4, 4), torch.tensor([0, 1, 2, 3, 0, 1]), 1.0)
    assert bool(solved) is settings.perturbs


@pytest.mark.parametrize(("kind", "params"), OBJECTIVES, ids=lambda value: str(value))
def test_a_second_look_at_a_batch_gives_the_same_loss(kind: str, params: dict, tiny: nn.Module) -> None:
    entry = catalogue.load("objectives", kind)
    settings = entry.Params(**params)
    objective = entry.prepare(settings, Threat(eps=0.1))
    images, labels = torch.rand(6, 1, 4, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    for seed in range(3):
        torch.manual_seed(seed)
        with inner_replay.record(settings.perturbs) as replay, inner_replay.watched(tiny):
            first = objective(tiny, images, labels, 1.0)
            assert replay(lambda: objective(tiny, images, labels, 1.0)).item() == pytest.approx(first.item())


@pytest.mark.parametrize("found_through_solve", [True, False])
def test_perturbations_that_an_objective_finds_by_itself_are_refused_the_second_time(
    found_through_solve: bool, tiny: nn.Module
) -> None:
    images, labels = torch.rand(6, 1, 4, 4), torch.tensor([0, 1, 2, 3, 0, 1])

    def climb() -> Tensor:
        adversarial = images.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(tiny(adversarial), labels), adversarial)
        return (images + 0.1 * gradient.sign()).clamp(0, 1)

    def objective() -> Tensor:
        return nn.functional.cross_entropy(tiny(inner_replay.solve(climb) if found_through_solve else climb()), labels)

    with inner_replay.record() as replay, inner_replay.watched(tiny):
        objective()
        for parameter in tiny.parameters():
            parameter.data.neg_()
        if found_through_solve:
            assert torch.isfinite(replay(objective))
        else:
            refused = r"objective: takes a gradient by its input outside of sparrow\.training\.inner_replay\.solve, .* s2ap"
            with pytest.raises(SparrowError, match=refused):
                replay(objective)
