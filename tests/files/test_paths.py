"""Paths of checkpoints, there and back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from sparrow.files.paths import (
    ANALYSIS_PATTERNS,
    ATTACK_PATTERN,
    CELL_PATTERN,
    CHECKPOINT_PATTERN,
    IDENTITY,
    JOB_OF_CELL,
    LABEL_COLUMNS,
    SCOPE_COLUMNS,
    WILDCARDS,
    Cell,
    Checkpoint,
    Parent,
    checkpoint_at,
    checkpoint_of,
    data_file,
    data_job,
    data_path,
    family_name,
    figure_path,
    identity_at,
    identity_of,
    log_path,
    outcome_job,
    parent_file,
    parse,
    place_of,
    stage_of,
    study_page,
    study_table,
    subject_folder,
    subject_of,
    table_below,
)
from sparrow.settings import Scope

PARENT = Parent("cifar10", "wrn-28-4", "crown-ibp", 12)


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint(PARENT, None, "dense"),
        Checkpoint(PARENT, Cell(PARENT, "harp", 0.9), "pruned"),
        Checkpoint(PARENT, Cell(PARENT, "harp-authors", 0.995), "finetuned"),
    ],
)
def test_a_path_gives_its_checkpoint_back(checkpoint: Checkpoint) -> None:
    assert parse(checkpoint.path) == checkpoint


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("digits/cnn-small/benign/seed0", "names no checkpoint; valid: DATASET/MODEL"),
        ("digits/cnn-small/benign/seed0/pruned", "names no checkpoint"),
        ("digits/cnn-small/benign/seed0/lwm-0.90/dense", "names no checkpoint"),
        ("digits/cnn-small/benign/seed0/dense.safetensors", "names no checkpoint"),
        ("digits/cnn-small/benign/seed0/lwm-0.9/pruned", "would lie at 'digits/cnn-small/benign/seed0/lwm-0.90/pruned'"),
        ("digits/cnn-small/benign/seed00/dense", "would lie at 'digits/cnn-small/benign/seed0/dense'"),
    ],
)
def test_what_is_no_path_is_refused(path: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"valid|would") as caught:
        parse(path)
    assert words in str(caught.value)


DENSE = Checkpoint(PARENT, None, "dense")
PRUNED = Checkpoint(PARENT, Cell(PARENT, "harp-authors", 0.995), "finetuned")


@pytest.mark.parametrize(
    ("job", "stage", "about"),
    [
        ("cifar10/data", "data", None),
        (DENSE.path, "pretrain", DENSE),
        (PRUNED.path, "finetune", PRUNED),
        (f"{PRUNED.cell.path}/pruned", "prune", Checkpoint(PARENT, PRUNED.cell, "pruned")),
        (f"{DENSE.path}/attacks/pgd-eps0.1", "attack", DENSE),
        (f"{PRUNED.path}/verifiers/crown", "verify", PRUNED),
        (f"{PRUNED.path}/outputs", "outputs", PRUNED),
        (f"{PRUNED.path}/analyses/latency", "analyse", PRUNED),
        (f"{PARENT.path}/analyses/latency", "analyse", None),
        ("cifar10/analyses/sizes", "analyse", None),
        ("analyses/data", "analyse", None),
        ("attacks/data", "data", None),
    ],
)
def test_a_job_is_of_a_stage_and_about_a_checkpoint(job: str, stage: str, about: Checkpoint | None) -> None:
    assert stage_of(job) == stage
    assert checkpoint_of(job) == about


@pytest.mark.parametrize(
    ("scope", "path", "known"),
    [
        ("dataset", "cifar10", {"dataset"}),
        ("network", PRUNED.path, set(IDENTITY)),
        ("pair", PRUNED.path, set(IDENTITY)),
        ("family", PARENT.path, {"dataset", "model", "objective", "seed"}),
        ("seeds", PRUNED.path.replace("seed12", "seeds"), {*IDENTITY} - {"seed"}),
        ("tables", "", set()),
    ],
)
def test_an_analysis_lies_where_its_scope_says_and_knows_what_that_has_in_common(
    scope: str, path: str, known: set[str], tmp_path: Path
) -> None:
    assert subject_folder(scope, PRUNED) == path
    identity = PRUNED.identity()
    assert identity_at(scope, tmp_path / path) == {key: value for key, value in identity.items() if key in known}
    # As the rules have it.
    labels = {key: str(value) for key, value in identity.items()} | {"analysis": "mine"}
    checkpoint = PRUNED.path.removeprefix(f"{PARENT.path}/")
    assert ANALYSIS_PATTERNS[scope].format(**labels, checkpoint=checkpoint) == f"{path}/analyses/mine".removeprefix("/")


def test_each_scope_has_columns_which_are_those_of_checkpoints() -> None:
    assert SCOPE_COLUMNS.keys() == set(get_args(Scope))
    assert SCOPE_COLUMNS["family"] == list(Parent._fields)
    assert [*LABEL_COLUMNS] == list(Parent._fields[:3])
    assert dict(zip(LABEL_COLUMNS, PARENT.labels, strict=True)).items() <= PARENT._asdict().items()
    for scope, columns in SCOPE_COLUMNS.items():
        assert list(identity_at(scope, Path(subject_folder(scope, PRUNED)))) == columns


@pytest.mark.parametrize(
    ("scope", "name"),
    [("dataset", "cifar10"), ("family", "cifar10/wrn-28-4/crown-ibp"), ("seeds", "cifar10/wrn-28-4/crown-ibp"), ("tables", "")],
)
def test_a_family_is_named_by_as_much_as_an_identity_has_of_it(scope: str, name: str) -> None:
    assert family_name(identity_at(scope, Path(subject_folder(scope, PRUNED)))) == name


def test_an_analysis_table_lies_in_its_place() -> None:
    for scope, pattern in ANALYSIS_PATTERNS.items():
        labels = PRUNED.identity() | {"analysis": "mine", "checkpoint": PRUNED.path.removeprefix(f"{PARENT.path}/")}
        assert place_of(Path("results", f"{pattern.format(**labels)}.csv")) == Path("results", subject_folder(scope, PRUNED))


def test_jobs_tables_and_logs_lie_where_the_layout_says() -> None:
    assert stage_of(data_job("cifar10")) == "data"
    assert stage_of(f"{PRUNED.path}/{outcome_job('attacks', 'pgd')}") == "attack"
    assert table_below(Path(PRUNED.path), outcome_job("attacks", "pgd")) == Path(
        f"{ATTACK_PATTERN}.csv".format(**PARENT._asdict(), checkpoint=PRUNED.path.removeprefix(f"{PARENT.path}/"), attack="pgd")
    )
    assert (study_table("summary"), study_page("summary")) == ("summary.csv", "tables/summary.html")
    assert figure_path("digits", "cnn", "ranking") == "figures/digits.cnn.ranking"
    assert log_path(DENSE.path) == f"logs/{DENSE.path}.log"


def test_a_dense_cell_over_all_seeds_has_a_place_too(tmp_path: Path) -> None:
    path = subject_folder("seeds", DENSE)
    assert path == f"{DENSE.path.replace('seed12', 'seeds')}"
    assert identity_at("seeds", tmp_path / path) == {key: value for key, value in DENSE.identity().items() if key != "seed"}


def test_an_objective_may_be_called_like_a_seed() -> None:
    parent = Parent("cifar10", "wrn-28-4", "seed0", 0)
    assert subject_folder("seeds", Checkpoint(parent, None, "dense")) == "cifar10/wrn-28-4/seed0/seeds/dense"


def test_a_path_of_no_job_is_of_no_stage() -> None:
    with pytest.raises(KeyError):
        stage_of(f"{PRUNED.path}/else")


@pytest.mark.parametrize("one", [DENSE, PRUNED])
def test_who_a_checkpoint_is_says_its_path_and_its_header_alike(one: Checkpoint, tmp_path: Path) -> None:
    cell = PARENT._asdict() | ({"method": one.cell.method, "ratio": one.cell.ratio} if one.cell else {})
    assert one.identity() == identity_of({"stage": one.stage, "cell": cell})
    assert list(one.identity()) == IDENTITY
    assert checkpoint_at(tmp_path / f"{one.path}.safetensors") == one


def test_a_file_elsewhere_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names no checkpoint"):
        checkpoint_at(tmp_path / "dense.safetensors")


def test_patterns_find_what_paths_say() -> None:
    def found(pattern: str, path: str) -> dict[str, str]:
        text = re.sub(r"\{(\w+)\}", lambda name: f"(?P<{name[1]}>{WILDCARDS[name[1]]})", pattern)
        return re.fullmatch(text, path).groupdict()

    names = {"dataset": "cifar10", "model": "wrn-28-4", "objective": "crown-ibp", "seed": "12"}
    assert found(CHECKPOINT_PATTERN, DENSE.path) == names | {"checkpoint": "dense"}
    assert found(CHECKPOINT_PATTERN, PRUNED.path) == names | {"checkpoint": "harp-authors-0.995/finetuned"}
    cell = names | {"method": "harp-authors", "ratio": "0.995"}
    assert found(CELL_PATTERN, PRUNED.cell.path) == cell
    assert re.match(JOB_OF_CELL, f"{PRUNED.path}/attacks/pgd").groupdict() == cell | {"of": "finetuned"}


@pytest.mark.parametrize(
    ("file", "kind", "parent"),
    [
        (f"{DENSE.parent.path}/initial.safetensors", "initial", None),
        (f"{DENSE.path}.safetensors", "dense", f"{DENSE.parent.path}/initial.safetensors"),
        (f"{PRUNED.cell.path}/pruned.safetensors", "pruned", f"{DENSE.path}.safetensors"),
        (f"{PRUNED.path}.safetensors", "finetuned", f"{PRUNED.cell.path}/pruned.safetensors"),
        (f"{PRUNED.path}/compact.safetensors", "compact", f"{PRUNED.path}.safetensors"),
    ],
)
def test_a_checkpoint_has_its_parent_and_its_data_where_the_layout_says(file: str, kind: str, parent: str | None) -> None:
    folder = Path("results")
    assert parent_file(folder / file, kind) == (parent and folder / parent)
    stage = "finetuned" if kind == "compact" else kind
    assert data_file(folder / file, stage, kind == "compact") == folder / data_path("cifar10")


@pytest.mark.parametrize("file", ["finetuned.curve.csv", "finetuned/attacks/pgd.csv", "finetuned/latency.csv"])
def test_a_table_is_about_the_checkpoint_that_it_lies_by(tmp_path: Path, file: str) -> None:
    network = tmp_path / f"{PRUNED.path}.safetensors"
    assert subject_of(network.parent / file) is None
    network.parent.mkdir(parents=True)
    network.touch()
    assert subject_of(network.parent / file) == network
