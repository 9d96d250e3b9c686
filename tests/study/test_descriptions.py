"""A data set that does not say what its images are is told in one line, as a mistake of the study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sparrow import catalogue
from sparrow.data.source import Description
from sparrow.errors import ConfigError
from sparrow.study.descriptions import VALID
from sparrow.study.load import load_study
from tests.default_study import default_study

ROOT = Path(__file__).parents[2]


def lines(monkeypatch: pytest.MonkeyPatch, describe: Any) -> list[str]:
    """The mistakes of the default study, were its data set to describe itself so."""
    monkeypatch.setattr(catalogue.load("datasets", "digits"), "describe", describe)
    with pytest.raises(ConfigError) as caught:
        load_study(default_study())
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    "told",
    [
        ((1, 8, 8), 10),
        None,
        Description((8, 8), 10),
        Description((1, 8, 0), 10),
        Description([1, 8, 8], 10),
        Description((1, 8, 8), "ten"),
        Description((1.0, 8, 8), 10),
    ],
    ids=str,
)
def test_what_is_no_description_is_told_once(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines(monkeypatch, lambda params: told) == [f"config.yaml: datasets.digits: {VALID}, not {told!r}"]


def test_a_describe_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = lines(monkeypatch, lambda params: Description(shape=(1, 8, 8)))
    assert line.startswith("config.yaml: datasets.digits: describe fails with TypeError: ")
    assert line.endswith(f"missing 1 required positional argument: 'classes'; {VALID}")
