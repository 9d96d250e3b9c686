"""No bound is believed unseen: points of the ball refute a wrong one, which loses what it has proved, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.adversary.geometry import distance
from sparrow.adversary.margin import margin
from sparrow.errors import NetworkError
from sparrow.files.outcome_table import FAILED, NOTHING
from sparrow.jobs.costs import METER
from sparrow.jobs.interruption import Interrupted
from sparrow.jobs.resume_point import ResumePoint
from sparrow.models import cnn7, cnn_small, resnet18
from sparrow.settings import Threat
from sparrow.stages.verify import verify
from sparrow.training import certified_loss
from sparrow.verification import bounds as _bounds
from sparrow.verification import chain_bounds, guard
from sparrow.verification import crown as own
from sparrow.verification.decision import Decision, decide_by
from sparrow.verification.graph import traced
from sparrow.verification.guard import check, out_of_range, random_points, statistics_of
from sparrow.verifiers import branch_and_bound, crown, crown_ibp, ibp
from tests.analyses.jobs import on_network

LINF, L2 = Threat(norm="linf", eps=0.1), Threat(norm="l2", eps=0.3)
THREATS = pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)


@THREATS
def test_points_lie_in_the_ball_some_of_them_at_its_border(threat: Threat) -> None:
    images = torch.rand(50, 1, 4, 4)
    found = random_points(images, threat)
    assert found.shape == (4, 50, 1, 4, 4)
    far = torch.stack([distance(there, images, threat.norm) for there in found])
    assert far.max() <= threat.eps * (1 + 1e-6)
    assert (far[2:] > 0.999 * threat.eps).float().mean() > 0.9
    assert (far[:2] < 0.9999 * threat.eps).any()
    if threat.norm == "linf":
        lower, upper = (images - threat.eps).clamp(0, 1), (images + threat.eps).clamp(0, 1)
        assert ((found >= lower) & (found <= upper)).all()


@THREATS
def test_points_of_an_image_are_its_own(threat: Threat) -> None:
    # Neither what stands beside it, nor its place, nor what was drawn before, nor how it is laid out in memory.
    images = torch.rand(6, 3, 4, 4)
    together = random_points(images, threat)
    torch.manual_seed(99)
    torch.rand(7)
    alone = torch.cat([random_points(image.unsqueeze(0), threat) for image in images], dim=1)
    assert torch.equal(together, alone)
    order = torch.tensor([4, 0, 5])
    assert torch.equal(random_points(images[order].contiguous(memory_format=torch.channels_last), threat), together[:, order])
    assert not torch.equal(together[:, 0] - images[0], together[:, 1] - images[1])


@THREATS
def test_guard_draws_nothing_and_leaves_everything_as_it_was(threat: Threat, tiny: nn.Module) -> None:
    tiny.train()
    images, labels = torch.rand(4, 1, 4, 4), torch.arange(4)
    before, counted = torch.get_rng_state(), METER.gradient_evaluations
    weights = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    check("mine", tiny, images, labels, torch.full((4,), -100.0), threat)
    assert torch.equal(torch.get_rng_state(), before)
    assert METER.gradient_evaluations == counted
    assert tiny.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in tiny.parameters())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in tiny.state_dict().items())


def _linear() -> nn.Module:
    """The margin of class 0 is the sum of the pixels minus 1."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    model[1].weight.data = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    model[1].bias.data = torch.tensor([-1.0, 0.0])
    return model


@pytest.mark.parametrize(("threat", "worst"), [(LINF, 0.6), (L2, 0.4)], ids=["linf", "l2"])
def test_guard_finds_the_worst_margin_of_a_linear_network(threat: Threat, worst: float) -> None:
    # At the image it is 1; 0.1 a pixel takes 0.4, and 0.3 along (1, 1, 1, 1) / 2 takes 0.6.
    model, image, label = _linear(), torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
    check("mine", model, image, label, torch.tensor([worst - 1e-6]), threat)
    check("mine", model, image, label, torch.tensor([worst + 0.9e-4]), threat)
    with pytest.raises(
        NetworkError, match=r"mine gave a bound above the margin of a point that it covers \(0\..* against 0\.[46]\)"
    ):
        check("mine", model, image, label, torch.tensor([worst + 2e-4]), threat)


def test_bound_that_is_no_number_is_refused() -> None:
    with pytest.raises(NetworkError, match="mine gave a bound that is not a number"):
        check("mine", _linear(), torch.rand(2, 1, 2, 2), torch.tensor([0, 0]), torch.tensor([0.0, torch.nan]), LINF)


def test_bound_of_points_without_logits_is_refused() -> None:
    class Root(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            sums = images.flatten(1).sum(dim=1, keepdim=True) - 1.9
            return torch.cat([sums.sqrt() + 1, 0 * sums], dim=1)

    image, label = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
    check("mine", Root(), image, label, torch.tensor([1.0]), Threat(eps=0.02))
    check("mine", Root(), image, label, torch.tensor([-torch.inf]), LINF)
    with pytest.raises(NetworkError, match=r"mine gave a bound that covers a point at which .* not numbers"):
        check("mine", Root(), image, label, torch.tensor([-5.0]), LINF)


@pytest.mark.parametrize(
    ("lower", "upper", "value", "wrong"),
    [
        (0.0, 1.0, 0.5, False),
        (0.0, 1.0, 1.0 + 5e-5, False),
        (0.0, 1.0, 1.001, True),
        (0.0, 1.0, -0.001, True),
        (0.0, 1.0, float("nan"), True),
        (1.0, 0.0, None, True),
        (1.0, 1.0 - 5e-5, None, False),
        (float("nan"), 1.0, None, True),
        (-float("inf"), float("inf"), 3.0, False),
        (1000.0, 2000.0, 999.95, False),
        (1000.0, 2000.0, 999.0, True),
    ],
)
def test_what_is_out_of_a_range(lower: float, upper: float, value: float | None, wrong: bool) -> None:
    assert out_of_range(*map(torch.tensor, (lower, upper)), None if value is None else torch.tensor(value)) == wrong


@THREATS
@pytest.mark.parametrize(
    ("kind", "build"), [("ibp", resnet18), ("crown-ibp", cnn7), ("crown", cnn_small), ("alpha-crown", cnn_small)]
)
def test_rounding_trips_nothing(kind: str, build, threat: Threat) -> None:
    # Bounds and margins meet as the ball shrinks: what is left is float32's, and a tenth of what the guard leaves to it.
    torch.manual_seed(0)
    model, images = build.build(build.Params(), (1, 8, 8), 10).eval(), torch.rand(2, 1, 8, 8)
    for parameter in list(model.parameters())[-2:]:
        parameter.data.mul_(3)
    labels, entry = model(images).argmax(dim=1), catalogue.load("verifiers", kind)
    params = entry.Params(**({"iterations": 2} if kind == "alpha-crown" else {}))
    bounds = entry.bound(model, images, labels, params, Threat(norm=threat.norm, eps=1e-7), 10)
    with torch.no_grad():
        logits = model(images)
    excess = (bounds - margin(logits, labels)) / logits.abs().amax(dim=1).clamp_min(1)
    assert excess.max() < 0.1 * guard.ROUNDING


# A verifier that is wrong.


def _lifted(entry, by: float, place: int = 0) -> Callable:
    """The bound of the image at `place` of each batch lifted."""
    original = entry.bound

    def bound(model, images, *rest) -> Tensor:
        found = original(model, images, *rest)
        found[min(place, len(found) - 1)] += by
        return found

    return bound


def _spec(eps: float, bounds: list[str] | None, **params: object) -> dict:
    verifier = {"kind": "cascade", "bounds": bounds} if bounds else {"kind": "crown-ibp"}
    verifier |= {"samples": 60} | params
    return {
        "seed": 0,
        "code": "test",
        "model": {"kind": "cnn-small"},
        "verifier": verifier,
        "threat": {"norm": "linf", "eps": eps},
    }


@pytest.fixture
def run(dense: Path, digits: Path, tmp_path: Path):
    """Runs the stage on the digits network; its table, and what it says to the user."""

    def run(spec: dict, name: str = "table.csv") -> tuple[pd.DataFrame, str | None]:
        said = verify(dense, digits, tmp_path / name, tmp_path / "cost.json", spec)
        return pd.read_csv(tmp_path / name, keep_default_na=False), said

    return run


def test_a_refuted_bound_fails_alone(run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(_spec(0.01, None))[1] is None
    monkeypatch.setattr(crown_ibp, "bound", _lifted(crown_ibp, 1000.0))
    table, said = run(_spec(0.01, None))
    assert list(table) == FAILED
    assert "crown-ibp gave a bound above the margin of a point that it covers" in table["failed"].item()
    assert said is not None


@pytest.mark.parametrize("place", [0, 3])
def test_a_refuted_bound_loses_its_proofs_and_no_other_does(place: int, run, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    # In its second batch, when it has already proved images of the first.
    sizes = {"batch_size": 10}
    right, silent = run(_spec(0.03, ["ibp", "crown-ibp", "crown"], **sizes))
    assert silent is None
    proved = {kind: set(right.loc[right["decided"] == kind, "index"]) for kind in ("ibp", "crown-ibp", "crown")}
    assert all(len(proved[kind]) > 3 for kind in ("crown-ibp", "crown"))
    batches = []
    whole, lifted = crown_ibp.bound, _lifted(crown_ibp, 1000.0, place)
    monkeypatch.setattr(
        crown_ibp, "bound", lambda *given: batches.append(1) or (lifted if len(batches) == 2 else whole)(*given)
    )
    wrong, said = run(_spec(0.03, ["ibp", "crown-ibp", "crown"], **sizes))
    assert len(batches) == 2
    assert "crown-ibp" not in set(wrong["decided"])
    assert said.startswith("warning: ")
    assert "without crown-ibp: crown-ibp gave a bound above the margin of a point that it covers" in said
    assert "crown-ibp has proved nothing: crown-ibp gave a bound above" in capsys.readouterr().out
    batches.clear()
    monkeypatch.undo()
    without, _ = run(_spec(0.03, ["ibp", "crown"], **sizes))
    # But for what the job was told.
    assert wrong.drop(columns="spec").equals(without.drop(columns="spec"))
    assert set(wrong.loc[wrong["decided"] == "ibp", "index"]) == proved["ibp"]


def test_images_that_only_the_refuted_bound_had_proved_are_unknown(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crown, "bound", _lifted(crown, 1000.0))
    table, said = run(_spec(0.03, ["crown-ibp", "crown"]))
    assert {"crown-ibp", NOTHING} <= set(table["decided"])
    assert "crown" not in set(table["decided"])
    assert (table.loc[table["decided"] == NOTHING, "margin"] <= 0).all()
    assert "without crown" in said


def test_a_cascade_of_refuted_bounds_is_a_failed_network(run, monkeypatch: pytest.MonkeyPatch) -> None:
    for entry in (ibp, crown):
        monkeypatch.setattr(entry, "bound", _lifted(entry, 1000.0))
    table, said = run(_spec(0.01, ["ibp", "crown"]))
    assert list(table) == FAILED
    assert "ibp gave a bound above the margin" in said


def test_examples_that_a_refuted_search_has_found_stay(tiny: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    # The network itself is wrong there.
    images = torch.rand(4, 1, 4, 4)
    labels = tiny(images).argmax(dim=1)

    def search(model, image, label, *rest) -> branch_and_bound.Answer:
        if torch.equal(image, images[:1]):
            return branch_and_bound.Answer(False, image, -0.5, 1)
        return branch_and_bound.Answer(True, None, 0.5 if torch.equal(image, images[1:2]) else 1000.0, 1)

    monkeypatch.setattr(branch_and_bound, "search", search)
    entry = catalogue.load("verifiers", "cascade")
    params = entry.Params(bounds=["ibp", "branch-and-bound"])
    found = decide_by(entry, "cascade", tiny, images, labels, params, Threat(eps=1.0), 4)
    assert found.falsified.tolist() == [True, False, False, False]
    assert found.decided == ["branch-and-bound", NOTHING, NOTHING, NOTHING]
    assert not found.verified.any()
    assert (found.margins[1:] < 0).all()
    assert "branch-and-bound gave a bound above the margin" in found.failures[0]


def _pooled() -> nn.Module:
    """IBP knows the ends of a maximum; CROWN has no line for one whose windows overlap."""
    layers = nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 1, 1), nn.Flatten(), nn.Linear(32, 4)
    return nn.Sequential(*layers).eval()


def test_a_cascade_keeps_what_it_has_when_a_bound_does_not_know_a_layer() -> None:
    torch.manual_seed(1)
    model, images = _pooled(), torch.rand(8, 1, 4, 4)
    labels, entry = model(images).argmax(dim=1), catalogue.load("verifiers", "cascade")
    eps = 0.035
    alone = decide_by(ibp, "ibp", model, images, labels, ibp.Params(), Threat(eps=eps), 4)
    assert 0 < alone.verified.sum() < 8
    together = decide_by(entry, "cascade", model, images, labels, entry.Params(), Threat(eps=eps), 4)
    assert together.verified.tolist() == alone.verified.tolist()
    assert together.margins.tolist() == alone.margins.tolist()
    assert [line.split(":")[0] for line in together.failures] == ["crown-ibp", "crown", "alpha-crown"]
    assert all("layer 2 (MaxPool2d)" in line for line in together.failures)


@contextmanager
def stopped_at(point: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A context in which a job is stopped, and has to be, once it has something to keep for the `point`th time."""
    left = [point]

    def offer(self: ResumePoint, *arguments: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            self.save(*arguments)
            raise Interrupted

    with monkeypatch.context() as stopping:
        stopping.setattr(ResumePoint, "save_if_due", offer)
        with pytest.raises(Interrupted):
            yield


@pytest.mark.parametrize("stop", [1, 2, 5])
def test_a_stopped_job_whose_bound_is_refuted_ends_with_the_same_bytes(
    stop: int, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of two batches of one bound the second is refuted; branch and bound, which draws at random, comes after it.
    search = {"domains": 3, "seconds": 10_000.0, "iterations": 2, "batch_size": 10, "samples": 14}
    spec = _spec(0.06, ["crown-ibp", "branch-and-bound", "ibp"], **search)
    asked = []

    def bound(model, images, *rest) -> Tensor:
        asked.append(len(images))
        found = original(model, images, *rest)
        return found + 1000 if len(images) < 10 else found

    original = crown_ibp.bound
    monkeypatch.setattr(crown_ibp, "bound", bound)
    _, said = run(spec, "whole.csv")
    assert "without crown-ibp" in said
    with stopped_at(stop, monkeypatch):
        run(spec, "parts.csv")
    torch.manual_seed(99)
    _, again = run(spec, "parts.csv")
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert again.replace("parts", "whole") == said


@pytest.mark.parametrize("cascaded", [False, True])
@pytest.mark.parametrize("kind", ["crown", "alpha-crown"])
def test_a_stopped_job_has_the_images_that_were_bounded(
    kind: str, cascaded: bool, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    # A network whose images take so long that four of them are a part.
    settings = {"iterations": 2} if cascaded or kind == "alpha-crown" else {}
    spec = _spec(0.03, [kind], samples=15, **settings)
    if not cascaded:
        spec["verifier"] = spec["verifier"] | {"kind": kind}
        del spec["verifier"]["bounds"]
    asked, original = [], own.margins
    slopes = own.Slopes(2, 0.5) if kind == "alpha-crown" else None
    each = own.multiply_adds(traced(cnn_small.build(cnn_small.Params(), (1, 8, 8), 10), torch.rand(1, 1, 8, 8)), 10, slopes)
    monkeypatch.setattr(own, "PART", 4 * each + 1)
    monkeypatch.setattr(
        own, "margins", lambda graph, images, *rest: asked.append(len(images)) or original(graph, images, *rest)
    )
    table, _ = run(spec, "whole.csv")
    assert asked[:3] == [4, 4, 4]
    assert sum(asked) == (table["label"] == table["prediction"]).sum() > 12
    assert "4 of" in capsys.readouterr().out
    parts = len(asked)
    with stopped_at(2, monkeypatch):
        run(spec, "parts.csv")
    run(spec, "parts.csv")
    assert len(asked) == 2 * parts
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_decision_s_failures_survive_the_journal() -> None:
    found = Decision(torch.ones(1, dtype=torch.bool), torch.zeros(1, dtype=torch.bool), torch.ones(1), ["ibp"], ("crown: no",))
    assert Decision(*tuple(found)).failures == ("crown: no",)


# Ranges.


def test_a_wrong_range_is_a_failed_network(dense: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = own.Ranges._bounded

    def narrowed(ranges: own.Ranges, place: int) -> tuple[Tensor, Tensor]:
        lower, upper = original(ranges, place)
        return (lower, upper) if upper.dim() > 2 else (lower, upper - 0.9 * (upper - lower))

    spec = {
        "seed": 0,
        "code": "test",
        "model": {"kind": "cnn-small"},
        "analysis": {"kind": "stability", "samples": 5},
        "threat": {"norm": "linf", "eps": 0.05},
    }
    assert on_network(dense, digits, tmp_path / "right.csv", tmp_path / "cost.json", spec) is None
    monkeypatch.setattr(own.Ranges, "_bounded", narrowed)
    said = on_network(dense, digits, tmp_path / "wrong.csv", tmp_path / "cost.json", spec)
    assert "CROWN gave an operation (Linear) that puts out (100,) a range that it leaves at a point of the" in said


def test_message_names_the_layer_whose_range_is_wrong_first(monkeypatch: pytest.MonkeyPatch) -> None:
    # auto_LiRPA 0.3's own fault: groups, by patches.
    torch.manual_seed(0)
    grouped = nn.Conv2d(4, 4, 3, padding=1, groups=4)
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), grouped, nn.ReLU(), nn.Conv2d(4, 2, 1), nn.ReLU()
    layers = *layers, nn.Flatten(), nn.Linear(72, 3)
    model, images = nn.Sequential(*layers).eval(), torch.rand(3, 1, 6, 6)
    for parameter in model.parameters():
        parameter.data.mul_(2)
    labels = model(images).argmax(dim=1)
    _bounds.smallest_margin(model, images, labels, Threat(eps=1e-4), 3, "CROWN")
    monkeypatch.setattr(_bounds, "_right_with_patches", lambda network: True)
    with pytest.raises(
        NetworkError, match=r"layer 2 \(Conv\) is the first whose range is wrong, in a network of Conv, Flatten"
    ):
        _bounds.smallest_margin(model, images, labels, Threat(eps=1e-4), 3, "CROWN")


# Training.


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("norm", [True, False])
def test_wrong_bounds_stop_training(plain: bool, norm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(3)] if norm else []
    model = nn.Sequential(nn.Conv2d(1, 3, 3), *norms, nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)).train()
    images, labels = torch.rand(6, 1, 4, 4), torch.arange(6) % 4
    bounds = certified_loss.Bounds(None if plain else {"relu": "same-slope"})
    module, name = (chain_bounds, "margins") if plain else (_bounds, "margins")
    bounds.margins(model, images, labels, LINF, "IBP")
    original = getattr(module, name)

    def lifted(*given: object) -> object:
        found = original(*given)
        return tuple(part + 10 for part in found) if plain else found + 10

    monkeypatch.setattr(module, name, lifted)
    with pytest.raises(NetworkError, match="IBP gave a bound above the margin of a point that it covers"):
        bounds.margins(model, images, labels, LINF, "IBP")


def test_bounds_are_checked_now_and_then_in_training(monkeypatch: pytest.MonkeyPatch, tiny: nn.Module) -> None:
    seen, times, bounds = [], [], certified_loss.Bounds()
    monkeypatch.setattr(guard, "check", lambda *given, **options: seen.append(len(times)))
    while len(times) < 20:
        times.append(1)
        bounds.margins(tiny, torch.rand(3, 1, 4, 4), torch.tensor([0, 1, 2]), LINF, "IBP")
    assert seen == [1, 2, 4, 8, 16]


def test_statistics_of_a_batch_are_those_of_train_mode() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(12), nn.Linear(12, 4))
    model.train()
    model[1].running_mean.normal_()
    images = torch.rand(5, 1, 4, 4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with statistics_of(model, images) as possible:
        assert possible
        assert (
            not any(layer.training for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))
            or not model.eval().training
        )
        found = model.eval()(images)
    assert all(layer.training for layer in model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [layer.momentum for layer in (model[1], model[4])] == [0.1, 0.1]
    assert torch.allclose(found, model(images), atol=1e-5)


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(4, track_running_stats=False)])
def test_what_differs_from_pass_to_pass_is_not_compared(layer: nn.Module) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), layer, nn.Linear(4, 2)).train()
    with statistics_of(model, torch.rand(3, 1, 2, 2)) as possible:
        assert not possible
    with statistics_of(model.eval(), torch.rand(3, 1, 2, 2)) as possible:
        assert possible


class Masked(nn.Module):
    """Inputs times a mask, whatever that is made of."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.mask


def test_a_mask_of_truth_values_is_refused_and_one_of_numbers_is_bounded() -> None:
    # findings/auto-lirpa-boolean-mask.sh: behind one as large as the batch, CROWN is wrong without a word.
    truths = torch.tensor([True, False, True, False])
    torch.manual_seed(0)
    images, threat = torch.rand(4, 3, 1, 1), Threat(norm="linf", eps=0.05)
    nets = {}
    for mask in (truths, truths.float()):
        torch.manual_seed(0)
        nets[mask.dtype] = nn.Sequential(nn.Flatten(), nn.Linear(3, 4), Masked(mask), nn.ReLU(), nn.Linear(4, 2)).eval()
    labels = nets[torch.float32](images).argmax(dim=1)
    expected = _bounds.smallest_margin(nets[torch.float32], images, labels, threat, 2, "CROWN")
    found = _bounds.smallest_margin(nets[torch.bool], images, labels, threat, 2, "IBP")
    assert (found <= expected + 1e-6).all()
    with pytest.raises(NetworkError, match=r"an operation \(Mul\) is the first whose range is wrong"):
        _bounds.smallest_margin(nets[torch.bool], images, labels, threat, 2, "CROWN")
