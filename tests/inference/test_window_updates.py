"""Logits recomputed inside the window that changes are those of the whole images."""

import pytest
import torch
from torch import fx, nn
from torch.nn import functional

from sparrow.inference import window_updates as module
from sparrow.inference.fixed_weights import fixed_weights
from sparrow.inference.window import Kernel, PaddedMaps, Window
from sparrow.inference.window_updates import WholeImages, WindowUpdates, window_updates
from tests.inference.test_fixed_weights import MODELS, images, network


def corner(row: int, column: int, side: int) -> Window:
    return Window((row, row + side), (column, column + side))


def content(window: Window, batch: torch.Tensor, seed: int) -> torch.Tensor:
    return torch.rand(window.of(batch).shape, generator=torch.Generator().manual_seed(seed)).to(batch)


@pytest.mark.parametrize(
    ("kernel", "changed", "size", "expected"),
    [
        # Three by three with a frame of one: one pixel more all round, where there is one.
        (Kernel((3, 3), (1, 1), (1, 1)), corner(4, 5, 2), (8, 8), Window((3, 7), (4, 8))),
        # At the edge as large as elsewhere.
        (Kernel((3, 3), (1, 1), (1, 1)), corner(0, 6, 2), (8, 8), Window((0, 4), (4, 8))),
        # Outputs o look at pixels 2 o - 1 to 2 o + 2: of pixels 4 and 5, outputs 1 to 3.
        (Kernel((4, 4), (2, 2), (1, 1)), corner(4, 4, 2), (8, 8), Window((1, 4), (1, 4))),
        # Pooling by two: of pixels 3 and 4, outputs 1 and 2; of 4 and 5 only 2, and one more.
        (Kernel((2, 2), (2, 2), (0, 0)), Window((3, 5), (4, 6)), (4, 4), Window((1, 3), (2, 4))),
        (Kernel((5, 5), (1, 1), (2, 2)), corner(2, 2, 4), (6, 6), Window((0, 6), (0, 6))),
    ],
)
def test_how_far_a_change_reaches(kernel, changed, size, expected):
    assert kernel.output_window(changed, size) == expected


@pytest.mark.parametrize("place", range(9))
@pytest.mark.parametrize(
    ("extent", "stride", "padding"), [(3, 1, 1), (4, 2, 1), (2, 2, 0), (1, 2, 0), (3, 2, 1), (5, 1, 0), (7, 3, 3)]
)
def test_reached_window_has_every_output_that_changes(place, extent, stride, padding):
    maps, weight = torch.rand(1, 1, 11, 11), torch.ones(1, 1, extent, extent)
    kernel, window = Kernel((extent, extent), (stride, stride), (padding, padding)), corner(place, 9 - place, 2)
    changed = maps.clone()
    window.of(changed)[:] += 1
    before, after = (functional.conv2d(one, weight, stride=stride, padding=padding) for one in (maps, changed))
    reached = kernel.output_window(window, tuple(after.shape[-2:]))
    outside = (after != before).clone()
    reached.of(outside)[:] = False
    assert not outside.any()
    piece = kernel.inputs_of(reached, PaddedMaps.copied(changed, (padding, padding + 1)))
    torch.testing.assert_close(functional.conv2d(piece, weight, stride=stride), reached.of(after))


@torch.no_grad()
@pytest.mark.parametrize("kind", MODELS)
def test_same_logits_as_of_the_whole(kind):
    model, batch = network(kind).double(), images().double()
    with fixed_weights(model, batch) as view:
        updates, whole = window_updates(view, batch, 4), WholeImages(view, batch)
        assert isinstance(updates, WindowUpdates)
        for step, place in enumerate([(0, 0), (28, 28), (28, 3), (11, 17), (12, 0)]):
            window = corner(*place, 4)
            change = content(window, updates.points, step)
            expected = whole.logits(window, change)
            torch.testing.assert_close(
                updates.logits(window, change), expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max())
            )
            # Some keep the change; one image leaves.
            taken = torch.arange(len(updates.points)) % 2 == step % 2
            for one in (updates, whole):
                one.accept(taken)
            torch.testing.assert_close(updates.points, whole.points, rtol=0, atol=0)
            if step == 2:
                for one in (updates, whole):
                    one.keep(torch.tensor([True, False, True, True]))


def test_given_images_stay_as_they_are():
    batch = images()
    before = batch.clone()
    with fixed_weights(network("cnn-small"), batch) as view:
        updates = window_updates(view, batch, 4)
        updates.logits(corner(1, 1, 4), torch.zeros(4, 3, 4, 4))
        updates.accept(torch.ones(4, dtype=torch.bool))
    assert torch.equal(batch, before)


def test_what_is_far_from_the_window_is_not_computed_again(monkeypatch):
    sizes = []
    convolution = module.conv2d

    def watched(maps: torch.Tensor, *rest) -> torch.Tensor:
        sizes.append(tuple(maps.shape[-2:]))
        return convolution(maps, *rest)

    with fixed_weights(network("cnn-large"), images()) as view:
        updates = window_updates(view, images(), 4)
        # The graph has the function itself.
        monkeypatch.setattr(module, "conv2d", watched)
        updates.logits(corner(9, 9, 4), torch.zeros(4, 3, 4, 4))
    # 4 pixels, with their neighbours 6 of the first map; then 5, 7 and 5, and what these look at.
    assert sizes == [(8, 8), (12, 12), (9, 9), (12, 12)]


def test_windows_of_most_of_the_image_are_not_worth_it():
    with fixed_weights(network("cnn-large"), images()) as view:
        assert window_updates(view, images(), 23) is None
        assert window_updates(view, images(), 20) is not None


class Odd(nn.Module):
    """What the networks here do not have: holes, groups, pooling with a frame, by the mean, two branches of unlike reach."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 6, 5, padding=4, dilation=2)
        self.grouped = nn.Conv2d(6, 6, 3, padding=1, groups=3)
        self.same = nn.Conv2d(6, 6, 3, padding="same")
        self.own = nn.BatchNorm2d(6, track_running_stats=False)
        self.mean, self.framed = nn.AvgPool2d(2), nn.MaxPool2d(3, stride=1, padding=1)
        self.last = nn.Linear(6, 10)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        first = functional.relu(self.wide(batch))
        second = torch.add(self.grouped(first), first) + 1
        third = self.mean(self.same(second) + second)
        return self.last(self.framed(third * self.own(third)).amax(dim=(2, 3)))


def test_odd_layers():
    torch.manual_seed(0)
    model, batch = Odd().double().eval(), images().double()
    with fixed_weights(model, batch) as view:
        assert isinstance(view, fx.GraphModule)
        updates, whole = window_updates(view, batch, 2), WholeImages(view, batch)
        assert isinstance(updates, WindowUpdates)
        for step, place in enumerate([(0, 0), (30, 30), (15, 2)]):
            window = corner(*place, 2)
            change = content(window, batch, step)
            torch.testing.assert_close(updates.logits(window, change), whole.logits(window, change))


class Overwriting(nn.Module):
    """A layer that overwrites what another one has computed, who may be read later."""

    def __init__(self, read_later: bool) -> None:
        super().__init__()
        self.conv, self.norm, self.over, self.last = (
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ELU(inplace=True),
            nn.Linear(4, 10),
        )
        self.read_later = read_later

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        first = self.norm(self.conv(batch) + 0)
        second = self.over(first)
        return self.last((second + first if self.read_later else second).mean(dim=(2, 3)))


@pytest.mark.parametrize("read_later", [False, True])
def test_what_is_overwritten_is_not_remembered(read_later):
    with fixed_weights(Overwriting(read_later).eval(), images()) as view:
        assert isinstance(view, fx.GraphModule)
        assert window_updates(view, images(), 3) is None


class Shaped(nn.Module):
    """Nodes that are no tensors, and pairs of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool, self.last = (
            nn.Conv2d(3, 4, 3),
            nn.MaxPool2d([2, 2], return_indices=True),
            nn.Linear(4 * 15 * 15, 10),
        )

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        left, right = self.conv(batch).chunk(2, dim=1)
        pooled, _ = self.pool(torch.cat([left, right], dim=1))
        return self.last(pooled.reshape(batch.shape[0], -1))


def test_nodes_that_are_no_tensors():
    torch.manual_seed(0)
    model, batch = Shaped().double().eval(), images().double()
    with fixed_weights(model, batch) as view:
        updates, window = window_updates(view, batch, 3), corner(4, 20, 3)
        change = content(window, batch, 0)
        torch.testing.assert_close(updates.logits(window, change), WholeImages(view, batch).logits(window, change))


def test_a_graph_with_another_argument_sees_images_whole():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, batch: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
            return self.conv(batch).mean(dim=(2, 3)) * scale

    with fixed_weights(Scaled().eval(), images()) as view:
        assert isinstance(view, fx.GraphModule)
        assert window_updates(view, images(), 3) is None


def test_what_is_hooked_to_the_network_sees_logits_and_may_change_them():
    model, batch = network("cnn-small").eval(), images()
    hook = model.register_forward_hook(lambda module, arguments, output: 2 * output)
    window, change = corner(3, 3, 4), torch.zeros(4, 3, 4, 4)
    with fixed_weights(model, batch) as view:
        doubled = window_updates(view, batch, 4).logits(window, change)
        torch.testing.assert_close(doubled, WholeImages(view, batch).logits(window, change))
        hook.remove()
        torch.testing.assert_close(doubled, 2 * window_updates(view, batch, 4).logits(window, change))
        before = model.register_forward_pre_hook(lambda module, arguments: None)
        assert window_updates(view, batch, 4) is None
        before.remove()
