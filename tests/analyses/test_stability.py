"""Stable ReLUs: counted by hand on small networks, and against images of the perturbation set."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from sparrow.adversary.geometry import project, random_start
from sparrow.data import store
from sparrow.errors import CheckpointError
from sparrow.files import checkpoint
from sparrow.networks.cutting import cut
from sparrow.settings import Threat
from sparrow.verification.crown import input_ranges
from tests.analyses.jobs import columns, on_network, tables

LINF, L2 = Threat(norm="linf", eps=0.1), Threat(norm="l2", eps=0.5)


def spec(eps: float, norm: str = "linf", **settings: int) -> dict:
    return {
        "seed": 0,
        "code": "test",
        "model": {"kind": "cnn-small"},
        "analysis": {"kind": "stability"} | settings,
        "threat": {"norm": norm, "eps": eps},
    }


@pytest.fixture
def count(digits: Path, dense: Path, tmp_path: Path):
    """Runs the stage on a network of the digits, by default the one that has learned something; its table."""

    def count(eps: float, network: Path = dense, **settings: int) -> pd.DataFrame:
        on_network(network, digits, tmp_path / "stability.csv", tmp_path / "cost.json", spec(eps, **settings))
        return pd.read_csv(tmp_path / "stability.csv")

    return count


def test_every_layer_of_relus_is_a_row(count) -> None:
    table = count(0.05, samples=20)
    assert list(table.columns) == columns("stability")
    # 16 channels of 4 x 4, 32 of 2 x 2, and the hidden layer.
    assert table[["layer", "neurons"]].to_numpy().tolist() == [[1, 256], [2, 128], [3, 100]]


@pytest.mark.parametrize("eps", [1e-6, 0.02, 0.1, 1])
def test_every_neuron_is_active_inactive_or_unstable(count, eps: float) -> None:
    table = count(eps, samples=20)
    # The table has six digits.
    assert table[["active", "inactive", "unstable"]].sum(axis=1).tolist() == pytest.approx(table["neurons"].tolist(), abs=1e-3)
    assert (table[["active", "inactive", "unstable"]] >= 0).all(axis=None)


def test_under_hardly_any_perturbation_hardly_any_relu_is_unstable(count) -> None:
    table = count(1e-6, samples=20)
    assert table["unstable"].sum() < 0.001 * table["neurons"].sum()


def test_without_perturbation_a_relu_is_what_the_network_makes_of_it(count, dense: Path, digits: Path) -> None:
    model, (part, _) = checkpoint.load(dense).model, store.read(digits, "test")
    images, active = part.images[:20], []
    images = images[model(images).argmax(dim=1) == part.labels[:20]]
    for layer in model:
        if isinstance(layer, nn.ReLU):
            active.append(float((images > 0).flatten(1).sum(dim=1).float().mean()))
        images = layer(images)
    assert count(1e-7, samples=20)["active"].tolist() == pytest.approx(active, abs=0.2)


def test_the_more_the_adversary_may_the_more_relus_are_unstable(count) -> None:
    tables = [count(eps, samples=20).set_index("layer")["unstable"] for eps in (1e-6, 0.005, 0.05, 0.2)]
    for less, more in itertools.pairwise(tables):
        assert (less <= more).all()
        assert less.sum() < more.sum()


def test_relus_are_counted_over_the_images_that_the_network_gets_right(count, dense: Path, digits: Path) -> None:
    model, (part, _) = checkpoint.load(dense).model, store.read(digits, "test")
    right = int((model(part.images[:100]).argmax(dim=1) == part.labels[:100]).sum())
    assert 0 < right < 100
    assert set(count(0.05, samples=100)["images"]) == {right}


def with_weights(path: Path, dense: Path, change) -> Path:
    """A copy of the network with other weights."""
    loaded = checkpoint.load(dense)
    with torch.no_grad():
        change(loaded.model)
    checkpoint.save(path, loaded)
    return path


def test_a_network_that_gets_nothing_right_is_counted_over_all_images(count, dense: Path, digits: Path, tmp_path: Path) -> None:
    label = int(store.read(digits, "test")[0].labels[0])

    def never_right(model: nn.Module) -> None:
        model[-1].bias[label] = -1e3

    table = count(0.05, with_weights(tmp_path / "wrong", dense, never_right), samples=1)
    assert set(table["images"]) == {1}
    # The last layer has no ReLU after it: what is counted is the same network.
    assert table["unstable"].sum() > 0


def test_relus_that_are_always_on_or_off_are_told_apart(count, dense: Path, tmp_path: Path) -> None:
    def change(model: nn.Module) -> None:
        model[0].bias.copy_(torch.where(torch.arange(16) < 6, 1e3, -1e3))

    row = count(0.1, with_weights(tmp_path / "biased", dense, change), samples=20).iloc[0]
    assert row[["active", "inactive", "unstable"]].tolist() == [6 * 16, 10 * 16, 0]


def test_a_pruned_filter_is_off(count, dense: Path, tmp_path: Path) -> None:
    # It hands on zeros, whatever comes in.
    def change(model: nn.Module) -> None:
        model[0].weight[:12], model[0].bias[:12] = 0, 0

    row = count(0.1, with_weights(tmp_path / "pruned", dense, change), samples=20).iloc[0]
    assert row["inactive"] >= 12 * 16


def test_a_filter_that_was_cut_out_is_off(count, dense: Path, digits: Path, tmp_path: Path) -> None:
    loaded, images = checkpoint.load(dense), store.read(digits, "test")[0].images[:5]
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in loaded.model.named_parameters()}
    masks["0.weight"][:3] = masks["0.bias"][:3] = False
    for name, mask in masks.items():
        loaded.model.get_parameter(name).data.mul_(mask)
    checkpoint.save(
        tmp_path / "masked.safetensors", checkpoint.Checkpoint(loaded.model, masks, loaded.header | {"parent": None})
    )
    smaller, masks, kept, _ = cut(loaded.model, (1, 8, 8), masks, images)
    checkpoint.save(
        tmp_path / "small.safetensors", checkpoint.Checkpoint(smaller, masks, loaded.header | {"parent": None}, kept)
    )
    masked, small = (count(0.02, tmp_path / f"{name}.safetensors", samples=20) for name in ("masked", "small"))
    assert small["neurons"].tolist() == [256, 128, 100]
    pd.testing.assert_frame_equal(
        small.drop(columns=["network", "spec"], errors="ignore"), masked.drop(columns=["network", "spec"], errors="ignore")
    )


@pytest.mark.parametrize("size", [1, 7])
def test_the_size_of_the_batches_changes_nothing(count, size: int) -> None:
    # Under which it was done is in the table; the numbers are the same.
    found, expected = (
        table[list(tables("stability")["stability"])]
        for table in (count(0.05, samples=20, batch_size=size), count(0.05, samples=20))
    )
    assert found.to_numpy() == pytest.approx(expected.to_numpy())


def test_counting_gives_the_same_bytes_and_costs_no_gradients(count, tmp_path: Path) -> None:
    written = []
    for _ in range(2):
        count(0.05, samples=20)
        written.append((tmp_path / "stability.csv").read_bytes())
    assert written[0] == written[1]
    assert json.loads((tmp_path / "cost.json").read_text())["gradient_evaluations"] == 0


def test_another_architecture_than_expected_is_refused(dense: Path, digits: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds the model"):
        on_network(dense, digits, tmp_path / "table", tmp_path / "cost", spec(0.1) | {"model": {"kind": "cnn-large"}})
    assert list(tmp_path.iterdir()) == []


def ranges(model: nn.Module, images: Tensor, threat: Threat, classes: int) -> list[tuple[Tensor, Tensor]]:
    return input_ranges(model.eval(), images, torch.zeros(len(images), dtype=torch.long), threat, classes)


@pytest.fixture
def one_layer() -> nn.Module:
    """Four pixels, three ReLUs with weights that one can reckon with, two classes."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, -1.0, 2.0, 0.0], [0.0, 0.0, -1.0, -3.0]]))
        model[1].bias.copy_(torch.tensor([-1.0, 0.0, 1.5]))
    return model


@pytest.mark.parametrize(
    ("threat", "lower", "upper"),
    [
        # At (0.5, 0.5, 0.1, 0.5) the inputs are 0, 0.2 and -0.1; each moves by eps times its weights' l1 norm.
        (Threat(norm="linf", eps=0.05), [-0.1, 0.0, -0.3], [0.1, 0.4, 0.1]),
        # The third pixel cannot be darker than 0.
        (Threat(norm="linf", eps=0.2), [-0.4, -0.4, -0.9], [0.4, 1.0, 0.6]),
        # In l2 by eps times its l2 norm: sqrt(2), sqrt(6), sqrt(10).
        (Threat(norm="l2", eps=0.01), [-0.014142, 0.175505, -0.131623], [0.014142, 0.224495, -0.068377]),
    ],
)
def test_the_range_of_a_first_layer_by_hand(one_layer: nn.Module, threat: Threat, lower: list, upper: list) -> None:
    image = torch.tensor([[[[0.5, 0.5], [0.1, 0.5]]]])
    ((low, high),) = ranges(one_layer, image, threat, 2)
    assert low[0].tolist() == pytest.approx(lower, abs=1e-5)
    assert high[0].tolist() == pytest.approx(upper, abs=1e-5)


@pytest.mark.parametrize("threat", [LINF, L2], ids=["linf", "l2"])
def test_a_relu_that_changes_its_sign_in_the_perturbation_set_is_unstable(tiny: nn.Module, threat: Threat) -> None:
    images, before = torch.rand(6, 1, 4, 4), [tiny[:1], tiny[:4]]
    on, off = ([torch.zeros(6, size, dtype=torch.bool) for size in (12, 8)] for _ in range(2))
    for step in range(600):
        # Corners of the ball as well, where inputs go farthest.
        start = images + threat.eps * torch.randn_like(images).sign() if step % 2 else random_start(images, threat)
        inside = project(start, images, threat)
        for layer, part in enumerate(before):
            inputs = part(inside).detach().flatten(1)
            on[layer] |= inputs > 1e-5
            off[layer] |= inputs < -1e-5
    for layer, (low, high) in enumerate(ranges(tiny, images, threat, 4)):
        changing, unstable = on[layer] & off[layer], ((low < 0) & (high > 0)).flatten(1)
        assert changing.any()
        assert not (changing & ~unstable).any()


def test_in_a_first_layer_every_unstable_relu_does_change_its_sign(tiny: nn.Module) -> None:
    # In linf the range is exact there, away from the border of [0, 1]: the images at both its ends are known.
    images = 0.5 + 0.1 * (torch.rand(6, 1, 4, 4) - 0.5)
    (low, high), *_ = ranges(tiny, images, LINF, 4)
    for neuron in range(low[0].numel()):
        inputs = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(tiny[0](inputs).flatten(1)[:, neuron].sum(), inputs)
        ends = [tiny[0](images + side * LINF.eps * gradient.sign()).flatten(1)[:, neuron].tolist() for side in (-1, 1)]
        assert low.flatten(1)[:, neuron].tolist() == pytest.approx(ends[0], abs=1e-5)
        assert high.flatten(1)[:, neuron].tolist() == pytest.approx(ends[1], abs=1e-5)


def test_ranges_leave_the_network_as_it_was(tiny: nn.Module) -> None:
    tiny.train()
    tiny[0].bias.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    input_ranges(tiny, torch.rand(2, 1, 4, 4), torch.tensor([0, 1]), LINF, 4)
    assert tiny.training
    assert [name for name, parameter in tiny.named_parameters() if not parameter.requires_grad] == ["0.bias"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny.state_dict().items())
