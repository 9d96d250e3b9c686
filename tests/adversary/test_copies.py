"""Several points of one image in one search: they leave together, and the best of them is recorded."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from sparrow.adversary.record import Record
from sparrow.adversary.survivors import Survivors
from sparrow.adversary.target_groups import targets_at_once


@dataclass
class Numbered(Survivors):
    number: Tensor


def two_copies_of_three_images() -> Numbered:
    return Numbered(labels=torch.tensor([7, 8, 9] * 2), copies=2, number=torch.arange(6) * 10)


def test_copies_leave_together() -> None:
    now = two_copies_of_three_images()
    assert (len(now), now.images.tolist()) == (3, [0, 1, 2])
    now.keep(torch.tensor([True, False, True]))
    assert (len(now), now.images.tolist(), now.places.tolist()) == (2, [0, 2], [0, 2, 3, 5])
    assert (now.labels.tolist(), now.number.tolist()) == ([7, 9, 7, 9], [0, 20, 30, 50])
    now.keep(torch.tensor([False, True]))
    assert (len(now), now.images.tolist(), now.number.tolist()) == (1, [2], [20, 50])


def test_the_first_of_an_images_copies_counts() -> None:
    now = two_copies_of_three_images()
    positions, rows = now.first_rows(torch.tensor([False, True, False, True, True, False]))
    # Of the middle image both are wrong, of the first the second, of the last none.
    assert (positions.tolist(), rows.tolist()) == ([0, 1], [3, 1])
    now.keep(torch.tensor([False, True, True]))
    positions, rows = now.first_rows(torch.tensor([False, True, True, False]))
    assert (positions.tolist(), now.number[rows].tolist()) == ([0, 1], [40, 20])


def test_of_an_images_points_the_one_of_smallest_margin_is_recorded() -> None:
    record = Record(torch.zeros(4, 1, 1, 1), torch.full((4,), 5.0))
    points = torch.arange(1.0, 10.0).view(9, 1, 1, 1)
    margins = torch.tensor([4.0, 6.0, 3.0, 2.0, 7.0, 3.0, 3.0, 8.0, 9.0])
    # Three of each of three images: 4, 2 and 3; 6, 7 and 8, none of them smaller; 3 twice and 9.
    record.at(torch.tensor([3, 1, 0])).note(torch.arange(3), points, margins)
    assert record.margins.tolist() == [3, 5, 5, 2]
    assert record.points.flatten().tolist() == [3, 0, 0, 4]
    record.note(torch.tensor([3]), torch.tensor([90.0, 91]).view(2, 1, 1, 1), torch.tensor([2.0, 2]))
    assert record.points.flatten().tolist() == [3, 0, 0, 4]
    record.note(torch.tensor([], dtype=torch.long), torch.zeros(0, 1, 1, 1), torch.zeros(0))


def test_a_gradient_is_zero_where_it_is_so_at_all_starts() -> None:
    record = Record(torch.zeros(3, 1, 1, 2), torch.zeros(3))
    gradient = torch.zeros(4, 1, 1, 2)
    gradient[3, 0, 0, 1] = 1
    record.at(torch.tensor([2, 0])).note_start(gradient)
    assert record.zero_gradient.tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("standing", "targets", "batch", "together"),
    [
        (16, 9, 512, 9),
        (60, 9, 512, 5),
        (60, 4, 512, 4),
        (150, 9, 512, 3),
        (250, 9, 512, 2),
        (600, 9, 512, 1),
        (7, 9, 64, 9),
        (8, 9, 64, 5),
        (1, 3, 64, 3),
    ],
)
def test_targets_fill_a_batch(standing: int, targets: int, batch: int, together: int) -> None:
    assert targets_at_once(standing, targets, batch) == together
