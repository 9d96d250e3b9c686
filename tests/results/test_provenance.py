"""The report's appendix: where each row comes from, and what the report was made in."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from sparrow.data import store
from sparrow.errors import CheckpointError
from sparrow.files import checkpoint
from sparrow.files.headers import failure, read, read_header, sha256
from sparrow.results.environment import environment, environment_table
from sparrow.results.provenance import write_provenance
from sparrow.stages._failure import failed_checkpoint
from sparrow.stages._training import failed_training
from sparrow.stages.specs.training import TrainingSpec
from tests.conftest import replace_network

FILES = ("provenance.csv", "provenance.html", "environment.json", "environment.html")


@pytest.fixture
def lay_out(family: SimpleNamespace, tmp_path: Path):
    """Lays the appendix out and reads its table; what the user is told, and the page, are attributes."""

    def lay_out(*networks: Path) -> pd.DataFrame:
        outputs = [tmp_path / name for name in FILES]
        told = write_provenance(list(networks or (family.finetuned, family.dense)), *outputs, root=tmp_path)
        table = pd.read_csv(outputs[0], keep_default_na=False)
        table.attrs |= {"told": told, "page": outputs[1].read_text(encoding="utf-8")}
        return table

    return lay_out


def rewrite(path: Path, **changes: object) -> None:
    """A checkpoint with another header."""
    loaded = checkpoint.load(path)
    checkpoint.save(path, checkpoint.Checkpoint(loaded.model, loaded.masks, loaded.header | changes))


def test_there_is_one_row_a_checkpoint_in_the_order_of_the_summary(lay_out) -> None:
    table = lay_out()
    assert table[["method", "ratio", "seed", "stage"]].to_numpy().tolist() == [
        ["dense", 0.0, 3, "dense"],
        ["lwm", 0.5, 3, "finetuned"],
    ]


def test_a_row_has_the_digests_of_all_files_behind_it(family: SimpleNamespace, lay_out) -> None:
    dense, finetuned = lay_out().to_dict("records")
    assert dense["data"] == finetuned["data"] == store.read(family.data, "test")[1].digest
    for stage in ("dense", "pruned", "finetuned"):
        assert finetuned[f"{stage}_sha256"] == sha256(getattr(family, stage))
        assert finetuned[f"{stage}_code"] == f"code of {stage}"
        assert dense[f"{stage}_sha256"] == (sha256(family.dense) if stage == "dense" else "")
    assert finetuned["lineage"] == "ok"


def test_a_teacher_that_is_no_ancestor_is_behind_a_row_too(family: SimpleNamespace, lay_out) -> None:
    """As of a network that was pruned during training; another one's is among its ancestors already."""

    def rewritten(path: Path, **changes: object) -> None:
        header, tensors = read(path)
        save_file(tensors, path, {"sparrow": json.dumps(header | changes)})

    rewritten(family.dense, imported={"file": "x.pth", "sha256": "12" * 32})
    taught, told = sha256(family.dense), "imported from x.pth (sha256 121212121212)"
    for parent, line in ((taught, f"ok; dense {told}"), (None, f"ok; teacher {told}")):
        rewritten(family.pruned, parent=parent)
        config = {"distillation": {"teacher": "dense"}}
        rewritten(family.finetuned, parent=sha256(family.pruned), config=config, teacher=taught)
        assert lay_out(family.finetuned)["lineage"].tolist() == [line]
    family.dense.unlink()
    assert lay_out(family.finetuned)["lineage"].tolist() == ["missing: teacher"]


def test_the_page_shows_short_digests_and_what_is_alike_once(family: SimpleNamespace, lay_out) -> None:
    page, header = lay_out().attrs["page"], read_header(family.dense)
    assert f">{sha256(family.pruned)[:12]}<" in page
    assert sha256(family.pruned) not in page
    assert page.count(header["device"]) == page.count(f"torch {header['versions']['torch']}") == 1
    assert "Warning" not in page


def test_a_study_made_alike_has_no_warning(lay_out) -> None:
    assert lay_out().attrs["told"] is None


GPU = "cuda: NVIDIA <H200>"


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"device": GPU}, "rows were computed on 2 different devices: cpu: "),
        ({"versions": {"torch": "2.11.0"}}, "rows were computed with 2 versions of torch: 2.11.0, "),
        ({"versions": {"numpy": None}}, "rows were computed with 2 versions of numpy: "),
    ],
)
def test_rows_that_were_not_made_alike_have_a_warning(family: SimpleNamespace, lay_out, changes: dict, warning: str) -> None:
    rewrite(family.finetuned, **changes)
    table = lay_out()
    assert warning in table.attrs["told"]
    assert f"<strong>Warning: {warning}" in table.attrs["page"]


def test_the_device_of_each_checkpoint_is_shown_where_they_differ(family: SimpleNamespace, lay_out) -> None:
    rewrite(family.finetuned, device=GPU)
    table = lay_out()
    assert table["finetuned_device"].tolist() == ["", GPU]
    # In the caption and in the row, and never as a tag.
    assert table.attrs["page"].count("cuda: NVIDIA &lt;H200&gt;") == 2
    assert GPU not in table.attrs["page"]


def test_code_that_differs_among_networks_made_alike_has_a_warning(family: SimpleNamespace, lay_out) -> None:
    other = family.finetuned.parent / "other.safetensors"
    loaded = checkpoint.load(family.finetuned)
    cell = loaded.header["cell"] | {"ratio": 0.9}
    changes = {"cell": cell, "code": "newer code"}
    checkpoint.save(other, checkpoint.Checkpoint(loaded.model, loaded.masks, loaded.header | changes))
    told = lay_out(family.dense, family.finetuned, other).attrs["told"]
    who = "digits cnn-small benign lwm finetuned"
    assert told.startswith(f"warning: networks of {who} were made by 2 versions of the code: code of finetuned, newer code (")


@pytest.mark.parametrize("gone", ["data", "dense", "pruned"])
def test_a_file_that_is_gone_is_named_and_its_digest_is_known(family: SimpleNamespace, lay_out, gone: str) -> None:
    named = sha256(getattr(family, gone))
    getattr(family, gone).unlink()
    (row,) = lay_out(family.finetuned).to_dict("records")
    assert row["lineage"] == f"missing: {'data set' if gone == 'data' else gone}"
    assert row["data"] == read_header(family.finetuned)["data"]
    if gone != "data":
        assert (row[f"{gone}_sha256"], row[f"{gone}_code"]) == (named, "")


def test_nothing_is_written_of_files_that_do_not_belong_together(family: SimpleNamespace, lay_out, tmp_path: Path) -> None:
    replace_network(family.dense)
    with pytest.raises(CheckpointError, match=f"^{family.pruned}: was made from another {family.dense} than"):
        lay_out()
    assert not {path.name for path in tmp_path.iterdir()} & set(FILES)


def test_another_data_set_is_refused(family: SimpleNamespace, lay_out) -> None:
    family.data.write_bytes(family.data.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=f"^{family.finetuned}: trained on a data set other than {family.data}"):
        lay_out(family.finetuned)


def test_a_network_that_failed_has_a_row(family: SimpleNamespace, lay_out, tmp_path: Path) -> None:
    about = read_header(family.dense)
    spec = TrainingSpec(**{key: about[key] for key in ("cell", "model", "code")}, **about["config"])
    failed_training("diverged", "dense", family.data, family.dense, tmp_path / "curve", spec)
    found = failure(family.dense)
    assert {key: found[key] for key in ("config", "code", "data", "parent", "versions", "device", "cell")} == {
        key: about[key] for key in ("config", "code", "data", "parent", "versions", "device", "cell")
    }
    (row,) = lay_out(family.dense).to_dict("records")
    assert (row["dense_sha256"], row["dense_code"]) == (sha256(family.dense), "code of dense")


def test_a_failure_that_says_nothing_of_its_origin_has_a_row(family: SimpleNamespace, lay_out) -> None:
    failed_checkpoint("diverged", family.dense, "dense", read_header(family.dense)["cell"])
    (row,) = lay_out(family.dense).to_dict("records")
    assert (row["data"], row["dense_sha256"], row["dense_code"]) == ("", sha256(family.dense), "")


def test_the_table_is_the_same_to_the_byte(lay_out, tmp_path: Path) -> None:
    written = []
    for _ in range(2):
        lay_out()
        written.append([(tmp_path / name).read_bytes() for name in FILES])
    assert written[0] == written[1]


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit."""
    root = tmp_path / "checkout"
    (root / "src").mkdir(parents=True)
    for name in ("Snakefile", "src/code.py", "config.yaml"):
        (root / name).write_text("one\n")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "one")
    return root


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        (None, []),
        ("src/code.py", ["src/code.py"]),
        ("src/new.py", ["src/new.py"]),
        # A study is no code.
        ("config.yaml", []),
        ("my-study.yaml", []),
    ],
)
def test_a_checkout_is_dirty_if_its_code_has_changed(checkout: Path, file: str | None, changed: list[str]) -> None:
    if file:
        (checkout / file).write_text("two\n")
    commit = git(checkout, "rev-parse", "HEAD")
    assert environment(checkout)["git"] == {"commit": commit, "dirty": bool(changed), "changed": changed}


UNKNOWN = {"commit": "unknown", "dirty": "unknown", "changed": []}


def test_no_repository_has_no_commit(tmp_path: Path) -> None:
    assert environment(tmp_path)["git"] == UNKNOWN


def test_a_copy_inside_somebody_elses_repository_has_no_commit(checkout: Path) -> None:
    assert environment(checkout / "src")["git"] == UNKNOWN


def test_a_machine_without_git_has_no_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert environment(checkout)["git"] == UNKNOWN


def test_the_environment_names_packages_device_and_system(tmp_path: Path) -> None:
    found = environment(tmp_path)
    assert found["packages"]["torch"] == torch.__version__
    names = {"python", "torchvision", "torchattacks", "auto_LiRPA", "numpy", "scipy", "pandas", "safetensors", "snakemake"}
    assert names <= {name for name, version in found["packages"].items() if version}
    assert found["threads"] == torch.get_num_threads()
    assert all(found[key] for key in ("device", "cpus", "system"))


@pytest.mark.parametrize("dirty", [True, False])
def test_the_page_warns_of_code_that_is_not_the_commits(checkout: Path, tmp_path: Path, dirty: bool) -> None:
    if dirty:
        (checkout / "src/code.py").write_text("two\n")
    about = environment(checkout)
    environment_table(json.loads(json.dumps(about)), tmp_path / "page")
    page = (tmp_path / "page").read_text(encoding="utf-8")
    assert ("Warning: the code is not that of the commit: src/code.py." in page) is dirty
    assert f">{about['git']['commit']}<" in page


def test_a_package_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    about = environment(tmp_path)
    environment_table(about | {"packages": {"scipy": None}}, tmp_path / "page")
    assert ">not installed<" in (tmp_path / "page").read_text(encoding="utf-8")
