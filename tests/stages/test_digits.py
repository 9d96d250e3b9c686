"""On real images, a method has to beat the random control."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sparrow import catalogue
from sparrow.stages.attack import attack
from sparrow.stages.data import prepare_data
from sparrow.stages.finetune import finetune
from sparrow.stages.pretrain import pretrain
from sparrow.stages.prune import prune
from sparrow.study.pipelines import PIPELINES
from sparrow.training.schedule import Schedule
from tests.specs import data_spec, initial_network, labels

MODEL = {"kind": "cnn-small"}
THREAT = {"norm": "linf", "eps": 0.1}
TRAINING = {"model": MODEL, "objective": {"kind": "adversarial", "steps": 7}, "threat": THREAT, "code": "test"}
RATIO = 0.9


def schedule(epochs: int) -> dict:
    return {"epochs": epochs, "batch_size": 64, "lr": 0.1}


SCHEDULES = {"pretrain": schedule(12), "prune": schedule(8), "finetune": schedule(8)}
METHODS = {
    "random": {"kind": "random"},
    "lwm": {"kind": "lwm"},
    "hydra": {"kind": "hydra"},
}
FURTHER = {
    "lwm-steps": {"kind": "lwm", "steps": 3},
    "lamp": {"kind": "lwm", "allocation": "lamp"},
    "erk": {"kind": "lwm", "allocation": "erk"},
    "snip": {"kind": "snip", "allocation": "global", "batches": None},
    "undecayed": {"kind": "undecayed"},
    "robust-bird": {"kind": "robust-bird"},
    "rst": {"kind": "rst", "scale_fan": True},
    "admm": {"kind": "admm", "rho": 0.01},
    "harp": {"kind": "harp", "gamma": 0.1},
    "deadwooding": {"kind": "deadwooding"},
    "mad": {"kind": "mad"},
    "pwoa": {"kind": "pwoa"},
    "hydra-s2ap": {"kind": "hydra", "s2ap_gamma": 0.01},
    "random-scratch": {"kind": "random-scratch"},
    "flying-bird": {"kind": "flying-bird"},
    "flying-bird-gradient": {"kind": "flying-bird", "growth": "gradient"},
    "flying-bird-plus": {"kind": "flying-bird-plus"},
    "dnr": {"kind": "dnr"},
    # A tenth of the learning rate, as for 100 epochs of CIFAR-10, leaves the initial magnitudes in their order.
    "boosting-ticket": {"kind": "boosting-ticket", "search_lr": 1},
    "imp": {"kind": "imp", "round_epochs": 3},
    "imp-lr": {"kind": "imp", "round_epochs": 2, "rewind": "lr"},
}
"""On one seed only, and slow: they take longer together than all the rest."""


@pytest.fixture(scope="module")
def era(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Era by seed (rows) and method."""
    return pd.DataFrame({seed: eras(tmp_path_factory.mktemp("digits"), seed, METHODS) for seed in range(3)}).T


@pytest.fixture(scope="module")
def further(tmp_path_factory: pytest.TempPathFactory) -> pd.Series:
    """Era by method, on seed 0."""
    return pd.Series(eras(tmp_path_factory.mktemp("further"), 0, {"random": METHODS["random"]} | FURTHER))


def eras(folder: Path, seed: int, methods: dict[str, dict]) -> dict[str, float]:
    """Era (PGD-20, all test images) by method, after a short but complete pipeline."""
    data, spec = folder / "data.safetensors", TRAINING | {"cell": labels(seed)}
    prepare_data(data, folder / "cost", data_spec("digits"))
    dense, training = folder / "dense.safetensors", spec | {"schedule": SCHEDULES["pretrain"]}
    pretrain(initial_network(folder, spec), data, dense, folder / "curve", folder / "cost", training)
    return {label: pipeline(folder, data, spec, method) for label, method in methods.items()}


def pipeline(folder: Path, data: Path, spec: dict, method: dict, ratio: float = RATIO) -> float:
    """Prune, train what is left, attack; the share of test images that stay robust."""
    curve, cost = folder / "curve", folder / "cost"
    _, params = catalogue.from_spec("methods", method)
    stages = PIPELINES[params.pipeline]
    own, pretraining = (Schedule(**SCHEDULES[stage]) for stage in (stages.search, "pretrain"))
    under = params.schedule(ratio, own, pretraining).model_dump()
    pruning = spec | {"method": method, "method_threat": THREAT, "ratio": ratio, "schedule": under}
    parent, pruned, tuned = (folder / f"{name}.safetensors" for name in (stages.parent, "pruned", "tuned"))
    prune(parent, data, pruned, curve, folder / "trace", cost, pruning)
    finetune(pruned, data, tuned, curve, cost, spec | {"schedule": SCHEDULES[stages.afterwards]})
    return share_robust(tuned, data)


def share_robust(network: Path, data: Path) -> float:
    """The share of test images that stay robust."""
    evaluation = {"seed": 0, "code": "test", "model": MODEL, "threat": THREAT, "attack": {"kind": "pgd", "steps": 20}}
    table = network.with_name("pgd.csv")
    attack(network, data, table, network.with_name("cost"), evaluation)
    return (pd.read_csv(table)["status"] == "robust").mean()


@pytest.mark.slow
def test_scores_choose_better_patterns_than_chance(tmp_path: Path) -> None:
    data, spec = tmp_path / "data.safetensors", TRAINING | {"cell": labels()}
    prepare_data(data, tmp_path / "cost", data_spec("digits"))
    training = spec | {"schedule": SCHEDULES["pretrain"]}
    pretrain(
        initial_network(tmp_path, spec), data, tmp_path / "dense.safetensors", tmp_path / "curve", tmp_path / "cost", training
    )
    pruned, tuned = {}, {}
    for kind in METHODS:
        pipeline(tmp_path, data, spec, {"kind": kind, "granularity": "2:4"}, 0.5)
        pruned[kind] = share_robust(tmp_path / "pruned.safetensors", data)
        tuned[kind] = pipeline(tmp_path, data, spec, {"kind": kind, "granularity": "1:4"}, 0.75)
    # Half of the weights is enough for any network that is trained afterwards.
    assert min(pruned["lwm"], pruned["hydra"]) > pruned["random"] + 0.2, pruned
    assert min(tuned["lwm"], tuned["hydra"]) > tuned["random"], tuned


@pytest.mark.parametrize("method", ["lwm", "hydra"])
def test_beats_random_on_every_seed(era: pd.DataFrame, method: str) -> None:
    assert (era[method] > era["random"]).all(), era


@pytest.mark.slow
@pytest.mark.parametrize("method", FURTHER)
def test_beats_random_on_one_seed(further: pd.Series, method: str) -> None:
    assert further[method] > further["random"], further


@pytest.mark.parametrize("method", ["lwm", "hydra"])
def test_keeps_most_of_what_training_gave(era: pd.DataFrame, method: str) -> None:
    # A dense network reaches about 0.85 here; the random control about 0.1 to 0.4.
    assert era[method].mean() > 0.65, era
