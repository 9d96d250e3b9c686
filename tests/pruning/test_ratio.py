"""How many units a ratio removes, and which ratios leave every layer a filter: by hand, and by trying."""

from __future__ import annotations

import pytest

from sparrow.methods import fre, harp, lwm, random
from sparrow.pruning.params import Method
from sparrow.pruning.ratio import largest_ratio, pruned_after, pruned_count, shortage, shortage_of_each

SIZES = {"wide": 8, "narrow": 3}


@pytest.mark.parametrize("filters", [1, 2, 3, 8, 16, 33, 64, 100, 512, 2048])
@pytest.mark.parametrize("spared", [1, 2, 5])
def test_the_largest_ratio_leaves_as_many_and_a_larger_one_does_not(filters: int, spared: int) -> None:
    if spared > filters:
        return
    ratio = largest_ratio(filters, spared)
    assert filters - pruned_count(filters, ratio) >= spared
    assert filters - pruned_count(filters, ratio + 2e-4) < spared or filters >= 2048


@pytest.mark.parametrize(
    ("filters", "ratio"),
    # 2.5 of 3 are rounded to the even 2, 1.5 of 2 to 2, 15.5 of 16 to 16, and 99.5 of 100 to 100.
    [(1, 0.5), (3, 0.8333), (2, 0.7499), (16, 0.9687), (100, 0.9949)],
)
def test_the_largest_ratio_by_hand(filters: int, ratio: float) -> None:
    assert largest_ratio(filters) == pytest.approx(ratio)


@pytest.mark.parametrize(
    "params",
    [random.Params(granularity="filter"), lwm.Params(granularity="filter"), harp.Params(granularity="filter")],
    ids=lambda params: params.__class__.__module__,
)
def test_where_layers_are_alike_the_narrowest_decides(params: Method) -> None:
    assert shortage(params, SIZES, 0.8) is None
    assert shortage(params, SIZES, 0.9) == "the ratio 0.9 would remove all 3 filters of narrow; valid: at most 0.8333"
    assert shortage(params, SIZES, 0.99) == shortage_of_each(SIZES, 0.99)


@pytest.mark.parametrize("params", [fre.Params(), lwm.Params(granularity="filter", allocation="erk")], ids=["fre", "erk"])
def test_where_filters_compete_their_number_decides(params: Method) -> None:
    # 9.9 of 11 are ten, and 9.35 are nine.
    assert shortage(params, SIZES, 0.85) is None
    assert shortage(params, SIZES, 0.9) == (
        "the ratio 0.9 would leave 1 of all 11 filters to 2 layers, each of which keeps one; valid: at most 0.8636"
    )


def test_a_network_without_filters_is_short_of_none() -> None:
    assert shortage_of_each({}, 0.99) is None


def test_each_pruning_keeps_the_same_share_of_what_is_left() -> None:
    assert [pruned_after(part, 3, 1000, 0.875) for part in range(4)] == [0, 500, 750, 875]
    # To the unit at the end: 1 - 0.7 is not 0.3 in floats.
    assert pruned_after(1, 1, 5, 0.3) == pruned_count(5, 0.3)
