"""What stages are told: plain values outside, one type inside."""

import json

import pytest
from pydantic import ValidationError

from sparrow.files.specs import opened
from sparrow.settings import Threat
from sparrow.stages.specs.evaluation import AttackSpec
from sparrow.stages.specs.pruning import PruneSpec
from tests.specs import labels

ATTACK = {
    "code": "test",
    "seed": 0,
    "model": {"kind": "cnn-small"},
    "attack": {"kind": "pgd", "samples": None},
    "threat": {"norm": "l2", "eps": 0.5},
}
PRUNE = {
    "code": "test",
    "cell": labels(3, method="lwm", ratio=0.5),
    "model": {"kind": "cnn-small"},
    "method": {"kind": "lwm"},
    "ratio": 0.5,
}


@opened(AttackSpec)
def stage(name: str, spec: AttackSpec) -> tuple[str, AttackSpec]:
    return name, spec


def test_plain_values_are_opened_however_they_are_passed():
    for found in (stage("out", ATTACK), stage(spec=ATTACK, name="out")):
        name, spec = found
        assert (name, spec.threat, spec.attack["kind"]) == ("out", Threat(norm="l2", eps=0.5), "pgd")


def test_an_open_spec_stays_as_it_is():
    spec = AttackSpec(**ATTACK)
    assert stage("out", spec)[1] is spec


@pytest.mark.parametrize(("changes", "key"), [({"threat": None}, "threat"), ({"stpes": 3}, "stpes")])
def test_what_no_stage_is_told_is_refused(changes, key):
    with pytest.raises(ValidationError, match=key):
        stage("out", ATTACK | changes)


@pytest.mark.parametrize(("kind", "told"), [(AttackSpec, ATTACK), (PruneSpec, PRUNE)])
def test_a_spec_gives_back_the_plain_values_that_it_was_made_of(kind, told):
    # What is null in an entry stays, what a spec has not is not there.
    found = kind(**told).model_dump()
    assert found == told == json.loads(json.dumps(found))


def test_the_config_of_a_header_is_what_has_no_key_of_its_own():
    assert PruneSpec(**PRUNE).config() == {"method": {"kind": "lwm"}, "ratio": 0.5}


def test_a_method_trains_on_an_objective_under_a_schedule_or_not_at_all():
    with pytest.raises(ValidationError, match="objective and schedule: one is there without the other"):
        PruneSpec(**PRUNE, objective={"kind": "benign"})
