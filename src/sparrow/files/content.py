"""Digests of the contents of Sparrow's files, to identify them and to detect changes. Imports no torch and no numpy.

A header names the digest of the tensors in its own file, so that a change after writing can be detected from the file alone.
An outcome table names the digests of its network, of its data set and of its specification.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from sparrow.errors import CheckpointError

SHORT = 16
"""Hex digits of a digest in a table."""
_CHUNK = 1 << 20
_TYPES = {"BOOL": "bool", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "C64": "complex64"}
_KINDS = {"F": "float", "I": "int", "U": "uint"}
CURE = "it was changed or damaged after it was written; delete it, and what was made from it, and run again"


def of_file(path: Path, prefix: str = "") -> str:
    """SHA-256 of the names, types, shapes and values of the tensors in a safetensors file whose names start with `prefix`.

    The file is read in pieces of 1 MiB. Raises CheckpointError if it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            tensors = json.loads(_all(file, size))
            for name in sorted(key for key in tensors.keys() - {"__metadata__"} if key.startswith(prefix)):
                about = tensors[name]
                digest.update(f"{name} {_type(about['dtype'])} {tuple(about['shape'])}\n".encode())
                begin, end = about["data_offsets"]
                file.seek(8 + size + begin)
                for start in range(begin, end, _CHUNK):
                    digest.update(_all(file, min(_CHUNK, end - start)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error, MemoryError, OverflowError) as error:
        raise CheckpointError(f"{path}: truncated, or not a safetensors file ({error})") from None
    return digest.hexdigest()


def _all(file: BinaryIO, size: int) -> bytes:
    found = file.read(size)
    if len(found) < size:
        raise ValueError("its end is missing")
    return found


def _type(code: str) -> str:
    """The name in numpy and torch, such as `float32`, of a type of safetensors, such as `F32`."""
    return _TYPES.get(code) or f"{_KINDS.get(code[:1], code[:1])}{code[1:]}"


def require(path: Path, named: str, found: str) -> None:
    """Raise CheckpointError if `found`, the digest of the tensors in `path`, is not `named`, the digest in its header."""
    if found != named:
        raise CheckpointError(
            f"{path}: its content is not what its header says (digest {found[:12]}, the header names {str(named)[:12]}): {CURE}"
        )


def of_header(header: dict[str, Any]) -> str:
    """The digest by which tables name a network: its header's `content`, or SHA-256 of the reason why it failed."""
    return header["content"] if "failed" not in header else hashlib.sha256(header["failed"].encode()).hexdigest()


def of_networks(digests: Iterable[str]) -> str:
    """Digest (`SHORT` digits) that stands in a table for all networks that it is about, by the digests of each.

    Of one network it is its own, of none it is empty; the order plays no part.
    """
    short = sorted({digest[:SHORT] for digest in digests})
    return "".join(short) if len(short) < 2 else hashlib.sha256(" ".join(short).encode()).hexdigest()[:SHORT]


def of_spec(spec: dict[str, Any]) -> str:
    """Digest (`SHORT` digits) of a job's spec without the digest of its code."""
    without_code = {key: value for key, value in spec.items() if key != "code"}
    return hashlib.sha256(json.dumps(without_code, sort_keys=True).encode()).hexdigest()[:SHORT]
