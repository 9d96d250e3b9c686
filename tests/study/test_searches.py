"""A method on a network that it cannot serve, or under a schedule that is too short for it, is told before any job."""

from __future__ import annotations

from typing import Any

import pytest

from sparrow.errors import ConfigError
from sparrow.study.config import Study
from sparrow.study.load import load_study


def _study(model: str, methods: dict[str, Any], epochs: int = 2, **changes: Any) -> Study:
    return load_study(
        {
            "datasets": {"digits": None},
            "models": {model: None},
            "objectives": {"adversarial": None},
            "methods": methods,
            "ratios": [0.9],
            "seeds": [0],
            "training": {stage: {"epochs": epochs, "batch_size": 256} for stage in ("pretrain", "prune", "finetune")},
            "threat": {"norm": "linf", "eps": 0.1},
            "attacks": {"pgd": None},
            "verifiers": {"ibp": None},
        }
        | changes
    )


def test_a_method_that_needs_norms_is_refused_on_a_network_without() -> None:
    told = r"methods\.twinrep: models\.cnn-small has no batch norm, but products .*; valid: initialisation: split$"
    with pytest.raises(ConfigError, match=told):
        _study("cnn-small", {"twinrep": None})
    assert _study("cnn7", {"twinrep": None}).methods["twinrep"].initialisation == "product"
    assert _study("cnn-small", {"twinrep": {"initialisation": "split"}})


@pytest.mark.parametrize(
    ("method", "epochs", "told"),
    [
        # An epoch of the 1,167 training images has 5 steps of 256.
        ({"kind": "vericompress", "thickening_epochs": 2}, 2, "thickening_epochs: 2 leaves .* of 2 epochs; valid: fewer"),
        ({"kind": "vericompress", "thickening_epochs": 2}, 3, None),
        ({"kind": "twinrep", "initialisation": "split", "prune_at": 0.91}, 2, "prune_at: 0.91 leaves none of 10 steps"),
        ({"kind": "twinrep", "initialisation": "split", "prune_at": 0.9}, 2, None),
        ({"kind": "flying-bird"}, 5, "every: 2.56 epochs leave no exchange in a schedule of 5; valid: at most 2.5"),
        ({"kind": "flying-bird", "every": 2.5}, 5, None),
        ({"kind": "dnr"}, 1, "every: 1 epochs leave no exchange in a schedule of 1; valid: at most 0.5"),
        # It trains under the schedule of pre-training.
        ({"kind": "bcs"}, 1, None),
    ],
)
def test_a_schedule_that_is_too_short_for_a_method_is_refused(method: dict, epochs: int, told: str | None) -> None:
    if told is None:
        assert _study("cnn-small", {"own": method}, epochs)
        return
    with pytest.raises(ConfigError, match=rf"methods\.own\.{told}"):
        _study("cnn-small", {"own": method}, epochs)


def test_of_a_data_set_of_unknown_size_epochs_can_be_too_few_but_steps_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    from sparrow.datasets import digits

    monkeypatch.setattr(digits.Params, "images", None)
    assert _study("cnn-small", {"twinrep": {"initialisation": "split", "prune_at": 0.99}})
    with pytest.raises(ConfigError, match="thickening_epochs: 2 leaves"):
        _study("cnn-small", {"vericompress": {"thickening_epochs": 2}})
