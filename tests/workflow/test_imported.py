"""Third parties' networks in a study: they are evaluated like its own, and nothing trains over them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from sparrow.files import checkpoint
from sparrow.files.headers import read_header, sha256
from sparrow.models import cnn_small
from sparrow.networks.prunable import prunable_weights
from tests.workflow.conftest import TINY, Checkout, copy_checkout

SEED = "digits/cnn-small/benign/seed0"
MAP = "models: {cnn-small: {first: '0', last: '7'}}\n"
STUDY = TINY | {
    "methods": {"lwm": None},
    "attacks": {"fgsm": {"samples": 20}},
    "verifiers": {"ibp": {"samples": 20}},
    "imports": {
        f"{SEED}/dense": {"file": "theirs/dense.pth.tar", "map": "theirs/map.yaml"},
        # A method and a ratio that the study itself does not have.
        f"{SEED}/theirs-0.75/finetuned": {"file": "theirs/sparse.pt"},
    },
}
TABLES = [f"results/{name}.csv" for name in ("summary", "costs", "provenance")]


def _theirs(seed: int, ratio: float = 0.0) -> nn.Module:
    torch.manual_seed(seed)
    network = cnn_small.build(cnn_small.Params(), (1, 8, 8), 10)
    for weight in prunable_weights(network).values():
        weight.data[weight.abs() < weight.abs().flatten().sort().values[int(ratio * weight.numel())]] = 0
    return network


def _write_dense(root: Path, seed: int) -> None:
    tensors = {}
    for name, tensor in _theirs(seed).state_dict().items():
        layer, _, kind = name.partition(".")
        tensors[f"module.{ {'0': 'first', '7': 'last'}.get(layer, layer) }.{kind}"] = tensor
    torch.save({"epoch": 100, "state_dict": tensors}, root / "dense.pth.tar")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which a study with two imported networks has been run."""
    checkout = copy_checkout(tmp_path_factory.mktemp("imported"))
    (checkout.root / "theirs").mkdir()
    (checkout.root / "theirs/map.yaml").write_text(MAP)
    _write_dense(checkout.root / "theirs", 1)
    torch.save(_theirs(2, 0.75).state_dict(), checkout.root / "theirs/sparse.pt")
    checkout.write(STUDY)
    checkout.said = checkout.run(*TABLES)
    return checkout


@pytest.fixture
def study(evaluated: Checkout) -> Iterator[dict]:
    """The study, to be changed; the original is back afterwards."""
    yield copy.deepcopy(STUDY)
    evaluated.write(STUDY)


def _path(checkout: Checkout, name: str) -> Path:
    return checkout.root / "results" / SEED / f"{name}.safetensors"


@pytest.mark.parametrize(("name", "network"), [("dense", _theirs(1)), ("theirs-0.75/finetuned", _theirs(2, 0.75))])
def test_the_network_is_theirs(evaluated: Checkout, name: str, network: nn.Module) -> None:
    loaded = checkpoint.load(_path(evaluated, name))
    assert all(torch.equal(value, loaded.model.state_dict()[key]) for key, value in network.state_dict().items())


def test_imported_networks_are_rows_like_others(evaluated: Checkout) -> None:
    summary = pd.read_csv(evaluated.root / "results/summary.csv")
    assert summary[["method", "ratio", "stage"]].to_numpy().tolist() == [
        ["dense", 0.0, "dense"],
        ["lwm", 0.9, "finetuned"],
        ["theirs", 0.75, "finetuned"],
    ]
    assert summary[["benign", "era", "vra"]].notna().all(axis=None)
    assert summary["failed"].isna().all()
    assert summary.set_index("method").loc["theirs", "sparsity_prunable"] == pytest.approx(0.75, abs=0.001)


def test_only_what_the_study_made_has_a_cost(evaluated: Checkout) -> None:
    stages = pd.read_csv(evaluated.root / "results/costs.csv").groupby("stage").size().to_dict()
    assert stages == {"data": 1, "prune": 1, "finetune": 1, "attack": 3, "verify": 3}


def test_headers_and_the_appendix_say_where_they_come_from(evaluated: Checkout) -> None:
    header = read_header(_path(evaluated, "dense"))
    digest = sha256(evaluated.root / "theirs/dense.pth.tar")
    assert header["imported"] == {"file": "theirs/dense.pth.tar", "sha256": digest}
    assert header["config"]["imported"]["map"] == "theirs/map.yaml"
    assert header["parent"] is None
    lineage = pd.read_csv(evaluated.root / "results/provenance.csv").set_index("method")["lineage"]
    assert lineage["lwm"] == lineage["dense"] == f"ok; dense imported from theirs/dense.pth.tar (sha256 {digest[:12]})"
    assert lineage["theirs"].startswith("ok; finetuned imported from theirs/sparse.pt (sha256 ")
    # What the study makes of an imported network names it, as it does one of its own, and whose images it has seen.
    assert read_header(_path(evaluated, "lwm-0.90/pruned"))["parent"] == sha256(_path(evaluated, "dense"))
    for stage in ("pruned", "finetuned"):
        assert read_header(_path(evaluated, f"lwm-0.90/{stage}"))["data_regime"] == "imported, then held out 15 %"


def test_there_is_nothing_to_do_a_second_time(evaluated: Checkout) -> None:
    assert evaluated.planned(*TABLES) == []


def test_nothing_trains_over_an_imported_network(evaluated: Checkout, study: dict) -> None:
    # Whatever is to be made anew, and by force.
    study["training"]["pretrain"]["epochs"] = 3
    evaluated.write(study)
    assert [job for job in evaluated.planned(*TABLES) if job.startswith(("Pre-train", "Import", "Prune"))] == []
    planned = evaluated.planned(*TABLES, "--forceall")
    assert sum(job.startswith("Import") for job in planned) == 2
    trained = [job for job in planned if job.startswith(("Pre-train", "Prune", "Fine-tune"))]
    assert trained == ["Prune benign cnn-small by lwm at 0.90", "Fine-tune benign cnn-small pruned by lwm at 0.90"]
    # Nor does asking for what comes along with a training.
    done = evaluated.snakemake("--dry-run", f"results/{SEED}/dense.curve.csv")
    assert "MissingRuleException" in done.stdout + done.stderr


def test_another_file_or_map_is_imported_anew(evaluated: Checkout) -> None:
    before = (evaluated.root / "theirs/dense.pth.tar").read_bytes()
    _write_dense(evaluated.root / "theirs", 3)
    planned = evaluated.planned(*TABLES)
    (evaluated.root / "theirs/dense.pth.tar").write_bytes(before)
    assert {job for job in planned if job.startswith(("Import", "Prune", "Pre-train"))} == {
        "Import benign cnn-small dense",
        "Prune benign cnn-small by lwm at 0.90",
    }
    with evaluated.edited("theirs/map.yaml", "models:", "about: nobody\nmodels:"):
        assert "Import benign cnn-small dense" in evaluated.planned(*TABLES)


def test_a_bad_file_is_one_line_and_no_checkpoint(evaluated: Checkout, study: dict) -> None:
    (evaluated.root / "theirs/bad.pt").write_bytes(b"no network")
    study["imports"][f"{SEED}/bad-0.60/finetuned"] = {"file": "theirs/bad.pt"}
    evaluated.write(study)
    done = evaluated.snakemake(f"results/{SEED}/bad-0.60/finetuned.safetensors")
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: theirs/bad.pt: cannot be read as tensors and plain values alone")
    assert "Traceback" not in done.stderr
    assert not _path(evaluated, "bad-0.60/finetuned").exists()
