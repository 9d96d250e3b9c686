"""Bounds on random networks, counted: sound, refused by name, refuted by the guard, or wrong. About a quarter of an hour.

    python -m benchmarks.soundness [BOUNDS [FIRST_SEED]]

Networks are those of tests/verification/random_networks.py, each under l_inf and l2 at a radius of its own; what is held
against the bounds is in tests/verification/refutation.py. Writes results/soundness.csv, a line for each layer kind (`all` of
them first), bound and norm, and from it the second table of docs/bounds.md.
"""

from __future__ import annotations

import csv
import logging
import random
import sys
from collections import Counter
from pathlib import Path

import torch
from tests.verification.random_networks import random_network
from tests.verification.refutation import BOUNDS, RADII, VERDICTS, verdicts

from sparrow.files.csv_table import write_csv
from sparrow.settings import Threat
from sparrow.versions import versions

IMAGES = 40
RESULT = Path(__file__).parent / "results/soundness.csv"
PAGE = Path(__file__).parents[1] / "docs/bounds.md"
NORMS = ("linf", "l2")
COLUMNS = ["layer", "bound", "norm", *VERDICTS, "networks", "first_seed", "last_seed", "images", "versions"]


def table() -> str:
    """The counts as a table: layers in rows, bounds and norms in columns, in the cells how many bounds were sound."""
    with open(RESULT, newline="") as file:
        rows = {(row["layer"], row["bound"], row["norm"]): row for row in csv.DictReader(file)}
    pairs = [(bound, norm) for bound in BOUNDS for norm in NORMS]
    lines = [["layer", "networks", *map(" ".join, pairs)], ["---"] * (len(pairs) + 2)]
    for layer in dict.fromkeys(layer for layer, _, _ in rows):
        cells = [rows[layer, *pair] for pair in pairs]
        lines.append([layer, cells[0]["networks"], *map(_cell, cells)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(counts: dict[str, str]) -> str:
    """How many bounds were sound, a dash for none; what else than a refusal by name there was, in brackets."""
    others = [f"{counts[name]} {name}" for name in VERDICTS if name not in ("sound", "refused") and counts[name] != "0"]
    sound = counts["sound"] if counts["sound"] != "0" else "–"
    return f"{sound} ({', '.join(others)})" if others else sound


def main(wanted: int = 100_000, first: int = 0) -> None:
    torch.set_num_threads(1)
    logging.disable(logging.ERROR)
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    seed, total = first, 0
    while total < wanted:
        network = random_network(seed, IMAGES)
        for norm in NORMS:
            torch.manual_seed(seed)
            threat = Threat(norm=norm, eps=random.Random(f"{seed} {norm}").choice(RADII))
            for verdict in verdicts(network, threat):
                total += sum(verdict.counts.values())
                for layer in ("all", *network.kinds):
                    counts.setdefault((layer, verdict.bound, norm), Counter()).update(verdict.counts | {"networks": 1})
                if not {"sound", "refused"} >= {name for name, number in verdict.counts.items() if number}:
                    print(f"seed {seed}, {threat.norm} {threat.eps:g}, {verdict.bound}: {verdict.counts} {verdict.reason}")
        seed += 1
    about = "; ".join(f"{name} {version}" for name, version in (versions("auto_LiRPA") | {"torch": torch.__version__}).items())
    order = sorted(counts, key=lambda key: (key[0] != "all", key))
    rows = [(*key, *(counts[key][name] for name in (*VERDICTS, "networks")), first, seed - 1, IMAGES, about) for key in order]
    write_csv(RESULT, COLUMNS, rows)
    PAGE.write_text(PAGE.read_text().split("| layer | networks |")[0].rstrip() + "\n\n" + table())
    whole = sum((counts[key] for key in order if key[0] == "all"), Counter())
    print(f"{total} bounds on {seed - first} networks: " + ", ".join(f"{whole[name]} {name}" for name in VERDICTS))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
