"""The chain of files from a data set to a checkpoint, or to a table or other file made from one. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sparrow.errors import CheckpointError
from sparrow.files import content
from sparrow.files.headers import COMPACT_FORMAT, FORMAT, kind, read_header, sha256
from sparrow.files.headers import DATA_FORMAT as DATA
from sparrow.files.headers import EXAMPLES_FORMAT as EXAMPLES
from sparrow.files.headers import OUTPUTS_FORMAT as OUTPUTS
from sparrow.files.outcome_table import origin
from sparrow.files.paths import NETWORK, TABLE, data_file, parent_file, subject_of

FORMATS = (FORMAT, COMPACT_FORMAT, DATA, EXAMPLES, OUTPUTS)
BESIDE = {EXAMPLES: "examples", OUTPUTS: "outputs"}
"""Formats of what was made of a checkpoint, and what a link of the chain calls it."""

DATA_SET = "data set"


@dataclass(frozen=True)
class Link:
    """One file of a chain: what it is, its header, its digest, and the digest that the next file's header names.

    `digest` is the SHA-256 of the file (of a data set, that of its content), None if the file is missing; `named` is the digest
    in the next file's header, None if there is none. `content` is the digest of the file's tensors, and `said` the one in its
    own header; both are None for files without.
    """

    what: str
    path: Path
    digest: str | None = None
    named: str | None = None
    header: dict[str, Any] = field(default_factory=dict)
    content: str | None = None
    said: str | None = None

    @property
    def state(self) -> Literal["ok", "missing", "MISMATCH", "CHANGED", ""]:
        """MISMATCH: not the file that was used. CHANGED: changed since it was written. Empty: nothing to compare with."""
        if self.digest is None:
            return "missing"
        if self.named not in (None, self.digest):
            return "MISMATCH"
        if self.content != self.said:
            return "CHANGED"
        return "" if self.named is None else "ok"

    @property
    def wrong(self) -> bool:
        """Whether `state` is MISMATCH or CHANGED."""
        return self.state in ("MISMATCH", "CHANGED")


def digest_of(path: Path) -> str:
    """SHA-256 of a file; of a data set, that of its content."""
    try:
        about = read_header(path, *FORMATS)
    except CheckpointError:
        return sha256(path)
    if about["format"] != DATA:
        return sha256(path)
    return content.of_file(path)


class Digests(NamedTuple):
    """Functions for the digest of a file, and of the tensors in it; callers may pass cached ones."""

    file: Callable[[Path], str] = digest_of
    content: Callable[[Path], str] = content.of_file


def chain(path: Path, digest: Digests | None = None) -> list[Link]:
    """The files from the data set to `path`, which is a file of Sparrow's, or a table beside or below a checkpoint.

    The chain stops at a file that is missing or not the one that was used, but begins with the data set if a header names it.
    Raises CheckpointError if `path` is no such file.
    """
    digest = digest or Digests()
    links = [_table(path, digest) if path.suffix == TABLE else _link(path, None, digest)]
    while links[-1].state in ("ok", "") and (found := _behind(links[-1], digest)):
        links.append(_parent(*found, digest))
    # The header of a file that is not the one that was used says nothing about the data set.
    unknowing = {"table", *BESIDE.values()}
    known = [link for link in links if link.what not in unknowing and link.header.get("data") and not link.wrong]
    if links[-1].what != DATA_SET and known:
        links.append(_parent(data_of(known[-1].path, known[-1].header), known[-1].header["data"], digest))
    return links[::-1]


def _behind(link: Link, digest: Digests) -> tuple[Path, str | None] | None:
    """Path and digest, as the link names them, of the file that it was made from; None for a data set, or if unknown."""
    if link.what == DATA_SET:
        return None
    if link.what in ("table", *BESIDE.values()):
        checkpoint, named = subject_of(link.path), link.header.get("network")
        if link.what == "table" and checkpoint and named and _content(checkpoint) == named:
            # Tables name the first digits of the content's digest.
            named = digest.file(checkpoint)
        return (checkpoint, named) if checkpoint else None
    parent = parent_file(link.path, kind(link.header), link.header.get("parent_stage"))
    return (parent, link.header["parent"]) if parent and link.header.get("parent") else None


def _content(checkpoint: Path) -> str | None:
    """The digest by which tables name a checkpoint; None if it cannot be read."""
    try:
        return content.of_header(read_header(checkpoint))[: content.SHORT]
    except CheckpointError:
        return None


def _parent(path: Path, named: str | None, digest: Digests) -> Link:
    what = DATA_SET if path.name == f"data{NETWORK}" else path.stem
    if not path.is_file():
        return Link(what, path, None, named)
    try:
        return _link(path, named, digest)
    except CheckpointError:
        # Its digest differs from the named one, since that file could be read.
        return Link(what, path, digest.file(path), named)


def _link(path: Path, named: str | None, digest: Digests) -> Link:
    header = read_header(path, *FORMATS)
    if header["format"] == DATA:
        # If no other file names the digest, its own header does.
        return Link(DATA_SET, path, digest.file(path), named or header.get("digest"), header)
    what = BESIDE.get(header["format"]) or kind(header)
    said = header.get("content")
    return Link(what, path, digest.file(path), named, header, digest.content(path) if said else None, said)


def _table(path: Path, digest: Digests) -> Link:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if subject_of(path) is None:
        raise CheckpointError(f"{path}: a table, but not one beside a checkpoint or in its folder")
    return Link("table", path, digest.file(path), header=origin(path))


def data_of(path: Path, header: dict[str, Any]) -> Path:
    """Path of the data set of the checkpoint `path`, by the layout of a results folder."""
    return data_file(path, header["stage"], kind(header) == "compact")


def teacher_file(path: Path, header: dict[str, Any]) -> Path | None:
    """Path of the checkpoint that the one at `path` learned from; None if it learned from none."""
    if not header.get("teacher"):
        return None
    return parent_file(path, "pruned", header["config"]["distillation"]["teacher"])


def teacher_of(link: Link, digest: Digests | None = None) -> Link | None:
    """The checkpoint that the one of a `link` learned from, by its header; None if it learned from none."""
    path = None if link.wrong else teacher_file(link.path, link.header)
    return None if path is None else _parent(path, link.header["teacher"], digest or Digests())
