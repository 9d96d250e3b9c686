"""The chain of files behind a file, and the command that prints it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sparrow.cli.main import main
from sparrow.data import store
from sparrow.files import examples, lineage
from sparrow.files.headers import read_header, sha256
from sparrow.stages._failure import failed_checkpoint
from sparrow.versions import SPARROW
from tests.conftest import replace_network

ROOT = Path(__file__).parents[2]
CHAIN = ["data set", "dense", "pruned", "finetuned", "compact"]


def states(path: Path) -> dict[str, str]:
    """What each file of a chain is, from the first to the last, and its state."""
    return {link.what: link.state for link in lineage.chain(path)}


@pytest.mark.parametrize(("member", "length"), [("data", 1), ("dense", 2), ("pruned", 3), ("finetuned", 4), ("compact", 5)])
def test_the_chain_goes_from_the_data_set_to_the_file(family: SimpleNamespace, member: str, length: int) -> None:
    found = states(getattr(family, member))
    assert list(found) == CHAIN[:length]
    # Nobody names the file that was asked for, but a data set names itself.
    assert list(found.values()) == ["ok"] * max(1, length - 1) + [""] * (length > 1)


def test_the_digests_are_those_of_the_files_and_of_the_datas_content(family: SimpleNamespace) -> None:
    data, *others = lineage.chain(family.compact)
    assert data.digest == store.read(family.data, "test")[1].digest
    assert [link.digest for link in others] == [sha256(getattr(family, name)) for name in CHAIN[1:]]


@pytest.mark.parametrize("name", ["pgd.csv", "../analyses/stability.csv", "../../finetuned.curve.csv"])
def test_a_table_belongs_to_the_checkpoint_that_it_is_about(family: SimpleNamespace, name: str) -> None:
    table = family.table.parent / name
    table.parent.mkdir(exist_ok=True)
    table.touch()
    assert states(table) == {"data set": "ok", "dense": "ok", "pruned": "ok", "finetuned": "", "table": ""}


def test_examples_name_the_network_that_was_attacked(family: SimpleNamespace) -> None:
    path = family.table.with_name("pgd.examples.safetensors")
    nothing = torch.empty(0, dtype=torch.long), torch.empty(0, 1, 8, 8)
    examples.write(path, *nothing, {"network": sha256(family.finetuned)})
    assert states(path) == {"data set": "ok", "dense": "ok", "pruned": "ok", "finetuned": "ok", "examples": ""}
    replace_network(family.finetuned)
    # What another network was trained on is nothing that is known of this one.
    assert states(path) == {"finetuned": "MISMATCH", "examples": ""}


@pytest.mark.parametrize(
    ("replaced", "expected"),
    [
        ("dense", {"data set": "ok", "dense": "MISMATCH", "pruned": "ok", "finetuned": ""}),
        # What lies behind another file is that file's chain, not this one's.
        ("pruned", {"data set": "ok", "pruned": "MISMATCH", "finetuned": ""}),
    ],
)
def test_another_file_in_a_parents_place_is_a_mismatch(family: SimpleNamespace, replaced: str, expected: dict) -> None:
    replace_network(getattr(family, replaced))
    assert states(family.finetuned) == expected


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        ("data", {"data set": "missing", "dense": "ok", "pruned": "ok", "finetuned": ""}),
        ("dense", {"data set": "ok", "dense": "missing", "pruned": "ok", "finetuned": ""}),
        ("pruned", {"data set": "ok", "pruned": "missing", "finetuned": ""}),
    ],
)
def test_a_file_that_is_not_there_is_missing(family: SimpleNamespace, gone: str, expected: dict) -> None:
    getattr(family, gone).unlink()
    assert states(family.finetuned) == expected


@pytest.mark.parametrize("member", ["dense", "data"])
def test_a_damaged_file_is_a_mismatch(family: SimpleNamespace, member: str) -> None:
    path = getattr(family, member)
    path.write_bytes(path.read_bytes()[:-10])
    assert states(family.finetuned)["data set" if member == "data" else member] == "MISMATCH"


def test_the_data_sets_content_is_counted_not_believed(family: SimpleNamespace) -> None:
    header, tensors = read_header(family.data, store.FORMAT), load_file(family.data)
    tensors["train/labels"][0] += 1
    save_file(tensors, family.data, {"sparrow": json.dumps(header)})
    assert states(family.dense) == {"data set": "MISMATCH", "dense": ""}
    assert states(family.data) == {"data set": "MISMATCH"}


def test_a_failed_network_has_a_chain_too(family: SimpleNamespace) -> None:
    pruned = read_header(family.pruned)
    origin = {key: pruned[key] for key in ("data", "parent")}
    failed_checkpoint("diverged", family.pruned, "pruned", pruned["cell"], **origin)
    assert states(family.pruned) == {"data set": "ok", "dense": "ok", "pruned": ""}


def test_the_formats_are_those_of_the_files(family: SimpleNamespace) -> None:
    assert (lineage.DATA, lineage.EXAMPLES) == (store.FORMAT, examples.FORMAT)


def printed(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, str]:
    status = main(["lineage", *map(str, arguments)])
    said = capsys.readouterr()
    assert said.err == ""
    return status, said.out


def test_a_file_and_its_ancestors_are_printed_in_turn(family: SimpleNamespace, capsys: pytest.CaptureFixture) -> None:
    status, text = printed(capsys, family.finetuned)
    blocks = text.split("\n\n")
    assert status == 0
    assert [block.splitlines()[0].split()[-1] for block in blocks] == [
        str(getattr(family, name)) for name in ("data", "dense", "pruned", "finetuned")
    ]
    lines = dict(line.strip().split(maxsplit=1) for line in blocks[2].splitlines()[1:])
    assert lines["sha256"] == f"{sha256(family.pruned)[:12]}  ok"
    assert lines["cell"] == "dataset digits, method lwm, model cnn-small, objective benign, ratio 0.5, seed 3"
    assert lines["objective"] == "benign"
    assert "epochs 2, lr 0.5, " in lines["schedule"]
    assert (lines["code"], lines["device"][:5]) == ("code of pruned", "cpu: ")
    assert f"torch {torch.__version__}" in lines["versions"]
    assert "holds            digits (test 0.25)" in blocks[0]


def test_columns_are_aligned(family: SimpleNamespace, capsys: pytest.CaptureFixture) -> None:
    _, text = printed(capsys, family.compact)
    lines = [line for line in text.splitlines() if line]
    assert {line[18] for line in lines} == {" "}
    assert " " not in {line[19] for line in lines}
    assert max(map(len, [line for line in lines if str(family.root) not in line])) <= 120


@pytest.mark.parametrize(("spoil", "status", "word"), [(replace_network, 1, "MISMATCH"), (Path.unlink, 0, "missing")])
def test_a_mismatch_is_an_error_and_a_missing_file_is_none(
    family: SimpleNamespace, capsys: pytest.CaptureFixture, spoil, status: int, word: str
) -> None:
    named = sha256(family.pruned)[:12]
    spoil(family.pruned)
    found, text = printed(capsys, family.finetuned)
    (line,) = [line for line in text.splitlines() if word in line]
    assert (found, named in line) == (status, True)


@pytest.mark.parametrize(
    ("spoil", "status", "state"), [(None, 0, "ok"), (replace_network, 1, "MISMATCH"), (Path.unlink, 0, "missing")]
)
def test_whom_a_network_learned_from_is_told(
    family: SimpleNamespace, capsys: pytest.CaptureFixture, spoil, status: int, state: str
) -> None:
    """Of one that was pruned during training, the teacher is no ancestor."""
    with safe_open(family.finetuned, framework="np") as file:
        header = json.loads(file.metadata()["sparrow"])
    header["config"]["distillation"] = {"teacher": "dense"}
    save_file(
        load_file(family.finetuned), family.finetuned, {"sparrow": json.dumps(header | {"teacher": sha256(family.dense)})}
    )
    family.pruned.unlink()
    if spoil:
        spoil(family.dense)
    found, text = printed(capsys, family.finetuned)
    told = " ".join(text.partition("  learned from ")[2].partition("  model ")[0].split())
    assert (found, told.startswith(f"{family.dense}, "), state in told) == (status, True, True)
    teachers = [one.get("teacher") for one in json.loads(printed(capsys, family.finetuned, "--json")[1])["chain"]]
    assert [one and (one["path"], one["state"]) for one in teachers] == [None, None, (str(family.dense), state)]


def test_programs_get_full_digests_and_headers(family: SimpleNamespace, capsys: pytest.CaptureFixture) -> None:
    replace_network(family.dense)
    status, text = printed(capsys, family.finetuned, "--json")
    told = json.loads(text)
    assert (status, told["ok"], told["file"]) == (1, False, str(family.finetuned))
    assert [one["state"] for one in told["chain"]] == ["ok", "MISMATCH", "ok", ""]
    assert told["chain"][3]["header"] == read_header(family.finetuned)
    assert told["chain"][3]["digest"] == sha256(family.finetuned)


BAD = {
    "missing": (lambda path: None, "no such file"),
    "text": (lambda path: path.write_text("a network" * 100), "not a safetensors file"),
    "foreign": (lambda path: save_file({"a": torch.zeros(1)}, path), "not written by Sparrow"),
    "older": (lambda path: save_file({}, path, {"sparrow": '{"format": "sparrow-checkpoint/2"}'}), "the header lacks stage"),
    "odd stage": (
        lambda path: damaged(path, {"failed": "x", "stage": ["dense"]}),
        "stage is ['dense'], expected one of initial,",
    ),
    "no stage": (lambda path: damaged(path, {"failed": "x"}), "stage is None, expected one of initial,"),
    "odd config": (
        lambda path: damaged(path, {"failed": "x", "stage": "dense", "config": [1]}),
        "config is [1], expected a table",
    ),
}


def damaged(path: Path, header: dict) -> None:
    """A checkpoint of a network that failed, whose header was meddled with."""
    save_file({}, path, {"sparrow": json.dumps({"format": "sparrow-checkpoint/2"} | header)})


@pytest.mark.parametrize(("write", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture, write, message: str) -> None:
    path = tmp_path / "bad.safetensors"
    write(path)
    assert main(["lineage", str(path)]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith(f"error: {path}: ")
    assert message in said.err


@pytest.mark.parametrize("exists", [True, False])
def test_a_table_of_no_checkpoint_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture, exists: bool) -> None:
    path = tmp_path / "summary.csv"
    if exists:
        path.touch()
    assert main(["lineage", str(path)]) == 1
    message = "a table, but not one beside a checkpoint or in its folder" if exists else "no such file"
    assert capsys.readouterr().err == f"error: {path}: {message}\n"


def test_the_command_imports_neither_torch_nor_pandas(family: SimpleNamespace) -> None:
    code = f"""
import sys
from sparrow.cli.main import main
status = main(["lineage", {str(family.compact)!r}])
sys.exit(status or {{"torch", "pandas", "pydantic", "snakemake"}} & set(sys.modules) != set())
"""
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_module_is_the_command(family: SimpleNamespace) -> None:
    command = [sys.executable, "-m", "sparrow", "lineage", "finetuned.safetensors"]
    folder, environment = family.finetuned.parent, {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert [line.split()[-1] for line in done.stdout.splitlines() if not line.startswith(" ") and line] == [
        "../../../../data.safetensors",
        "../dense.safetensors",
        "pruned.safetensors",
        "finetuned.safetensors",
    ]


def test_whoever_has_read_enough_may_leave(family: SimpleNamespace) -> None:
    command = f"{sys.executable} -m sparrow lineage {family.compact} --json | true"
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_the_installed_command_is_this_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    module, _, name = project["project"]["scripts"]["sparrow"].partition(":")
    assert getattr(import_module(module), name) is main


def test_there_is_one_version(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"{SPARROW}\n"
    assert f"\nversion: {SPARROW}\n" in (ROOT / "CITATION.cff").read_text()


def test_a_copy_far_from_its_family_names_the_data_set_and_its_parent(family: SimpleNamespace, tmp_path: Path) -> None:
    shutil.copy(family.finetuned, tmp_path / "mine.safetensors")
    data, parent, own = lineage.chain(tmp_path / "mine.safetensors")
    assert [(link.what, link.state) for link in (data, parent)] == [("data set", "missing"), ("pruned", "missing")]
    assert (data.named, parent.named) == (own.header["data"], sha256(family.pruned))
