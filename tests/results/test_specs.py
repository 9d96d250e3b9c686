"""What stages in results/ read: plain values outside, one type inside, as those of stages/ do."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sparrow.files.specs import PlainValues
from sparrow.results.aggregate import aggregate
from sparrow.results.consistency import aggregate_consistent
from sparrow.results.headline import write_headline
from sparrow.results.published import write_published
from sparrow.results.specs.aggregate import AggregateSpec
from sparrow.results.specs.expected import Expected
from sparrow.results.timings import write_timings
from sparrow.study import analysis_tables, comparison, expected, figures, job_specs
from sparrow.study.config import Study
from sparrow.study.load import load_study
from tests.default_study import default_study

CONFIG = default_study()
NOTHING = {"attacks": [], "verifiers": [], "objectives": {}, "analyses": {}, "code": "test"}
NO_FILES = {"datasets": {}, "families": {}, "analyses": {}, "imports": {}, "values": [], "code": "test"}
FILE = Path("missing.csv")


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(CONFIG)


def test_a_spec_is_the_plain_values_that_it_dumps(study: Study) -> None:
    found: list[PlainValues] = [job_specs.aggregate_spec(study), expected.expected(study)]
    found += [*analysis_tables.collect_spec(study, timed=True).values()]
    found += [figures.spec(study, "digits", "cnn-small", name) for name in figures.drawn(study)]
    beside = load_study(CONFIG | {"published": {"headline": "1906.06110"}})
    found += [comparison.published_spec(beside), comparison.headline_spec(beside)]
    for spec in found:
        plain = spec.model_dump()
        assert plain == json.loads(json.dumps(plain))
        assert type(spec).model_validate(plain) == spec


def test_what_aggregation_is_not_to_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="objektives"):
        aggregate([], [], tmp_path, NOTHING | {"objektives": {}})
    with pytest.raises(ValidationError, match="families"):
        aggregate_consistent([], [], tmp_path / "summary.csv", NOTHING, NO_FILES | {"families": {"a/b/c": {}}})
    with pytest.raises(ValidationError, match="scope"):
        write_timings(FILE, [FILE], FILE, {"latency": {"kind": "latency", "scope": "familiy", "tables": {}}}, {})


def test_both_of_what_aggregation_reads_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr("sparrow.results.consistency.differences", lambda networks, analysed, study: given.append(study) or [])
    monkeypatch.setattr("sparrow.results.consistency.aggregate", lambda *of: given.append(of[-1]))
    aggregate_consistent([], [], FILE, NOTHING, NO_FILES)
    assert given == [Expected.model_validate(NO_FILES), AggregateSpec.model_validate(NOTHING)]


@pytest.mark.parametrize("figure", ["accuracy", "curves", "decisions"])
def test_a_figure_is_not_drawn_of_what_is_no_spec_of_it(figure: str, tmp_path: Path) -> None:
    draw = getattr(import_module(f"sparrow.results.figures.{figure}"), f"draw_{figure}")
    with pytest.raises(ValidationError, match="objektives"):
        draw(FILE, tmp_path / "a.svg", tmp_path / "a.png", {"objektives": []})


@pytest.mark.parametrize("write", [write_published, write_headline])
def test_a_study_is_not_set_beside_others_by_what_is_no_spec_of_it(write: Callable[..., None]) -> None:
    with pytest.raises(ValidationError, match="methods"):
        write(FILE, FILE, FILE, FILE, {"sources": []})
