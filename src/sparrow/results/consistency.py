"""Aggregation that first compares every file with the study, and the files with each other.

Snakemake makes anew what the study has changed, if it knows how the files were made. It does not if it is told not to check
(`--rerun-triggers mtime`, `--touch`), nor in a results folder that was copied or has lost its `.snakemake`, nor after a file
was changed by other means. The files' headers and columns identify them; one that is not of this study is refused by name.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open

from sparrow.errors import SparrowError
from sparrow.files import analysis_table, content
from sparrow.files.headers import DATA_FORMAT, kind, read_header, sha256
from sparrow.files.lineage import data_of, teacher_file
from sparrow.files.outcome_table import COLUMNS, FAILED, require_origin, require_whole
from sparrow.files.paths import (
    DATA_FILE,
    DENSE,
    GRAFTED,
    INITIAL,
    Checkpoint,
    Parent,
    cell_name,
    checkpoint_at,
    checkpoint_in,
    family_name,
    identity_at,
    is_in_family,
    parent_file,
    place_of,
    subject_folder,
    table_below,
    variant_of,
)
from sparrow.files.specs import opened
from sparrow.results.aggregate import aggregate
from sparrow.results.specs.aggregate import AggregateSpec
from sparrow.results.specs.expected import Expected, ExpectedFamily, Places

CURE = (
    "delete what is not of this study and run again (Snakemake alone does not see it after --touch, with --rerun-triggers "
    "mtime, or where results were copied without their .snakemake folder)"
)


@opened(Expected, "study")
@opened(AggregateSpec)
def aggregate_consistent(
    networks: list[Path], analysed: list[Path], summary: Path, spec: AggregateSpec, study: Expected
) -> str | None:
    """Call `aggregate`, into the folder of `summary`, if all files are as the `study` (see `expected.expected`) has them.

    Raises SparrowError, naming one file and the number of such files, before anything is written, if some are not.
    """
    found = list(differences(networks, analysed, study))
    for line in found:
        print(line)
    if found:
        more = f" ({len(found)} such files; the log of aggregate names all)" if len(found) > 1 else ""
        raise SparrowError(f"{found[0]}{more}; {CURE}")
    return aggregate(networks, analysed, summary.parent, spec)


class Data(NamedTuple):
    """A data set on disk: its digest, and the label of each test image by its index, in the order of the file."""

    digest: str
    labels: dict[int, int]


def differences(networks: list[Path], analysed: list[Path], study: Expected) -> Iterator[str]:
    """A line for each file that differs from the study. Raises SparrowError for a file that is not Sparrow's, or was changed
    after it was written."""
    data, digest = cache(lambda path: _data(path, study)), cache(sha256)  # Many have one teacher.
    seen: set[Any] = set()
    members = _Members({study.analyses[path.stem].scope for path in analysed})
    for path in networks:
        one, header = _identity(path), read_header(path)
        try:
            family = study.families[family_name(one.parent._asdict())]
        except KeyError:
            yield f"{path}: is not of this study: it has no {' '.join(one.parent.labels)}"
            continue
        own = data(data_of(path, header))
        if isinstance(own, str):
            if own not in seen:
                seen.add(own)
                yield own
            continue
        for where, about in _ancestors(path, header):
            if where not in seen:
                seen.add(where)
                yield from _made_otherwise(where, about, family, study, own)
                yield from _taught_otherwise(where, about, digest)
        members.add(one, header)
        origin = {"network": content.of_header(header)[: content.SHORT], "data": header.get("data", "")[: content.SHORT]}
        for name, places in family.tables.items():
            yield from _lines(_outcomes, table_below(path.with_suffix(""), name), origin, _spec(places, study, one), own)
    for path in analysed:
        analysis = study.analyses[path.stem]
        who = identity_at(analysis.scope, place_of(path))
        spec = analysis.specs.get(family_name(who))
        if spec is None:
            yield f"{path}: is not of this study"
            continue
        origin = members.origin(analysis.scope, who)
        if analysis.scope == "dataset":
            found = data(place_of(path) / DATA_FILE)
            origin = {"network": "", "data": found.digest[: content.SHORT]} if isinstance(found, Data) else {}
        yield from _lines(_whole, path, origin, _unpacked(spec, study) | {"seed": who.get("seed", 0)}, None)


class _Members:
    """The networks that an analysis is about, by its scope and what these have in common."""

    def __init__(self, scopes: set[str]) -> None:
        self._scopes = scopes - {"dataset"}
        self._headers: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        self._dense: dict[Parent, dict[str, Any]] = {}

    def add(self, one: Checkpoint, header: dict[str, Any]) -> None:
        if one.stage == DENSE:
            self._dense[one.parent] = header
        for scope in self._scopes - (set() if is_in_family(one.stage) else {"family"}):
            key = scope, *identity_at(scope, Path(subject_folder(scope, one))).values()
            self._headers.setdefault(key, []).append(header)

    def origin(self, scope: str, who: dict[str, Any]) -> dict[str, str]:
        """The columns `network` and `data` of its table; nothing, if there are no such networks."""
        headers = list(self._headers.get((scope, *who.values()), ()))
        if not headers:
            return {}
        if scope in ("family", "seeds"):
            parents = [checkpoint_in(header).parent for header in headers]
            headers += [self._dense[parent] for parent in parents if parent in self._dense]
        data = "" if scope == "tables" else headers[0].get("data", "")[: content.SHORT]
        return {"network": content.of_networks(map(content.of_header, headers)), "data": data}


def _data(path: Path, study: Expected) -> Data | str | None:
    """The data set in a file; None if the file is missing; a line if it was prepared under another configuration."""
    if not path.is_file():
        return None
    header = read_header(path, DATA_FORMAT)
    content.require(path, header["digest"], content.of_file(path))
    label = path.parent.name
    if label in study.datasets:
        wrong = difference(header.get("dataset"), study.values[study.datasets[label]], "dataset")
        if wrong:
            return f"{path}: was prepared under another configuration: {wrong}"
    with safe_open(path, framework="np") as file:
        indices, labels = (file.get_tensor(f"test/{field}").tolist() for field in ("indices", "labels"))
    return Data(header["digest"], dict(zip(indices, labels, strict=True)))


def _identity(path: Path) -> Checkpoint:
    """The checkpoint whose file is at `path`. Raises SparrowError if it is not the path of one."""
    try:
        return checkpoint_at(path)
    except ValueError as error:
        raise SparrowError(f"{path}: {error}") from None


def _ancestors(path: Path, header: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Path and header of a checkpoint, of its ancestors and of their teachers that exist.

    `aggregate` checks that its ancestors are the ones used.
    """
    todo = [(path, header)]
    while todo:
        path, header = todo.pop()
        yield path, header
        parent = parent_file(path, kind(header), header.get("parent_stage")) if header.get("parent") else None
        todo += [(found, read_header(found)) for found in (parent, teacher_file(path, header)) if found and found.is_file()]


def _taught_otherwise(path: Path, header: dict[str, Any], digest: Callable[[Path], str]) -> Iterator[str]:
    """A line on a checkpoint that learned from another teacher than is there now. A missing teacher is fine, as a parent is."""
    teacher = teacher_file(path, header)
    if teacher and teacher.is_file() and digest(teacher) != header["teacher"]:
        found, named = digest(teacher)[: content.SHORT], header["teacher"][: content.SHORT]
        yield f"{path}: learned from another {teacher} than lies there now (sha256 {found}, its header names {named})"


def _made_otherwise(
    path: Path, header: dict[str, Any], family: ExpectedFamily, study: Expected, data: Data | None
) -> Iterator[str]:
    """At most one line on a checkpoint whose identity, configuration or data set differs from the study's."""
    one = _identity(path)
    cell = one.parent._asdict() | ({"method": one.cell.method, "ratio": one.cell.ratio} if one.cell else {})
    wrong = difference(header.get("cell"), cell, "cell") or difference(header["stage"], one.stage, "stage")
    if wrong:
        yield f"{path}: lies where another network belongs: {wrong}"
        return
    places = study.imports.get(one.path) or _configured(one, family)
    if places is not None:
        expected = _unpacked(places, study)
        model = expected.pop("model")
        if one.cell and one.stage == "pruned" and one.path not in study.imports:
            expected["ratio"] = one.cell.ratio
        wrong = difference(header.get("model"), model, "model") or difference(header.get("config"), expected)
        if wrong:
            yield f"{path}: was made under another configuration: {wrong}"
            return
    # An initial network knows no images.
    if data is not None and one.stage != INITIAL and header.get("data") != data.digest:
        yield f"{path}: trained on a data set other than lies there now (digest {str(header.get('data'))[:12]})"


def _configured(one: Checkpoint, family: ExpectedFamily) -> Places | None:
    """How the study makes a checkpoint; None, for a pruned network of a method that only an import has."""
    if variant_of(one.stage):
        return family.variants.get(one.path.removeprefix(f"{one.parent.path}/"))
    if one.cell is None:
        return family.initial if one.stage == INITIAL else family.dense
    of = {"pruned": family.pruned, GRAFTED: family.grafted}.get(one.stage, family.finetuned)
    return of.get(cell_name(one.cell))


def _unpacked(places: Places, study: Expected) -> dict[str, Any]:
    return {key: study.values[place] for key, place in places.items()}


def _spec(places: Places, study: Expected, one: Checkpoint) -> dict[str, Any]:
    return _unpacked(places, study) | {"seed": one.parent.seed}


def _lines(
    check: Callable[..., None], path: Path, origin: dict[str, str], spec: dict[str, Any], data: Data | None
) -> Iterator[str]:
    """At most one line on what is wrong with a table; none for one that cannot be read, which `aggregate` names."""
    try:
        with open(path, newline="") as file:
            columns, *rows = list(csv.reader(file, strict=True))
        about = origin | {"spec": content.of_spec(spec)}
        if any(len(row) != len(columns) for row in rows) or not set(about) <= set(columns):
            return
        places = [columns.index(name) for name in about]
        require_origin(path, (tuple(row[place] for place in places) for row in rows), {**about})
        if columns != FAILED:
            check(path, columns, rows, spec, data)
    except SparrowError as error:
        yield str(error)
    except (OSError, ValueError, csv.Error):
        return


def _outcomes(path: Path, columns: list[str], rows: list[list[str]], spec: dict[str, Any], data: Data | None) -> None:
    """Raise SparrowError unless there is a row, with the right label, for each image to evaluate, and for no other."""
    if columns not in COLUMNS.values() or data is None:
        return
    samples = (spec.get("attack") or spec["verifier"]).get("samples")
    asked = dict(list(data.labels.items())[:samples])
    found = {int(row[0]): int(row[1]) for row in rows}
    missing, others = asked.keys() - found.keys(), found.keys() - asked.keys()
    if missing:
        raise SparrowError(
            f"{path}: lacks {len(missing)} of the {len(asked)} test images that the study says (image {min(missing)})"
        )
    if others:
        raise SparrowError(f"{path}: has {len(others)} images besides those that the study says (image {min(others)})")
    for image, label in found.items():
        if label != asked[image]:
            raise SparrowError(f"{path}: image {image} has the label {label}, in the data set {asked[image]}")


def _whole(path: Path, columns: list[str], rows: list[list[str]], spec: dict[str, Any], data: Data | None) -> None:
    """Raise SparrowError unless the table has as many rows as its column `rows` states."""
    if analysis_table.ROWS in columns:
        require_whole(path, [int(row[columns.index(analysis_table.ROWS)]) for row in rows])


def difference(found: Any, expected: Any, key: str = "") -> str | None:
    """The first difference between a piece of configuration and the study's, with its key, in words; None if there is none."""
    if not (isinstance(found, dict) and isinstance(expected, dict)):
        return None if found == expected else f"{key or 'config'} is {found!r}, the study says {expected!r}"
    for name in sorted(found.keys() | expected.keys()):
        inner = f"{key}.{name}" if key else name
        if name not in found:
            return f"{inner} is not there, the study says {expected[name]!r}"
        if name not in expected:
            return f"{inner} is {found[name]!r}, the study has none"
        if wrong := difference(found[name], expected[name], inner):
            return wrong
    return None
