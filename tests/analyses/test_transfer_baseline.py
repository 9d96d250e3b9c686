"""Transfer from dense networks of other seeds: on networks whose answers are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from sparrow.analyses.transfer_baseline import Params, draw
from sparrow.errors import ConfigError
from sparrow.files import checkpoint
from sparrow.results.specs.figures import FigureSpec
from sparrow.stages.analyse import analyse
from sparrow.stages.attack import attack
from sparrow.study import analyses, targets
from sparrow.study.load import load_study
from tests.specs import labels
from tests.study.test_entry_flags import STUDY

MODEL = {"kind": "cnn-small"}
THREAT = {"norm": "linf", "eps": 0.1}


@pytest.fixture(scope="module")
def networks(dense: Path, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two dense networks, the second of which is the first with other weights in its first layer, and a pruned one of each: a
    copy, and one that names class 3 only; all attacked."""
    folder, found = tmp_path_factory.mktemp("seeds") / "digits/cnn-small/adversarial", {}
    for name, seed in (("dense", 0), ("other", 1), ("copy", 0), ("constant", 1)):
        loaded, pruned = checkpoint.load(dense, MODEL), name in ("copy", "constant")
        with torch.no_grad():
            if name == "other":
                torch.manual_seed(0)
                loaded.model[0].weight.add_(0.1 * torch.randn_like(loaded.model[0].weight))
            if name == "constant":
                last = [layer for layer in loaded.model.modules() if isinstance(layer, nn.Linear)][-1]
                last.weight.zero_()
                last.bias.copy_(torch.eye(10)[3])
        cell = labels(seed=seed, method="lwm", ratio=0.5) if pruned else labels(seed=seed)
        place = folder / f"seed{seed}" / ("lwm-0.50/finetuned" if pruned else "dense")
        (place / "attacks").mkdir(parents=True)
        network = place.with_suffix(".safetensors")
        header = loaded.header | {"cell": cell, "stage": "finetuned" if pruned else "dense", "parent": None}
        checkpoint.save(network, replace(loaded, header=header))
        spec = {"seed": 0, "code": "test", "model": MODEL, "threat": THREAT}
        spec["attack"] = {"kind": "fmn", "steps": 20, "samples": 60}
        table = place / "attacks/fmn.csv"
        attack(network, digits, table, place / "cost.json", spec, examples=table.with_suffix(".examples.safetensors"))
        found[name] = network
    return found


def tried(digits: Path, folder: Path, networks: list[Path], dense: list[Path]) -> pd.DataFrame:
    spec = {"code": "test", "model": MODEL, "seed": 0, "threat": THREAT}
    spec["analysis"] = {"kind": "transfer-baseline", "samples": 60}
    output = folder / "transfer-baseline.csv"
    files = [one.with_suffix("") / "attacks/fmn.examples.safetensors" for one in dict.fromkeys((*dense, *networks))]
    analyse(output, folder / "cost.json", spec, digits, networks, dense, examples=files)
    return pd.read_csv(output).set_index(["seed", "from_seed"])


def test_pruned_networks_are_tried_on_images_of_all_seeds(networks: dict[str, Path], digits: Path, tmp_path: Path) -> None:
    dense = [networks["dense"], networks["other"]]
    table = tried(digits, tmp_path, [networks["copy"], networks["constant"]], dense)
    assert list(table.index) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    # A copy is its parent.
    copy = table.loc[(0, 0)]
    assert copy["tried"] == copy["fooled"] == copy["images"] > 5
    assert (copy["share"], copy["wrong"]) == (1, 0)
    # What names a single class is fooled by none.
    assert (table.loc[1, "fooled"] == 0).all()
    assert (table.loc[1, "tried"] > 0).all()
    assert table.loc[(1, 0), "images"] == table.loc[(0, 0), "images"]
    assert (table["wrong"] + table["tried"] == table["images"]).all()
    # What passes between dense networks passes to the copy.
    among = tried(digits, tmp_path, dense, dense)
    assert list(among.index) == [(0, 1), (1, 0)]
    columns = list(Params.tables["transfer-baseline"])[2:]
    assert table.loc[(0, 1), columns].tolist() == among.loc[(0, 1), columns].tolist()
    row = among.loc[(0, 1)]
    assert 0 < row["fooled"] < row["tried"]
    interval = binomtest(int(row["fooled"]), int(row["tried"])).proportion_ci(0.95, method="wilson")
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high), rel=1e-5)


def test_it_reads_the_images_of_all_seeds_and_needs_two() -> None:
    parts = {"methods": {"lwm": None}, "ratios": [0.5], "verifiers": {"ibp": None}, "attacks": {"pgd": None, "fmn": None}}
    config = STUDY | parts | {"analyses": {"transfer-baseline": {"attacks": ["fmn"]}}, "seeds": [0, 1]}
    study = load_study(config)
    places = {job.networks[0].stage: targets.examples_read(study, job) for job in analyses.jobs(study, "transfer-baseline")}
    assert {stage: len(files) for stage, files in places.items()} == {"dense": 2, "finetuned": 4}
    with pytest.raises(ConfigError, match=r"^config\.yaml: seeds: \[0\], and analyses\.transfer-baseline needs 2 or more"):
        load_study(config | {"seeds": [0]})


@pytest.mark.parametrize("stages", [("dense", "finetuned"), ("finetuned",), ()])
def test_a_figure_is_drawn_of_whatever_there_is(stages: tuple[str, ...], tmp_path: Path) -> None:
    whose = {"dataset": "digits", "model": "cnn-small", "objective": "adversarial"}
    values = dict.fromkeys(Params.tables["transfer-baseline"], 0.5)
    rows = [
        whose | values | {"stage": stage, "method": method, "ratio": ratio, "seed": seed, "from_seed": source}
        for stage, method, ratio in (("dense", "dense", 0.0), ("finetuned", "lwm", 0.5), ("finetuned", "lwm", 0.9))
        for seed in range(2)
        for source in range(2)
        if stage in stages and (stage != "dense" or seed != source)
    ]
    names = [*whose, "method", "ratio", "stage", *values]
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "table.csv", index=False)
    objectives, threats = ["adversarial", "other"], dict.fromkeys(("adversarial", "other"), THREAT)
    spec = FigureSpec(
        code="test", dataset="digits", model="cnn-small", objectives=objectives, stage="finetuned", threats=threats
    )
    draw(tmp_path / "table.csv", tmp_path / "a.svg", tmp_path / "a.png", spec)
    assert (tmp_path / "a.svg").stat().st_size > 1000
