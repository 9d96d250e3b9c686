"""The libraries that the page carries inside: DataTables for tables, as itables bundles it, and Vega-Lite for charts.

Both are MIT or BSD licensed, and the page asks no server for anything.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import itables
import vl_convert

from sparrow.results.page.packed import pack

BUNDLE = Path(itables.__file__).parent / "html/dt_bundle"


@cache
def packed() -> dict[str, str]:
    """Scripts and styles by name, packed."""
    return {
        "datatables.js": pack(BUNDLE.with_suffix(".js").read_bytes()),
        "datatables.css": pack(BUNDLE.with_suffix(".css").read_bytes()),
        "vega.js": pack(vl_convert.javascript_bundle().encode()),  # type: ignore[call-arg]
    }
