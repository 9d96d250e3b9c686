"""A ratio that takes all filters of a layer is refused before any job, where the model says how many there are."""

from __future__ import annotations

import re

import pytest

from sparrow import catalogue
from sparrow.errors import ConfigError
from sparrow.models import resnet18
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout
from sparrow.study.load import load_study
from tests.study.test_entry_flags import STUDY

TOLD = "the ratio 0.97 would remove all 16 filters of 0.weight; valid: at most 0.9687"


def _study(methods: dict, **changes: object) -> dict:
    return STUDY | {"methods": methods} | changes


@pytest.mark.parametrize(
    ("methods", "key"),
    [
        ({"small": {"kind": "lwm", "granularity": "filter"}}, "ratios"),
        ({"small": {"kind": "harp", "granularity": "filter"}}, "ratios"),
        ({"small": {"kind": "ccrp"}}, "ratios"),
        ({"small": {"kind": "random", "granularity": "filter", "ratios": [0.5, 0.97]}}, "methods.small.ratios"),
    ],
    ids=["lwm", "harp", "ccrp", "own"],
)
def test_it_is_one_line_with_layer_ratio_and_largest_ratio(methods: dict, key: str) -> None:
    line = f"config.yaml: {key}: methods.small removes filters of models.cnn-small: {TOLD}"
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}$"):
        load_study(_study(methods, ratios=[0.97]))


def test_networks_that_are_grafted_are_pruned_too() -> None:
    told = _study(
        {"small": {"kind": "lwm", "granularity": "filter"}}, ratios=[0.97], grafting={}, evaluate=["dense", "grafted"]
    )
    with pytest.raises(ConfigError, match=re.escape(TOLD)):
        load_study(told)


@pytest.mark.parametrize(
    "methods",
    [
        {"lwm": None},
        {"lwm": {"granularity": "filter", "ratios": [0.9687]}},
        # Where filters compete, a narrow layer may keep more than its share.
        {"lwm": {"granularity": "filter", "allocation": "global"}, "fre": None},
    ],
    ids=["weights", "largest", "competing"],
)
def test_others_are_taken(methods: dict) -> None:
    assert load_study(_study(methods, ratios=[0.97])).ratios == [0.97]


def test_a_study_that_evaluates_no_pruned_network_is_taken() -> None:
    load_study(_study({"lwm": {"granularity": "filter"}}, ratios=[0.97], evaluate=["dense"]))


def test_what_the_model_does_not_say_is_left_to_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resnet18.Params, "narrowest", None)
    load_study(_study({"lwm": {"granularity": "filter"}}, ratios=[0.999], models={"resnet18": None}))


@pytest.mark.parametrize(
    ("kind", "params"),
    [(kind, {}) for kind in catalogue.kinds("models")]
    + [("oval", {"form": "wide"}), ("oval", {"form": "deep"}), ("mlp", {"hidden": [30, 20, 20]})]
    + [("mlp", {"normalise": {"mean": [0.5], "std": [0.5]}})],
)
def test_the_narrowest_layer_is_the_one_that_a_model_names(kind: str, params: dict) -> None:
    entry = catalogue.load("models", kind)
    settings, shape = entry.Params(**params), (1, 16, 16)
    model = entry.build(settings, shape, 10)
    filters = Layout(model, shape).filters(prunable_weights(model))
    narrowest = min(filters, key=lambda layer: filters[layer])
    assert settings.narrowest == (narrowest, filters[narrowest])
