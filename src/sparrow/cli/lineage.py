"""Print the chain of files from the data set to a checkpoint, and whether each is still the one that was used."""

from __future__ import annotations

import argparse
import hashlib
import json
import textwrap
from pathlib import Path
from typing import Any

from sparrow import radius
from sparrow.files.lineage import DATA_SET, Link, chain, teacher_of
from sparrow.files.outcome_table import ORIGIN
from sparrow.files.paths import INITIAL

SHORT = 12
KEY, WIDTH = 19, 120
RADII = ("eps", "step_size", "sigma")
NAMES = {"network": "network", "data": "data set", "spec": "configuration"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a checkpoint, adversarial examples or an outcome table")
    parser.add_argument("--json", action="store_true", help="for programs: full digests and headers")
    parser.epilog = "The exit status is 1 if a file is another one than was used, or was changed after it was written."


def run(options: argparse.Namespace) -> int:
    """Print the chain, and whom its networks learned from; the exit status: 1 if a file is not the one that was used, or was
    changed."""
    links = chain(options.file)
    teachers = {link.path: teacher for link in links if (teacher := teacher_of(link))}
    ok = not any(link.wrong for link in (*links, *teachers.values()))
    print(_as_json(links, teachers, ok) if options.json else "\n\n".join(_block(one, teachers.get(one.path)) for one in links))
    return 0 if ok else 1


def _as_json(links: list[Link], teachers: dict[Path, Link], ok: bool) -> str:
    found = [_values(link) for link in links]
    for link, values in zip(links, found, strict=True):
        if link.path in teachers:
            values["teacher"] = _values(teachers[link.path])
    return json.dumps({"file": found[-1]["path"], "ok": ok, "chain": found}, indent=2, sort_keys=True)


def _values(link: Link) -> dict[str, Any]:
    keys = ("what", "digest", "named", "content", "said", "state", "header")
    return {"path": str(link.path), **{key: getattr(link, key) for key in keys}}


def _block(link: Link, teacher: Link | None) -> str:
    header = link.header
    lines = [f"{link.what:<{KEY}}{link.path}"]
    lines += _line("content" if link.what == DATA_SET else "sha256", _digest(link))
    if link.what == "table":
        about = ", ".join(f"{NAMES[name]} {header[name]}" for name in ORIGIN if name in header)
        lines += _line("about", about or "the checkpoint in whose folder it lies, or whose name it has; it names no digest")
    if "imported" in header:
        origin = header["imported"]
        lines += _line("imported from", f"{origin['file']} (sha256 {origin['sha256'][:SHORT]}), where nothing more is known")
    if teacher:
        lines += _line("learned from", f"{teacher.path}, {_digest(teacher)}")
    if "failed" in header:
        lines += _line("failed", header["failed"])
    lines += _line("cell", _in_words(header.get("cell")))
    if link.what == DATA_SET:
        lines += _line("holds", _in_words(header.get("dataset")))
        lines += _line("parts", _in_words(header.get("parts")))
    else:
        lines += _line("model", _in_words(header.get("model")))
    if "uncut" in header:
        lines += _line("stays masked", header["uncut"])
    if header.get("multiply_adds_left", header.get("multiply_adds")) != header.get("multiply_adds"):
        lines += _line("size", f"without the filters that it lost: {header.get('parameters_left', '?')} parameters are left")
    config = header.get("config")
    if config:
        lines += _line("config", hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:SHORT])
        for key, value in config.items():
            lines += _line(f"  {key}", _in_words(value))
    for key in ("code", "device", "versions"):
        lines += _line(key, _in_words(header.get(key)))
    return "\n".join(lines)


def _digest(link: Link) -> str:
    if link.digest is None:
        behind = "" if link.what in (DATA_SET, INITIAL) else "; what lies behind it is not known without it"
        return f"missing, was {link.named[:SHORT]}{behind}" if link.named else "missing"
    if link.state == "CHANGED":
        return f"{link.digest[:SHORT]}  CHANGED since it was written: content {_short(link.content)}, was {_short(link.said)}"
    if link.state == "MISMATCH":
        return f"{link.digest[:SHORT]}  MISMATCH: {_short(link.named)} was used"
    return f"{link.digest[:SHORT]}  {link.state}".rstrip()


def _short(digest: str | None) -> str:
    return digest[:SHORT] if digest else "unknown"


def _line(key: str, text: str) -> list[str]:
    """A key and its text, wrapped, but for paths; no line for an empty text."""
    wrapper = textwrap.TextWrapper(WIDTH, f"  {key:<{KEY - 2}}", " " * KEY, break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(text)


def _in_words(value: Any) -> str:
    """A piece of configuration as words: `kind (key value, ...)`."""
    if not isinstance(value, dict):
        return "" if value is None else str(value)
    value = {key: radius.text(item) if key in RADII and isinstance(item, float) else item for key, item in value.items()}
    words = ", ".join(f"{key} {_in_words(item) or '–'}" for key, item in value.items() if key != "kind")
    return f"{value['kind']} ({words})" if "kind" in value and words else value.get("kind", words)
