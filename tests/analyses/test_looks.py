"""Methods in the figures of analyses look as in all others: of many, the best stand out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from sparrow.analyses import corruptions, stability, transfer_baseline
from sparrow.results.figures import style
from sparrow.results.looks import COLOURS, OTHERS

OF = {"dataset": "digits", "model": "cnn-small", "objective": "benign"}
SPEC = {"dataset": "digits", "model": "cnn-small", "objectives": ["benign"], "stage": "finetuned", "code": "test"}
SPEC |= {"threats": {"benign": {"norm": "linf", "eps": 0.1}}}
OWN: dict[str, list[dict[str, Any]]] = {
    "stability": [{"layer": layer, "neurons": 100, "unstable": 10 * layer} for layer in (1, 2)],
    "corruptions": [{"kind": kind, "severity": 3, "accuracy": 0.8} for kind in ("none", "gaussian_noise")],
    "transfer_baseline": [{"from_seed": seed, "share": 0.3} for seed in (0, 1)],
}
DRAW: dict[str, Callable[[Path, Path, Path, Any], None]] = {
    "stability": stability.draw,
    "corruptions": lambda source, *files_and_spec: corruptions.draw([source], *files_and_spec),
    "transfer_baseline": transfer_baseline.draw,
}


def drawn(name: str, methods: list[str], best: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure of an analysis in a study of these methods, of which one is the best."""
    networks = [{**OF, "method": "dense", "ratio": 0.0, "seed": 0, "stage": "dense"}]
    networks += [
        {**OF, "method": method, "ratio": ratio, "seed": 0, "stage": "finetuned"}
        for method, ratio in product(methods, (0.5, 0.9))
    ]
    eras = [{"era": 0.9 if one["method"] == best else 0.5, "constant": False} for one in networks]
    pd.DataFrame([one | era for one, era in zip(networks, eras, strict=True)]).to_csv(folder / "summary.csv", index=False)
    pd.DataFrame([one | own for one, own in product(networks, OWN[name])]).to_csv(folder / "table.csv", index=False)
    (folder / "figures").mkdir(exist_ok=True)
    figures: list[Figure] = []
    monkeypatch.setattr(style, "write", lambda figure, svg, png: figures.append(figure))
    DRAW[name](folder / "table.csv", folder / "figures/a.svg", folder / "figures/a.png", SPEC)
    style.plt.close(figures[0])
    return figures[0]


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize("count", [3, 12])
def test_of_many_methods_the_best_have_colours_and_names_and_the_others_are_grey(
    name: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = [f"method-{number:02d}" for number in range(count)]
    figure = drawn(name, methods, methods[-1], tmp_path, monkeypatch)
    (legend,) = figure.legends
    told = {text.get_text() for text in legend.get_texts()}
    shown = set(methods if count == 3 else [*methods[:4], methods[-1]])
    assert told & {*methods, OTHERS} == shown | ({OTHERS} if count > 3 else set())
    lines = [line for axes in figure.axes for line in axes.get_lines() if len(line.get_xdata()) > 1]
    colours = {to_hex(line.get_color()).upper() for line in lines}
    assert len(colours & set(COLOURS)) == len(shown)
    named = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert named & set(methods) == (shown if count > 3 else set())
