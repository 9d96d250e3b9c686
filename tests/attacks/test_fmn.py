"""FMN: distances that a pencil can follow, and examples that are what the table says of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from sparrow.adversary.geometry import distance, project
from sparrow.attacks import fmn
from sparrow.data import store
from sparrow.errors import SparrowError
from sparrow.files import checkpoint
from sparrow.files import examples as examples_file
from sparrow.settings import Threat
from sparrow.stages.attack import attack
from sparrow.verification.bounds import margin_matrix

NORMS = pytest.mark.parametrize("norm", ["linf", "l2"])
EPS = {"linf": 0.06, "l2": 0.5}
"""Radii that break some of the digits, not all."""


def _linear(classes: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A linear network, images that it gets right, far from the borders of [0, 1], and their labels.

    The mean image is on the border between the first two classes; any others are out of reach.
    """
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, classes)).eval()
    images = torch.empty(40, 1, 4, 4).uniform_(0.45, 0.55)
    model[1].bias.data = -model[1].weight.data.sum(dim=1) / 2
    model[1].bias.data[2:] -= 5
    return model, images, model(images).argmax(dim=1)


def _exact(model: nn.Module, images: Tensor, labels: Tensor, norm: str) -> Tensor:
    """How far (n,) the nearest border is: the margin over the dual norm of the difference of the weights."""
    margins = margin_matrix(labels, len(model[1].bias))
    lengths = (margins @ model[1].weight).norm(dim=2, p=1 if norm == "linf" else 2)
    return ((margins @ model(images).unsqueeze(2)).squeeze(2) / lengths).amin(dim=1).detach()


def _run(model: nn.Module, images: Tensor, labels: Tensor, norm: str, **params: object) -> Tensor:
    classes = model(images[:1]).shape[1]
    return fmn.attack(model, images, labels, fmn.Params(**params), Threat(norm=norm, eps=0.01), classes)


@pytest.mark.parametrize("steps", [100, 200])
@pytest.mark.parametrize(
    ("norm", "classes", "params"),
    [
        *[(norm, 2, {"loss": loss}) for norm in ("linf", "l2") for loss in ("logits", "cross-entropy")],
        *[(norm, 3, {"loss": "dlr"}) for norm in ("linf", "l2")],
        ("linf", 2, {"direction": "sign"}),
        ("linf", 3, {"direction": "sign", "loss": "dlr"}),
    ],
)
def test_distance_to_a_plane_is_found(norm: str, classes: int, params: dict, steps: int) -> None:
    # Whether it is near or far.
    model, images, labels = _linear(classes)
    exact = _exact(model, images, labels, norm)
    found = _run(model, images, labels, norm, steps=steps, **params)
    assert set(labels.tolist()) == {0, 1}
    assert exact.max() > 20 * exact.min()
    assert (model(found).argmax(dim=1) != labels).all()
    ratio = distance(found, images, norm) / exact
    assert ratio.min() >= 1 - 1e-3
    assert ratio.max() <= 1.02


@NORMS
def test_nearest_of_several_planes_is_usually_found(norm: str) -> None:
    model, images, _ = _linear(5)
    model[1].bias.data[2:] += 5
    labels = model(images).argmax(dim=1)
    ratio = distance(_run(model, images, labels, norm, steps=200), images, norm) / _exact(model, images, labels, norm)
    assert ratio.min() >= 1 - 1e-3
    assert ratio.median() <= 1.02


@NORMS
def test_radius_of_the_threat_does_not_matter(norm: str) -> None:
    model, images, labels = _linear(2)
    near, far = (fmn.attack(model, images, labels, fmn.Params(), Threat(norm=norm, eps=eps), 2) for eps in (1e-3, 1.0))
    assert torch.equal(near, far)


@NORMS
@pytest.mark.parametrize("loss", ["logits", "cross-entropy", "dlr"])
def test_image_itself_is_returned_where_nothing_is_found(norm: str, loss: str) -> None:
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval(), torch.rand(5, 1, 4, 4)
    model[1].weight.data.zero_()
    model[1].bias.data = torch.tensor([1.0, 0.0, -1.0])
    found = _run(model, images, torch.zeros(5, dtype=torch.long), norm, loss=loss, steps=20)
    assert torch.equal(found, images)


@NORMS
def test_image_that_is_wrong_already_is_the_nearest(norm: str) -> None:
    model, images, labels = _linear(2)
    assert torch.equal(_run(model, images, 1 - labels, norm, steps=20), images)


@pytest.fixture(scope="module")
def case(dense: Path, digits: Path) -> tuple[nn.Module, Tensor, Tensor]:
    """The digits network and 48 test images that it gets right."""
    model, (part, _) = checkpoint.load(dense).model, store.read(digits, "test")
    right = (model(part.images).argmax(dim=1) == part.labels).nonzero().squeeze(1)[:48]
    return model, part.images[right], part.labels[right]


@NORMS
@pytest.mark.parametrize("params", [{}, {"loss": "cross-entropy"}, {"loss": "dlr", "direction": "sign"}], ids=str)
def test_images_are_images_and_fool_the_network(norm: str, params: dict, case: tuple) -> None:
    # Digits touch both borders of [0, 1].
    model, images, labels = case
    found = _run(model, images, labels, norm, steps=30, **params)
    assert found.min() >= 0
    assert found.max() <= 1
    assert ((model(found).argmax(dim=1) != labels) | (found == images).flatten(1).all(dim=1)).all()
    assert (model(found).argmax(dim=1) != labels).float().mean() > 0.9


@NORMS
def test_nothing_between_the_image_and_what_is_found_is_much_nearer(norm: str, case: tuple) -> None:
    # On the way there the label holds nearly to the end: the search does not stop short of the border.
    model, images, labels = case
    found = _run(model, images, labels, norm, steps=200)
    assert (model(images + 0.9 * (found - images)).argmax(dim=1) == labels).float().mean() > 0.9


@NORMS
@pytest.mark.parametrize("steps", [1, 5, 40])
def test_nearest_of_all_images_looked_at_is_returned(norm: str, steps: int, case: tuple) -> None:
    model, images, labels = case
    visited = []
    hook = model.register_forward_hook(lambda layer, given, logits: visited.append((given[0].detach(), logits.detach())))
    found = _run(model, images, labels, norm, steps=steps, step_size=0.5)
    hook.remove()
    # And one to ask for the number of classes.
    visited = visited[1:]
    assert len(visited) == steps + 1
    lengths = torch.stack([distance(looked_at, images, norm) for looked_at, _ in visited])
    fooled = torch.stack([logits.argmax(dim=1) != labels for _, logits in visited])
    expected = torch.where(fooled, lengths, torch.inf).amin(dim=0)
    assert torch.equal(distance(found, images, norm), torch.where(expected.isinf(), 0.0, expected))


def test_network_is_left_as_it_was(case: tuple) -> None:
    model, images, labels = case
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    _run(model, images[:4], labels[:4], "linf", steps=3)
    assert not model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_dlr_needs_three_classes() -> None:
    model, images, labels = _linear(2)
    with pytest.raises(SparrowError, match=r"fmn: the data set has 2 classes; .* at least 3"):
        _run(model, images, labels, "linf", loss="dlr")


def _spec(kind: str, norm: str, **params: object) -> dict:
    return {
        "seed": 0,
        "code": "test",
        "model": {"kind": "cnn-small"},
        "attack": {"kind": kind, "samples": 120, **params},
        "threat": {"norm": norm, "eps": EPS[norm]},
    }


@pytest.fixture
def outcomes(dense: Path, digits: Path, tmp_path: Path):
    """Runs the stage on the digits network; its table."""

    def run(spec: dict, name: str = "table.csv", examples: Path | None = None) -> pd.DataFrame:
        attack(dense, digits, tmp_path / name, tmp_path / "cost.json", spec, examples)
        return pd.read_csv(tmp_path / name)

    return run


@NORMS
def test_status_follows_from_distance(norm: str, outcomes) -> None:
    table = outcomes(_spec("fmn", norm))
    wrong = table["prediction"] != table["label"]
    assert wrong.any()
    assert (table.loc[wrong, "distance"] == 0).all()
    assert (table.loc[~wrong, "distance"] > 0).all()
    assert ((table["status"] == "broken") == (table["distance"] <= EPS[norm])).all()
    assert (table.loc[table["status"] == "robust", "distance"] > EPS[norm]).all()
    assert (table["distance"] < float("inf")).all()
    assert {"robust", "broken"} == set(table.loc[~wrong, "status"])
    assert (table.loc[table["status"] == "broken", "margin"] <= 0).all()


def test_distance_is_infinite_where_nothing_was_found(outcomes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fmn, "attack", lambda model, images, *rest: images)
    monkeypatch.delattr(fmn, "restart")
    table = outcomes(_spec("fmn", "linf"))
    right = table["prediction"] == table["label"]
    assert (table.loc[right, "distance"] == float("inf")).all()
    assert (table.loc[~right, "distance"] == 0).all()


def test_image_beyond_the_radius_counts_inside_it_only_if_its_projection_does(
    outcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A negative of each image, far away: broken where the way there is wrong already at the radius.
    monkeypatch.setattr(fmn, "attack", lambda model, images, *rest: 1 - images)
    table = outcomes(_spec("fmn", "linf")).query("label == prediction")
    broken = table["status"] == "broken"
    assert (table.loc[broken, "distance"] <= EPS["linf"]).all()
    beyond = table.loc[~broken, "distance"]
    assert (beyond > 0.5).all()
    assert (beyond < float("inf")).any()


@NORMS
def test_more_steps_do_not_lose_ground(norm: str, outcomes) -> None:
    few, many = (outcomes(_spec("fmn", norm, steps=steps))["distance"].mean() for steps in (50, 150))
    assert many <= 1.05 * few


@pytest.mark.parametrize(
    ("norm", "params"),
    [
        ("linf", {}),
        ("linf", {"loss": "cross-entropy"}),
        ("linf", {"loss": "dlr", "direction": "sign"}),
        ("l2", {}),
        ("l2", {"loss": "dlr"}),
    ],
)
def test_accuracy_at_the_radius_is_about_that_of_pgd(norm: str, params: dict, outcomes) -> None:
    fmn_robust = (outcomes(_spec("fmn", norm, **params))["status"] == "robust").mean()
    pgd_robust = (outcomes(_spec("pgd", norm, steps=20, restarts=3))["status"] == "robust").mean()
    assert fmn_robust <= pgd_robust + 0.05
    assert 0.1 < pgd_robust < 0.9


@NORMS
def test_examples_are_what_the_table_says(norm: str, outcomes, case: tuple, digits: Path, tmp_path: Path) -> None:
    table = outcomes(_spec("fmn", norm), examples=tmp_path / "examples").set_index("index")
    indices, images = examples_file.read(tmp_path / "examples")
    correct = table[table["label"] == table["prediction"]]
    assert indices.tolist() == correct.index[correct["distance"] < float("inf")].tolist()
    part, _ = store.read(digits, "test")
    places = [part.indices.tolist().index(index) for index in indices.tolist()]
    assert (case[0](images).argmax(dim=1) != part.labels[places]).all()
    assert images.min() >= 0
    assert images.max() <= 1
    expected = table.loc[indices.tolist(), "distance"].tolist()
    assert distance(images, part.images[places], norm).tolist() == pytest.approx(expected, abs=1e-5)


@NORMS
def test_examples_of_an_ordinary_attack_are_the_broken_images(
    norm: str, outcomes, case: tuple, digits: Path, tmp_path: Path
) -> None:
    table = outcomes(_spec("pgd", norm, steps=5), examples=tmp_path / "examples").set_index("index")
    indices, images = examples_file.read(tmp_path / "examples")
    broken = table[(table["label"] == table["prediction"]) & (table["status"] == "broken")]
    assert 0 < len(broken) < (table["label"] == table["prediction"]).sum()
    assert indices.tolist() == broken.index.tolist()
    part, _ = store.read(digits, "test")
    places = [part.indices.tolist().index(index) for index in indices.tolist()]
    distances = distance(images, part.images[places], norm)
    assert distances.max() <= EPS[norm] + 1e-6
    assert distances.tolist() == pytest.approx(broken["distance"].tolist(), abs=1e-5)
    assert (case[0](images).argmax(dim=1) != part.labels[places]).all()
    robust = table[table["status"] == "robust"]
    assert (robust["distance"] == float("inf")).all()


def test_same_seed_gives_the_same_files(outcomes, tmp_path: Path) -> None:
    for name in ("first", "again"):
        outcomes(_spec("fmn", "linf", steps=20), name, tmp_path / f"{name}.examples")
    for suffix in ("", ".examples"):
        assert (tmp_path / f"first{suffix}").read_bytes() == (tmp_path / f"again{suffix}").read_bytes()


def test_distance_by_hand() -> None:
    centres = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5]]).view(2, 1, 2, 2)
    images = torch.tensor([[0.1, 0.5, 0.3, 0.0], [0.5, 0.5, 0.5, 0.5]]).view(2, 1, 2, 2)
    assert distance(images, centres, "linf").tolist() == pytest.approx([0.4, 0])
    assert distance(images, centres, "l2").tolist() == pytest.approx([0.5, 0])


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        # The differences are (0.3, -0.4), the radii 0.1, 0.25 and 1.
        ("linf", [[0.6, 0.4], [0.75, 0.25], [0.8, 0.1]]),
        ("l2", [[0.56, 0.42], [0.65, 0.3], [0.8, 0.1]]),
    ],
)
def test_each_image_is_projected_onto_its_own_ball(norm: str, expected: list) -> None:
    centres = torch.full((3, 1, 1, 2), 0.5)
    images = torch.tensor([0.8, 0.1]).expand(3, 1, 1, 2)
    radii = torch.tensor([0.1, 0.25, 1]).view(3, 1, 1, 1)
    # The threat's own radius has no say.
    inside = project(images, centres, Threat(norm=norm, eps=0.01), radii)
    assert inside.flatten(1).tolist() == [pytest.approx(row) for row in expected]


@NORMS
def test_projection_ends_in_the_unit_box(norm: str) -> None:
    centre = torch.full((1, 1, 1, 2), 0.9)
    inside = project(centre + torch.tensor([0.3, 0.0]), centre, Threat(norm=norm, eps=1.0), torch.tensor(0.2).view(1, 1, 1, 1))
    assert inside.flatten().tolist() == pytest.approx([1, 0.9])
