"""Corrupted images in a study: who asks for them, which there are, and what is refused before any job."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sparrow.errors import ConfigError, SparrowError
from sparrow.estimate.work import works
from sparrow.study import analyses, job_specs, sources, targets
from sparrow.study.config import Study
from sparrow.study.load import load_study
from tests.study.test_targets import TINY

BOTH: dict[str, Any] = {"corruptions": None, "potential": {"delta": 0.01}}
FEW = ["gaussian_noise", "shot_noise", "impulse_noise", "brightness", "contrast"]


def study(analyses: dict[str, Any] | None = None, kind: str = "digits", **corruptions: Any) -> Study:
    own = {"corruptions": corruptions} if corruptions else {}
    return load_study(TINY | {"datasets": {kind: own}, "analyses": BOTH if analyses is None else analyses})


def job(found: Study, label: str) -> analyses.Job:
    return next(analyses.jobs(found, label))


def test_they_are_made_once_and_only_if_an_analysis_asks() -> None:
    found = study()
    assert targets.corrupted(found, job(found, "corruptions")) == ["somewhere/digits/corrupted.safetensors"]
    assert "somewhere/digits/corrupted.cost.json" in targets.costs(found)
    assert job_specs.corrupt_spec(found, "digits").corruptions.model_dump() == {"kinds": FEW, "severities": [3]}
    without = study({"stability": None})
    assert targets.corrupted(without, job(without, "stability")) == []
    assert not [path for path in targets.costs(without) if "corrupted" in path]
    # And what asks for none has the specs that it had.
    assert "corruptions" not in analyses.spec(without, job(without, "stability")).model_dump()


def test_what_an_analysis_reads_says_which_they_are() -> None:
    found = study(kind="cifar10", severities=[1, 5], samples=100)
    spec = analyses.spec(found, job(found, "corruptions")).model_dump()
    assert spec["corruptions"] == {"kinds": spec["corruptions"]["kinds"], "severities": [1, 5], "samples": 100}
    assert len(spec["corruptions"]["kinds"]) == 14
    # It is no part of the data set itself.
    assert job_specs.data_spec(found, "cifar10") == job_specs.data_spec(study(kind="cifar10"), "cifar10")


def test_they_are_priced_by_kinds_severities_and_images() -> None:
    found = {work.entry: work for work in works(study(severities=[1, 3, 5], samples=40)) if work.stage == "analyse"}
    # One network a job, five kinds.
    assert found["corruptions"].images == 40 * 5 * 3
    assert found["potential"].not_priced


def test_an_analysis_is_given_the_tables_that_it_reads_if_the_study_has_them() -> None:
    found = study()
    assert targets.tables_read(found, "potential") == [
        f"somewhere/digits/cnn-small/benign/seed0/{name}/analyses/corruptions.csv"
        for name in ("dense", "lwm-0.90/finetuned", "harp-0.90/finetuned")
    ]
    reads = analyses.spec(found, job(found, "potential")).model_dump()["reads"]
    assert list(reads) == ["corruptions"]
    assert reads["corruptions"]["analysis"] == {"kind": "corruptions", "batch_size": 512}
    alone = study({"potential": None})
    assert targets.tables_read(alone, "potential") == []
    assert "reads" not in analyses.spec(alone, job(alone, "potential")).model_dump()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a size that a kind is not for": (
        {"kinds": ["contrast", "snow"]},
        "datasets.digits.corruptions.kinds: snow: it is for square images of 28 to 32 pixels, 1 or 3 channels, and these have "
        "8 x 8, 1; valid: gaussian_noise, shot_noise, impulse_noise, brightness, contrast",
    ),
    "nobody asks": (
        {"analyses": {}, "severities": [1]},
        "datasets.digits.corruptions: no analysis asks for corrupted images; add one, or leave it out",
    ),
    "a kind that there is not": ({"kinds": ["rain"]}, "datasets.digits.corruptions.kinds"),
    "a severity that there is not": ({"severities": [6]}, "datasets.digits.corruptions.severities"),
    "no severity": ({"severities": []}, "datasets.digits.corruptions.severities"),
    "a kind twice": ({"kinds": ["contrast", "contrast"]}, "contrast appears 2 times"),
}


@pytest.mark.parametrize(("said", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_one_line_before_any_job(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        study(**said)
    (line,) = str(caught.value).splitlines()
    assert words in line


def test_frost_is_in_the_archive_alone() -> None:
    with pytest.raises(ConfigError, match=r"corruptions\.kinds: frost: it needs photographs, .* archive \(`file`\) alone"):
        study(kind="cifar10", kinds=["frost"])
    found = study(kind="cifar10", kinds=["frost"], file="data/CIFAR-10-C.tar")
    assert job_specs.corrupted_images(found, "cifar10").kinds == ["frost"]


def test_an_archive_is_read_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = study(kind="cifar10", file="./CIFAR-10-C.tar").datasets["cifar10"]
    assert sources.archive(params) == []
    words = "datasets.cifar10.corruptions.file: ./CIFAR-10-C.tar: no such file; valid: the published archive, or null"
    with pytest.raises(SparrowError, match=re.escape(words)):
        sources.require_archive("cifar10", params)
    (tmp_path / "CIFAR-10-C.tar").touch()
    assert sources.archive(params) == ["CIFAR-10-C.tar"]
    sources.require_archive("cifar10", params)
