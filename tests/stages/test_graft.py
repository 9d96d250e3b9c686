"""Grafting: a stage that puts lines in the place of unstable neurons and trains on, its masks held."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sparrow.cli.main import main
from sparrow.data import store
from sparrow.exchange import network as exported
from sparrow.exchange import onnx_file, state_dict
from sparrow.files import checkpoint
from sparrow.files.headers import read_header
from sparrow.jobs import interruption
from sparrow.jobs.interruption import Interrupted
from sparrow.jobs.resume_point import VARIABLE
from sparrow.networks.grafting import grafted_layers
from sparrow.networks.prunable import prunable_weights
from sparrow.settings import Threat
from sparrow.stages.graft import graft
from sparrow.training.loop import OwnRate, train
from sparrow.training.schedule import Schedule
from sparrow.verification.crown import input_ranges
from tests.specs import labels

THREAT = Threat(eps=0.05)
GRAFTING = {
    "cell": labels(method="random", ratio=0.5),
    "share": 0.3,
    "slope": 0.4,
    "intercept": 0.0,
    "images": 100,
    "lr_lines": 0.01,
    "memory_mb": None,
    "bounded": THREAT.model_dump(),
    "schedule": {"epochs": 2, "batch_size": 128, "lr": 0.001, "weight_decay": 5e-4},
}


@pytest.fixture(scope="module")
def spec(training_spec: dict) -> dict:
    return training_spec | GRAFTING


@pytest.fixture(scope="module")
def finetuned(dense: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dense network without a random fifth of its weights."""
    path, loaded = tmp_path_factory.mktemp("pruned") / "finetuned.safetensors", checkpoint.load(dense)
    torch.manual_seed(0)
    masks = {name: torch.rand_like(weight) > 0.2 for name, weight in prunable_weights(loaded.model).items()}
    for name, mask in masks.items():
        loaded.model.get_parameter(name).data.mul_(mask)
    about = loaded.header | {"stage": "finetuned", "parent": None, "cell": labels(method="random", ratio=0.5)}
    checkpoint.save(path, checkpoint.Checkpoint(loaded.model, masks, about))
    return path


def run(parent: Path, digits: Path, folder: Path, spec: dict) -> Path:
    folder.mkdir(exist_ok=True)
    graft(parent, digits, folder / "grafted.safetensors", folder / "curve.csv", folder / "cost.json", spec)
    return folder / "grafted.safetensors"


@pytest.fixture(scope="module")
def grafted(finetuned: Path, digits: Path, spec: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(finetuned, digits, tmp_path_factory.mktemp("grafted"), spec)


def unstable(model: nn.Module, images: Tensor, labels: Tensor) -> int:
    return sum(int(((lower < 0) & (upper > 0)).sum()) for lower, upper in input_ranges(model, images, labels, THREAT, 10))


def test_a_grafted_network_is_read_back_with_its_lines_and_masks(grafted: Path, finetuned: Path, digits: Path) -> None:
    before, after = checkpoint.load(finetuned), checkpoint.load(grafted)
    header = read_header(grafted)
    layers = grafted_layers(after.model)
    number = sum(int(layer.mask.sum()) for layer in layers.values())
    # CNN-small on 8 x 8: 16 x 4 x 4, 32 x 2 x 2 and 100 neurons; three tenths of 484 are 145.
    assert (header["neurons"], header["lines"], number) == (484, 145, 145)
    assert {name: mask.tolist() for name, mask in after.masks.items()} == {n: m.tolist() for n, m in before.masks.items()}
    for layer in layers.values():
        assert not layer.slope[~layer.mask].any()
        assert not layer.intercept[~layer.mask].any()
    # Lines have learned, and weights too; the network is of the same size.
    assert not torch.allclose(torch.cat([layer.slope[layer.mask] for layer in layers.values()]), torch.tensor(0.4))
    assert not torch.equal(after.model.get_parameter("0.weight"), before.model.get_parameter("0.weight"))
    assert header["parameters"] == before.header["parameters"]
    assert header["multiply_adds"] == before.header["multiply_adds"]


def test_a_grafted_network_has_fewer_unstable_neurons_and_is_as_good(grafted: Path, finetuned: Path, digits: Path) -> None:
    part = store.read(digits, "test")[0].first(60)
    before, after = (checkpoint.load(path).model for path in (finetuned, grafted))
    assert unstable(after, part.images, part.labels) < 0.9 * unstable(before, part.images, part.labels)
    right = [float((model(part.images).argmax(1) == part.labels).float().mean()) for model in (before, after)]
    assert right[1] > right[0] - 0.1


def test_a_job_that_was_killed_ends_with_the_same_bytes(
    grafted: Path, finetuned: Path, digits: Path, spec: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    left = [10]

    def stop() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Interrupted

    with monkeypatch.context() as stopped:
        stopped.setattr(interruption, "raise_if_requested", stop)
        with pytest.raises(Interrupted):
            run(finetuned, digits, tmp_path / "parts", spec)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["grafted.resume.safetensors"]
    assert run(finetuned, digits, tmp_path / "parts", spec).read_bytes() == grafted.read_bytes()


def test_a_network_without_an_unstable_neuron_keeps_its_relus(
    finetuned: Path, digits: Path, spec: dict, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    still = spec | {"bounded": {"norm": "linf", "eps": 1e-9}, "images": 2}
    output = tmp_path / "out/grafted.safetensors"
    said = graft(finetuned, digits, output, tmp_path / "curve.csv", tmp_path / "cost.json", still)
    assert said is not None
    assert said.startswith(f"warning: {output}: no neuron became a line: none is unstable on its images, or a share of 0.3 of")


def test_a_grafted_network_can_be_exported(grafted: Path, tmp_path: Path) -> None:
    network = exported.load(grafted)
    assert onnx_file.write(tmp_path / "network.onnx", network) < 1e-5
    state_dict.write(tmp_path / "network.safetensors", network.model.state_dict(), network.origin())


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_lines_learn_at_a_rate_of_their_own_without_decay(optimizer: str, digits: Path) -> None:
    parts = {name: store.read(digits, name)[0] for name in ("train", "validation")}
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    weight, line = model.get_parameter("1.weight"), nn.Parameter(torch.ones(3))
    start, steps = weight.detach().clone(), []

    def loss(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
        steps.append(1)
        return (line.sum() + 0 * model(images).sum()) if model.training else model(images).mean() * 0

    schedule = Schedule(
        epochs=1, batch_size=2000, optimizer=optimizer, lr=0.5, weight_decay=0.1, momentum=0, lr_decay="constant"
    )
    optimised = [*model.parameters(), line]
    train(model, loss, parts, schedule, optimised, torch.Generator(), report=lambda text: None, own_rate=OwnRate([line], 0.25))
    # One step against a gradient of 1, and none of decay.
    assert torch.allclose(line, torch.full((3,), 0.75))
    # Decay alone has moved the weights, at the schedule's own rate.
    assert not torch.equal(weight, start)
    if optimizer == "sgd":
        assert torch.allclose(weight, start * (1 - 0.5 * 0.1))


@pytest.mark.parametrize(
    ("form", "options"), [("ap-benchmark", []), ("state-dict", ["--naming", "hydra"])], ids=["ap-benchmark", "others' names"]
)
def test_it_is_not_exported_where_others_know_no_lines(
    grafted: Path, tmp_path: Path, capsys: pytest.CaptureFixture, form: str, options: list[str]
) -> None:
    output = str(tmp_path / "out.safetensors")
    assert main(["export", str(grafted), "--format", form, "--output", output, *options]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "lines are in the place of its ReLUs" in said
