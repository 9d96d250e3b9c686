"""Bits of each layer: chosen as a pencil would, within the budget, on training images, and written down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import norm
from torch import nn

from sparrow.data import store
from sparrow.data.store import Part
from sparrow.files import checkpoint
from sparrow.jobs import interruption
from sparrow.jobs.interruption import Interrupted
from sparrow.jobs.resume_point import VARIABLE
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.rounding import rounded
from sparrow.stages import _mixed_precision
from sparrow.stages._mixed_precision import Bits, average_certified_radius, bits_of_layers, choose, stored
from sparrow.stages._straight_through import StraightThrough
from sparrow.stages.specs.quantise import MixedPrecision
from tests.stages.test_quantise import SPEC, finetuned, run

__all__ = ["finetuned"]


def losing(*losses: dict[int, float]) -> Callable[[Bits], float]:
    """A criterion from which each layer takes what its bits lose."""
    return lambda bits: 1 - sum(loss[own] for loss, own in zip(losses, bits, strict=True))


def test_the_layer_that_loses_least_for_each_bit_goes_first() -> None:
    # 320 bits, of which 160 may stay. The second: .06 for 120 bits against .3 for 40; again, .12 for 60 against .3 for 40.
    # Then 140 are left, and another step up takes 60.
    criterion = losing({8: 0, 4: 0.3, 2: 0.9}, {8: 0, 4: 0.06, 2: 0.18})
    assert choose([10, 30], [2, 4, 8], 4, criterion) == (8, 2)


def test_the_same_bits_for_all_are_taken_where_steps_have_led_to_less() -> None:
    # As above, since .12 for 60 bits are less than .1 for 40; but .18 in all are more than .1 and .06.
    criterion = losing({8: 0, 4: 0.1, 2: 0.4}, {8: 0, 4: 0.06, 2: 0.18})
    assert choose([10, 30], [2, 4, 8], 4, criterion) == (4, 4)


def test_room_that_the_last_step_leaves_is_used_again() -> None:
    # 96 bits, of which 48 may stay. The first goes down twice, for 0 and .004 / 4 against .1 / 40; the second leaves 44, and
    # the first fits again with 4 bits, but not with 8.
    criterion = losing({8: 0, 4: 0, 2: 0.004}, {8: 0, 4: 0.1, 2: 0.5})
    assert choose([2, 10], [8, 2, 4], 4, criterion) == (4, 4)
    # It stays where more bits gain nothing.
    assert choose([2, 10], [8, 2, 4], 4, losing({8: 0, 4: 0, 2: 0}, {8: 0, 4: 0.1, 2: 0.5})) == (2, 4)


def test_a_gain_counts_for_no_more_than_no_loss() -> None:
    # The first gains by its step, the second loses nothing and saves more.
    values = {(8, 8): 1.0, (2, 8): 1.5, (8, 2): 1.0, (2, 2): 0.9}
    assert choose([1, 9], [2, 8], 7, values.__getitem__) == (8, 2)


def test_the_budget_is_one_of_whole_numbers() -> None:
    # 4.35 * 100 is 434.99999999999994 in floating point.
    assert choose([35, 65], [4, 5], 4.35, losing({5: 0, 4: 1}, {5: 0, 4: 0.1})) == (5, 4)
    assert choose([35, 65], [4, 5], 4.34, losing({5: 0, 4: 1}, {5: 0, 4: 0.1})) == (4, 4)


def test_a_layer_of_zeros_has_the_fewest_bits_and_no_choice_is_valued_twice() -> None:
    asked: list[Bits] = []

    def criterion(bits: Bits) -> float:
        asked.append(bits)
        return sum(bits) / 100

    assert choose([0, 4, 4], [2, 3], 2, criterion) == (2, 2, 2)
    assert len(asked) == len(set(asked))
    assert all(bits[0] == 2 for bits in asked)


@pytest.mark.parametrize("average", [2, 2.5, 3.7, 4, 5.9])
def test_the_budget_is_met_and_no_layer_that_gains_could_have_more(average: float) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        sizes = torch.randint(1, 1000, (4,), generator=generator).tolist()
        losses = [dict(zip((8, 6, 4, 2), torch.rand(4, generator=generator).cumsum(0).tolist(), strict=True)) for _ in sizes]
        bits = choose(sizes, [2, 4, 6, 8], average, losing(*losses))
        room = average * sum(sizes) - stored(sizes, bits)
        assert room >= 0
        assert all(own == 8 or 2 * size > room for size, own in zip(sizes, bits, strict=True))


def part(images: list[list[float]], labels: list[int]) -> Part:
    pixels = torch.tensor(images).mul(20).round().to(torch.uint8).view(len(images), 1, 1, -1)
    return Part(pixels, torch.tensor(labels), torch.arange(len(labels)), white=20)


SETTINGS = MixedPrecision(average_bits=5.6, candidates=[2, 8], sigma=0.05, n0=20, n=200)


def test_the_radius_of_a_network_that_says_one_thing_is_that_of_all_draws() -> None:
    constant = nn.Sequential(nn.Flatten(), nn.Linear(2, 3))
    nn.init.zeros_(constant[1].weight)
    constant[1].bias.data = torch.tensor([0.0, 1.0, 0.0])
    found = average_certified_radius(constant, part([[0.5, 1]] * 4, [1, 0, 1, 2]), 3, SETTINGS, seed=0)
    assert found == pytest.approx(0.05 * norm.ppf(0.001 ** (1 / 200)) / 2, rel=1e-5)


def test_a_network_worked_out_by_hand() -> None:
    """Two bits are enough for the first layer; in the second, -.3 becomes 0, and (.55, 1) of the other class."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    first, second = torch.eye(2), torch.tensor([[1, -0.3], [0, 0.4]])
    network[1].weight.data, network[3].weight.data = first.clone(), second.clone()
    there = part([[0.55, 1.0]], [1])
    # Two weights of 2 and three of 8 bits are 5.6 on average.
    assert bits_of_layers(network, there, 2, SETTINGS, seed=0) == {"1.weight": 2, "3.weight": 8}
    assert torch.equal(network[1].weight, first)
    assert torch.equal(network[3].weight, second)
    whole = average_certified_radius(network, there, 2, SETTINGS, seed=0)
    network[3].weight.data = rounded(second, 2)
    assert average_certified_radius(network, there, 2, SETTINGS, seed=0) == 0 < whole


MIXED: dict[str, Any] = {"average_bits": 3, "candidates": [2, 4], "images": 12, "n0": 5, "n": 25}
CHOOSING = {key: value for key, value in SPEC.items() if key != "bits"} | {"stage": "finetuned+mixed", "mixed_precision": MIXED}


@pytest.fixture(scope="module")
def mixed(finetuned: Path, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(finetuned, digits, tmp_path_factory.mktemp("mixed"), CHOOSING)


def require_own_grids(after: checkpoint.Checkpoint) -> None:
    for name, weight in prunable_weights(after.model).items():
        assert torch.equal(rounded(weight, after.header["layer_bits"][name]), weight)
        assert not weight[~after.masks[name]].any()


def test_each_layer_has_its_bits_and_all_are_within_the_budget(mixed: Path, finetuned: Path) -> None:
    before, after = checkpoint.load(finetuned), checkpoint.load(mixed)
    bits = after.header["layer_bits"]
    sizes = {name: int(weight.count_nonzero()) for name, weight in prunable_weights(before.model).items()}
    assert bits.keys() == sizes.keys()
    assert set(bits.values()) == {2, 4}
    spent = sum(sizes[name] * bits[name] for name in sizes)
    assert spent <= 3 * sum(sizes.values())
    assert after.header["bits"] == spent / sum(sizes.values())
    assert after.header["config"]["mixed_precision"]["candidates"] == [2, 4]
    require_own_grids(after)
    for name, tensor in after.model.state_dict().items():
        whole = before.model.state_dict()[name]
        assert torch.equal(tensor, rounded(whole, bits[name]) if name in bits else whole)


def test_a_job_that_was_killed_while_it_chose_ends_with_the_same_bytes(
    mixed: Path,
    finetuned: Path,
    digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    tried: list[int] = []
    radius = average_certified_radius

    def counted(*arguments: Any) -> float:
        tried.append(len(tried))
        return radius(*arguments)

    monkeypatch.setattr(_mixed_precision, "average_certified_radius", counted)
    with monkeypatch.context() as stopped:

        def stop() -> None:
            if len(tried) == 3:
                raise Interrupted

        stopped.setattr(interruption, "raise_if_requested", stop)
        with pytest.raises(Interrupted):
            run(finetuned, digits, tmp_path / "parts", CHOOSING)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["finetuned+mixed.resume.safetensors"]
    assert run(finetuned, digits, tmp_path / "parts", CHOOSING).read_bytes() == mixed.read_bytes()
    # What was known was not computed again.
    again = len(tried) - 3
    tried.clear()
    assert run(finetuned, digits, tmp_path / "whole", CHOOSING).read_bytes() == mixed.read_bytes()
    assert again == len(tried) - 3


def test_the_choice_rests_on_the_first_training_images(
    finetuned: Path,
    digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Part] = []
    monkeypatch.setattr(_mixed_precision, "average_certified_radius", lambda model, part, *rest: seen.append(part) or 0.0)
    run(finetuned, digits, tmp_path / "out", CHOOSING)
    train, test = (store.read(digits, name)[0] for name in ("train", "test"))
    assert len(seen) > 2
    assert all(part.indices.tolist() == train.indices[:12].tolist() for part in seen)
    assert not set(train.indices.tolist()) & set(test.indices.tolist())


def test_what_trains_on_does_so_under_the_bits_of_each_layer_also_after_it_was_killed(
    finetuned: Path,
    digits: Path,
    training_spec: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    schedule = {"epochs": 1, "batch_size": 64, "optimizer": "adam", "lr": 0.001}
    spec = training_spec | CHOOSING | {"schedule": schedule}
    whole = run(finetuned, digits, tmp_path / "out", spec)
    after = checkpoint.load(whole)
    assert set(after.header["layer_bits"].values()) == {2, 4}
    require_own_grids(after)
    assert (tmp_path / "out/curve.csv").read_text().count("\n") == 2
    monkeypatch.setenv(VARIABLE, "0")
    with monkeypatch.context() as stopped:
        steps: list[int] = []
        plain = StraightThrough.after_step

        def counted(*arguments: Any) -> None:
            steps.append(len(steps))
            plain(*arguments)

        def stop() -> None:
            if len(steps) == 7:
                raise Interrupted

        stopped.setattr(StraightThrough, "after_step", counted)
        stopped.setattr(interruption, "raise_if_requested", stop)
        with pytest.raises(Interrupted):
            run(finetuned, digits, tmp_path / "parts", spec)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["finetuned+mixed.resume.safetensors"]
    assert run(finetuned, digits, tmp_path / "parts", spec).read_bytes() == whole.read_bytes()
