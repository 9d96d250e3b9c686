"""Radii as people write them: exact, shown so, and one radius with their double."""

from __future__ import annotations

import json
import math
import random
import re
from fractions import Fraction
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from sparrow import radius
from sparrow.cli import docs
from sparrow.data.store import Part
from sparrow.errors import ConfigError, SparrowError
from sparrow.files.csv_table import EXACT, write_csv
from sparrow.files.outcome_table import COLUMNS, verified_images
from sparrow.files.paths import WILDCARDS
from sparrow.results.figures.security import draw_security
from sparrow.results.outcomes import read_outcomes
from sparrow.results.security import curve
from sparrow.results.specs.outcomes import OutcomeTables
from sparrow.results.threats import in_words, with_text
from sparrow.settings import Radius, Threat
from sparrow.stages._evaluation import write_outcomes
from sparrow.study import cells, job_specs
from sparrow.study.config import Study
from sparrow.study.load import load_study
from tests.conftest import ABOUT
from tests.default_study import default_study

ROOT = Path(__file__).parents[1]
EIGHT, TWO = 8 / 255, 2 / 255


def study(**changes) -> Study:
    config = default_study()
    config["attacks"] = {"pgd": None, "fmn": None}
    config["verifiers"] = {"crown": None}
    return load_study(config | changes)


def complaint(**changes) -> str:
    with pytest.raises(ConfigError) as caught:
        study(**changes)
    (line,) = str(caught.value).splitlines()
    return line.removeprefix("config.yaml: ")


@pytest.mark.parametrize("below", [255, 256, 7, 1000, 3, 997])
def test_a_fraction_is_the_double_nearest_to_it(below: int) -> None:
    for above in range(1, 2 * below):
        found = radius.parse(f"{above}/{below}")
        error = abs(Fraction(found) - Fraction(above, below))
        neighbours = (math.nextafter(found, 0), math.nextafter(found, 3))
        assert all(error <= abs(Fraction(other) - Fraction(above, below)) for other in neighbours)


def test_every_radius_is_read_from_what_is_shown_and_has_a_path_of_its_own() -> None:
    chance = random.Random(0)
    radii = {above / below for below in (255, 256, 51, 1000, 17) for above in range(1, 600)}
    radii |= {chance.random() * scale for scale in (1e-9, 1e-3, 0.1, 1, 10) for _ in range(200)}
    radii |= {float(f"{chance.random():.{digits}g}") for digits in range(1, 17) for _ in range(20)} | {1e-300, 1e300, 2.5e-5}
    assert all(radius.parse(radius.text(eps)) == float(radius.number(eps)) == eps for eps in radii)
    labels = {radius.label(eps) for eps in radii}
    assert len(labels) == len(radii)
    # What the rules take for a radius in a file's name.
    assert all(re.fullmatch(WILDCARDS["attack"], f"pgd-eps{label}") for label in labels)


@pytest.mark.parametrize("above", [one for one in range(1, 256) if one % 51])
def test_a_number_of_grey_levels_is_shown_as_such(above: int) -> None:
    eps = above / 255
    assert (radius.text(eps), radius.label(eps)) == (f"{above}/255", f"{above}_255")


@pytest.mark.parametrize(
    ("eps", "text", "label"),
    [
        *[(0.1, "0.1", "0.1"), (0.2, "0.2", "0.2"), (0.25, "0.25", "0.25"), (0.031, "0.031", "0.031"), (2.0, "2", "2.0")],
        *[(1e-05, "1e-05", "0.00001"), (1 / 7, "1/7", "1_7"), (0.0313725, "0.0313725", "0.0313725")],
        *[(0.1 + 0.2, "0.30000000000000004", "0.30000000000000004"), (110 / 255, "110/255", "110_255")],
        # A neighbour is no fraction.
        (math.nextafter(EIGHT, 1), "0.03137254901960785", "0.03137254901960785"),
    ],
)
def test_a_decimal_stays_what_it_is(eps: float, text: str, label: str) -> None:
    assert (radius.text(eps), radius.label(eps)) == (text, label)


@pytest.mark.parametrize("written", ["8/255", " 8 / 255 ", "8/ 255", "0.03137254901960784", EIGHT])
def test_one_radius_may_be_written_in_many_ways(written: object) -> None:
    assert study(threat={"eps": written}).model_dump() == study(threat={"eps": EIGHT}).model_dump()


def test_what_yaml_takes_for_a_text_is_a_number_all_the_same() -> None:
    assert yaml.safe_load("1e-2") == "1e-2"
    assert study(threat={"eps": "1e-2"}).threat.eps == 0.01


REFUSED = ["8/0", "-8/255", "1.5/255", "8/255/2", "0x8/255", "٨/255", "eight", "", True, None, [0.1], {"a": 1}]


@pytest.mark.parametrize("written", REFUSED, ids=repr)
def test_what_is_no_radius_is_one_line(written: object) -> None:
    line = complaint(threat={"eps": written})
    assert line.startswith("threat.eps: ")
    assert line.endswith(": must be a number above 0, or a fraction of integers such as 8/255")


@pytest.mark.parametrize(
    ("written", "why"), [("0/255", "greater than 0"), (-0.1, "greater than 0"), ("nan", "finite"), ("inf", "finite")]
)
def test_what_is_no_size_is_one_line(written: object, why: str) -> None:
    assert re.fullmatch(rf"threat\.eps: .* is not valid: must be .*{why}.*", complaint(threat={"eps": written}))


LARGE = {
    "threat.eps": {"threat": {"eps": 8}},
    "objectives.adversarial.threat.eps": {"objectives": {"adversarial": {"threat": {"eps": 8}}}},
    "objectives.adversarial.eps": {"objectives": {"adversarial": {"eps": 8}}},
    "objectives.adversarial.step_size": {"objectives": {"adversarial": {"step_size": 8}}},
    "methods.boosting-ticket.eps": {"methods": {"boosting-ticket": {"eps": 8}}},
    "methods.deadwooding.eps": {"methods": {"deadwooding": {"eps": 8}}},
    "methods.mad.step_size": {"methods": {"mad": {"step_size": 8}}},
    "attacks.pgd.eps": {"attacks": {"pgd": {"eps": [0.1, 8]}}},
    "attacks.pgd.step_size": {"attacks": {"pgd": {"step_size": 8}}},
    "verifiers.crown.eps": {"verifiers": {"crown": {"eps": [0.1, 8]}}},
}


@pytest.mark.parametrize(("key", "changes"), LARGE.items(), ids=LARGE)
def test_grey_levels_in_the_place_of_a_radius_are_refused_with_what_is_meant(key: str, changes: dict) -> None:
    assert (
        complaint(**changes) == f"{key}: 8 is not valid: images lie in [0, 1], in l-inf it must be below 1; did you mean 8/255?"
    )


@pytest.mark.parametrize(
    ("eps", "hint"), [(1, "; did you mean 1/255?"), (7.65, "; did you mean 0.03?"), (300, ""), ("256/255", "")]
)
def test_what_is_meant_may_be_another_thing(eps: float, hint: str) -> None:
    assert complaint(threat={"eps": eps}).endswith(f"in l-inf it must be below 1{hint}")


def test_in_l2_a_radius_may_be_large_and_steps_in_units_of_a_radius_anywhere() -> None:
    objectives = {"mtl-ibp": {"step_size": 10}, "adversarial": {"threat": {"norm": "l2", "eps": 8}, "step_size": 2}}
    attacks = {"pgd": None, "far": {"kind": "pgd", "eps": [2, 300], "objectives": ["adversarial"]}, "fmn": {"step_size": 2}}
    assert study(objectives=objectives, attacks=attacks).threat_of("adversarial") == Threat(norm="l2", eps=8)


def test_a_fraction_and_its_double_are_one_radius_of_a_sweep() -> None:
    assert complaint(attacks={"pgd": {"eps": ["8/255", EIGHT, 0.1]}}) == (
        "attacks.pgd.eps: 8/255 appears 2 times; every entry must be there once"
    )
    fraction, double = (study(threat={"eps": eps}, attacks={"pgd": {"eps": ["2/255", eps]}}) for eps in ("8/255", EIGHT))
    assert list(cells.tables(fraction, "attacks")) == ["pgd-eps2_255", "pgd"]
    parent = cells.parents(fraction)[0]
    for name in ("pgd-eps2_255", "pgd"):
        assert job_specs.attack_spec(fraction, parent, name) == job_specs.attack_spec(double, parent, name)


@pytest.mark.parametrize("key", ["eps", "step_size"])
def test_step_sizes_and_own_radii_may_be_fractions(key: str) -> None:
    found = study(
        objectives={"adversarial": {key: "2/255"}},
        attacks={"pgd": {"step_size": "1/255"}},
        methods={"deadwooding": {"eps": "2/255"}},
    )
    assert getattr(found.objectives["adversarial"], key) == found.methods["deadwooding"].eps == TWO
    assert found.attacks["pgd"].step_size == 1 / 255


def test_what_does_not_fit_is_told_in_fractions() -> None:
    assert complaint(threat={"eps": "8/255"}, verifiers={"crown": {"eps": ["2/255", 0.1]}}) == (
        "verifiers: eps 2/255, 0.1, but none at threat.eps, 8/255; valid: one that has it"
    )


def test_editors_know_fractions() -> None:
    schema = json.loads(docs.schema())
    config = default_study() | {"threat": {"eps": "8/255"}}
    for eps in ("2/255", ["2/255", 0.1], 0.1, None):
        jsonschema.validate(config | {"attacks": {"pgd": {"eps": eps}}}, schema)
    for eps in ("1.5/255", True, ["8/255", "x"], 0):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(config | {"attacks": {"pgd": {"eps": eps}}}, schema)
    with pytest.raises(ValidationError):
        TypeAdapter(Radius).validate_python(0)


# As an outcome table of one image has it.
ROWS = {"attacks": (0, 0, 0, "robust", 0.5, math.inf, "linf"), "verifiers": (0, 0, 0, "verified", 0.5, "crown", "linf")}


@pytest.fixture
def tables(tmp_path: Path):
    """Writes an attack's and a verifier's table at each radius, as the stages do, and reads them as aggregation does."""

    def tables(*radii: float):
        spec = {
            "attacks": [],
            "verifiers": [],
            "smoothed": [],
            "not_in_era": [],
            "minimum_norm": [],
            "threat": {"eps": radii[-1]},
        }
        for room in ROWS:
            (tmp_path / room).mkdir()
            for eps in radii:
                name = f"one-eps{radius.label(eps)}"
                row = dict(zip(COLUMNS[room], ROWS[room], strict=False)) | {
                    "eps": radius.number(eps),
                    "eps_text": radius.text(eps),
                }
                write_csv(
                    tmp_path / room / f"{name}.csv", COLUMNS[room], [[row.get(column, "") or 0 for column in COLUMNS[room]]]
                )
                spec[room].append(name)
        return read_outcomes(tmp_path, OutcomeTables(**spec))

    return tables


RADII = [TWO, EIGHT, 0.1, 1 / 3, 1e-05, 0.1 + 0.2]


def test_a_radius_is_read_from_a_table_as_it_was(tables) -> None:
    found = curve(tables(*RADII))
    assert found["eps"].tolist() == sorted(RADII)
    written = with_text(found)
    assert list(written.columns[:2]) == ["eps", "eps_text"]
    assert written["eps"].map(float).tolist() == written["eps_text"].map(radius.parse).tolist() == sorted(RADII)
    assert written["eps_text"].tolist() == ["1e-05", "2/255", "8/255", "0.1", "0.30000000000000004", "85/255"]


@pytest.mark.parametrize("eps", RADII)
def test_a_column_of_radii_survives_a_csv_file(tmp_path: Path, eps: float) -> None:
    with_text(pd.DataFrame({"norm": ["linf"], "eps": [eps]})).to_csv(tmp_path / "table.csv", index=False)
    read = pd.read_csv(tmp_path / "table.csv", converters=EXACT)
    assert (list(read), read["eps"].item()) == (["norm", "eps", "eps_text"], eps)
    assert in_words("linf", read["eps"].item()) == f"linf {radius.text(eps)}"


def test_a_missing_radius_stays_missing() -> None:
    written = with_text(pd.DataFrame({"eps_published": [EIGHT, None]}), "_published")
    assert written["eps_text_published"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("eps", "end"), [(EIGHT, "linf,0.03137254901960784,8/255"), (0.1, "linf,0.1,0.1"), (1e-05, "linf,1e-05,1e-05")]
)
def test_an_outcome_table_has_the_number_and_the_text(tmp_path: Path, eps: float, end: str) -> None:
    import torch

    one = torch.zeros(1, dtype=torch.long)
    part = Part(torch.zeros(1, 1, 1, 1), one, one)
    columns = one, ["verified"], torch.tensor([0.5]), ["crown"]
    write_outcomes(tmp_path / "table.csv", part, "verifiers", columns, Threat(eps=eps), ABOUT)
    head, line = (tmp_path / "table.csv").read_text().splitlines()
    assert "norm,eps,eps_text" in head
    assert end in line
    # And no other radius is taken for it, however near.
    assert verified_images(tmp_path / "table.csv", Threat(eps=eps)) == {0}
    with pytest.raises(SparrowError, match=f"verifies against linf eps {radius.text(eps)}; valid: linf eps "):
        verified_images(tmp_path / "table.csv", Threat(eps=math.nextafter(eps, 1)))


def drawn(folder: Path, monkeypatch: pytest.MonkeyPatch, eps: float) -> tuple[list[str], list[str]]:
    """The labels on the axis of a security curve, and the entries of its legend."""
    monkeypatch.setattr("matplotlib.pyplot.close", lambda figure: kept.append(figure))
    kept: list = []
    identity = {
        "dataset": "digits",
        "model": "m",
        "objective": "o",
        "method": "dense",
        "ratio": 0.0,
        "seed": 0,
        "stage": "dense",
        "constant": False,
    }
    rows = [
        identity | {"eps": eps * place, **{f"{m}{e}": 0.5 for m in ("era", "vra") for e in ("", "_low", "_high")}}
        for place in range(4)
    ]
    pd.DataFrame(rows).to_csv(folder / "security.csv", index=False)
    spec = {
        "dataset": "digits",
        "model": "m",
        "objectives": ["o"],
        "stage": "finetuned",
        "threats": {"o": {"norm": "linf", "eps": eps}},
        "code": "test",
    }
    draw_security(folder / "security.csv", folder / "a.svg", folder / "a.png", spec)
    axes = kept[0].axes[0]
    return [tick.get_text() for tick in axes.get_xticklabels()], axes.get_legend_handles_labels()[1]


def test_a_security_curve_has_its_axis_in_fractions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks, legend = drawn(tmp_path, monkeypatch, EIGHT)
    assert ticks == ["0", "8/255", "16/255", "24/255"]
    assert "the threat's eps, 8/255" in legend


def test_a_security_curve_of_decimals_has_decimals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks, legend = drawn(tmp_path, monkeypatch, 0.1)
    assert not any("/" in tick for tick in ticks)
    assert "the threat's eps" in legend


def test_the_axis_of_a_large_radius_is_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks, _ = drawn(tmp_path, monkeypatch, 5001 / 255)
    assert 3 <= len(ticks) <= 6
