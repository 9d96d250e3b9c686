"""The chain of files from a data set to a checkpoint, or to what was made of one. For people; imports no torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from safetensors import safe_open

from sparrow.checkpoint_file import COMPACT_FORMAT, FORMAT, read_header, sha256
from sparrow.data._digest import content_digest
from sparrow.errors import CheckpointError
from sparrow.parentage import kind, parent_path

DATA, EXAMPLES = "sparrow-data/2", "sparrow-examples/2"
"""The formats of `data._store` and `examples_file`, which import torch."""
FORMATS = (FORMAT, COMPACT_FORMAT, DATA, EXAMPLES)

DATA_SET = "data set"


@dataclass(frozen=True)
class Link:
    """One file of a chain: what it is, its header, its digest, and the digest that the next file's header names.

    The digest is the SHA-256 of the file; a data set's is that of its content. It is None where there is no file;
    `named` is None where nobody names one.
    """

    what: str
    path: Path
    digest: str | None = None
    named: str | None = None
    header: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> Literal["ok", "missing", "MISMATCH", ""]:
        if self.digest is None:
            return "missing"
        if self.named is None:
            return ""
        return "ok" if self.digest == self.named else "MISMATCH"


def digest_of(path: Path) -> str:
    """SHA-256 of a file; of a data set, that of its content."""
    try:
        about = read_header(path, *FORMATS)
    except CheckpointError:
        return sha256(path)
    if about["format"] != DATA:
        return sha256(path)
    with safe_open(path, framework="np") as file:
        return content_digest((name, file.get_tensor(name)) for name in sorted(file.keys()))


def chain(path: Path, digest: Callable[[Path], str] = digest_of) -> list[Link]:
    """From the data set to `path`: a file of Sparrow's, or a table beside or below a checkpoint.

    The chain goes no further back than to a file that is missing or another one, but has the data set where a header names
    one. `digest` is for callers that remember what `digest_of` says. Raises CheckpointError if `path` is no such file.
    """
    links = [_table(path, digest) if path.suffix == ".csv" else _link(path, None, digest)]
    while links[-1].state in ("ok", "") and (found := _behind(links[-1])):
        links.append(_parent(*found, digest))
    # What another file says of its data set is nothing about this one.
    known = [link for link in links if link.header.get("data") and link.state != "MISMATCH"]
    if links[-1].what != DATA_SET and known:
        links.append(_parent(data_path(known[-1].path, known[-1].header), known[-1].header["data"], digest))
    return links[::-1]


def _behind(link: Link) -> tuple[Path, str | None] | None:
    """The file that a link was made from, and the digest that it names; None for a data set, or where that is not known."""
    if link.what == DATA_SET:
        return None
    if link.what in ("table", "examples"):
        checkpoint = _checkpoint_of(link.path)
        return checkpoint and (checkpoint, link.header.get("network"))
    parent = parent_path(link.path, link.header)
    return (parent, link.header["parent"]) if parent and link.header.get("parent") else None


def _parent(path: Path, named: str | None, digest: Callable[[Path], str]) -> Link:
    what = DATA_SET if path.name == "data.safetensors" else path.stem
    if not path.is_file():
        return Link(what, path, None, named)
    try:
        return _link(path, named, digest)
    except CheckpointError:
        # What nobody can read is not what was read then, if somebody named that.
        return Link(what, path, digest(path), named)


def _link(path: Path, named: str | None, digest: Callable[[Path], str]) -> Link:
    header = read_header(path, *FORMATS)
    if header["format"] == DATA:
        # Where nobody else names its digest, it does.
        return Link(DATA_SET, path, digest(path), named or header.get("digest"), header)
    what = "examples" if header["format"] == EXAMPLES else kind(header)
    return Link(what, path, digest(path), named, header)


def _table(path: Path, digest: Callable[[Path], str]) -> Link:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if _checkpoint_of(path) is None:
        raise CheckpointError(f"{path}: a table, but not one beside a checkpoint or in its folder")
    return Link("table", path, digest(path))


def _checkpoint_of(path: Path) -> Path | None:
    """The checkpoint that a table or a file of adversarial examples is about: it has that name, or lies in its folder."""
    absolute = Path(os.path.abspath(path))
    for up, name in enumerate((absolute.name.split(".")[0], absolute.parent.name, absolute.parent.parent.name)):
        found = Path(os.path.normpath(path.parent / "/".join([".."] * up) / f"{name}.safetensors"))
        if found.is_file():
            return found
    return None


def data_path(path: Path, header: dict[str, Any]) -> Path:
    """Where the layout of a study's folder has the data set of a checkpoint."""
    up = {"dense": 3}.get(header["stage"], 4) + (kind(header) == "compact")
    return Path(os.path.normpath(path.parent / "/".join([".."] * up) / "data.safetensors"))
