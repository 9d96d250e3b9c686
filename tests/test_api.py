"""Sparrow from Python: the examples of its documents, the same numbers as the workflow's jobs, and mistakes in one line."""

from __future__ import annotations

import ast
import doctest
import json
import random
import re
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

import sparrow
from sparrow.api import calls as api
from sparrow.api import given
from sparrow.data import store
from sparrow.files import checkpoint
from sparrow.stages.attack import attack
from sparrow.stages.prune import prune
from sparrow.stages.verify import verify
from tests.specs import labels

ROOT = Path(__file__).parents[1]
EVALUATION = {"seed": 3, "code": "test", "model": {"kind": "cnn-small"}, "threat": {"norm": "linf", "eps": 0.05}}
SAMPLES = 60


@pytest.fixture
def shown(digits: Path, dense: Path) -> tuple[nn.Module, Tensor, Tensor]:
    """A trained network, and test images with their labels."""
    part = store.read(digits, "test")[0].first(SAMPLES)
    return sparrow.load(dense)[0], part.images, part.labels


def _by_index(digits: Path) -> list[int]:
    """The places of the test images in the order that tables have."""
    return np.argsort(store.read(digits, "test")[0].first(SAMPLES).indices.numpy()).tolist()


@pytest.fixture
def few() -> tuple[nn.Module, Tensor, Tensor]:
    """An untrained network, and noise."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4))
    images = torch.rand(6, 1, 4, 4)
    return network, images, network(images).argmax(dim=1)


def test_examples_of_the_docstrings() -> None:
    names: dict[str, object] = {}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = sorted(finder.find(api, "api"), key=lambda one: one.lineno or 0) + finder.find(given, "given")
    for example in found:
        example.globs = names
        runner.run(example, clear_globs=False)
    assert runner.summarize(verbose=False) == (0, runner.tries)
    assert runner.tries > 8


def _settings(options: dict) -> dict:
    return {name: value for name, value in options.items() if name != "kind"}


@pytest.mark.parametrize("options", [{"kind": "fgsm"}, {"kind": "fmn", "steps": 10}])
def test_an_attack_says_what_the_job_says(options: dict, digits: Path, dense: Path, shown: tuple, tmp_path: Path) -> None:
    spec = EVALUATION | {"attack": options | {"samples": SAMPLES}}
    attack(dense, digits, tmp_path / "table.csv", tmp_path / "cost.json", spec)
    table = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
    found = sparrow.attack(options["kind"], *shown, 0.05, seed=3, **_settings(options))
    order = _by_index(digits)
    assert (table["status"] == "robust").tolist() == found.robust[order].tolist()
    assert table["margin"].tolist() == pytest.approx(found.margins[order].tolist(), rel=1e-5)
    assert table["distance"].astype(float).tolist() == pytest.approx(found.distances[order].tolist(), rel=1e-5)
    assert 0 < found.accuracy < 1
    away = (found.images - shown[1]).abs().flatten(1).amax(dim=1)
    there = found.distances.isfinite()
    assert away[there].tolist() == pytest.approx(found.distances[there].tolist(), abs=1e-6)
    assert (away[~there] == 0).all()


def test_attacks_with_random_starts_find_the_same_of_one_seed_and_stay_inside(shown: tuple) -> None:
    model, images, labels = shown
    one, same, other = (sparrow.attack("pgd", *shown, 0.1, steps=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.images, same.images)
    assert not torch.equal(one.images, other.images)
    assert 0 < one.accuracy < float((model(images).argmax(dim=1) == labels).float().mean())
    assert (one.images - images).abs().max() <= 0.1 + 1e-6
    ensemble = sparrow.attack("autoattack", *shown, 0.1, steps=3, queries=20)
    assert ensemble.accuracy <= one.accuracy
    assert {"apgd-ce"} <= set(ensemble.found_by) <= {"", "apgd-ce", "apgd-t", "fab-t", "square"}


@pytest.mark.parametrize("options", [{"kind": "ibp"}, {"kind": "cascade", "iterations": 2}, {"kind": "smoothing", "n": 200}])
def test_a_bound_says_what_the_job_says(options: dict, digits: Path, dense: Path, shown: tuple, tmp_path: Path) -> None:
    spec = EVALUATION | {"threat": {"norm": "linf", "eps": 0.01}, "verifier": options | {"samples": SAMPLES}}
    verify(dense, digits, tmp_path / "table.csv", tmp_path / "cost.json", spec)
    table = pd.read_csv(tmp_path / "table.csv")
    found = sparrow.verify(options["kind"], *shown, "0.01", seed=3, white=16, **_settings(options))
    order = _by_index(digits)
    assert not (found.verified & found.falsified).any()
    words = (found.verified.long() - found.falsified.long()).tolist()
    status = [{1: "verified", 0: "unknown", -1: "falsified"}[word] for word in words]
    assert table["status"].tolist() == [status[place] for place in order]
    assert table["margin"].tolist() == pytest.approx(found.margins[order].tolist(), rel=1e-5)
    assert table["decided"].tolist() == [found.decided_by[place] for place in order]
    assert 0 < found.accuracy < 1


@pytest.mark.parametrize("method", [{"kind": "lwm"}, {"kind": "hydra"}, {"kind": "harp", "granularity": "filter"}])
def test_pruning_says_what_the_job_says(method: dict, digits: Path, dense: Path, tmp_path: Path) -> None:
    objective, schedule = {"kind": "benign"}, {"epochs": 1, "batch_size": 128}
    spec = {
        "cell": labels(seed=3, method=method["kind"], ratio=0.5),
        "code": "test",
        "model": {"kind": "cnn-small"},
        "method": method,
        "ratio": 0.5,
        "objective": objective,
        "schedule": schedule,
    }
    output = tmp_path / "pruned.safetensors"
    prune(dense, digits, output, tmp_path / "curve.csv", tmp_path / "trace.csv", tmp_path / "cost.json", spec)
    theirs = checkpoint.expanded(output, checkpoint.load(output))
    parts = {name: store.read(digits, name)[0] for name in ("train", "validation")}
    model, before = sparrow.load(dense)[0], sparrow.load(dense)[0].state_dict()
    found = sparrow.prune(
        method["kind"],
        model,
        0.5,
        parts["train"].images,
        parts["train"].labels,
        objective=objective,
        schedule=schedule,
        validation=(parts["validation"].images, parts["validation"].labels),
        seed=3,
        **_settings(method),
    )
    assert found.masks.keys() == theirs.masks.keys()
    assert all(torch.equal(mask, theirs.masks[name]) for name, mask in found.masks.items())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), "the network that was given is as it was"
    assert len(found.curve) == (method["kind"] != "lwm")


def test_nothing_of_the_callers_changes(few: tuple) -> None:
    network, images, labels = few
    network.train()
    network[2].eval()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    expected = torch.rand(1), np.random.rand(), random.random()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    sparrow.attack("pgd", network, images, labels, 0.1, steps=2)
    sparrow.verify("ibp", network, images, labels, 0.1)
    sparrow.prune("random", network, 0.5, images)
    assert (torch.rand(1), np.random.rand(), random.random()) == expected
    assert [module.training for module in network] == [True, True, False, True]


def _computed(how: str, network: nn.Sequential) -> nn.Sequential:
    """The network with a weight that is no parameter of its own."""
    if how == "prune":
        torch_prune.l1_unstructured(network[1], "weight", 0.5)
    elif how == "norm":
        nn.utils.parametrizations.weight_norm(network[1])
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nn.utils.weight_norm(network[1])
    return network


class Sharp(nn.Module):
    """A network whose loss has no gradient, or another one at every look."""

    def __init__(self, network: nn.Module, noise: bool) -> None:
        super().__init__()
        self.network, self.noise = network, noise

    def forward(self, images: Tensor) -> Tensor:
        seen = images + 0.3 * torch.randn_like(images) if self.noise else (images * 16).round() / 16
        return self.network(seen)


def test_an_attack_that_says_little_says_so(few: tuple) -> None:
    network, images, labels = few
    assert sparrow.attack("pgd", network, images, labels, 0.1, steps=2).warnings == []
    [blocked] = sparrow.attack("pgd", Sharp(network, False), images, labels, 0.1, steps=2).warnings
    assert re.match(r"the gradient is 0 at the start of \d of \d attacked images", blocked)
    [noisy] = sparrow.attack("pgd", Sharp(network, True), images, labels, 0.1, steps=2).warnings
    assert noisy.startswith("the network is random")


def test_the_ratio_is_that_of_what_a_method_removes() -> None:
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 10), nn.ReLU(), nn.Linear(10, 3))
    images = torch.rand(2, 1, 4, 4)
    assert sparrow.prune("lwm", network, 0.5, images).ratio == pytest.approx(0.5, abs=0.01)
    found = sparrow.prune("lwm", network, 0.5, images, granularity="filter")
    assert found.ratio == 0.5
    assert int((~found.masks["0.weight"].flatten(1).any(dim=1)).sum()) == 4


def test_frozen_parameters_and_tensors_of_inference_are_no_obstacle(few: tuple) -> None:
    network, images, labels = few
    network.requires_grad_(False)
    found = sparrow.prune("hydra", network, 0.5, images, labels, schedule={"epochs": 1})
    assert all(parameter.requires_grad for parameter in found.model.parameters())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    with torch.inference_mode():
        made = images + 0
        with pytest.raises(sparrow.SparrowError, match=r"inference_mode\(\) forbids"):
            sparrow.attack("pgd", network, made, labels, 0.1)
    assert len(sparrow.attack("pgd", network, made, labels, 0.1, steps=1).robust) == 6


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (
            lambda n, x, y: sparrow.attack("pdg", n, x, y, 0.1),
            "attacks: 'pdg' is not known, did you mean 'pgd'[?] valid: autoattack, fgsm",
        ),
        (lambda n, x, y: sparrow.attack(n, "pgd", x, y, 0.1), "model: a str is not valid: must be a torch.nn.Module"),
        (lambda n, x, y: sparrow.attack(n, n, x, y, 0.1), "attacks: a Sequential is not known; valid: autoattack, fgsm"),
        (
            lambda n, x, y: sparrow.verify("alpha_crown", n, x, y, 0.1),
            "verifiers: 'alpha_crown' .* mean 'alpha-crown'[?] valid",
        ),
        (lambda n, x, y: sparrow.attack("pgd", n, x, y, 8), "threat.eps: 8 is not valid: .* must be below 1, such as 8/255"),
        (
            lambda n, x, y: sparrow.kinds("attack"),
            "room: 'attack' is not known, did you mean 'attacks'[?] valid: datasets, models",
        ),
        (lambda n, x, y: sparrow.attack("pgd", n, x, y, "8/0"), "threat.eps: '8/0' divides by zero: must be a number above 0"),
        (
            lambda n, x, y: sparrow.attack("pgd", n, x, y, 0.1, norm="l7"),
            "attacks.pgd: norm 'l7' is not valid: must be linf or l2",
        ),
        (
            lambda n, x, y: sparrow.attack("pgd", n, x, y, 0.1, step=3),
            "attacks.pgd: unknown setting 'step'; valid: batch_size, steps",
        ),
        (
            lambda n, x, y: sparrow.attack("pgd", n, x, y, 0.1, samples=3),
            "attacks.pgd: unknown setting 'samples', which belongs to a study",
        ),
        (
            lambda n, x, y: sparrow.attack("pgd", n, x, y, 0.1, steps="a"),
            "attacks.pgd.steps: 'a' is not valid: must be a valid integer",
        ),
        (lambda n, x, y: sparrow.attack("transfer", n, x, y, 0.1), "attacks.transfer: tries what other attacks of a study"),
        (
            lambda n, x, y: sparrow.attack("pgd", n, x * 255, y, 0.1),
            r"images: \S+ to \S+ is not valid: must be in \[0, 1\]; normalise",
        ),
        (
            lambda n, x, y: sparrow.attack("pgd", n, x[0], y, 0.1),
            r"images: a float32 tensor \(1, 4, 4\) is not valid: must be a float tensor",
        ),
        (
            lambda n, x, y: sparrow.attack("pgd", n, x, y[:2], 0.1),
            r"labels: a int64 tensor \(2,\) is not valid: must be a tensor \(6,\) of whole numbers",
        ),
        (lambda n, x, y: sparrow.verify("ibp", n, x, y + 9, 0.1), r"labels: \d+ to \d+ is not valid: must be from 0 to 3"),
        (lambda n, x, y: sparrow.verify("ibp", n[:2], x[:, :, :2], y, 0.1), "model: cannot take these images: "),
        (lambda n, x, y: sparrow.verify("ibp", nn.Flatten(0), x, y, 0.1), r"model: not valid: must give logits \(n, classes\)"),
        (lambda n, x, y: sparrow.prune("lwm", n, 1, x), "ratio: 1 is not valid: must be a share above 0 and below 1"),
        (
            lambda n, x, y: sparrow.prune("snip", n, 0.5, x),
            "methods.snip: trains the network or reads its gradients; give labels",
        ),
        (lambda n, x, y: sparrow.prune("hydra", n, 0.5, x, y), "methods.hydra: trains; give a schedule, such as"),
        (
            lambda n, x, y: sparrow.prune("hydra", n, 0.5, x, y, objective="trades", schedule={"epochs": 1}),
            "objectives.trades: works against a threat; give eps",
        ),
        (lambda n, x, y: sparrow.prune("lwm", n, "0.9", x), "ratio: '0.9' is not valid: must be a share above 0 and below 1"),
        (lambda n, x, y: sparrow.prune("hydra", n, 0.5, x, y, schedule=5), "schedule: 5 is not valid: must be such as"),
        (
            lambda n, x, y: sparrow.prune("hydra", n, 0.5, x, y, schedule={"epoch": 2}),
            "schedule: unknown setting 'epoch'; valid: epochs, batch_size",
        ),
        (
            lambda n, x, y: sparrow.prune("hydra", n, 0.5, x, y, objective={"beta": 2}, schedule={"epochs": 1}),
            "objective: {'beta': 2} names none: must be a kind, or such as",
        ),
        (
            lambda n, x, y: sparrow.prune("lwm", _computed("prune", n), 0.5, x),
            r"model: 1.weight is computed by .*prune.remove\(",
        ),
        (lambda n, x, y: sparrow.verify("ibp", _computed("norm", n), x, y, 0.1), "model: 1.weight .*remove_parametrizations"),
        (lambda n, x, y: sparrow.prune("lwm", _computed("old norm", n), 0.5, x), "model: 1.weight .*remove_weight_norm"),
        (lambda n, x, y: sparrow.load(ROOT), ".*: a folder; valid: a checkpoint"),
        (
            lambda n, x, y: sparrow.prune("hydra", n, 0.5, x, y, schedule={"epochs": 0}),
            "schedule.epochs: 0 is not valid: must be",
        ),
        (lambda n, x, y: sparrow.load("nothing.safetensors"), "nothing.safetensors: no such file; valid: a checkpoint"),
        (lambda n, x, y: sparrow.tables(ROOT / "src"), ".*src: holds no tables; valid: the folder that a study names"),
    ],
)
def test_bad_input_is_one_line(call: Callable, line: str, few: tuple) -> None:
    with pytest.raises(sparrow.SparrowError) as caught:
        call(*few)
    assert re.match(line, str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


def test_tables_are_those_of_the_study(tmp_path: Path) -> None:
    (tmp_path / "summary.csv").write_text("method,eps,era\nlwm,0.03137254901960784,0.5\n")
    (tmp_path / "costs.csv").write_text("stage,hours\nprune,2\n")
    found = sparrow.tables(tmp_path)
    assert sorted(found) == ["costs", "summary"]
    assert found["summary"]["eps"].tolist() == [8 / 255]


def test_the_package_itself_loads_nothing_and_no_module_of_it_the_api() -> None:
    said = "import sys, sparrow; sparrow.__version__; print('torch' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True, cwd=ROOT / "src")
    assert done.stdout.split() == ["False", "False"]
    for path in set((ROOT / "src/sparrow").rglob("*.py")) - set((ROOT / "src/sparrow/api").iterdir()):
        names = [
            ast.unparse(one) for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, ast.Import | ast.ImportFrom)
        ]
        assert not [name for name in names if "sparrow.api" in name or name == "from sparrow import api"], path
    assert set(sparrow.__all__) <= set(dir(sparrow))
    assert all(getattr(sparrow, name) is getattr(api, name) for name in sparrow.__all__)


ALONE = """
import sys
sys.modules.update(dict.fromkeys({absent!r}))  # As if they were not installed.
import torch, sparrow
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
images, labels = torch.rand(4, 1, 4, 4), torch.zeros(4, dtype=torch.long)
sparrow.attack("fmn", network, images, labels, "8/255", steps=2)
sparrow.verify("crown", network, images, labels, "1/255")
sparrow.prune("hydra", network, 0.5, images, labels, objective="trades", eps=0.1, schedule=dict(epochs=1))
print(*sparrow.tables({folder!r}))
"""


def test_it_needs_only_what_an_installation_brings(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = re.findall(r"^([\w.-]+)", (ROOT / "envs/requirements.in").read_text(), flags=re.MULTILINE)
    workflow = project["optional-dependencies"]["workflow"]
    assert {name.lower() for name in project["dependencies"] + workflow} <= {name.lower() for name in wanted} | {"pillow"}
    modules = {"scikit-learn": "sklearn", "pillow": "PIL"}
    absent = [modules.get(name, name.replace("-", "_")) for name in workflow]
    (tmp_path / "summary.csv").write_text("method\nlwm\n")
    text = ALONE.format(absent=[*absent, "auto_LiRPA"], folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, cwd=ROOT / "src")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["summary"]


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "docs/python.ipynb").read_text())
    names: dict[str, object] = {}
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 4
    for cell in cells:
        exec(compile(cell, "docs/python.ipynb", "exec"), names)
