"""Adversarial images of the dense network, tried on others: what breaks, what does not, and what is said of it."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from sparrow.attacks import transfer
from sparrow.data import store
from sparrow.errors import ConfigError, SparrowError
from sparrow.files import checkpoint, examples
from sparrow.files.outcome_table import MISCLASSIFIED
from sparrow.files.paths import Parent
from sparrow.results.outcomes import Outcomes
from sparrow.settings import Threat
from sparrow.stages.attack import attack
from sparrow.stages.prune import prune
from sparrow.study import cells, targets, wildcards
from sparrow.study.load import load_study
from tests.specs import labels
from tests.study.test_entry_flags import STUDY

MODEL = {"kind": "cnn-small"}
LINF = Threat(eps=0.1)
FEW = {"samples": 60}


def _attacked(network: Path, data: Path, folder: Path, entry: dict, **files: object) -> pd.DataFrame:
    folder.mkdir(exist_ok=True)
    spec = {"seed": 0, "code": "test", "model": MODEL, "threat": LINF.model_dump(), "attack": FEW | entry}
    attack(network, data, folder / "table.csv", folder / "cost.json", spec, **files)
    return pd.read_csv(folder / "table.csv", keep_default_na=False).set_index("index")


@pytest.fixture(scope="module")
def found(dense: Path, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Path]:
    """What FMN finds against the dense network: its table, and the file of its adversarial images."""
    folder = tmp_path_factory.mktemp("fmn")
    file = folder / "fmn.examples.safetensors"
    return _attacked(dense, digits, folder, {"kind": "fmn", "steps": 40}, examples=file), file


def _transferred(network: Path, digits: Path, folder: Path, file: Path, dense: Path) -> pd.DataFrame:
    return _attacked(network, digits, folder, {"kind": "transfer"}, transferred=[file], dense=[dense])


def test_of_the_network_itself_the_same_images_break(dense: Path, digits: Path, found, tmp_path: Path) -> None:
    table = _transferred(dense, digits, tmp_path, found[1], dense)
    assert (table["status"] == found[0]["status"]).all()
    assert 10 < (table["status"] == "broken").sum() < 60
    assert set(table["found_by"]) == {"transfer", MISCLASSIFIED, ""}


def test_a_network_that_names_one_class_is_wrong_as_it_is_and_nothing_else_breaks(
    dense: Path, digits: Path, found, tmp_path: Path
) -> None:
    loaded = checkpoint.load(dense, MODEL)
    last = [layer for layer in loaded.model.modules() if isinstance(layer, nn.Linear)][-1]
    last.weight.data.zero_()
    last.bias.data.copy_(torch.eye(10)[3])
    constant = tmp_path / "constant.safetensors"
    checkpoint.save(constant, loaded)
    table = _transferred(constant, digits, tmp_path, found[1], dense)
    assert (table["status"].eq("broken") == table["label"].ne(3)).all()
    assert (table.loc[table["label"] != 3, "distance"] == 0).all()


def test_a_pruned_network_is_broken_by_what_changes_its_answer_within_the_ball(
    dense: Path, digits: Path, found, tmp_path: Path
) -> None:
    spec = {"code": "test", "model": MODEL, "cell": labels(method="lwm", ratio=0.9), "method": {"kind": "lwm"}, "ratio": 0.9}
    pruned = tmp_path / "pruned.safetensors"
    prune(dense, digits, pruned, *(tmp_path / name for name in ("curve.csv", "trace.csv", "cost.json")), spec)
    table = _transferred(pruned, digits, tmp_path, found[1], dense)
    model, part = checkpoint.load(pruned, MODEL).model.eval(), store.read(digits, "test")[0].first(60)
    indices, images = examples.read(found[1])
    known = dict(zip(indices.tolist(), images, strict=True))
    for index, image, label in zip(part.indices.tolist(), part.images, part.labels.tolist(), strict=True):
        tried = known.get(index, image)
        inside = torch.minimum(torch.maximum(tried, image - LINF.eps), image + LINF.eps).clamp(0, 1)
        with torch.no_grad():
            answers = model(torch.stack([image, inside])).argmax(dim=1).tolist()
        assert (table.loc[index, "status"] == "broken") == (answers != [label, label])


def test_of_several_images_that_of_the_smallest_margin_counts_within_the_ball() -> None:
    # Logits are the pixels; the margin of class 0 is x0 - x1.
    images = torch.tensor([0.5, 0.4]).view(1, 2, 1, 1)
    candidates = torch.stack([images, torch.tensor([0.0, 0.4]).view_as(images), torch.tensor([0.5, 0.45]).view_as(images)])
    found = transfer.transfer(nn.Flatten(), images, torch.tensor([0]), transfer.Params(), LINF, 2, candidates)
    assert torch.allclose(found.flatten(), torch.tensor([0.4, 0.4]))


def test_images_of_another_network_are_refused(dense: Path, digits: Path, found, tmp_path: Path) -> None:
    loaded = checkpoint.load(dense, MODEL)
    next(loaded.model.parameters()).data.add_(1)
    other = tmp_path / "other.safetensors"
    checkpoint.save(other, loaded)
    with pytest.raises(
        SparrowError, match=f"^{re.escape(str(found[1]))}: adversarial examples of another {re.escape(str(other))} "
    ):
        _transferred(dense, digits, tmp_path, found[1], other)


def _table(status: str, eps: float = 0.1) -> pd.DataFrame:
    """A table of an attack, of an image for each letter: `b`roken, `r`obust, or `w`rong as it is."""
    rows = [
        {
            "label": 0,
            "prediction": int(letter == "w"),
            "status": "robust" if letter == "r" else "broken",
            "distance": {"w": 0.0, "b": eps, "r": float("inf")}[letter],
            "norm": "linf",
            "eps": eps,
            "flags": None,
        }
        for letter in status
    ]
    return pd.DataFrame(rows, index=range(len(status)))


@pytest.mark.parametrize(
    ("own", "transferred", "flag"),
    [
        ("bbrrw", "brrrw", ""),
        ("bbrrw", "rrbrw", "1 of 5 images fall to adversarial images of the dense network"),
        ("bbrrw", "rrbbw", "2 of 5 images fall to adversarial images of the dense network"),
        # Of the images that both have.
        ("bbr", "rrrbb", ""),
    ],
)
def test_what_beats_the_attacks_on_the_network_itself_is_flagged(own: str, transferred: str, flag: str) -> None:
    tables = {"pgd": _table(own), "transfer": _table(transferred)}
    outcomes = Outcomes(Path("x"), tables, {}, {}, 0.1, transferred=["transfer"])
    found = outcomes.warnings()
    assert found["pgd"] == ""
    assert found["transfer"].startswith(flag)
    assert bool(found["transfer"]) == bool(flag)
    # It counts: era is what all attacks leave.
    both = [a == b == "r" for a, b in zip(own, transferred, strict=False)]
    assert outcomes.robust().tolist() == both


def test_one_image_in_a_thousand_is_chance() -> None:
    tables = {"pgd": _table("r" * 1000), "transfer": _table("b" + "r" * 999)}
    assert Outcomes(Path("x"), tables, {}, {}, 0.1, transferred=["transfer"]).warnings()["transfer"] == ""


def _study(attacks: dict, **changes: object) -> dict:
    return STUDY | {"attacks": attacks, "verifiers": {"ibp": None}, "methods": {"lwm": None}, "ratios": [0.5]} | changes


@pytest.mark.parametrize(
    ("attacks", "changes", "line"),
    [
        (
            {"transfer": None},
            {},
            "attacks.transfer: tries what attacks have found, and the study has none that search; valid: add one, such as fmn",
        ),
        (
            {"pgd": None, "transfer": None},
            {"evaluate": ["finetuned"]},
            "attacks.transfer: tries adversarial images of dense networks, which evaluate leaves out; add 'dense'",
        ),
        ({"pgd": None, "transfer": {"attacks": ["fmn"]}}, {}, "attacks.transfer.attacks: 'fmn' is unknown; valid: pgd"),
        (
            {"pgd": None, "one": {"kind": "transfer"}, "two": {"kind": "transfer", "attacks": ["one"]}},
            {},
            "attacks.two.attacks: 'one' tries images of others itself; valid: pgd",
        ),
        (
            {"pgd": None, "transfer": {"eps": [0.1, 0.2]}},
            {},
            "attacks.transfer: no attack on networks trained on adversarial whose images it tries works at eps 0.2; valid: a "
            "radius of theirs, or an attack such as fmn",
        ),
        (
            {"pgd": None, "fmn": {"samples": 50}, "transfer": {"attacks": ["fmn"]}},
            {},
            "attacks.transfer.samples: all test images, but fmn attacks 50 of them; valid: at most 50",
        ),
    ],
)
def test_what_has_nothing_to_try_is_refused_before_any_job(attacks: dict, changes: dict, line: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_study(_study(attacks, **changes))
    assert str(refusal.value).splitlines() == [f"config.yaml: {line}"]


def test_it_waits_for_the_attacks_and_not_in_a_circle() -> None:
    attacks = {"pgd": {"skip_verified": ["cascade"]}, "transfer": None}
    verifiers = {"cascade": {"attacks": ["transfer"], "bounds": ["ibp"]}}
    with pytest.raises(ConfigError, match=r"attacks: .*waits for"):
        load_study(_study(attacks, verifiers=verifiers))


def test_it_needs_the_dense_networks_files_and_no_others_whatever_the_methods() -> None:
    parent = Parent("digits", "cnn-small", "adversarial", 0)
    for methods in ({"lwm": None}, {"lwm": None, "random": None}):
        study = load_study(_study({"pgd": {"eps": [0.05, 0.1]}, "fmn": None, "transfer": None}, methods=methods))
        assert [
            Path(file).relative_to(study.results).as_posix() for file in targets.transferred(study, parent, "transfer")
        ] == [
            "digits/cnn-small/adversarial/seed0/dense/attacks/pgd.examples.safetensors",
            "digits/cnn-small/adversarial/seed0/dense/attacks/fmn.examples.safetensors",
        ]
        assert targets.transferred(study, parent, "pgd") == []


def test_only_the_dense_networks_examples_are_kept_for_it() -> None:
    study = load_study(_study({"pgd": None, "fmn": None, "transfer": {"attacks": ["fmn"]}}))
    assert cells.attacks_with_examples(study) == set()
    kept = re.compile(f"(?:{wildcards.checkpoint_with_examples(study)})/attacks/([a-z]+)\\.csv")
    others = re.compile(f"(?:{wildcards.checkpoint_without_examples(study)})/attacks/([a-z]+)\\.csv")
    for checkpoint_name, name, is_kept in [
        ("dense", "fmn", True),
        ("dense", "pgd", False),
        ("dense", "transfer", False),
        ("lwm-0.50/finetuned", "fmn", False),
        ("lwm-0.50/finetuned", "transfer", False),
    ]:
        file = f"{checkpoint_name}/attacks/{name}.csv"
        assert bool(kept.fullmatch(file)) == is_kept
        assert bool(others.fullmatch(file)) != is_kept
