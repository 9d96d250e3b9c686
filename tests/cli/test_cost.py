"""What a study will cost: work counted by hand, and where the time of a unit comes from."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from sparrow import catalogue
from sparrow.cli.main import main
from sparrow.data import store
from sparrow.errors import SparrowError
from sparrow.estimate import rates
from sparrow.estimate.finished import finished_jobs
from sparrow.estimate.measure import measure
from sparrow.estimate.rates import Rates, Row, read_rows, write_rows
from sparrow.estimate.total import prices
from sparrow.estimate.unit import Unit, label_of
from sparrow.estimate.work import Work, at_their_sizes, phases, works
from sparrow.files.headers import FORMAT, KEYS, KEYS_OF, read_header
from sparrow.files.lineage import DATA
from sparrow.files.paths import parse
from sparrow.study import job_specs
from sparrow.study.load import load_study
from sparrow.training.schedule import Schedule

REPOSITORY = Path(__file__).parents[2]
STUDY = {
    "results": "tiny",
    "seeds": [0, 1],
    "threat": {"eps": 0.1},
    "datasets": {"digits": None},
    "models": {"cnn-small": None},
    "objectives": {"benign": None, "ibp": {"training": {"pretrain": {"warmup_epochs": 1, "ramp_epochs": 2}}}},
    "methods": {"lwm": None, "hydra": None, "snip": {"batches": 3}},
    "ratios": [0.5, 0.9, 0.99],
    "training": {
        "pretrain": {"epochs": 4, "batch_size": 128},
        "prune": {"epochs": 2, "batch_size": 128},
        "finetune": {"epochs": 3, "batch_size": 128},
    },
    "attacks": {"pgd": {"samples": 100, "steps": 20, "restarts": 2}, "autoattack": None},
    "verifiers": {"crown": {"samples": 50}, "smoothing": {"samples": 10}},
}
DIGITS = ((1, 8, 8), 10)
# 1,797 images, of which 360 are for testing and 270 for validation, in batches of 128.
TRAIN_BATCHES, VALIDATION_BATCHES = 10, 3
FORWARD, GRADIENT = (Unit(what, "cnn-small", "", 1.0, *DIGITS, 1) for what in ("forward", "gradient"))
CROWN = Unit("bound", "cnn-small", "crown", 1.0, *DIGITS, 50)
SMOOTHING_FORWARDS = 10 * (100 + 10_000)


def step(objective: str, progress: float = 1.0, batch_size: int = 128, precision: str = "float32") -> Unit:
    return Unit("step", "cnn-small", objective, progress, *DIGITS, batch_size, precision)


def work(stage: str, objective: str = "benign", entry: str = "", **changes: Any) -> Work:
    found = [w for w in works(load_study(STUDY | changes)) if (w.stage, w.objective, w.entry) == (stage, objective, entry)]
    assert len(found) == 1
    return found[0]


def row(unit: Unit, seconds: float | None, multiply_adds: float, kind: str = "gpu") -> Row:
    made = {"kind": kind, "device": "a device", "threads": 1, "torch": "2", "sparrow": "0"}
    return rates.row_of(unit, made, seconds, multiply_adds, 3)


ROWS = [
    row(step("benign"), 0.5, 10**9),
    row(step("ibp initialisation=default kappa_end=0.5 kappa_start=1.0", 0.0), 1.0, 10**9),
    row(step("ibp initialisation=default kappa_end=0.5 kappa_start=1.0", 0.5), 2.0, 2 * 10**9),
    row(step("ibp initialisation=default kappa_end=0.5 kappa_start=1.0"), 4.0, 3 * 10**9),
    row(FORWARD, 0.001, 10**6),
    row(GRADIENT, 0.002, 2 * 10**6),
    row(CROWN, 0.1, 10**8),
]


def hours(found: list, stage: str) -> float:
    return sum(price.hours for price in found if price.work.stage == stage)


def test_steps_are_epochs_times_batches_and_validation_counts_beside_them() -> None:
    found = work("pretrain")
    assert found.steps == 4 * TRAIN_BATCHES
    assert found.units == {step("benign"): 4 * (TRAIN_BATCHES + VALIDATION_BATCHES)}
    assert len(found.jobs) == 2


def test_the_steps_of_a_ramp_are_told_apart() -> None:
    found = work("pretrain", "ibp")
    assert [unit.progress for unit in found.units] == [0.0, 0.5, 1.0]
    assert list(found.units.values()) == [13, 26, 13]


@pytest.mark.parametrize(
    ("warmup", "ramp", "epochs", "expected"),
    [(0, 0, 5, {1.0: 5}), (2, 3, 5, {0.0: 2, 0.5: 3}), (1, 3, 2.5, {0.0: 1, 0.5: 1.5}), (4, 1, 2, {0.0: 2})],
)
def test_phases(warmup: float, ramp: float, epochs: float, expected: dict[float, float]) -> None:
    assert phases(Schedule(epochs=5, warmup_epochs=warmup, ramp_epochs=ramp), epochs) == expected


def test_methods_take_the_steps_that_they_take() -> None:
    assert work("prune", entry="lwm").units == {}
    assert work("prune", entry="hydra").steps == 2 * TRAIN_BATCHES
    # It stops after three batches, and looks at the validation images then.
    assert work("prune", entry="snip").steps == 3
    assert work("prune", entry="snip").units == {step("benign"): pytest.approx(3 + VALIDATION_BATCHES)}
    assert [len(work("prune", entry=method).jobs) for method in ("lwm", "hydra", "snip")] == [6, 6, 6]


def test_finetuning_is_the_same_for_all_methods() -> None:
    found = work("finetune")
    assert found.steps == 3 * TRAIN_BATCHES
    assert len(found.jobs) == 2 * 3 * 3


TRAIN, VALIDATION = 1167, 270


@pytest.mark.parametrize(
    ("objective", "distillation", "forwards", "gradients"),
    [
        # A pass of the teacher for each image of each epoch; with the labels, one of clean images both ways.
        ("benign", {}, 1, 0),
        ("benign", {"alpha": 0.5}, 1 + 3, 0),
        # The search is not the objective's, so that it comes on top.
        ("ibp", {}, 1, 10),
        # It is, within a pass more of its loss.
        ("adversarial", {}, 1 + 1, 0),
    ],
)
def test_a_teacher_costs_its_passes(objective: str, distillation: dict, forwards: int, gradients: int) -> None:
    training = STUDY["training"] | {"finetune": {"epochs": 3, "batch_size": 128, "distillation": distillation}}
    objectives = {objective: None}
    before, after = (work("finetune", objective, objectives=objectives, **changes) for changes in ({}, {"training": training}))
    added = {unit: count for unit, count in after.units.items() if unit not in before.units}
    expected = {FORWARD: 3 * TRAIN * forwards, GRADIENT: 3 * TRAIN * gradients}
    assert added == {unit: count for unit, count in expected.items() if count}
    assert {unit: after.units[unit] for unit in before.units} == before.units
    for stage in ("pretrain", "prune"):
        entry = "hydra" if stage == "prune" else ""
        assert FORWARD not in work(stage, objective, entry, objectives=objectives, training=training).units


def test_networks_that_lost_filters_are_priced_at_their_size_and_what_came_before_as_a_whole() -> None:
    methods = {"lwm": None, "filters": {"kind": "hydra", "granularity": "filter"}}
    training = STUDY["training"] | {"finetune": {"epochs": 3, "batch_size": 128, "distillation": {}}}
    changes = {"methods": methods, "ratios": [0.5, 0.75], "training": training}
    found = works(load_study(STUDY | changes))

    def units(stage: str, entry: str) -> dict[tuple[float, ...], dict[Unit, float]]:
        return {
            one.filters_gone: one.units for one in found if (one.stage, one.objective, one.entry) == (stage, "benign", entry)
        }

    whole = units("prune", "filters")
    assert list(whole) == [(0.0,)]
    assert {unit.filters_gone for unit in whole[0.0,]} == {0.0}
    finetuned = units("finetune", "")
    # The weights' method in one line, of both ratios; the teacher is dense.
    assert finetuned.keys() == {(0.0,), (0.5,), (0.75,)}
    each = 3 * (TRAIN_BATCHES + VALIDATION_BATCHES)
    for gone in (0.0, 0.5, 0.75):
        assert finetuned[gone,] == {step("benign")._replace(filters_gone=gone): each, FORWARD: 3 * TRAIN}
    crown = units("verify", "crown")
    assert {gone: list(one) for gone, one in crown.items()} == {
        (gone,): [CROWN._replace(filters_gone=gone)] for gone in (0.0, 0.5, 0.75)
    }
    # Two dense networks and four that lost weights; two that lost half of their filters.
    assert [len(one.jobs) for one in found if (one.stage, one.objective, one.entry) == ("verify", "benign", "crown")] == [
        6,
        2,
        2,
    ]


def test_an_analysis_of_several_networks_counts_each_at_its_size() -> None:
    one = Work("analyse", "", "", "", "", units={CROWN: 60}, filters_gone=(0.0, 0.0, 0.5))
    at_their_sizes(one)
    assert one.units == {CROWN: 40, CROWN._replace(filters_gone=0.5): 20}


def test_what_is_left_of_a_network_is_priced_as_the_whole_one_until_it_has_been_counted() -> None:
    half = FORWARD._replace(filters_gone=0.5)
    assert Rates([row(FORWARD, 1.0, 1)], "gpu").rate(half)[:2] == (1.0, "whole")
    assert Rates([row(FORWARD, None, 10**9)], "gpu", 4.0).rate(half)[:2] == (pytest.approx(2e9 / 4e12), "whole")
    assert Rates([row(FORWARD, 1.0, 1), row(half, 0.3, 1)], "gpu").rate(half)[:2] == (0.3, "measured")
    assert Rates([row(step("benign"), 1.0, 1)], "gpu").rate(half) is None


def test_a_penalty_costs_two_passes_both_ways_wherever_the_objective_trains() -> None:
    objectives = {"ibp": {"nrs": {}}}
    for stage, entry, epochs in (("pretrain", "", 4), ("prune", "hydra", 2), ("finetune", "", 3)):
        found = work(stage, "ibp", entry, objectives=objectives).units
        assert found[FORWARD] == epochs * (TRAIN + VALIDATION) * 6
        assert {unit for unit in found if unit != FORWARD} == set(work(stage, "ibp", entry, objectives={"ibp": None}).units)


def test_a_data_set_that_has_been_prepared_is_looked_at(tmp_path: Path) -> None:
    sizes = {"train": 130, "validation": 20, "test": 30}
    parts = {name: store.Stored(np.zeros((n, 3, 8, 8), np.uint8), np.arange(n) % 10, np.arange(n)) for name, n in sizes.items()}
    store.write(tmp_path / "own/data.safetensors", parts, 255, 10, "")
    own = {"kind": "image-folder", "folder": "x", "size": 8, "classes": 10}
    # The command is run where results are relative to.
    with contextlib.chdir(tmp_path.parent):
        changes = {"results": tmp_path.name, "datasets": {"own": own}}
        dense, crown = work("pretrain", **changes), work("verify", entry="crown", **changes)
    assert dense.steps == 4 * 2
    assert [unit.shape for unit in dense.units] == [(3, 8, 8)]
    assert crown.images == 30


def _touch(folder: Path, images: int) -> None:
    """So many files in four class folders, none of which is an image."""
    for place in range(images):
        path = folder / f"class{place % 4}" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_images_of_a_folder_or_zip_are_counted_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _touch(Path("images"), 100)
    _touch(Path("others"), 30)
    shutil.make_archive("zipped", "zip", "images")
    own = {"kind": "image-folder", "size": 8, "classes": 4, "test": 0.2, "validation": 0.16}
    for folder in ("images", "zipped.zip"):
        dense, crown = (
            work(*of, datasets={"own": own | {"folder": folder}}) for of in (("pretrain",), ("verify", "benign", "crown"))
        )
        # 20 images for testing, 16 for validation; 64 to train with, in one batch.
        assert {unit.batch_size: count for unit, count in dense.units.items()} == {64: 4 * (1 + 1)}
        assert (crown.images, next(iter(crown.units)).batch_size) == (20, 20)
    official = {"own": own | {"folder": "images", "test_folder": "others"}}
    assert work("verify", entry="crown", datasets=official).images == 30
    (unit,) = work("pretrain", datasets=official).units
    assert unit.batch_size == 100 - 16


def test_a_data_set_that_nobody_can_count_is_told_and_the_others_are_priced(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _touch(Path("few"), 2)
    few = {"kind": "image-folder", "folder": "few", "size": 8, "classes": 3}
    study.write_text(yaml.safe_dump(SMALL | {"datasets": {"digits": None, "few": few}}))
    write_rows(Path("steps.csv"), ROWS[:1])
    assert main(["cost", str(study)]) == 0
    said = capsys.readouterr().out
    assert "- datasets.few: 2 images, too few for training, validation and test\n" in said
    assert [line.split()[-1] for line in said.splitlines() if line.startswith("pretrain ")] == ["measured", "unknown"]
    monkeypatch.setattr(catalogue.load("datasets", "digits").Params, "images", None)
    assert main(["cost", str(study)]) == 0
    said = capsys.readouterr().out
    assert "- datasets.digits: digits does not say how many images it has" in said
    assert "prepare it first (sparrow run STUDY.yaml --cores 1 tiny/digits/data.safetensors)\n" in said
    # How many jobs there are is known all the same.
    assert "36 cells, 4 dense networks, 162 jobs (data 2, initial 4, pretrain 4, " in said


@pytest.mark.parametrize(("share", "images"), [(None, 1167 + 600), (0.5, 1167)])
def test_extra_images_make_epochs_longer_unless_they_have_a_share_of_each_batch(
    tmp_path: Path, share: float | None, images: int
) -> None:
    path = tmp_path / "extra.npz"
    np.savez(path, image=np.zeros((600, 8, 8), np.uint8), label=np.zeros(600, np.int64))
    found = work("pretrain", datasets={"digits": {"extra": str(path), "extra_share": share}})
    assert found.steps == 4 * -(-images // 128)


def test_precision_and_layout_are_part_of_a_step() -> None:
    training = {
        stage: {"epochs": 3, "batch_size": 64, "precision": "bfloat16", "channels_last": True} for stage in STUDY["training"]
    }
    assert list(work("pretrain", training=training).units) == [step("benign", 1.0, 64, "bfloat16 channels_last")]


def test_attacks_are_counted_as_if_every_image_survived() -> None:
    pgd, auto = work("attack", entry="pgd"), work("attack", entry="autoattack")
    assert pgd.units == {FORWARD: 100 * 2, GRADIENT: 100 * 2 * 20}
    # APGD 100, targeted APGD and FAB 9 x 100 each, FAB's second looks, and Square's 5,000 queries; all 360 test images.
    assert auto.units == {GRADIENT: 360 * (100 + 900 + 900), FORWARD: 360 * (900 + 5000)}
    # Two dense networks and their 18 pruned ones.
    assert len(pgd.jobs) == len(auto.jobs) == 20


def test_logits_are_a_pass_for_each_image_and_each_draw_of_noise() -> None:
    found = work("outputs", outputs={"noise": [0.02, 0.05, 0.1], "draws": 4, "samples": 100})
    assert found.units == {FORWARD: 100 * (1 + 3 * 4)}
    # A dense network and its nine pruned ones for each seed.
    assert len(found.jobs) == 20
    assert work("outputs", outputs={}).units == {FORWARD: 360}
    assert not [one for one in works(load_study(STUDY)) if one.stage == "outputs"]


EXAMPLES = {"fgsm": None, "pgd": None, "far": {"kind": "pgd", "eps": 0.3}, "fmn": None}


@pytest.mark.parametrize(
    ("kind", "settings", "jobs", "networks", "each"),
    [
        # Of each seed nine pruned networks and their dense one, each tried with those of all by three attacks: the one that
        # knows distances, and two at this radius.
        ("transfer", {}, 2, 10, 10 * 3 + 1),
        ("transfer", {"attacks": ["pgd"], "samples": 7}, 2, 10, 10 * 1 + 1),
        # Of each cell two seeds' networks and two dense ones, with the dense ones' images.
        ("transfer-baseline", {}, 9, 4, 2 * 3 + 1),
    ],
)
def test_images_that_pass_from_network_to_network_cost_a_pass_each(
    kind: str, settings: dict, jobs: int, networks: int, each: int
) -> None:
    changes = {"objectives": {"benign": None}, "attacks": EXAMPLES, "analyses": {kind: settings}}
    found = [one for one in works(load_study(STUDY | changes)) if one.entry == kind]
    images = settings.get("samples", 360)
    pruned = max(found, key=lambda one: len(one.jobs))
    assert (len(pruned.jobs), pruned.images, pruned.units) == (jobs, images * networks, {FORWARD: images * networks * each})
    # Dense networks have a job of their own where networks of all seeds are compared.
    rest = [one.units for one in found if one is not pruned]
    assert rest == ([{FORWARD: images * 2 * each}] if kind == "transfer-baseline" else [])


@pytest.mark.parametrize(("named", "passes"), [(None, 3), (["pgd", "fgsm"], 2), (["fmn"], 1)])
def test_a_transfer_attack_costs_a_pass_for_each_table_whose_images_it_tries(named: list[str] | None, passes: int) -> None:
    attacks = EXAMPLES | {"transfer": {"samples": 30, "attacks": named}}
    found = work("attack", entry="transfer", attacks=attacks)
    assert found.units == {FORWARD: 30 * passes}


def test_mixed_precision_costs_as_many_choices_as_it_may_try(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mixed = {"average_bits": 4, "candidates": [2, 4, 8], "images": 20, "n0": 10, "n": 90}
    changes = {
        "objectives": {"benign": None},
        "variants": {"mixed": {"mixed_precision": mixed}, "trained": {"mixed_precision": mixed, "epochs": 2}},
        "evaluate": ["dense", "dense+mixed", "dense+trained"],
    }
    found = {one.entry: one for one in works(load_study(STUDY | changes), lambda *about: 4) if one.stage == "quantise"}
    # Four layers, and two candidates below the first.
    choices = {FORWARD: 4 * 4 * 2 * 20 * 100}
    assert found["mixed"].units == choices
    assert found["trained"].units == choices | {step("benign"): 2 * (TRAIN_BATCHES + VALIDATION_BATCHES)}
    # The command counts the layers itself: CNN-small has four.
    study.write_text(yaml.safe_dump(STUDY | changes))
    assert main(["cost", str(study), "--csv", "rows.csv", "--tflops", "1"]) == 0
    assert "variants" not in capsys.readouterr().out
    write_rows(Path("steps.csv"), ROWS)
    assert main(["cost", str(study), "--csv", "rows.csv"]) == 0
    (line,) = (line for line in csv.DictReader(Path("rows.csv").read_text().splitlines()) if line["entry"] == "mixed")
    assert float(line["hours"]) == pytest.approx(2 * 4 * 4 * 2 * 20 * 100 * 0.001 / 3600, rel=1e-5)


def test_a_network_whose_layers_nobody_can_count_is_told(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(*arguments: Any) -> None:
        raise ValueError("no such width\nat all")

    monkeypatch.setattr(catalogue.load("models", "cnn-small"), "build", build)
    changes = {"variants": {"mixed": {"mixed_precision": {"average_bits": 4}}}, "evaluate": ["dense", "dense+mixed"]}
    study.write_text(yaml.safe_dump(STUDY | changes))
    assert main(["cost", str(study)]) == 0
    assert (
        "- variants.mixed.mixed_precision: how often a choice of bits is tried, of 110,000 forward passes each "
        "(models.cnn-small cannot be built: no such width)\n" in capsys.readouterr().out
    )


def test_an_entry_that_declares_no_passes_is_told(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(catalogue.load("attacks", "fgsm"), "passes")
    study.write_text(yaml.safe_dump(STUDY | {"attacks": {"mine": {"kind": "fgsm"}}}))
    assert main(["cost", str(study)]) == 0
    assert "- attacks.mine: the file of fgsm declares no `passes`\n" in capsys.readouterr().out


def test_verifiers() -> None:
    assert work("verify", entry="crown").units == {CROWN: 50}
    assert work("verify", entry="smoothing").units == {FORWARD: SMOOTHING_FORWARDS}


def test_a_cascade_is_the_sum_of_its_bounds_and_a_complete_one_takes_its_time() -> None:
    cascade = {"samples": 7, "bounds": ["crown", "branch-and-bound"], "seconds": 12}
    found = work("verify", entry="cascade", verifiers={"cascade": cascade})
    assert found.units == {CROWN._replace(batch_size=7): 7}
    assert found.limit == 7 * 12


def test_stable_relus_are_one_bound() -> None:
    found = work("analyse", entry="stability", analyses={"stability": {"samples": 30}})
    assert found.units == {CROWN._replace(batch_size=30): 30}
    # The analysis says itself how many images it bounds at a time.
    found = work("analyse", entry="stability", analyses={"stability": {"samples": 30, "batch_size": 8}})
    assert found.units == {CROWN._replace(batch_size=8): 30}


def test_a_bound_is_of_as_many_images_at_a_time_as_a_job_has() -> None:
    for samples, batch_size, at_once in ((50, 512, 50), (50, 20, 20), (None, 512, 360)):
        verifiers = {"crown": {"samples": samples, "batch_size": batch_size}}
        (unit,) = work("verify", entry="crown", verifiers=verifiers).units
        assert unit.batch_size == at_once
    # A cascade's members have their own batches.
    cascade = {"samples": 40, "bounds": ["crown", "alpha-crown"], "batch_size": 30, "alpha_batch_size": 8}
    found = work("verify", entry="cascade", verifiers={"cascade": cascade}).units
    assert {unit.entry.split()[0]: unit.batch_size for unit in found} == {"crown": 30, "alpha-crown": 8}
    grafting = {"epochs": 1, "batch_size": 64, "images": 40}
    changes = {"grafting": grafting, "evaluate": ["dense", "grafted"], "objectives": {"benign": None}}
    assert {unit.what: unit.batch_size for unit in work("graft", **changes).units} == {"step": 64, "bound": 40}


def test_a_step_is_of_no_more_images_than_there_are() -> None:
    training = {stage: {"epochs": 2, "batch_size": 2000} for stage in STUDY["training"]}
    assert list(work("pretrain", training=training, objectives={"benign": None}).units) == [step("benign", batch_size=TRAIN)]


def test_a_bound_of_the_nearest_number_of_images_is_used_and_said() -> None:
    crowns = [CROWN._replace(batch_size=size) for size in (1, 40, 512)]
    known = Rates([row(unit, size, 10**8) for unit, size in zip(crowns, (9.0, 2.0, 1.0), strict=True)], "gpu")
    expected = {1: (9.0, "measured"), 5: (9.0, "nearest"), 20: (2.0, "nearest"), 300: (1.0, "nearest"), 512: (1.0, "measured")}
    assert {size: known.rate(CROWN._replace(batch_size=size))[:2] for size in expected} == expected
    # Of steps there is none such: what one takes is not in proportion to its images.
    assert Rates([row(step("benign"), 1.0, 10**9)], "gpu").rate(step("benign", batch_size=64)).by == "derived"
    # What has been counted is counted for one image, whatever the batch.
    of_a_cpu = Rates([row(crowns[2], 1.0, 10**8, "cpu")], "gpu", 4.0)
    assert of_a_cpu.rate(CROWN)[:2] == (pytest.approx(2e8 / 4e12), "derived")


@pytest.mark.parametrize(("batch_size", "code", "told"), [(512, "", "512"), (1, "", "an unknown number"), (1, "a b", "1")])
def test_it_is_told_how_many_images_a_bound_was_measured_on(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, batch_size: int, code: str, told: str
) -> None:
    monkeypatch.setattr("sparrow.estimate.codes.entry_digest", lambda module: "a" if "models" in module else "b")
    bound = row(CROWN._replace(batch_size=batch_size), 0.1, 10**8)._replace(code=code)
    write_rows(Path("steps.csv"), [*ROWS[:-1], bound])
    assert main(["cost", str(study)]) == 0
    assert f"nearest: measured, but of bounds of {told} instead of 50 images at a time: " in capsys.readouterr().out


def test_the_stages_add_up() -> None:
    found = prices(works(load_study(STUDY)), Rates(ROWS, "gpu"), {})
    # By hand: benign steps of 0.5 s, IBP's of 1, 2 and 4 s before, on and past its ramp.
    assert hours(found, "pretrain") == pytest.approx(2 * (52 * 0.5 + 13 * 1 + 26 * 2 + 13 * 4) / 3600)
    pruning = 6 * (26 + 6) * (0.5 + 4)
    assert hours(found, "prune") == pytest.approx(pruning / 3600)
    assert hours(found, "finetune") == pytest.approx(18 * 39 * (0.5 + 4) / 3600)
    one = 100 * (2 * 0.001 + 40 * 0.002) + 360 * (5900 * 0.001 + 1900 * 0.002)
    assert hours(found, "attack") == pytest.approx(40 * one / 3600)
    assert hours(found, "verify") == pytest.approx(40 * (50 * 0.1 + SMOOTHING_FORWARDS * 0.001) / 3600)
    assert {price.by for price in found if price.work.units} == {frozenset(["measured"])}


def test_what_is_not_measured_is_derived_and_what_is_not_counted_is_unknown() -> None:
    def of(rows: list[Row], teraflops: float | None = None) -> tuple[float, set[str]]:
        found = prices([work("pretrain")], Rates(rows, "gpu", teraflops), {})[0]
        return found.hours and found.hours * 3600 / 2 / 52, set(found.by)

    assert of([row(step("benign"), 0.5, 10**9)]) == (pytest.approx(0.5), {"measured"})
    # A CPU's time says nothing of a GPU's, but it does the same.
    derived = 2 * 10**9 / (rates.ASSUMED["gpu", "float32"].teraflops * 1e12)
    assert of([row(step("benign"), 0.5, 10**9, "cpu")]) == (pytest.approx(derived), {"derived"})
    assert of([row(step("benign"), None, 10**9)], 4.0) == (pytest.approx(2e9 / 4e12), {"derived"})
    # In another batch, half as large.
    assert of([row(step("benign", batch_size=64), 0.5, 10**9)], 4.0) == (pytest.approx(4 * 10**9 / 4e12), {"derived"})
    assert of([row(step("trades"), 0.5, 10**9)]) == (None, {"unknown"})


def test_the_last_of_two_measurements_counts() -> None:
    assert Rates([row(FORWARD, 1.0, 1), row(FORWARD, 2.0, 1)], "gpu").rate(FORWARD)[:2] == (2.0, "measured")


DENSE = ["digits/cnn-small/benign/seed0/dense", "digits/cnn-small/benign/seed1/dense"]


def _write(path: Path, header: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({}, path, {"sparrow": json.dumps(header)})


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results of the study, of which two dense networks have been trained, and attacked on 100 images, in 1800 s each."""
    monkeypatch.chdir(tmp_path)
    study, root = load_study(STUDY), tmp_path / STUDY["results"]
    parts = {"train": 1167, "validation": 270, "test": 360}
    about = {"format": DATA, "digest": "d", "dataset": job_specs.data_spec(study, "digits").dataset, "parts": parts}
    about = dict.fromkeys(KEYS_OF[DATA]) | about
    _write(root / "digits/data.safetensors", about)
    for job in DENSE:
        spec = job_specs.pretrain_spec(study, parse(job).parent)
        header = dict.fromkeys(KEYS) | {"format": FORMAT, "stage": "dense", "model": spec.model, "data": "d"}
        _write(root / f"{job}.safetensors", header | {"config": spec.config(), "versions": {}})
        (root / job / "attacks").mkdir(parents=True)
        (root / job / "attacks/pgd.csv").write_text("index\n" * 101)
        for name in (job, f"{job}/attacks/pgd"):
            (root / f"{name}.cost.json").write_text(json.dumps({"seconds": 1800}))
    return root


def known(**changes: Any) -> dict[str, float]:
    study = load_study(STUDY | changes)
    return finished_jobs(study, works(study))


TRAINED, ATTACKED = dict.fromkeys(DENSE, 1800.0), {f"{job}/attacks/pgd": 1800.0 for job in DENSE}


def test_jobs_that_have_run_say_more_than_steps(ran: Path) -> None:
    assert known() == TRAINED | ATTACKED
    dense = work("pretrain")
    (price,) = prices([dense], Rates(ROWS, "gpu"), known())
    assert (price.hours, price.by) == (1.0, {"run"})
    # A job's own file is newer than the table; the mean stands for jobs that have not run.
    (ran / f"{DENSE[0]}.cost.json").unlink()
    assert prices([dense], Rates(ROWS, "gpu"), known())[0].hours == 1.0
    (ran / "costs.csv").write_text("job,stage,seconds\n" + "".join(f"{job},pretrain,3600\n" for job in DENSE))
    assert prices([dense], Rates(ROWS, "gpu"), known())[0].hours == 1.5


def test_initial_networks_that_have_been_drawn_count_as_all_that_has_run(ran: Path) -> None:
    job = DENSE[0].replace("dense", "initial")
    spec = job_specs.initial_spec(load_study(STUDY), parse(job).parent)
    header = dict.fromkeys(KEYS) | {"format": FORMAT, "stage": "initial", "model": spec.model, "versions": {}}
    _write(ran / f"{job}.safetensors", header | {"config": spec.config()})
    (ran / f"{job}.cost.json").write_text(json.dumps({"seconds": 7}))
    assert known() == TRAINED | ATTACKED | {job: 7.0}


def test_jobs_of_an_own_network_that_has_changed_since_say_nothing(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparrow.estimate.finished.is_own", lambda module: module == "sparrow.models.cnn_small")
    assert known() == {}
    for job in DENSE:
        spec, header = job_specs.pretrain_spec(load_study(STUDY), parse(job).parent), read_header(ran / f"{job}.safetensors")
        _write(ran / f"{job}.safetensors", header | {"code": spec.code})
    assert known() == TRAINED | ATTACKED


LONGER = {"training": STUDY["training"] | {"pretrain": {"epochs": 4000, "batch_size": 128}}}
CHANGES = {
    "a schedule": (LONGER, {}),
    "an objective": ({"objectives": {"benign": {"training": {"pretrain": {"lr": 0.01}}}}}, {}),
    "a data set": ({"datasets": {"digits": {"validation": 0.3}}}, {}),
    "the images of an attack": ({"attacks": {"pgd": {"samples": 200}}}, TRAINED),
    "a stage after it": ({"training": STUDY["training"] | {"finetune": {"epochs": 9}}}, TRAINED | ATTACKED),
    "another entry beside": ({"methods": {"random": None}}, TRAINED | ATTACKED),
}


@pytest.mark.parametrize(("changes", "expected"), CHANGES.values(), ids=CHANGES)
def test_jobs_that_did_something_else_say_nothing(ran: Path, changes: dict, expected: dict[str, float]) -> None:
    assert known(**changes) == expected


def test_a_longer_schedule_costs_more_than_the_one_that_has_run(ran: Path) -> None:
    study = load_study(STUDY | LONGER)
    found = [
        one
        for one in prices(works(study), Rates(ROWS, "gpu"), finished_jobs(study, works(study)))
        if one.work.stage == "pretrain"
    ]
    assert found[0].by == {"measured"}
    assert found[0].hours == pytest.approx(2 * 4000 * (TRAIN_BATCHES + VALIDATION_BATCHES) * 0.5 / 3600)


OTHERS = {DENSE[1], f"{DENSE[1]}/attacks/pgd"}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("digits/data.safetensors", None, set()),
        (f"{DENSE[0]}.safetensors", None, OTHERS),
        (f"{DENSE[0]}.safetensors", b"no such thing", OTHERS),
    ],
    ids=["no data", "no checkpoint", "a damaged checkpoint"],
)
def test_a_cost_without_its_file_says_nothing(ran: Path, name: str, content: bytes | None, expected: set[str]) -> None:
    (ran / name).unlink()
    if content is not None:
        (ran / name).write_bytes(content)
    assert known().keys() == expected


@pytest.mark.parametrize(("name", "text"), [("costs.csv", "job,stage\na,b\n"), (f"{DENSE[0]}.cost.json", "{}")])
def test_damaged_costs_are_named(ran: Path, name: str, text: str) -> None:
    (ran / name).write_text(text)
    with pytest.raises(SparrowError, match=name):
        known()


def test_a_table_of_step_times_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    rows = [*ROWS, row(step("benign", precision="bfloat16 channels_last"), None, 5)]
    write_rows(path, rows)
    assert read_rows(path) == rows


@pytest.mark.parametrize("unknown", [{"code"}, {"filters_gone", "code"}])
def test_an_older_table_is_read_as_of_whole_networks_and_code_that_nobody_noted(tmp_path: Path, unknown: set[str]) -> None:
    path = tmp_path / "steps.csv"
    write_rows(path, ROWS)
    lines = list(csv.DictReader(path.read_text().splitlines()))
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, [name for name in Row._fields if name not in unknown], extrasaction="ignore")
        table.writeheader()
        table.writerows(lines)
    assert read_rows(path) == ROWS


@pytest.mark.parametrize(("text", "message"), [("a,b\n", "columns must be"), (None, "line 2: not a step time")])
def test_a_damaged_table_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "steps.csv"
    path.write_text(text or ",".join(Row._fields) + "\n" + ",".join(["x"] * len(Row._fields)) + "\n")
    with pytest.raises(SparrowError, match=rf"steps\.csv: .*{message}"):
        read_rows(path)


def test_radii_and_loads_are_no_part_of_a_units_name_but_an_objectives_samples_are() -> None:
    assert label_of({"kind": "ibp", "eps": 0.1, "beta": 2.0, "bounds": ["ibp", "crown"]}) == "ibp beta=2.0 bounds=ibp,crown"
    (few,) = work("verify", entry="alpha", verifiers={"alpha": {"kind": "alpha-crown", "samples": 3, "batch_size": 7}}).units
    assert few.entry == "alpha-crown iterations=20 lr=0.5"
    (step,) = work("finetune", "mixtrain", objectives={"mixtrain": {"samples": 7}}).units
    assert "samples=7" in step.entry


def test_every_attack_and_verifier_says_what_it_does() -> None:
    for kind in catalogue.kinds("attacks"):
        assert hasattr(catalogue.load("attacks", kind), "passes"), kind
    for kind in catalogue.kinds("verifiers"):
        entry = catalogue.load("verifiers", kind)
        assert any(hasattr(entry, name) for name in ("bound", "passes", "members", "longest")), kind


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny study as a file, in the working directory, and no table but one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sparrow.cli.cost.SHIPPED", Path("none"))
    Path("study.yaml").write_text(yaml.safe_dump(STUDY))
    return Path("study.yaml")


def test_the_command_prints_the_table_and_writes_all_rows(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(Path("steps.csv"), ROWS[:-1])
    assert main(["cost", str(study), "--steps", "steps.csv", "--csv", "rows.csv"]) == 0
    said = capsys.readouterr().out
    assert (
        "study.yaml: 36 cells, 4 dense networks, 241 jobs (data 1, initial 4, pretrain 4, prune 36, finetune 36, attack 80, "
        "verify 80" in said
    )
    rows = list(csv.DictReader(Path("rows.csv").read_text().splitlines()))
    assert {line["by"] for line in rows if line["stage"] in ("pretrain", "finetune", "attack")} == {"measured"}
    assert {line["hours"] for line in rows if line["entry"] == "crown"} == {""}
    total = next(line for line in said.splitlines() if line.startswith("total"))
    known = sum(float(line["hours"] or 0) for line in rows)
    assert f"> {known:,.2f}" in total
    assert "unknown" in total


@pytest.mark.parametrize(
    "name", ["config.yaml", *(f"workflow/studies/digits-{one}.yaml" for one in ("methods", "filters", "objectives"))]
)
def test_studies_of_digits_are_priced_out_of_the_box(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["cost", str(REPOSITORY / name)]) == 0
    said = capsys.readouterr().out
    assert "Hours of a CPU" in said
    assert "unknown" not in said
    # Not one row of any stage is said to take no time at all.
    assert " 0.00 " not in said


SMALL = STUDY | {"objectives": {"benign": None}, "verifiers": {"ibp": {"samples": 5}}, "attacks": {"fgsm": None}}


def test_what_was_measured_in_this_folder_is_used_unless_another_table_is_named(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study.write_text(yaml.safe_dump(SMALL))
    ibp = Unit("bound", "cnn-small", "ibp", 1.0, *DIGITS, 5)

    def table(path: str, seconds: float, kind: str = "cpu") -> None:
        write_rows(Path(path), [row(unit, seconds, 10**6, kind) for unit in (step("benign"), GRADIENT, ibp)])

    def said(*options: str) -> tuple[str, str]:
        """From where the step times are, and the total."""
        assert main(["cost", str(study), *options]) == 0
        lines = capsys.readouterr().out.splitlines()
        (total,) = (line.split()[3] for line in lines if line.startswith("total"))
        return "\n".join(line for line in lines if line.startswith(("Hours of", "Step times"))), total

    assert said() == ("Hours of a GPU.", "?")
    table("steps.csv", 1.0)
    named, total = said()
    # One's own times say whose hours are meant.
    assert named == "Hours of a CPU.\nStep times are from steps.csv."
    table("other.csv", 2.0, "gpu")
    other, twice = said("--steps", "other.csv")
    assert other == "Hours of a GPU.\nStep times are from other.csv."
    assert float(twice) == pytest.approx(2 * float(total), abs=0.011)
    assert said("--device", "gpu")[0] == "Hours of a GPU.\nStep times are from steps.csv."


def test_shipped_times_and_ones_own_are_both_named(study: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("sparrow.cli.cost.SHIPPED", Path("shipped.csv"))
    study.write_text(yaml.safe_dump(SMALL))
    write_rows(Path("shipped.csv"), [row(unit, 1.0, 10**6, "cpu") for unit in (step("benign"), GRADIENT)])
    write_rows(Path("steps.csv"), [row(step("benign"), 2.0, 10**6, "cpu")])
    assert main(["cost", str(study)]) == 0
    said = capsys.readouterr().out
    assert "Step times are from the table that comes with Sparrow (benchmarks/results/steps.csv) and steps.csv." in said
    assert "does on this machine:\n  cnn-small: bound of ibp\n" in said
    assert "  cnn-small: gradient\n" not in said


def test_a_bound_is_measured_on_as_many_images_as_a_job_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    entry, found = catalogue.load("verifiers", "ibp"), []
    real = entry.bound
    monkeypatch.setattr(entry, "bound", lambda *a: (found.append(len(a[1])), real(*a))[1])
    study = load_study(SMALL)
    (unit,) = {unit for one in works(study) for unit in one.units if unit.what == "bound"}
    (measured,) = measure(study, [unit], 2, pytest.fail)
    assert (measured.unit, measured.repeats) == (unit, 2)
    # One image to be counted, then a warm-up, and twice.
    assert found == [1, 5, 5, 5]
    # What takes long is not done again.
    found.clear()
    monkeypatch.setattr("sparrow.estimate.measure.LONG", 0.0)
    (measured,) = measure(study, [unit], 2, pytest.fail)
    assert measured.repeats == 1
    assert measured.seconds > 0
    assert found == [1, 5]


def test_the_command_measures_what_is_missing_and_keeps_it(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.write_text(yaml.safe_dump(SMALL))
    assert main(["cost", str(study), "--measure", "--repeats", "1"]) == 0
    rows = read_rows(Path("steps.csv"))
    assert [r.what for r in rows] == ["step", "gradient", "bound"]
    assert all(r.seconds > 0 for r in rows)
    # cnn-small on 8 x 8 pixels: 50,664 multiply-adds an image; a gradient goes back through all of it, a step's backward
    # pass also gives the weights', but not the images' (4 x 4 places, 16 channels, 4 x 4 weights).
    forward = 4 * 4 * 16 * 16 + 2 * 2 * 32 * 16 * 16 + 128 * 100 + 100 * 10
    assert rows[1].multiply_adds == 2 * forward
    assert rows[0].multiply_adds == 128 * (3 * forward - 4 * 4 * 16 * 16)
    said = capsys.readouterr()
    assert "unknown" not in said.out
    assert main(["cost", str(study), "--measure", "--repeats", "1"]) == 0
    assert read_rows(Path("steps.csv")) == rows
    assert capsys.readouterr().err == ""


def test_what_is_measured_here_is_counted_for_another_device(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.write_text(yaml.safe_dump(SMALL))
    assert main(["cost", str(study), "--measure", "--repeats", "1", "--device", "gpu"]) == 0
    assert {r.kind for r in read_rows(Path("steps.csv"))} == {"cpu"}
    said = capsys.readouterr().out
    assert "Hours of a GPU." in said
    assert "derived" in said
    assert "unknown" not in said


def test_what_is_left_of_a_network_is_measured_where_its_filters_are_gone() -> None:
    half = GRADIENT._replace(filters_gone=0.5)
    (found,) = measure(load_study(STUDY), [half], 1, pytest.fail)
    # 8 filters, 16 filters and 50 neurons are left.
    assert found.multiply_adds == 2 * (4 * 4 * 8 * 16 + 2 * 2 * 16 * 8 * 16 + 64 * 50 + 50 * 10)
    assert found.unit == half


def test_steps_and_bounds_are_measured_against_their_objectives_threat(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[str, float]] = []

    def spy(room: str, function: str, threat_of: Callable) -> None:
        entry = catalogue.load(room, "ibp")
        real = getattr(entry, function)
        monkeypatch.setattr(entry, function, lambda *a: (found.append((function, threat_of(a).eps)), real(*a))[1])

    spy("objectives", "prepare", lambda arguments: arguments[1])
    spy("verifiers", "bound", lambda arguments: arguments[4])
    changes = {
        "objectives": {"ibp": {"threat": {"eps": 0.2}, "eps": 0.3}},
        "verifiers": {"ibp": {"samples": 5}},
        "attacks": {"fgsm": None},
    }
    study = load_study(STUDY | changes)
    units = dict.fromkeys(unit for one in works(study) for unit in one.units if unit.what in ("step", "bound"))
    assert len(list(measure(study, units, 1, pytest.fail))) == 2
    # An objective's `eps` is what it is trained for; what is verified is its threat.
    assert set(found) == {("prepare", 0.3), ("bound", 0.2)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "study.yaml: no such file"),
        ("a: [", "study.yaml: not YAML"),
        ("- 1", "study.yaml: holds no mapping"),
        (yaml.safe_dump(STUDY | {"seeds": []}), "study.yaml: seeds:"),
        (
            yaml.safe_dump(STUDY | {"datasets": {"own": {"kind": "image-folder", "folder": "x", "size": 8, "classes": 10}}}),
            "datasets.own.folder: x: no such file or folder",
        ),
    ],
)
def test_bad_input_is_one_line(study: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str) -> None:
    study.unlink()
    if content is not None:
        study.write_text(content)
    assert main(["cost", str(study)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: {message}")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("declared", [3, (3,), (3, "x"), (1, -1), None])
def test_passes_that_are_not_two_numbers_are_told(monkeypatch: pytest.MonkeyPatch, declared: object) -> None:
    monkeypatch.setattr(catalogue.load("attacks", "fgsm"), "passes", lambda params, classes: declared)
    with pytest.raises(SparrowError, match=r"^attacks: passes of fgsm returns .*; valid: two numbers"):
        works(load_study(STUDY | {"attacks": {"fgsm": None}}))


@pytest.mark.parametrize("option", ["--tflops=0", "--tflops=nan", "--tflops=x", "--repeats=0", "--measur"])
def test_bad_options_are_refused(study: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    with pytest.raises(SystemExit):
        main(["cost", str(study), option])
    assert option.partition("=")[0] in capsys.readouterr().err


def test_torch_is_not_imported_unless_something_is_measured(study: Path) -> None:
    code = "import sys; from sparrow.cli.main import main; main(['cost', 'study.yaml']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0
