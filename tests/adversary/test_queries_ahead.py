"""Square's queries, several at once: what it finds is what one query after the other finds."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from sparrow.adversary import square
from sparrow.adversary.batches import logits
from sparrow.adversary.margin import margin
from sparrow.adversary.queries_ahead import search_ahead
from sparrow.adversary.record import Record
from sparrow.adversary.search import SearchNetwork
from sparrow.settings import Threat

THREAT, QUERIES = Threat(eps=0.1), 300


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def case() -> tuple[nn.Module, Tensor, Tensor]:
    """A network whose sums hardly depend on their order, images, and its answers."""
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 30, 20), nn.ReLU(), nn.Linear(20, 5)
    model, images = nn.Sequential(*layers).double().eval(), torch.rand(40, 2, 8, 7, dtype=torch.double)
    return model, images, logits(model, images).argmax(dim=1)


Found = tuple[Tensor, Tensor, Record]


def one_by_one(model: nn.Module, images: Tensor, labels: Tensor) -> Found:
    record, random = Record(images, margin(logits(model, images), labels)), generator()
    points = square._stripes(images, THREAT, random)
    propose = partial(square._window, threat=THREAT, generator=random)
    found = square._search(model, points, images, labels, QUERIES, propose, square._whole_images, record)
    return collected(images, found, record)


def ahead(batch: int, model: nn.Module, images: Tensor, labels: Tensor) -> Found:
    record, random = Record(images, margin(logits(model, images), labels)), generator()
    points = square._stripes(images, THREAT, random)
    proposals = square._proposals(images, THREAT, QUERIES, random)
    return collected(images, search_ahead(model, points, images, labels, proposals, batch, record), record)


def collected(images: Tensor, found, record: Record) -> Found:
    broken, result = torch.zeros(len(images), dtype=torch.bool), images.clone()
    for places, points in found:
        assert not broken[places].any()
        broken[places], result[places] = True, points
    return broken, result, record


@pytest.mark.parametrize("batch", [1, 64, 500, 10**4])
def test_queries_at_once_find_what_they_find_one_by_one(case: tuple, batch: int) -> None:
    (broken, found, record), (same, expected, recorded) = ahead(batch, *case), one_by_one(*case)
    assert 3 < int(broken.sum()) < len(broken) - 3
    assert torch.equal(broken, same)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(record.points, recorded.points, rtol=0, atol=1e-12)
    torch.testing.assert_close(record.margins, recorded.margins)
    assert (record.margins < margin(logits(case[0], case[1]), case[2]))[~broken].all()


def test_a_part_takes_the_networks_batch(case: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images, labels = case
    expected = square.square(model, images, labels, THREAT, QUERIES, generator())
    monkeypatch.setattr(square, "batch_size", lambda *given: 30)
    for one, other in zip(square.square(model, images, labels, THREAT, QUERIES, generator()), expected, strict=True):
        torch.testing.assert_close(one, other)


def test_fewer_calls_for_few_images(case: tuple) -> None:
    model, images, labels = case
    _, _, record = one_by_one(*case)
    standing = (record.margins > 0.05).nonzero().squeeze(1)[:4]
    seen = list[int]()
    hook = model.register_forward_hook(lambda module, arguments, output: seen.append(len(output)))
    try:
        broken, _, _ = ahead(64, model, images[standing], labels[standing])
    finally:
        hook.remove()
    assert not broken.any()
    assert max(seen) <= 64
    assert len(seen) < QUERIES / 3


def test_what_the_full_network_gets_right_is_searched_to_the_end(case: tuple) -> None:
    class Wrong(SearchNetwork):
        """Says that every image is of the next class."""

        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).roll(1, dims=1)

    model, images, labels = case
    nowhere = square.square(Wrong(model), images, labels, Threat(eps=1e-9), 20, generator())
    assert not nowhere[0].any()


def test_proposals_are_those_of_one_query_after_the_other() -> None:
    images, points = torch.rand(3, 2, 8, 7), torch.rand(3, 2, 8, 7)
    proposals, random = square._proposals(images, THREAT, QUERIES, generator()), generator()
    for query in range(QUERIES):
        window, content = square._window(points, images, THREAT, square._side(query, images), random)
        expected = points.clone()
        window.of(expected)[:] = content
        assert torch.equal(proposals.of(torch.full((3, 1), query), points, images).squeeze(1), expected)
