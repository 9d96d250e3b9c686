"""A method of one's own that evaluates a few batches takes the steps that it is priced at."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# As Wanda (Sun et al., ICLR 2024): a weight counts as much as it is large, times the norm of the input that it meets.
WANDA = '''"""Keeps, for each output, the weights of the largest product of magnitude and input norm.

Source: an example, not a paper.
"""

from __future__ import annotations

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Batches


class Params(Batches):
    """How many batches it evaluates comes with `Batches`."""


def prepare(params: Params, ratio: float, generator: torch.Generator):
    """A pruner that watches linear layers' inputs; convolutions are ranked by magnitude alone."""
    from sparrow.pruning.masks import keep_highest, pruned_count
    from sparrow.pruning.pruner import Pruner

    class Wanda(Pruner):
        def start(self, weights, layout):
            self.squares, self.steps = {}, 0
            return []

        def loss(self, batch):
            def note(layer, given):
                name = f"{names[layer]}.weight"
                self.squares[name] = self.squares.get(name, 0) + given[0].square().sum(dim=0)

            names = {layer: name for name, layer in batch.model.named_modules() if isinstance(layer, torch.nn.Linear)}
            hooks = [layer.register_forward_pre_hook(note) for layer in names]
            with torch.no_grad():
                logits = batch.model(batch.images)
            for hook in hooks:
                hook.remove()
            return torch.nn.functional.cross_entropy(logits, batch.labels)

        def after_step(self, weights, step):
            self.steps += 1

        def end(self, weights):
            scores = {name: weight.detach().abs() for name, weight in weights.items()}
            for name, squares in self.squares.items():
                scores[name] = scores[name] * squares.sqrt()
            return {name: keep_highest(score, pruned_count(score.numel(), ratio)) for name, score in scores.items()}

        def warning(self):
            return f"it took {self.steps} steps"

    return Wanda()
'''
PROGRAM = """
import csv, json, re, sys
from pathlib import Path
from sparrow.estimate.work import works
from sparrow.files import checkpoint
from sparrow.stages.prune import prune
from sparrow.study import cells, job_specs
from sparrow.study.load import load_study

dense, data, folder = map(Path, sys.argv[1:4])
found = {}
for batches in (1, 4, None, 99):
    study = load_study({
        "datasets": {"digits": None}, "models": {"cnn-small": None}, "objectives": {"benign": None},
        "methods": {"wanda": {"batches": batches}}, "ratios": [0.5], "seeds": [0],
        "training": {"pretrain": {"epochs": 1}, "prune": {"epochs": 5, "batch_size": 128}, "finetune": {"epochs": 1}},
        "threat": {"norm": "linf", "eps": 0.1}, "attacks": {"pgd": None}, "verifiers": {"ibp": None},
    })
    (priced,) = [work for work in works(study) if work.stage == "prune"]
    (cell,) = cells.cells(study)
    paths = [folder / name for name in ("pruned.safetensors", "curve.csv", "trace.csv", "cost.json")]
    told = prune(dense, data, *paths, job_specs.prune_spec(study, cell))
    before, after = checkpoint.load(dense).model.state_dict(), checkpoint.load(paths[0])
    found[str(batches)] = {
        "priced": priced.steps,
        "taken": int(re.search(r"it took (\\d+) steps", told)[1]),
        "epochs": len(list(csv.DictReader(paths[1].open()))),
        "gone": sum(int((~mask).sum()) for mask in after.masks.values()),
        "moved": [name for name, tensor in after.model.state_dict().items() if (tensor != before[name])[tensor != 0].any()],
    }
print(json.dumps(found))
"""
PER_EPOCH = 10
"""1,167 training images and a rest, by 128."""


@pytest.fixture(scope="module")
def found(dense: Path, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What a copy of the package with the method in it prices, and what pruning with it does, by `batches`."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(ROOT / "src/sparrow", folder / "sparrow", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "sparrow/methods/wanda.py").write_text(WANDA)
    command = [sys.executable, "-c", PROGRAM, dense, digits, folder]
    done = subprocess.run(command, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("batches", "steps"), [("1", 1), ("4", 4), ("None", PER_EPOCH), ("99", 5 * PER_EPOCH)])
def test_the_steps_that_are_priced_are_taken(found: dict[str, dict], batches: str, steps: int) -> None:
    assert (found[batches]["priced"], found[batches]["taken"]) == (steps, steps)
    assert found[batches]["epochs"] == -(-steps // PER_EPOCH)


@pytest.mark.parametrize("batches", ["1", "None"])
def test_it_prunes_a_network_that_otherwise_stays_as_it_is(found: dict[str, dict], batches: str) -> None:
    # 256 + 8192 + 12800 + 1000 weights.
    assert found[batches]["gone"] == 22_248 // 2
    assert found[batches]["moved"] == []
