"""State as plain values and tensors: what goes out comes back, in its place, and nothing else goes out."""

from __future__ import annotations

import copy
import json
from collections import deque
from functools import partial

import pytest
import torch
from torch import nn

from sparrow.jobs import packing
from sparrow.settings import RebuiltOnResume, Threat


def through_json(packed: packing.Packed) -> packing.Packed:
    return json.loads(json.dumps(packed[0])), packed[1]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        0.1 + 0.2,
        float("inf"),
        "text",
        [1, [2.5, None]],
        (1, "a"),
        {1, 2},
        {0: "an integer key", ("a", 1): {"nested": [()]}},
    ],
)
def test_plain_values_come_back_as_they_were(value: object) -> None:
    found = packing.unpack(through_json(packing.pack(value)))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("tensor", [torch.rand(2, 3), torch.tensor(5), torch.tensor([True, False]), torch.empty(0, 4)])
def test_tensors_come_back_to_the_bit(tensor: torch.Tensor) -> None:
    packed = packing.pack([tensor])
    found = packing.unpack(packed)[0]
    assert found.dtype == tensor.dtype
    assert torch.equal(found, tensor)


def test_a_tensor_is_put_back_in_place() -> None:
    scores = torch.tensor([1.0, 2.0])
    holder = {"scores": scores}
    packed = packing.pack(holder)
    scores.zero_()
    assert packing.unpack(packed, holder) is holder
    assert holder["scores"] is scores
    assert scores.tolist() == [1, 2]


def test_what_is_packed_does_not_change_with_the_original() -> None:
    scores = torch.ones(3)
    packed = packing.pack({"scores": scores})
    scores.zero_()
    assert packing.unpack(packed)["scores"].tolist() == [1, 1, 1]


def test_lists_and_dicts_are_put_back_in_place_whatever_their_length() -> None:
    trace, table = [1, 2], {"a": 1}
    packed = packing.pack([trace, table])
    trace.append(3)
    table["b"] = 2
    packing.unpack(packed, [trace, table])
    assert (trace, table) == ([1, 2], {"a": 1})


def test_names_of_one_tensor_stay_names_of_one_tensor() -> None:
    masks = torch.ones(3)
    found = packing.unpack(packing.pack({"masks": masks, "best": masks}))
    assert found["best"] is found["masks"]


def test_parts_of_the_network_are_named() -> None:
    network, packed_into = nn.Linear(2, 1), nn.Linear(2, 1)
    holder = {"weights": dict(network.named_parameters()), "values": network.weight.detach(), "network": network}
    packed = packing.pack(holder, network)
    assert packed[1] == {}
    found = packing.unpack(packed, network=packed_into)
    assert found["weights"]["weight"] is packed_into.weight
    assert found["network"] is packed_into
    found["values"].zero_()
    assert not found["values"].requires_grad
    assert packed_into.weight.tolist() == [[0, 0]]


def test_a_copy_of_the_network_comes_back_as_one() -> None:
    network = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    teacher = copy.deepcopy(network).eval()
    network[0].weight.data.zero_()
    packed = packing.pack({"teacher": teacher}, network)
    for current in (None, {"teacher": None}, {"teacher": copy.deepcopy(network)}):
        found = packing.unpack(packed, current, network)["teacher"]
        assert found is not network
        assert not found.training
        assert torch.equal(found[0].weight, teacher[0].weight)


def test_generators_go_on_where_they_were() -> None:
    generator = torch.Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    packed = packing.pack({"own": generator})
    expected = torch.rand(4, generator=generator)
    assert torch.equal(torch.rand(4, generator=packing.unpack(packed)["own"]), expected)
    packing.unpack(packed, {"own": generator})
    assert torch.equal(torch.rand(4, generator=generator), expected)


def test_what_does_not_change_stays_as_it_was_made() -> None:
    class Facts(RebuiltOnResume):
        pass

    mine = {"facts": Facts(), "threat": Threat(eps=0.1), "score": torch.abs, "rule": partial(max, 0), "kind": Facts}
    packed = through_json(packing.pack(mine))
    fresh = dict(mine)
    assert packing.unpack(packed, fresh) == mine


@pytest.mark.parametrize("value", [deque([1]), object(), iter([]), torch.Size([1]), nn.Linear(1, 1), 1j, {frozenset()}])
def test_nothing_else_is_written_down(value: object) -> None:
    with pytest.raises(packing.NotPlainError):
        packing.pack({"odd": value})


def test_a_number_that_knows_more_is_no_plain_number() -> None:
    from sparrow.training.schedule import Progress

    with pytest.raises(packing.NotPlainError, match="Progress"):
        packing.pack(Progress(0.5, 2.0))


def test_tensors_that_overlap_are_refused() -> None:
    whole = torch.rand(4)
    with pytest.raises(packing.NotPlainError, match="view of a part"):
        packing.pack([whole[:2], whole[2:]])


def test_what_no_longer_shares_memory_does_not_share_it_again() -> None:
    one = torch.zeros(2)
    packed = packing.pack({"a": torch.ones(2), "b": torch.full((2,), 2.0)})
    found = packing.unpack(packed, {"a": one, "b": one})
    assert (found["a"].tolist(), found["b"].tolist()) == ([1, 1], [2, 2])


def test_the_network_is_not_overwritten_by_what_once_was_a_part_of_it() -> None:
    network = nn.Linear(2, 1)
    packed = packing.pack({"best": torch.ones(1, 2)}, network)
    before = network.weight.tolist()
    assert packing.unpack(packed, {"best": network.weight.detach()}, network)["best"].tolist() == [[1, 1]]
    assert network.weight.tolist() == before


def test_a_parameter_put_back_under_two_names_stays_one() -> None:
    network = nn.Linear(2, 1)
    optimised = [network.weight]
    packed = packing.pack({"model": network.state_dict(), "optimised": optimised})
    packing.unpack(packed, {"model": network.state_dict(), "optimised": optimised})
    assert optimised[0] is network.weight
