"""Logits on test images: those of the network, under noise that is the same for all networks; what a job goes on with."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file

from sparrow import catalogue
from sparrow.data import store
from sparrow.errors import CheckpointError, InheritedError
from sparrow.files import checkpoint, lineage, outputs
from sparrow.files.paths import outputs_of
from sparrow.inference.subjects import Data, Network
from sparrow.jobs import interruption
from sparrow.results.study_tables import evaluated
from sparrow.settings import Analysis
from sparrow.stages.analyse import analyse
from sparrow.stages.outputs import noisy, write_outputs
from tests.conftest import replace_network

CONFIG = {"noise": [0.05, 8 / 255], "draws": 2, "samples": 30, "batch_size": 7}
SPEC = CONFIG | {"code": "test", "model": {"kind": "cnn-small"}}


def written(network: Path, data: Path, **changes: Any) -> outputs.Outputs:
    spec = SPEC | changes
    found = outputs_of(network)
    write_outputs(network=network, data=data, output=found, cost=found.with_suffix(".cost.json"), spec=spec)
    return outputs.of_network(network, {key: value for key, value in spec.items() if key not in ("code", "model")})


@pytest.fixture
def network(dense: Path, tmp_path: Path) -> Path:
    """A checkpoint that a test may have files below."""
    path = tmp_path / "dense.safetensors"
    path.write_bytes(dense.read_bytes())
    return path


def test_the_logits_are_those_of_the_network(network: Path, digits: Path) -> None:
    found, part = written(network, digits), store.read(digits, "test")[0].first(30)
    with torch.no_grad():
        assert torch.allclose(found.logits, checkpoint.load(network).model(part.images), atol=1e-5)
    assert found.indices.tolist() == part.indices.tolist()
    assert {eps: tuple(logits.shape) for eps, logits in found.noise.items()} == {0.05: (2, 30, 10), 8 / 255: (2, 30, 10)}
    assert sorted(load_file(outputs_of(network))) == ["indices", "logits", "noise/0.05/logits", "noise/8_255/logits"]


def test_the_noise_is_the_images_own_whatever_else_is_computed(network: Path, digits: Path) -> None:
    many = written(network, digits)
    few = written(network, digits, noise=[8 / 255], draws=1, samples=4, batch_size=64)
    assert torch.allclose(few.noise[8 / 255][0], many.noise[8 / 255][0, :4], atol=1e-5)
    part, about = store.read(digits, "test")
    images = torch.stack([noisy(part.images[i], int(part.indices[i]), about.digest, 0.05, 1) for i in range(30)])
    with torch.no_grad():
        assert torch.allclose(many.noise[0.05][1], checkpoint.load(network).model(images), atol=1e-5)


def test_noise_is_uniform_in_the_box_and_cut_off_at_black_and_white() -> None:
    grey = torch.full((3, 64, 64), 0.5)
    noise = noisy(grey, 7, "digest", 0.2, 0) - grey
    assert 0.195 < noise.abs().max() <= 0.2 + 1e-6
    # Mean 0 with standard error 0.001; variance 0.2^2 / 3.
    assert abs(noise.mean()) < 0.005
    assert noise.var() == pytest.approx(0.04 / 3, rel=0.05)
    white = noisy(torch.ones(1, 32, 32), 7, "digest", 0.2, 0)
    assert (white <= 1).all()
    assert 0.4 < (white == 1).float().mean() < 0.6
    same = noisy(grey, 7, "digest", 0.2, 0)
    assert torch.equal(same, noise + grey)
    for other in ((8, "digest", 0.2, 0), (7, "another", 0.2, 0), (7, "digest", 0.1, 0), (7, "digest", 0.2, 1)):
        assert not torch.allclose(noisy(grey, *other), same, atol=0.01)


def test_the_same_bytes_whenever_they_are_made_and_after_an_interruption(
    network: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest() -> str:
        return hashlib.sha256(outputs_of(network).read_bytes()).hexdigest()

    written(network, digits)
    first, calls = digest(), []
    monkeypatch.setenv("SPARROW_RESUME_SECONDS", "0")

    def interrupted(*args: Any) -> torch.Tensor:
        calls.append(args)
        if len(calls) == 40:
            raise interruption.Interrupted
        return noisy(*args)

    with monkeypatch.context() as failing:
        failing.setattr("sparrow.stages.outputs.noisy", interrupted)
        with pytest.raises(interruption.Interrupted):
            written(network, digits)
    done = len(calls)
    monkeypatch.setattr("sparrow.stages.outputs.noisy", lambda *args: calls.append(args) or noisy(*args))
    written(network, digits)
    assert digest() == first
    # Two radii, two draws, thirty images, of which 35 had been done in whole batches.
    assert len(calls) - done == 4 * 30 - 37


class Reading(Analysis):
    """Reads logits."""

    scope: ClassVar = "pair"
    needs: ClassVar = ("outputs",)
    tables: ClassVar = {"agreeing": ("images", "agreeing")}


def test_an_analysis_is_given_them(network: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(network, digits)

    def rows(subject: Any, params: Reading) -> list[tuple[int, int]]:
        one, other = subject.dense.outputs, subject.pruned.outputs
        return [(len(one.logits), int((one.logits.argmax(1) == other.logits.argmax(1)).sum()))]

    entry = type("entry", (), {"Params": Reading, "analyse": staticmethod(rows), "__file__": "reading.py"})
    monkeypatch.setattr(catalogue, "load", lambda *names: entry)
    monkeypatch.setattr(catalogue, "from_spec", lambda *names: (entry, Reading()))
    spec = {"code": "test", "analysis": {"kind": "reading"}, "seed": 0, "model": {"kind": "cnn-small"}, "outputs": CONFIG}
    files = {"output": tmp_path / "out.csv", "cost": tmp_path / "cost.json", "data": digits}
    analyse(**files, spec=spec, networks=[network], dense=[network], outputs=[outputs_of(network)])
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("agreeing,30,30,")


def test_who_does_not_ask_is_told_how(network: Path, digits: Path) -> None:
    with pytest.raises(LookupError, match=r"needs = .'outputs',."):
        Network(network, Data(digits, torch.device("cpu")), {}).outputs  # noqa: B018


def test_logits_of_another_network_or_configuration_are_refused(network: Path, digits: Path) -> None:
    written(network, digits)
    with pytest.raises(CheckpointError, match=r"outputs.safetensors: made under another configuration than the study's"):
        outputs.of_network(network, CONFIG | {"draws": 3})
    replace_network(network)
    with pytest.raises(CheckpointError, match=r"outputs.safetensors: logits of another network than lies there now"):
        outputs.of_network(network, CONFIG)


def test_a_network_that_failed_has_none_and_says_why(family, monkeypatch: pytest.MonkeyPatch) -> None:
    model = checkpoint.load(family.dense)
    model.model.get_parameter("7.weight").data.fill_(3e38)
    checkpoint.save(family.dense, model)
    with pytest.raises(InheritedError, match="its logits are not finite"):
        written(family.dense, family.data)
    tables = {"benign": {"attacks": [], "verifiers": [], "smoothed": [], "threat": {"eps": 0.1}}}
    monkeypatch.setattr("sparrow.results.study_tables.read_outcomes", lambda path, spec: type("Found", (), {"path": path}))
    (one,) = evaluated([family.dense], tables, CONFIG)
    assert one.outputs is None


def test_a_file_of_logits_has_its_lineage(family) -> None:
    written(family.finetuned, family.data, samples=5)
    links = {link.what: link.state for link in lineage.chain(outputs_of(family.finetuned))}
    assert links == {"data set": "ok", "dense": "ok", "pruned": "ok", "finetuned": "ok", "outputs": ""}
