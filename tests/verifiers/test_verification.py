"""Verifiers: exact where the network is linear, sound everywhere, and told apart where theory tells them apart."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.adversary.geometry import project, random_start
from sparrow.data import store
from sparrow.files import checkpoint
from sparrow.files.outcome_table import COLUMNS, FAILED, STATUS
from sparrow.settings import Threat
from sparrow.stages.attack import attack
from sparrow.stages.verify import verify
from sparrow.training import inner_pgd
from sparrow.verification import bounds as _bounds
from sparrow.verification.bounds import margin_matrix
from sparrow.verifiers import ibp

# A smoothed classifier has no bounds; it has tests of its own.
KINDS = [kind for kind in catalogue.kinds("verifiers") if hasattr(catalogue.load("verifiers", kind), "bound")]
QUICK = {"alpha-crown": {"iterations": 3}}
"""Settings that make slow verifiers quick."""
LINF, L2 = Threat(norm="linf", eps=0.1), Threat(norm="l2", eps=0.3)
THREATS = pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)


def _bound(kind: str, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, **params: object) -> Tensor:
    entry = catalogue.load("verifiers", kind)
    return entry.bound(model, images, labels, entry.Params(**QUICK.get(kind, {}) | params), threat, 4)


def _margins(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Smallest margin of each image (n,)."""
    return (margin_matrix(labels, 4) @ model(images).unsqueeze(2)).squeeze(2).amin(dim=1)


def _case(seed: int, size: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(size, 1, 4, 4, generator=generator), torch.randint(4, (size,), generator=generator)


def _dense_net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 4))


def _conv_net() -> nn.Module:
    convolutions = nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 4, 2, stride=2), nn.ReLU()
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(16, 4))


def _random_net(build, seed: int) -> nn.Module:
    """Weights twice torch's own, so that bounds have something to get wrong; every third network is pruned by half."""
    torch.manual_seed(seed)
    network = build().eval()
    for parameter in network.parameters():
        parameter.data *= 2
        if seed % 3 == 0:
            parameter.data *= torch.rand_like(parameter) > 0.5
    return network


@pytest.mark.parametrize(
    ("label", "rows"),
    [
        (0, [[1, -1, 0], [1, 0, -1]]),
        (1, [[-1, 1, 0], [0, 1, -1]]),
        (2, [[-1, 0, 1], [0, -1, 1]]),
    ],
)
def test_margin_matrix_by_hand(label: int, rows: list) -> None:
    assert margin_matrix(torch.tensor([label]), 3).tolist() == [rows]


def test_linf_ball_is_clipped_to_the_unit_box() -> None:
    ball = _bounds.perturbed(torch.tensor([[0.05, 0.5, 0.95]]), LINF).ptb
    assert ball.x_L.flatten().tolist() == pytest.approx([0, 0.4, 0.85])
    assert ball.x_U.flatten().tolist() == pytest.approx([0.15, 0.6, 1])


def _worst_linear_margin(weight: Tensor, bias: Tensor, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """Smallest margin (n,) of a linear network over the ball, clipped to [0, 1] for linf, by the dual norm."""
    gradients = margin_matrix(labels, 4) @ weight
    lower, upper = images.flatten(1), images.flatten(1)
    if threat.norm == "linf":
        lower, upper = (lower - threat.eps).clamp(0, 1), (upper + threat.eps).clamp(0, 1)
        reach = (gradients.abs() @ ((upper - lower) / 2).unsqueeze(2)).squeeze(2)
    else:
        reach = threat.eps * gradients.norm(dim=2)
    centre = ((lower + upper) / 2 @ weight.T + bias).unsqueeze(2)
    return ((margin_matrix(labels, 4) @ centre).squeeze(2) - reach).amin(dim=1)


@THREATS
@pytest.mark.parametrize("kind", KINDS)
def test_bound_is_exact_on_a_linear_network(kind: str, threat: Threat) -> None:
    model, (images, labels) = nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), _case(0, 20)
    expected = _worst_linear_margin(model[1].weight, model[1].bias, images, labels, threat)
    assert _bound(kind, model, images, labels, threat).tolist() == pytest.approx(expected.tolist(), abs=1e-5)


@THREATS
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ibp"])
def test_linear_relaxation_is_exact_where_every_relu_is_on(kind: str, threat: Threat) -> None:
    # IBP is not: it forgets that the units of a layer move together.
    model, (images, labels) = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 4)), _case(0, 20)
    model[1].bias.data.fill_(10)
    weight, bias = model[3].weight @ model[1].weight, model[3].weight @ model[1].bias + model[3].bias
    expected = _worst_linear_margin(weight, bias, images, labels, threat)
    assert _bound(kind, model, images, labels, threat).tolist() == pytest.approx(expected.tolist(), abs=1e-5)


@THREATS
@pytest.mark.parametrize("build", [_dense_net, _conv_net])
@pytest.mark.parametrize("kind", KINDS)
def test_no_point_of_the_ball_is_below_the_bound(kind: str, build, threat: Threat) -> None:
    for seed in range(15):
        model, (images, labels) = _random_net(build, seed), _case(seed)
        bounds = _bound(kind, model, images, labels, threat)
        found = [project(random_start(images, threat), images, threat) for _ in range(20)]
        # And where an attack looks for it.
        found.append(
            inner_pgd.maximise(
                model,
                lambda logits, labels=labels: -_margins(nn.Identity(), logits, labels).sum(),
                images,
                images,
                threat,
                15,
                0.05,
            )
        )
        assert all((_margins(model, points, labels) >= bounds - 1e-5).all() for points in found), f"network {seed}"


@THREATS
@pytest.mark.parametrize("kind", KINDS)
def test_bound_tends_to_the_margin_of_the_image(kind: str, threat: Threat) -> None:
    model, (images, labels) = _random_net(_conv_net, 1), _case(1)
    bounds = _bound(kind, model, images, labels, Threat(norm=threat.norm, eps=1e-6))
    assert bounds.tolist() == pytest.approx(_margins(model, images, labels).tolist(), abs=1e-3)


@THREATS
def test_ibp_bound_falls_as_eps_grows(threat: Threat) -> None:
    # Boxes that contain each other stay so. Linear relaxations promise no such thing: their slopes jump.
    model, (images, labels) = _random_net(_dense_net, 1), _case(1)
    bounds = [_bound("ibp", model, images, labels, Threat(norm=threat.norm, eps=eps)) for eps in (0.01, 0.05, 0.2)]
    assert (bounds[0] > bounds[1]).all()
    assert (bounds[1] > bounds[2]).all()


def test_crown_ibp_is_crown_with_one_hidden_layer() -> None:
    # In an l_inf ball both bound the first layer exactly. Deeper down neither is always the tighter one.
    torch.manual_seed(2)
    model, (images, labels) = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4)), _case(2)
    crown, crown_ibp = (_bound(kind, model, images, labels, LINF) for kind in ("crown", "crown-ibp"))
    assert crown.tolist() == pytest.approx(crown_ibp.tolist(), abs=1e-5)


@THREATS
@pytest.mark.parametrize("build", [_dense_net, _conv_net])
@pytest.mark.parametrize(("loose", "tight"), [("ibp", "crown-ibp"), ("crown-ibp", "crown")])
def test_what_costs_more_is_tighter_on_average(loose: str, tight: str, build, threat: Threat) -> None:
    # On average only: for single images each of these orders is broken now and then.
    differences = []
    for seed in range(5):
        model, (images, labels) = _random_net(build, seed), _case(seed)
        differences.append(_bound(tight, model, images, labels, threat) - _bound(loose, model, images, labels, threat))
    assert torch.cat(differences).mean() > 0.01


@THREATS
@pytest.mark.parametrize("build", [_dense_net, _conv_net])
def test_optimised_slopes_improve_on_crown(build, threat: Threat) -> None:
    # They start there, and the best bound of each image counts. Once they never moved: see `_bridge_slopes`.
    model, (images, labels) = _random_net(build, 1), _case(1, 12)
    crown, alpha = _bound("crown", model, images, labels, threat), _bound("alpha-crown", model, images, labels, threat)
    assert (alpha >= crown - 1e-5).all()
    assert (alpha > crown + 1e-3).any()


def test_more_iterations_give_a_tighter_bound() -> None:
    model, (images, labels) = _random_net(_dense_net, 1), _case(1, 12)
    few, many = (_bound("alpha-crown", model, images, labels, LINF, iterations=count) for count in (2, 20))
    assert many.mean() > few.mean() + 1e-3


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_network_is_left_as_it_was(kind: str, training: bool) -> None:
    model = _random_net(_conv_net, 1).train(training)
    model[0].bias.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    _bound(kind, model, *_case(1), LINF)
    assert {module.training for module in model.modules()} == {training}
    assert [name for name, parameter in model.named_parameters() if not parameter.requires_grad] == ["0.bias"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_bound_of_an_image_does_not_depend_on_its_batch(kind: str) -> None:
    model, (images, labels) = _random_net(_conv_net, 1), _case(1, 6)
    together = _bound(kind, model, images, labels, LINF)
    apart = torch.cat([_bound(kind, model, images[i : i + 1], labels[i : i + 1], LINF) for i in range(6)])
    assert together.tolist() == pytest.approx(apart.tolist(), abs=1e-4)


def _spec(kind: str, eps: float, role: str = "verifier", **params: object) -> dict:
    return {
        "seed": 0,
        "code": "test",
        "model": {"kind": "cnn-small"},
        role: {"kind": kind, **params},
        "threat": {"norm": "linf", "eps": eps},
    }


@pytest.fixture
def outcomes(dense: Path, digits: Path, tmp_path: Path):
    """Runs the stage on the digits network; its table."""

    def run(spec: dict, stage=verify) -> pd.DataFrame:
        stage(dense, digits, tmp_path / "table.csv", tmp_path / "cost.json", spec)
        return pd.read_csv(tmp_path / "table.csv")

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_table_has_a_row_an_image(kind: str, outcomes) -> None:
    table = outcomes(_spec(kind, 0.02, samples=12, **QUICK.get(kind, {})))
    assert list(table) == COLUMNS["verifiers"]
    assert len(table) == 12
    assert set(table["status"]) <= set(STATUS["verifiers"])


def test_status_follows_from_prediction_and_bound(outcomes, dense: Path, digits: Path) -> None:
    # This eps leaves images of all three kinds.
    table = outcomes(_spec("ibp", 0.003))
    right = table["prediction"] == table["label"]
    expected = [
        "falsified" if not r else "verified" if m > 0 else "unknown" for r, m in zip(right, table["margin"], strict=True)
    ]
    assert table["status"].tolist() == expected
    assert set(expected) == set(STATUS["verifiers"])


def test_margin_of_a_misclassified_image_is_that_of_its_logits(outcomes, dense: Path, digits: Path) -> None:
    table = outcomes(_spec("ibp", 0.02)).set_index("index")
    model, (part, _) = checkpoint.load(dense).model, store.read(digits, "test")
    logits = model(part.images)
    own = logits[torch.arange(len(part)), part.labels]
    wrong = logits.argmax(dim=1) != part.labels
    expected = (own - logits.amax(dim=1))[wrong]
    assert table.loc[part.indices[wrong].tolist(), "margin"].tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_no_verified_image_is_broken(outcomes) -> None:
    verified = outcomes(_spec("crown-ibp", 0.01)).query("status == 'verified'")["index"]
    broken = outcomes(_spec("pgd", 0.01, "attack", steps=10), attack).query("status == 'broken'")["index"]
    assert len(verified) > 0
    assert len(broken) > 0
    assert not set(verified) & set(broken)


def test_bound_that_is_not_a_number_is_recorded(outcomes, dense: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(ibp, "bound", lambda model, images, *rest: torch.full((len(images),), torch.nan))
    table = outcomes(_spec("ibp", 0.02))
    assert list(table) == FAILED
    assert table["failed"].tolist() == [f"{tmp_path / 'table.csv'}: ibp gave a bound that is not a number"]


def test_alpha_crown_copes_with_a_layer_that_is_stable_only_at_first() -> None:
    # On this network auto_LiRPA 0.3 ended in a KeyError until its sparse bookkeeping was switched off.
    torch.manual_seed(57)
    widths = [16, 3, 3, 3, 3]
    layers = [module for i in range(4) for module in (nn.Linear(widths[i], widths[i + 1]), nn.ReLU())]
    model = nn.Sequential(nn.Flatten(), *layers, nn.Linear(3, 4)).eval()
    for parameter in model.parameters():
        parameter.data.mul_(4)
    entry = catalogue.load("verifiers", "alpha-crown")
    bound = entry.bound(model, torch.rand(1, 1, 4, 4), torch.tensor([0]), entry.Params(iterations=2), Threat(eps=0.2), 4)
    assert bound.isfinite().all()
