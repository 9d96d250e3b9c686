"""What an attack's table says of how far it can be believed, on networks of which that is known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from sparrow.adversary import apgd, fab, square
from sparrow.adversary import record as _record
from sparrow.adversary.geometry import distance
from sparrow.adversary.margin import margin
from sparrow.attacks import autoattack, fmn
from sparrow.data import store
from sparrow.files import checkpoint
from sparrow.results import aggregate, tables
from sparrow.results.outcomes import Outcomes, warnings_of
from sparrow.settings import Threat
from sparrow.stages import _attack_warnings
from sparrow.stages import attack as stage

LINF, L2 = Threat(eps=0.1), Threat(norm="l2", eps=0.3)
QUICK = {"autoattack": {"steps": 5, "queries": 20}, "pgd": {"steps": 5}, "fmn": {"steps": 30}}


@pytest.fixture
def outcomes(dense: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the stage on digits, by a network of the test's own if it gives one; the table."""

    def run(kind: str, model: nn.Module | None = None, threat: Threat = LINF, **params: object) -> pd.DataFrame:
        if model is not None:
            part, about = store.read(digits, "test")
            few = part.first(params.get("samples", 40))
            monkeypatch.setattr(stage, "open_case", lambda *rest: (model.eval(), few, about.classes))
        spec = {"seed": 0, "code": "test", "model": {"kind": "cnn-small"}, "threat": threat.model_dump()}
        spec["attack"] = {"kind": kind, "samples": 40, **QUICK.get(kind, {}), **params}
        stage.attack(dense, digits, tmp_path / "table.csv", tmp_path / "cost.json", spec)
        return pd.read_csv(tmp_path / "table.csv")

    return run


@pytest.fixture
def network(dense: Path) -> nn.Module:
    """The digits network, to be changed."""
    return checkpoint.load(dense).model


def _saturated(network: nn.Module) -> nn.Module:
    last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
    last.weight.data *= 1e6
    last.bias.data *= 1e6
    return network


class Around(nn.Module):
    """A network and what is done to its logits, or to what it is told."""

    def __init__(self, inside: nn.Module, before=lambda images: images, after=lambda logits: logits) -> None:
        super().__init__()
        self.inside, self.before, self.after = inside, before, after

    def forward(self, images: Tensor) -> Tensor:
        return self.after(self.inside(self.before(images)))


@pytest.mark.parametrize("kind", ["fgsm", "pgd"])
def test_images_without_a_gradient_are_counted(kind: str, outcomes, network: nn.Module, capsys) -> None:
    # The softmax of logits times 1e6 is 0 and 1 to the last bit, and so is the gradient of the cross-entropy.
    plain, table = outcomes(kind), outcomes(kind, _saturated(network))
    right = table["prediction"] == table["label"]
    assert (plain.loc[right, "zero_gradient"] == 0).all()
    assert plain["flags"].isna().all()
    assert table.loc[right, "zero_gradient"].sum() > 0.9 * right.sum()
    assert table.loc[~right, "zero_gradient"].isna().all()
    still, attacked = int(table["zero_gradient"].sum()), int(right.sum())
    line = f"the gradient is 0 at the start of {still} of {attacked} attacked images"
    assert set(table["flags"]) == {line}
    assert capsys.readouterr().out.count(f"warning: {line}") == 1
    # That is why the attack says that this network is more robust than the same network was before.
    assert (table["status"] == "robust").sum() > (plain["status"] == "robust").sum()


@pytest.mark.parametrize("kind", ["fmn", "autoattack"])
def test_losses_on_margins_have_a_gradient_there(kind: str, outcomes, network: nn.Module) -> None:
    plain, table = outcomes(kind), outcomes(kind, _saturated(network))
    assert (table["zero_gradient"].dropna() == 0).all()
    assert not table["flags"].astype(str).str.contains("gradient is 0").any()
    assert abs((table["status"] == "robust").sum() - (plain["status"] == "robust").sum()) <= 1


def test_the_loss_that_fmn_follows_is_what_counts(outcomes, network: nn.Module) -> None:
    # Its radius takes the margin's gradient, which is there; its steps take the cross-entropy's, which is not.
    table = outcomes("fmn", _saturated(network), loss="cross-entropy")
    right = table["prediction"] == table["label"]
    assert table.loc[right, "zero_gradient"].sum() > 0.9 * right.sum()
    assert set(table.loc[right & (table["zero_gradient"] == 1), "found_by"]) == {"other-class"}
    assert table["flags"][0].startswith("the gradient is 0")


@pytest.mark.parametrize("kind", ["fgsm", "pgd", "autoattack", "fmn"])
def test_network_of_steps_has_no_gradient_for_any_attack(kind: str, outcomes, network: nn.Module) -> None:
    # Pixels are rounded to 0, 1/4, ... 1: the gradient of that is 0 everywhere.
    table = outcomes(kind, Around(network, before=lambda images: (images * 4).round() / 4))
    right = table["prediction"] == table["label"]
    assert (table.loc[right, "zero_gradient"] == 1).all()
    assert table["flags"][0].startswith("the gradient is 0")


@pytest.mark.parametrize("kind", ["pgd", "autoattack", "fmn"])
def test_network_that_hands_no_gradient_back_is_a_gap_and_no_traceback(kind: str, outcomes, network: nn.Module) -> None:
    table = outcomes(kind, Around(network, before=lambda images: (images > 0.5).float()))
    assert "it hands no gradient back" in table["failed"].item()


def test_an_attack_that_takes_no_gradient_says_nothing_of_it(outcomes, monkeypatch: pytest.MonkeyPatch) -> None:
    from sparrow.attacks import fgsm

    monkeypatch.setattr(fgsm, "attack", lambda model, images, *rest: images)
    table = outcomes("fgsm")
    assert table["zero_gradient"].isna().all()


def test_probabilities_are_told(outcomes, network: nn.Module) -> None:
    assert "the outputs are probabilities" in outcomes("fgsm", Around(network, after=lambda x: x.softmax(dim=1)))["flags"][0]
    assert _attack_warnings.about_network(Around(network, after=lambda x: x.log_softmax(dim=1)), torch.rand(9, 1, 8, 8)) == []


def test_randomness_is_told_and_takes_no_random_number(network: nn.Module) -> None:
    random = Around(network, before=lambda images: nn.functional.dropout(images, 0.2, training=True)).eval()
    before = torch.get_rng_state()
    assert "is random" in " ".join(_attack_warnings.about_network(random, torch.rand(9, 1, 8, 8, generator=torch.Generator())))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("tracked", [True, False])
def test_statistics_of_the_batch_are_told(tracked: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=tracked), nn.Flatten(), nn.Linear(144, 5))
    told = _attack_warnings.about_network(model.eval(), torch.rand(10, 1, 8, 8))
    assert told == ([] if tracked else ["what the network says of an image depends on the images beside it"])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_images_are_no_reason_to_warn(count: int, network: nn.Module) -> None:
    assert _attack_warnings.about_network(network, torch.rand(count, 1, 8, 8)) == []


@pytest.mark.parametrize(("fallen", "told"), [(0, False), (2, False), (3, True)])
def test_images_that_only_square_breaks_are_told_beyond_a_fifth_of_a_percent(fallen: int, told: bool) -> None:
    found_by = ["square"] * fallen + ["apgd-ce"] * 100 + [""] * (900 - fallen)
    expected = f"{fallen} of 1000 images fall to square alone, after every part that follows gradients"
    assert _attack_warnings.about_attack([0] * 1000, found_by, "square") == ([expected] if told else [])
    assert _attack_warnings.about_attack([0] * 1000, ["pgd"] * 1000, None) == []


def test_square_alone_breaks_a_network_of_steps(outcomes, network: nn.Module) -> None:
    steps = Around(network, before=lambda images: (images * 4).round() / 4)
    table = outcomes("autoattack", steps, Threat(eps=0.3), queries=60)
    # APGD starts at a random point, which may break an image by luck.
    assert {"square", "misclassified"} <= set(table["found_by"].dropna()) <= set(autoattack.PARTS) | {"misclassified"}
    alone = int((table["found_by"] == "square").sum())
    assert f"{alone} of 40 images fall to square alone" in table["flags"][0]


def test_what_broke_an_image_is_said_of_each(outcomes) -> None:
    table = outcomes("autoattack", steps=20)
    wrong, robust = table["prediction"] != table["label"], table["status"] == "robust"
    assert (table["found_by"] == "misclassified").tolist() == wrong.tolist()
    assert table["found_by"].isna().tolist() == robust.tolist()
    assert set(table.loc[~wrong & ~robust, "found_by"]) <= set(autoattack.PARTS)
    assert (table.loc[~wrong & ~robust, "found_by"] == "apgd-ce").any()
    assert set(outcomes("pgd")["found_by"].dropna()) == {"pgd", "misclassified"}


# Margins.


def _broken_by_hand(threat: Threat) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A linear network, images, labels, and the smallest margin in each image's ball: the margin less what eps can take."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4)).eval()
    model[1].bias.data = -model[1].weight.data.sum(dim=1) / 2
    images = torch.empty(60, 1, 4, 4).uniform_(0.4, 0.6)
    output = model(images).detach()
    labels = output.argmax(dim=1)
    weight = model[1].weight.detach()
    length = (weight[labels].unsqueeze(1) - weight).norm(dim=2, p=1 if threat.norm == "linf" else 2)
    exact = output.gather(1, labels[:, None]) - output - threat.eps * length
    return model, images, labels, exact.scatter(1, labels[:, None], torch.inf).amin(dim=1)


@pytest.mark.parametrize("threat", [Threat(eps=0.01), Threat(norm="l2", eps=0.04)], ids=lambda threat: threat.norm)
def test_margin_of_a_failed_autoattack_is_the_smallest_there_is(threat: Threat) -> None:
    model, images, labels, exact = _broken_by_hand(threat)
    found = autoattack.attack(model, images, labels, autoattack.Params(steps=30, queries=30), threat, 4)
    robust = exact > 1e-4
    assert 10 < int(robust.sum()) < 50
    assert distance(found, images, threat.norm).max() <= threat.eps * (1 + 1e-5)
    reached, benign = (margin(model(points), labels).detach()[robust] for points in (found, images))
    assert (reached >= exact[robust] - 1e-5).all()
    assert (reached - exact[robust]).median() < 0.03 * (benign - exact[robust]).median()


@pytest.mark.parametrize("part", autoattack.PARTS)
def test_no_part_looks_at_a_smaller_margin_than_it_notes(part: str, dense: Path, digits: Path) -> None:
    model, (images, labels) = checkpoint.load(dense).model, _few(digits)
    clean = model(images).detach()
    second = clean.argsort(dim=1, descending=True)[:, 1]
    seen: list[Tensor] = []

    def watch(module: nn.Module, given: tuple, output: Tensor) -> None:
        # All that it has looked at within the ball of the one image.
        near = distance(given[0].detach(), images[place : place + 1], "linf") <= threat.eps * (1 + 1e-4)
        seen.append(margin(output.detach(), labels[place].expand(len(output)))[near])

    threat, generator = Threat(eps=0.01), torch.Generator()
    searches = {
        "apgd-ce": lambda x, y, t, r: apgd.apgd(model, x, y, apgd.cross_entropy(y), threat, 10, generator, r),
        "apgd-t": lambda x, y, t, r: apgd.apgd(model, x, y, apgd.targeted_dlr(y, t), threat, 10, generator, r),
        "fab-t": lambda x, y, t, r: fab.fab(model, x, y, t, threat, 10, r),
        "square": lambda x, y, t, r: square.square(model, x, y, threat, 30, generator, r),
    }
    for place in range(6):
        one = slice(place, place + 1)
        record = _record.Record(images[one], margin(clean[one], labels[one]))
        seen.clear()
        hook = model.register_forward_hook(watch)
        broken, _ = searches[part](images[one], labels[one], second[one], record)
        hook.remove()
        smallest = min(torch.cat([*seen, margin(clean, labels)[one]]).tolist())
        if not broken:
            if part == "square":  # It looks ahead from points that it leaves, and notes the one where it ends.
                assert float(margin(model(record.points), labels[one]).detach()) == pytest.approx(
                    float(record.margins), abs=1e-5
                )
                assert smallest - 1e-6 <= float(record.margins) < float(margin(clean, labels)[place])
                continue
            assert float(record.margins) == pytest.approx(smallest, abs=1e-6)
            assert float(margin(model(record.points), labels[one]).detach()) == pytest.approx(smallest, abs=1e-5)


def _few(digits: Path) -> tuple[Tensor, Tensor]:
    part, _ = store.read(digits, "test")
    return part.images[:6], part.labels[:6]


# FMN where it cannot move.


class Resting(nn.Module):
    """Two classes: the second where the mean pixel is beyond 0.7. Flat below that, so that no gradient leads there."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.flatten(1).mean(dim=1)
        return torch.stack([torch.full_like(mean, 0.1), torch.relu(mean - 0.6)], dim=1)


@pytest.mark.parametrize(("norm", "length"), [("linf", 1), ("l2", 4)])
def test_from_an_image_of_another_class_the_nearest_is_found_although_the_search_rests(norm: str, length: float) -> None:
    torch.manual_seed(0)
    # From 0.2 for every pixel to the border at 0.7: 0.5 in linf, and 0.5 times the root of 16 pixels in l2.
    images, labels = torch.full((3, 1, 4, 4), 0.2), torch.zeros(3, dtype=torch.long)
    others = torch.rand(3, 1, 4, 4) * 0.3 + 0.7
    model, params, threat = Resting(), fmn.Params(), Threat(norm=norm, eps=0.1)
    assert torch.equal(fmn.attack(model, images, labels, params, threat, 2), images)
    found = fmn.restart(model, images, labels, params, threat, 2, others)
    assert (model(found).argmax(dim=1) == 1).all()
    assert distance(found, images, norm).tolist() == pytest.approx([0.5 * length] * 3, rel=0.02)
    assert (distance(found, images, norm) >= 0.5 * length - 1e-5).all()


def test_stage_starts_again_from_the_nearest_image_of_another_class(outcomes, network: nn.Module, digits: Path) -> None:
    # Where all is flat, nothing is nearer than the border on the line to another image.
    flat = Around(network, before=torch.round)
    table = outcomes("fmn", flat)
    right = table["prediction"] == table["label"]
    assert (table.loc[right, "zero_gradient"] == 1).all()
    assert set(table.loc[right, "found_by"]) == {"other-class"}
    assert not table["flags"].astype(str).str.contains("at any distance").any()
    part, _ = store.read(digits, "test")
    images, labels, predictions = part.images[:40], part.labels[:40], flat(part.images[:40]).argmax(dim=1)
    by_index = table.set_index("index")
    for place, index in enumerate(part.indices[:40].tolist()):
        if predictions[place] == labels[place]:
            nearest = distance(images[predictions != labels[place]], images[place : place + 1], "linf").min()
            assert by_index.loc[index, "distance"] <= float(nearest) + 1e-6


def test_batches_do_not_change_where_it_starts_again(outcomes, network: nn.Module) -> None:
    flat = Around(network, before=torch.round)
    whole, parts = (outcomes("fmn", flat, batch_size=size)["distance"].tolist() for size in (512, 7))
    assert whole == pytest.approx(parts, rel=1e-4)


def test_without_an_image_of_another_class_the_images_that_have_none_are_counted(outcomes, network: nn.Module) -> None:
    constant = Around(network, after=lambda logits: torch.zeros_like(logits) + torch.eye(10)[3] + 0 * logits)
    table = outcomes("fmn", constant)
    right = table["prediction"] == table["label"]
    assert right.any()
    assert np.isinf(table.loc[right, "distance"]).all()
    count = int(right.sum())
    assert f"no adversarial image at any distance for {count} of {count} attacked images" in table["flags"][0]


# What becomes of it.


def test_warnings_are_read_from_the_flags() -> None:
    rows = pd.DataFrame({"flags": [np.nan, np.nan]}), pd.DataFrame({"flags": ["a; b", "a; b"]}), pd.DataFrame({"status": [1]})
    assert [warnings_of(table) for table in rows] == ["", "a; b", ""]


def test_number_is_marked_where_it_stands(tmp_path: Path) -> None:
    identity = {"dataset": "d", "model": "m", "objective": "o", "method": "x", "ratio": 0.5, "seed": 0, "stage": "finetuned"}
    line = dict.fromkeys(
        ["sparsity_prunable", "sparsity_all", "nonzero", "effective_parameters", "compact_parameters", "failed", "data_regime"]
    )
    line |= {"norm": "linf", "eps": 0.1, "constant": False, "chance": 0.1}
    for metric in ("benign", "era", "vra", "preserved_benign", "preserved_era", "preserved_vra"):
        line |= {metric: 0.5, f"{metric}_low": 0.4, f"{metric}_high": 0.6, f"{metric}_n": 10}
    warning = "pgd: the gradient is 0 at the start of 3 of 9 attacked images"
    # Where all that stands is verified, nothing makes the era larger than it is.
    for text, vra, marked in ((warning, 0.4, True), (warning, 0.5, False), ("", 0.4, False)):
        summary = pd.DataFrame([identity | line | {"era_warnings": text, "vra": vra}])
        tables.summary_table(summary, tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text()
        assert ("50.0 [40.0, 60.0] †" in page) == marked
        assert ("†: an attack met" in page) == marked
        assert (text in page) or not text
        ranking = pd.DataFrame([{**identity, "metric": "era"}, {**identity, "metric": "vra"}])
        assert tables._warned_cells(ranking, summary) == [marked, False]


def test_summary_and_outcomes_repeat_what_the_tables_say() -> None:
    table = pd.DataFrame({"index": [0], "label": [1], "prediction": [1], "status": ["robust"], "distance": [np.inf]})
    table = table.assign(flags="odd", norm="linf", eps=0.1).set_index("index")
    own = Outcomes(Path("network"), {"pgd": table, "fgsm": table.assign(flags=np.nan)}, {}, {}, 0.1)
    row = SimpleNamespace(identity={"objective": "o"}, outcomes=own)
    lines = list(aggregate._outcome_lines(row))
    assert [line["warnings"] for line in lines] == ["odd", ""]
    assert list(lines[0])[-1] == "warnings" == aggregate.OUTCOME_COLUMNS[-1]
