"""Transfer between the networks of a family: by hand, on networks whose answers are known, and on digits."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from scipy.stats import binomtest, fisher_exact
from torch import nn

from sparrow.analyses.transfer import draw, pooled, transfers
from sparrow.errors import ConfigError
from sparrow.files import checkpoint
from sparrow.results.specs.figures import FigureSpec
from sparrow.stages.analyse import analyse
from sparrow.stages.attack import attack
from sparrow.stages.prune import prune
from sparrow.study import analyses, cells, targets
from sparrow.study.load import load_study
from tests.analyses.jobs import tables
from tests.specs import labels
from tests.study.test_entry_flags import STUDY

MODEL = {"kind": "cnn-small"}
THREAT = {"norm": "linf", "eps": 0.1}
COLUMNS = list(tables("transfer")["transfer"])[6:]


def _by_name(rows: dict) -> dict:
    return {key: dict(zip(COLUMNS, values, strict=True)) for key, values in rows.items()}


def test_shares_are_of_images_that_both_get_right_and_the_first_is_fooled_on() -> None:
    # Six images. A is right on the first five and falls on four of these; B is right on the last five and falls on three.
    correct = torch.tensor([[1, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 1]]).bool()
    fooled = torch.zeros(2, 2, 6, dtype=torch.bool)
    fooled[0, 0] = torch.tensor([1, 1, 1, 1, 0, 0]).bool()
    fooled[1, 1] = torch.tensor([0, 0, 0, 1, 1, 1]).bool()
    fooled[1, 0] = torch.tensor([1, 1, 0, 1, 0, 0]).bool()  # B, by A's images.
    fooled[0, 1] = torch.tensor([0, 0, 0, 0, 1, 1]).bool()  # A, by B's images.
    rows = _by_name(transfers(correct, fooled))
    there, back = rows[1, 0], rows[0, 1]
    # Of A's 0 to 3, B is wrong on 0 anyway; of 1 to 3 it falls on 1 and 3, the first of which its own attacks left standing.
    assert (there["images"], there["wrong"], there["tried"], there["fooled"], there["alone"]) == (4, 1, 3, 2, 1)
    # Of B's 3 to 5, A is wrong on 5 anyway; of 3 and 4 it falls on 4, which nothing of its own had broken.
    assert (back["images"], back["wrong"], back["tried"], back["fooled"], back["alone"]) == (3, 1, 2, 1, 1)
    assert (there["share"], there["back"], back["share"], back["back"]) == (2 / 3, 1 / 2, 1 / 2, 2 / 3)
    interval = binomtest(2, 3).proportion_ci(0.95, method="wilson")
    assert (there["low"], there["high"]) == (interval.low, interval.high)
    assert there["p"] == back["p"] == there["p_holm"] == fisher_exact([[2, 1], [1, 1]]).pvalue


def test_p_values_are_adjusted_over_the_pairs_that_can_be_compared() -> None:
    # A and B pass 20 of 20 images one way and 0 of 20 the other; C is right on nothing, and no pair with it can be compared.
    correct = torch.tensor([[1] * 40, [1] * 40, [0] * 40]).bool()
    fooled = torch.zeros(3, 3, 40, dtype=torch.bool)
    fooled[0, 0, :20] = fooled[1, 1, 20:] = fooled[1, 0, :20] = True
    rows = _by_name(transfers(correct, fooled))
    p = fisher_exact([[20, 0], [0, 20]]).pvalue
    assert (rows[1, 0]["p"], rows[1, 0]["p_holm"]) == (p, p)
    assert rows[2, 0]["tried"] == 0
    assert rows[2, 0]["p"] is None
    assert rows[2, 0]["p_holm"] is None
    assert rows[2, 0]["share"] != rows[2, 0]["share"]


def test_seeds_are_pooled_by_their_counts() -> None:
    rows = pd.DataFrame({"ratio": [0.5, 0.5, 0.9], "fooled": [1, 3, 0], "tried": [2, 8, 0], "alone": [0, 1, 0]})
    found = pooled(rows, ["ratio"])
    assert found.loc[0.5, ["mean", "alone"]].tolist() == [0.4, 1]
    assert found.loc[0.9, ["mean", "low"]].isna().all()


@pytest.fixture(scope="module")
def transferred(dense: Path, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Path]:
    """The table of a family: a dense network, its copy, one that names class 3 only, and one that LWM has pruned by 0.9."""
    folder = tmp_path_factory.mktemp("family") / "digits/cnn-small/adversarial/seed0"
    places = {"dense": folder / "dense"} | {name: folder / f"{name}-0.50/pruned" for name in ("copy", "constant", "lwm")}
    for name, place in places.items():
        place.mkdir(parents=True)
        network = place.with_suffix(".safetensors")
        cell = labels() if name == "dense" else labels(method=name, ratio=0.5)
        if name == "lwm":
            spec = {"code": "test", "model": MODEL, "cell": cell, "method": {"kind": "lwm"}, "ratio": 0.9}
            prune(dense, digits, network, *(folder / one for one in ("curve.csv", "trace.csv", "cost.json")), spec)
        else:
            loaded = checkpoint.load(dense, MODEL)
            if name == "constant":
                last = [layer for layer in loaded.model.modules() if isinstance(layer, nn.Linear)][-1]
                last.weight.data.zero_()
                last.bias.data.copy_(torch.eye(10)[3])
            stage = "dense" if name == "dense" else "pruned"
            checkpoint.save(network, replace(loaded, header=loaded.header | {"cell": cell, "stage": stage}))
        (place / "attacks").mkdir()
        spec = {
            "seed": 0,
            "code": "test",
            "model": MODEL,
            "threat": THREAT,
            "attack": {"kind": "fmn", "steps": 40, "samples": 100},
        }
        table = place / "attacks/fmn.csv"
        attack(network, digits, table, folder / "cost.json", spec, examples=table.with_suffix(".examples.safetensors"))
    networks = [place.with_suffix(".safetensors") for place in places.values()]
    files = [place / "attacks/fmn.examples.safetensors" for place in places.values()]
    spec = {"code": "test", "model": MODEL, "seed": 0, "threat": THREAT, "analysis": {"kind": "transfer", "samples": 100}}
    output = folder / "analyses/transfer.csv"
    output.parent.mkdir()
    analyse(output, folder / "cost.json", spec, digits, networks[1:], networks[:1], examples=files)
    return pd.read_csv(output).set_index(["from_method", "method"]), folder


def test_the_same_network_falls_to_all_images(transferred) -> None:
    table, _ = transferred
    for pair in (("dense", "copy"), ("copy", "dense")):
        assert table.loc[pair, "tried"] == table.loc[pair, "fooled"] == table.loc[pair, "images"] > 10
        assert (table.loc[pair, "share"], table.loc[pair, "back"], table.loc[pair, "alone"]) == (1, 1, 0)
        assert table.loc[pair, "p"] == 1


def test_a_network_that_names_one_class_falls_to_none_and_gives_none(transferred) -> None:
    table, _ = transferred
    row = table.loc[("dense", "constant")]
    assert row["wrong"] + row["tried"] == row["images"]
    assert 0 < row["tried"] < row["images"] / 2
    assert row["fooled"] == 0
    assert table.loc[("constant", "dense"), "images"] == 0


def test_adversarial_images_are_those_that_the_attack_found_within_the_threat(transferred) -> None:
    table, folder = transferred
    for name, place in (("dense", "dense"), ("lwm", "lwm-0.50/pruned")):
        outcomes = pd.read_csv(folder / place / "attacks/fmn.csv")
        broken = (outcomes["status"] == "broken") & (outcomes["prediction"] == outcomes["label"])
        assert set(table.loc[name, "images"]) == {int(broken.sum())}


def test_the_figure_is_drawn_also_without_pruned_networks(transferred, tmp_path: Path) -> None:
    table, _ = transferred
    everything = table.reset_index().assign(dataset="digits", model="cnn-small", objective="adversarial", seed=0)
    spec = FigureSpec(
        code="test",
        dataset="digits",
        model="cnn-small",
        objectives=["adversarial"],
        stage="pruned",
        threats={"adversarial": THREAT},
    )
    for number, rows in enumerate((everything, everything.iloc[:0])):
        rows.to_csv(tmp_path / "transfer.csv", index=False)
        files = tmp_path / f"{number}.svg", tmp_path / f"{number}.png"
        draw(tmp_path / "transfer.csv", *files, spec)
        assert all(file.stat().st_size for file in files)


def _study(**changes: object) -> dict:
    parts = {"methods": {"lwm": None}, "ratios": [0.5], "verifiers": {"ibp": None}, "attacks": {"pgd": None, "fmn": None}}
    return STUDY | parts | {"analyses": {"transfer": None}} | changes


def test_its_need_keeps_the_images_of_all_networks_and_names_them_as_input() -> None:
    study = load_study(_study(analyses={"transfer": {"attacks": ["fmn"]}}))
    assert cells.attacks_with_examples(study) == {"fmn"}
    (job,) = analyses.jobs(study, "transfer")
    assert [Path(file).relative_to(study.results).as_posix() for file in targets.examples_read(study, job)] == [
        f"digits/cnn-small/adversarial/seed0/{place}/attacks/fmn.examples.safetensors"
        for place in ("dense", "lwm-0.50/finetuned")
    ]
    assert analyses.spec(study, job).threat == study.threat


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"analyses": {"transfer": {"attacks": ["square"]}}},
            "analyses.transfer.attacks: 'square' is unknown; valid: pgd, fmn",
        ),
        (
            {"attacks": {"pgd": {"samples": 50}}},
            "analyses.transfer.samples: all test images, but pgd attacks 50 of them; valid: at most 50",
        ),
        (
            {"attacks": {"pgd": {"eps": [0.1, 0.2]}, "fgsm": {"eps": 0.2}}, "analyses": {"transfer": {"attacks": ["fgsm"]}}},
            "analyses.transfer: no attack on networks trained on adversarial whose images it tries works at eps 0.1; valid: a "
            "radius of theirs, or an attack such as fmn",
        ),
    ],
)
def test_what_it_lacks_is_told_before_any_job(changes: dict, line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(f'config.yaml: {line}')}$"):
        load_study(_study(**changes))
