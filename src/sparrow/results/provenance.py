"""The report's appendix on the origin of each row: digests, code, device and versions of every checkpoint behind it."""

from __future__ import annotations

import hashlib
import html
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from sparrow.errors import CheckpointError
from sparrow.files import content
from sparrow.files.atomic import replacing
from sparrow.files.headers import read_header
from sparrow.files.lineage import DATA_SET, Digests, Link, chain, digest_of, teacher_of
from sparrow.files.parentage import refuse_other_parents
from sparrow.files.paths import CELL_COLUMNS, IDENTITY, UNPRUNED, identity_of, variant_of
from sparrow.results.environment import environment, environment_table
from sparrow.results.tables import KEYS, write_html

STAGES = ("initial", "dense", "pruned", "finetuned", "grafted", "variant")
RARE = ("grafted", "variant")
"""Stages that few studies have."""
ASPECTS = ("sha256", "code", "config", "device", "versions")
SHORT = 12
CAPTION = (
    "Which files each row was computed from, by the first digits of their digests, and by which code; provenance.csv has all "
    "digits. <code>sparrow lineage FILE</code> prints the same of one file."
)


class Row(NamedTuple):
    """One checkpoint of the summary, and the files that it was made from: `data set`, `dense`, `pruned`, `finetuned`; a rounded
    one itself is a `variant`, whatever it is one of; and its `teacher`, if it had one that is none of these."""

    identity: dict[str, Any]
    links: dict[str, Link]


def write_provenance(
    networks: list[Path], table: Path, table_html: Path, surroundings: Path, surroundings_html: Path, root: Path | None = None
) -> str | None:
    """Write a row per checkpoint in `networks`, in the order of the summary, and the environment of this job.

    `root` is the checkout, by default that of the workflow that runs this job. Raises CheckpointError if a file behind a
    checkpoint is not the one that was used. Returns a line for the user if the rows differ in device, versions or code.
    """
    rows = _rows(networks)
    lines = [_line(row) for row in rows]
    found = list(warnings(rows))
    with replacing(table) as partial:
        pd.DataFrame(lines, columns=_columns(rows)).to_csv(partial, index=False, lineterminator="\n")
    write_html(*_shown(rows, lines, table_html, found))
    about = environment(root or Path(os.environ["SPARROW_HOME"]))
    with replacing(surroundings) as partial:
        partial.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    environment_table(about, surroundings_html)
    return f"warning: {'; '.join(found)} ({table} says which)" if found else None


def _rows(networks: list[Path]) -> list[Row]:
    digest = Digests(cache(digest_of), cache(content.of_file))  # Many have one parent, and all of them one data set.
    rows = []
    for path in networks:
        header = read_header(path)
        refuse_other_parents(path, header, digest.file)
        links = {"variant" if variant_of(link.what) else link.what: link for link in chain(path, digest)}
        teacher = next((found for link in links.values() if (found := teacher_of(link, digest))), None)
        if teacher and teacher.path not in {link.path for link in links.values()}:
            links["teacher"] = teacher
        data = links.get(DATA_SET)
        if data and data.named and data.state == "MISMATCH":
            raise CheckpointError(f"{path}: trained on a data set other than {data.path} (digest {data.named[:SHORT]})")
        for link in links.values():
            if link.state == "CHANGED" and link.said and link.content:
                content.require(link.path, link.said, link.content)
        rows.append(Row(identity_of(header), links))
    return sorted(rows, key=lambda row: tuple(row.identity.values()))


def _stages(rows: list[Row]) -> list[str]:
    """The stages that have columns: all, but those that few studies have only where a network is of one."""
    return [stage for stage in STAGES if stage not in RARE or any(stage in row.links for row in rows)]


def _columns(rows: list[Row]) -> list[str]:
    return [*IDENTITY, "data", "lineage", *(f"{stage}_{aspect}" for stage in _stages(rows) for aspect in ASPECTS)]


def _line(row: Row) -> dict[str, Any]:
    data = row.links.get(DATA_SET)
    gone = [what for what, link in row.links.items() if link.state == "missing"]
    line = row.identity | {"ratio": repr(float(row.identity["ratio"]))}
    found = [f"missing: {', '.join(gone)}"] if gone else ["ok"]
    found += [f"{what} {_imported_from(link.header)}" for what, link in row.links.items() if "imported" in link.header]
    line |= {"data": data and (data.named or data.digest), "lineage": "; ".join(found)}
    for stage in STAGES:
        if stage in row.links:
            link, header = row.links[stage], row.links[stage].header
            values = (link.digest or link.named, header.get("code"), _digest(header), header.get("device"), _versions(header))
            line |= {f"{stage}_{aspect}": value for aspect, value in zip(ASPECTS, values, strict=True)}
    return line


def _imported_from(header: dict[str, Any]) -> str:
    """The file of a third party's network, in words."""
    return f"imported from {header['imported']['file']} (sha256 {header['imported']['sha256'][:SHORT]})"


def _digest(header: dict[str, Any]) -> str | None:
    """Digest of a spec."""
    if "config" not in header:
        return None
    return hashlib.sha256(json.dumps(header["config"], sort_keys=True).encode()).hexdigest()


def _versions(header: dict[str, Any]) -> str | None:
    return "; ".join(f"{name} {version}" for name, version in header.get("versions", {}).items()) or None


def warnings(rows: list[Row]) -> Iterator[str]:
    """Sentences on what differs between rows, though numbers depend on it: devices, versions, code."""
    devices, releases, codes = set(), defaultdict(set), defaultdict(set)
    for row in rows:
        cell = tuple(row.identity[key] for key in CELL_COLUMNS[:-1])
        for what, link in row.links.items():
            devices |= {link.header["device"]} if "device" in link.header else set()
            for name, version in link.header.get("versions", {}).items():
                releases[name].add(version or "none")
            if what in STAGES and "code" in link.header and "imported" not in link.header:
                codes[(*cell[:-1], what if what in UNPRUNED else cell[-1], what)].add(link.header["code"])
    if len(devices) > 1:
        yield f"rows were computed on {len(devices)} different devices: {', '.join(sorted(devices))}"
    for name, found in sorted(releases.items()):
        if len(found) > 1:
            yield f"rows were computed with {len(found)} versions of {name}: {', '.join(sorted(found))}"
    for who, found in sorted(codes.items()):
        if len(found) > 1:
            yield f"networks of {' '.join(who)} were made by {len(found)} versions of the code: {', '.join(sorted(found))}"


def _shown(rows: list[Row], lines: list[dict[str, Any]], output: Path, found: list[str]) -> tuple[pd.DataFrame, Path, str]:
    """Table, output and caption of the page: short digests; device and versions are columns only if they differ."""
    table = pd.DataFrame(lines, columns=_columns(rows)).astype(object)
    shown = table[[*KEYS, "data", *(f"{stage}_{aspect}" for aspect in ("sha256", "code") for stage in _stages(rows))]].copy()
    shown["ratio"] = [f"{row.identity['ratio']:g}" for row in rows]
    for column in shown.columns[len(KEYS) :]:
        shown[column] = shown[column].str[:SHORT]
    shown["files"] = table["lineage"]
    alike = []
    for aspect, where in (("device", "on"), ("versions", "with")):
        values = table[[f"{stage}_{aspect}" for stage in _stages(rows)]]
        kinds = sorted({value for value in values.to_numpy().flat if isinstance(value, str)})
        if len(kinds) == 1:
            alike.append(f"{where} {html.escape(kinds[0])}")
        elif kinds:
            for name in values.columns:
                shown[name] = values[name]
    shown.columns = [name.replace("_sha256", "").replace("_", " ") for name in shown.columns]
    caption = "".join(f"<strong>Warning: {html.escape(line)}.</strong><br>" for line in found) + CAPTION
    caption += f" All were made {', '.join(alike)}." if alike else ""
    return shown.where(shown.notna(), "–"), output, caption
