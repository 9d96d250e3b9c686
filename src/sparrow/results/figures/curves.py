"""Learning curves of all stages: the objective's own loss and the benign accuracy on validation images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sparrow.files.paths import DENSE, base_of, variant_of
from sparrow.files.specs import opened
from sparrow.results.beside import read_beside
from sparrow.results.figures import style
from sparrow.results.specs.figures import RunsFigureSpec

DRAWN_FROM = "*.curve.csv"
WITHOUT_PRUNING = True
CAPTION = (
    "Loss (the objective's own) and benign accuracy on the validation images in each epoch of pre-training, pruning "
    "and fine-tuning, and of training under rounding where a variant does that. Fainter lines have higher pruning "
    "ratios; the mark on a line is the method's. Of more than seven methods the best are in colour, with random "
    "pruning, and all others grey. Methods that do not train have no curve while pruning."
)

STAGES = {"dense": "pre-training", "pruned": "pruning", "finetuned": "fine-tuning", "grafted": "grafting"}


@opened(RunsFigureSpec)
def draw_curves(source: list[Path], svg: Path, png: Path, spec: RunsFigureSpec) -> None:
    """Draw the curves of one data set and model. `spec.runs` says whose each file in `source` is, in the same order.

    Darker lines have lower ratios; methods that do not learn have no curve in the pruning row.
    """
    runs = pd.DataFrame(spec.runs)
    looks = style.looks(svg, spec, runs.assign(stage=spec.stage)[runs["stage"] != DENSE])
    tables = [read_beside(path) for path in source]
    methods = sorted(set(runs.loc[runs["stage"].map(base_of) != DENSE, "method"]))
    ratios = sorted(set(runs["ratio"]) - {0.0})
    objectives = spec.objectives
    marked = list(filter(looks.stands_out, methods))
    # Few studies graft, and few variants train.
    stages = {stage: title for stage, title in STAGES.items() if stage != "grafted" or stage in set(runs["stage"])}
    trained = [run["stage"] for table, run in zip(tables, spec.runs, strict=True) if variant_of(run["stage"]) and len(table)]
    stages |= {stage: stage.replace("+", "\n+") for stage in dict.fromkeys(trained)}
    figure, grid = style.panels(2 * len(stages), len(objectives), height=1.5, sharey=False)
    for number, (stage, title) in enumerate(stages.items()):
        for column, objective in enumerate(objectives):
            loss, benign = grid[2 * number, column], grid[2 * number + 1, column]
            for table, run in zip(tables, spec.runs, strict=True):
                if run["stage"] != stage or run["objective"] != objective or table.empty:
                    continue
                look: dict[str, Any] = {"color": "black", "linewidth": 1}
                if base_of(stage) != DENSE:
                    fade = ratios.index(run["ratio"]) / max(1, len(ratios) - 1)
                    look = {"linewidth": 1, **looks.of(run["method"]), "alpha": 1 - 0.7 * fade}
                    look["markevery"] = _place_of_mark(table, run["method"], marked)
                loss.plot(table["epoch"], table["validation_loss"], **look)
                benign.plot(table["epoch"], 100 * table["validation_benign"], **look)
            benign.set_ylim(0, 103)
            # Stages train for different numbers of epochs.
            loss.sharex(benign)
            loss.tick_params(labelbottom=False)
            benign.set_xlabel("epoch")
            if column == 0:
                loss.set_ylabel(f"{title}\nloss")
                benign.set_ylabel(f"{title}\nbenign (%)")
    # The first stage's are out of sight where rows are many.
    for row in grid[::2]:
        for axes, objective in zip(row, objectives, strict=True):
            axes.set_title(objective)
    for method in sorted(methods, key=lambda method: (not looks.stands_out(method), method)):
        grid[0, 0].plot([], [], **looks.line(method))
    grid[0, 0].plot([], [], color="black", label="dense")
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)


def _place_of_mark(table: pd.DataFrame, method: str, marked: list[str]) -> list[int]:
    """The row of a curve at which a method has its mark: elsewhere than the others that have one, and would hide it."""
    return [int((marked.index(method) + 0.5) / len(marked) * len(table))] if method in marked else []
