"""What stages in results/ read: plain values outside, one type inside, as those of stages/ do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from sparrow.files.specs import PlainValues
from sparrow.results.aggregate import aggregate
from sparrow.results.consistency import aggregate_consistent
from sparrow.results.specs.aggregate import AggregateSpec
from sparrow.results.specs.expected import Expected
from sparrow.results.timings import write_timings
from sparrow.study import analysis_tables, expected, job_specs
from sparrow.study.config import Study
from sparrow.study.load import load_study

NOTHING = {"attacks": [], "verifiers": [], "objectives": {}, "analyses": {}, "code": "test"}
NO_FILES = {"datasets": {}, "families": {}, "analyses": {}, "imports": {}, "values": [], "code": "test"}
FILE = Path("missing.csv")


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text()))


def test_a_spec_is_the_plain_values_that_it_dumps(study: Study) -> None:
    found: list[PlainValues] = [job_specs.aggregate_spec(study), expected.expected(study)]
    found += [*analysis_tables.collect_spec(study, timed=True).values()]
    for spec in found:
        plain = spec.model_dump()
        assert plain == json.loads(json.dumps(plain))
        assert type(spec).model_validate(plain) == spec


def test_what_aggregation_is_not_to_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="objektives"):
        aggregate([], [], [], tmp_path, NOTHING | {"objektives": {}})
    with pytest.raises(ValidationError, match="families"):
        aggregate_consistent([], [], [], tmp_path / "summary.csv", NOTHING, NO_FILES | {"families": {"a/b/c": {}}})
    with pytest.raises(ValidationError, match="scope"):
        write_timings(FILE, [FILE], FILE, {"latency": {"kind": "latency", "scope": "familiy", "tables": {}}}, {})


def test_both_of_what_aggregation_reads_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr("sparrow.results.consistency.differences", lambda networks, analysed, study: given.append(study) or [])
    monkeypatch.setattr("sparrow.results.consistency.aggregate", lambda *of: given.append(of[-1]))
    aggregate_consistent([], [], [], FILE, NOTHING, NO_FILES)
    assert given == [Expected.model_validate(NO_FILES), AggregateSpec.model_validate(NOTHING)]
