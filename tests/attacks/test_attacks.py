"""Attacks, against networks of which it is known what can be broken, and the stage that checks what they return."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.attacks import fgsm
from sparrow.data import store
from sparrow.errors import SparrowError
from sparrow.files import checkpoint
from sparrow.files.outcome_table import COLUMNS, STATUS
from sparrow.settings import Threat
from sparrow.stages.attack import attack
from sparrow.verification.bounds import margin_matrix

KINDS = [kind for kind in catalogue.kinds("attacks") if not catalogue.load("attacks", kind).Params.transfers]
QUICK = {"autoattack": {"steps": 5, "queries": 20}, "pgd": {"steps": 5}}
"""Settings that make slow attacks quick; the others have defaults that are."""
LINF, L2 = Threat(norm="linf", eps=0.1), Threat(norm="l2", eps=0.3)
EVERY_ATTACK = pytest.mark.parametrize(
    ("kind", "threat"),
    [(kind, threat) for kind in KINDS for threat in (LINF, L2) if threat.norm in catalogue.load("attacks", kind).Params.norms],
)


def _run(kind: str, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, **params: object) -> Tensor:
    entry = catalogue.load("attacks", kind)
    torch.manual_seed(0)
    classes = model(images[:1]).shape[1]
    return entry.attack(model, images, labels, entry.Params(**params), threat, classes)


def _robust(model: nn.Module, adversarial: Tensor, labels: Tensor) -> Tensor:
    return model(adversarial).argmax(dim=1) == labels


def _linear(classes: int, threat: Threat) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A linear network, 60 images that it gets right, far from the borders of [0, 1], their labels and exact robust margins."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, classes)).eval()
    images = torch.empty(60, 1, 4, 4).uniform_(0.4, 0.6)
    # The mean image on the border between all classes: margins on both sides of what the adversary can do.
    model[1].bias.data = -model[1].weight.data.sum(dim=1) / 2
    labels = model(images).argmax(dim=1)
    margins = margin_matrix(labels, classes)
    length = (margins @ model[1].weight).norm(dim=2, p=1 if threat.norm == "linf" else 2)
    exact = (margins @ model(images).unsqueeze(2)).squeeze(2) - threat.eps * length
    return model, images, labels, exact.amin(dim=1).detach()


@pytest.mark.parametrize(
    ("kind", "threat", "params"),
    # Radii that break about half of the images, and steps long enough to come round the sphere.
    [
        ("fgsm", Threat(eps=0.02), {}),
        ("pgd", Threat(eps=0.02), {}),
        ("pgd", Threat(norm="l2", eps=0.07), {"step_size": 0.07}),
    ],
)
def test_attack_breaks_what_can_be_broken_and_no_more(kind: str, threat: Threat, params: dict) -> None:
    # Between two classes there is one way to go, so that gradients lead to the worst image.
    model, images, labels, exact = _linear(2, threat)
    adversarial = _run(kind, model, images, labels, threat, **params)
    assert 10 < int((exact > 0).sum()) < 50
    assert _robust(model, adversarial, labels).tolist() == (exact > 0).tolist()


def test_autoattack_breaks_what_can_be_broken_and_no_more() -> None:
    threat = Threat(eps=0.01)
    model, images, labels, exact = _linear(4, threat)
    adversarial = _run("autoattack", model, images, labels, threat, steps=20, queries=20)
    assert 10 < int((exact > 0).sum()) < 50
    assert _robust(model, adversarial, labels).tolist() == (exact > 0).tolist()


@pytest.fixture(scope="module")
def case(dense: Path, digits: Path) -> tuple[nn.Module, Tensor, Tensor]:
    """The digits network and 64 test images that it gets right."""
    model, (part, _) = checkpoint.load(dense).model, store.read(digits, "test")
    right = _robust(model, part.images, part.labels).nonzero().squeeze(1)[:64]
    return model, part.images[right], part.labels[right]


@pytest.mark.parametrize(
    ("kind", "threat"),
    [case for case in EVERY_ATTACK.args[1] if not catalogue.load("attacks", case[0]).Params.minimum_norm],
)
def test_attack_stays_in_the_ball_and_in_the_unit_box(kind: str, threat: Threat, case: tuple) -> None:
    # The stage projects anyway; an attack that strays would lose its success there.
    model, images, labels = case
    adversarial = _run(kind, model, images, labels, threat, **QUICK.get(kind, {}))
    distance = (adversarial - images).flatten(1).norm(dim=1, p=torch.inf if threat.norm == "linf" else 2)
    assert distance.max() <= threat.eps + 1e-5
    assert (adversarial >= 0).logical_and(adversarial <= 1).all()


@EVERY_ATTACK
def test_attack_breaks_some_images_of_a_real_network(kind: str, threat: Threat, case: tuple) -> None:
    model, images, labels = case
    adversarial = _run(kind, model, images, labels, threat, **QUICK.get(kind, {}))
    assert not _robust(model, adversarial, labels).all()


@pytest.mark.parametrize("kind", KINDS)
def test_attack_leaves_the_network_as_it_was(kind: str, case: tuple) -> None:
    model, images, labels = case
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    _run(kind, model, images[:8], labels[:8], LINF, **QUICK.get(kind, {}))
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)
def test_autoattack_leaves_no_more_robust_than_pgd(threat: Threat, case: tuple) -> None:
    model, images, labels = case
    pgd, auto = (
        _robust(model, _run(kind, model, images, labels, threat, **params), labels).sum()
        for kind, params in (("pgd", {"steps": 10}), ("autoattack", {"steps": 10, "queries": 20}))
    )
    assert 0 < auto <= pgd


def test_restarts_never_help_the_network(case: tuple) -> None:
    # The first of several starts is the only start, so what that breaks stays broken. One step leaves room for luck.
    model, images, labels = case
    once, often = (
        _robust(model, _run("pgd", model, images, labels, LINF, steps=1, restarts=restarts), labels) for restarts in (1, 5)
    )
    assert (often <= once).all()
    assert often.sum() < once.sum()


def test_step_size_follows_from_eps_unless_given(case: tuple) -> None:
    model, images, labels = case
    default, same, other = (
        _run("pgd", model, images, labels, LINF, steps=5, step_size=size) for size in (None, 2.5 * LINF.eps / 5, 0.01)
    )
    assert torch.equal(default, same)
    assert not torch.equal(default, other)


def test_autoattack_needs_four_classes() -> None:
    model, images, labels, _ = _linear(3, LINF)
    with pytest.raises(SparrowError, match=r"autoattack: the data set has 3 classes; .* at least 4"):
        _run("autoattack", model, images, labels, LINF)


def _spec(kind: str, threat: Threat = LINF, **params: object) -> dict:
    return {
        "seed": 0,
        "code": "test",
        "model": {"kind": "cnn-small"},
        "attack": {"kind": kind, **params},
        "threat": threat.model_dump(),
    }


@pytest.fixture
def outcomes(dense: Path, digits: Path, tmp_path: Path):
    """Runs the stage on the digits network; its table."""

    def run(spec: dict, name: str = "table.csv", data: Path = digits) -> pd.DataFrame:
        attack(dense, data, tmp_path / name, tmp_path / "cost.json", spec)
        return pd.read_csv(tmp_path / name)

    return run


@EVERY_ATTACK
def test_table_has_a_row_an_image(kind: str, threat: Threat, outcomes) -> None:
    table = outcomes(_spec(kind, threat, samples=30, **QUICK.get(kind, {})))
    assert list(table) == COLUMNS["attacks"]
    assert len(table) == 30
    assert table["index"].is_monotonic_increasing
    assert set(table["status"]) <= set(STATUS["attacks"])
    assert set(table["norm"]) == {threat.norm}


def test_table_is_about_the_test_images(outcomes, digits: Path) -> None:
    table, (part, _) = outcomes(_spec("fgsm")), store.read(digits, "test")
    assert dict(zip(table["index"], table["label"], strict=True)) == dict(
        zip(part.indices.tolist(), part.labels.tolist(), strict=True)
    )


def test_misclassified_images_are_broken(outcomes) -> None:
    table = outcomes(_spec("fgsm", Threat(eps=1e-6)))
    wrong = table[table["prediction"] != table["label"]]
    assert len(wrong) > 0
    assert set(wrong["status"]) == {"broken"}
    assert (wrong["margin"] <= 0).all()


def test_images_outside_the_ball_are_projected_before_they_count(outcomes, monkeypatch: pytest.MonkeyPatch) -> None:
    # This cheat shows a negative of each image, which no network takes for it.
    monkeypatch.setattr(fgsm, "attack", lambda model, images, *rest: 1 - images)
    table = outcomes(_spec("fgsm", Threat(eps=1e-6)))
    right = table["prediction"] == table["label"]
    assert (table["status"] == "robust").tolist() == right.tolist()


def test_images_that_are_none_do_not_count(outcomes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fgsm, "attack", lambda model, images, *rest: images * float("nan"))
    table = outcomes(_spec("fgsm"))
    assert (table["status"] == "robust").tolist() == (table["prediction"] == table["label"]).tolist()


def test_only_images_that_the_network_gets_right_are_attacked(outcomes, monkeypatch: pytest.MonkeyPatch) -> None:
    # An "attack" must not turn a wrong image into a right one.
    attacked = []

    def spy(model: nn.Module, images: Tensor, labels: Tensor, *rest: object) -> Tensor:
        attacked.append(_robust(model, images, labels))
        return images

    monkeypatch.setattr(fgsm, "attack", spy)
    table = outcomes(_spec("fgsm"))
    assert torch.cat(attacked).all()
    assert len(torch.cat(attacked)) == (table["prediction"] == table["label"]).sum() < len(table)


def test_failed_attack_leaves_images_robust(outcomes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fgsm, "attack", lambda model, images, *rest: images)
    table = outcomes(_spec("fgsm"))
    assert (table["status"] == "robust").tolist() == (table["prediction"] == table["label"]).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_gives_the_same_file(kind: str, outcomes, tmp_path: Path) -> None:
    for name in ("first.csv", "again.csv"):
        outcomes(_spec(kind, samples=20, **QUICK.get(kind, {})), name)
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()


def test_fewer_samples_give_the_same_rows(outcomes) -> None:
    many, few = (outcomes(_spec("fgsm", samples=samples)).set_index("index") for samples in (120, 40))
    same = many.loc[few.index]
    exact = ["label", "prediction", "status", "eps"]
    assert same[exact].equals(few[exact])
    # Sums over batches of another size may differ in the last digit.
    assert same["margin"].tolist() == pytest.approx(few["margin"].tolist(), abs=1e-4)


def test_batches_do_not_change_the_outcome(outcomes) -> None:
    whole, parts = (outcomes(_spec("fgsm", samples=50, batch_size=size)) for size in (512, 7))
    assert whole["status"].tolist() == parts["status"].tolist()


def test_network_of_other_data_is_refused(outcomes, digits: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    images, labels = catalogue.load("datasets", "digits").load(None).train
    store.write(other, {"test": store.Stored(images[:5], labels[:5], np.arange(5))}, 16, 10, "all")
    with pytest.raises(SparrowError, match=f"trained on a data set other than {other}"):
        outcomes(_spec("fgsm"), data=other)
