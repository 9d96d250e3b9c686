"""Files inside the page: compressed, as text, the same bytes for the same content."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any


def pack(content: bytes) -> str:
    """`content`, gzip-compressed without a time, in base64; `page.js` unpacks it."""
    return base64.b64encode(gzip.compress(content, compresslevel=9, mtime=0)).decode("ascii")


def pack_json(value: Any) -> str:
    """A plain value as packed JSON. Raises ValueError for NaN, which is no JSON."""
    return pack(json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode())
