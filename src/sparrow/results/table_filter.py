"""Menus above a table on an HTML page, one for each column with few values, that show only the rows with a chosen one.

The page needs nothing from elsewhere; without scripts it shows all rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

SCRIPT = """<script>
(function () {
  const table = document.querySelector("table"), bar = document.createElement("p"), chosen = {};
  const heads = [...table.tHead.rows[0].cells].map(cell => cell.textContent.trim());
  const rows = [...table.tBodies[0].rows];
  const show = () => rows.forEach(row => {
    row.hidden = Object.entries(chosen).some(([place, value]) => value !== "" && row.cells[place].textContent.trim() !== value);
  });
  for (const name of COLUMNS) {
    const place = heads.indexOf(name);
    const values = place < 0 ? [] : [...new Set(rows.map(row => row.cells[place].textContent.trim()))].sort();
    if (values.length < 2) continue;
    const label = document.createElement("label"), menu = document.createElement("select");
    menu.append(new Option("all", ""), ...values.map(value => new Option(value || "–", value)));
    menu.onchange = () => { chosen[place] = menu.value; show(); };
    label.append(name + " ", menu, " ");
    bar.append(label);
  }
  bar.style.font = "13px system-ui, sans-serif";
  bar.style.margin = "1em";
  table.before(bar);
})();
</script>
"""


def with_menus(page: str, columns: Sequence[str]) -> str:
    """The HTML `page` of one table with a menu for each of `columns` (by header) that has several values."""
    return page.replace("</body>", SCRIPT.replace("COLUMNS", json.dumps(list(columns))) + "</body>")
