"""Flips: the images that pruning loses and gains, and whether they lay near the dense network's boundary ("thin ice").

Every pruned or rounded network is held against its dense parent, image by image: `n11` both have right (robust, verified: the
`metric`), `n10` are lost, `n01` gained, `n00` neither has; means over `pairs`, one a seed. `auc` is the chance that a lost
image was nearer to the dense network's boundary than a kept one, with a 95 % interval over images: 1 if pruning loses
exactly the nearest, 0.5 if it pays no heed to distance. Distance is that of the nearest adversarial image that any attack
has found, an upper bound; medians of it are `median_lost` and `median_kept`. `gained_auc` is the same for gained images
against those that stay lost: whether they were the nearest to being right, by distance or, where the dense network is
wrong, by the logits' margin. Both are empty where fewer than `fewest` images are on either side. `p` (Brunner
and Munzel) is of distance playing no part, `p_holm` adjusted for all methods and ratios of a panel.

Near images flip under any change, also if a network is merely trained again: rows of the method `churn` hold the dense
network of a seed against those of the others. What pruning does is what goes beyond these, in `n10` as in `auc`; without
several seeds there is no such row, and no such claim. Metrics must not be mixed: robust images are far by definition. In
`flips.pairs` there is a row for each network, with McNemar's exact p that as many are lost as gained (of single networks:
the ranking says which difference outlasts another seed). `flips.agreement` says of the whole ball around an image what the
tables prove: on at least `agree_ball_low` of the images both networks are verified and so name the same class everywhere in
it; on at most `agree_ball_high` has nobody found a point in it where they differ; `agree_images` is for the images
themselves.

Source: after Piras et al., "Samples on Thin Ice: Re-Evaluating Adversarial Pruning of Neural Networks", arXiv 2310.08073,
of which the abstract and notes by others were had: the four sets and the claim are theirs; how they measure distance is not
known. The statistic, its test, the churn and the agreement over a ball (after Paulsen et al., "ReluDiff: Differential
Verification of Deep Neural Networks", ICSE 2020, which asks for it) are Sparrow's own.

BibTeX:

@article{piras2023samples,
  author = {Piras, Giorgio and Pintor, Maura and Demontis, Ambra and Biggio, Battista},
  title = {Samples on Thin Ice: Re-Evaluating Adversarial Pruning of Neural Networks},
  journal = {arXiv preprint arXiv:2310.08073},
  year = {2023},
}

@inproceedings{paulsen2020reludiff,
  author = {Paulsen, Brandon and Wang, Jingbo and Wang, Chao},
  title = {{ReluDiff}: Differential Verification of Deep Neural Networks},
  booktitle = {International Conference on Software Engineering},
  year = {2020},
}
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from sparrow.files.paths import CELL_COLUMNS, LABEL_COLUMNS
from sparrow.files.specs import opened
from sparrow.results.specs.figures import FigureSpec
from sparrow.settings import Analysis, Columns, Requirement, Scope

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from sparrow.results.figures.style import Looks
    from sparrow.results.flips import Pair
    from sparrow.results.study_tables import Tables

CELL = (*CELL_COLUMNS, "stage")


class Params(Analysis):
    """How intervals are drawn, and from how many images on."""

    scope: ClassVar[Scope] = "tables"
    requires: ClassVar[tuple[Requirement, ...]] = ("dense", "distances")
    # Whose images by which metric; how many pairs of networks; the four sets; the two AUCs; whether a network is constant. Of
    # each pair (`against` is the seed of the dense network) the same without intervals. What is proven of both. Of each tenth
    # of the images that the dense network has right, from the nearest, the share that is lost.
    tables: ClassVar[Columns] = {
        "flips": (
            *(*CELL, "metric", "pairs", "images", "n11", "n10", "n01", "n00"),
            *("auc", "auc_low", "auc_high", "p", "p_holm", "median_lost", "median_kept"),
            *("gained_auc", "gained_auc_low", "gained_auc_high", "constant"),
        ),
        "pairs": (
            *(*CELL, "seed", "against", "metric", "images", "n11", "n10", "n01", "n00", "auc", "median_lost", "median_kept"),
            "mcnemar_p",
        ),
        "agreement": (*CELL, "seed", "against", "images", "agree_images", "agree_ball_low", "agree_ball_high"),
        "deciles": (*CELL, "metric", "decile", "images", "lost", "low", "high"),
    }

    fewest: int = Field(5, ge=2)
    """Fewest images, over all seeds, that have to be lost and kept for an AUC."""
    draws: int = Field(1000, ge=100)
    """Draws of the images behind each interval."""


def analyse(subject: Tables, params: Params) -> dict[str, list[tuple]]:
    """A row of each table for each cell, pair and tenth of the images."""
    from sparrow.jobs import journal
    from sparrow.results.flips import cells

    rows: dict[str, list[tuple]] = {name: [] for name in params.tables}
    for cell, pairs in cells(subject, CELL).items():
        found = journal.compute_once(str(cell), partial(_rows, cell, pairs, params))
        for name, own in found.items():
            rows[name] += map(tuple, own)
    rows["flips"] = _adjusted(rows["flips"], params.tables["flips"])
    return rows


def _rows(cell: tuple, pairs: list[Pair], params: Params) -> dict[str, list[tuple]]:
    """The rows of a cell; p_holm is left empty."""
    import numpy as np

    from sparrow.results import flips
    from sparrow.results.auc import auc

    rows: dict[str, list[tuple]] = {name: [] for name in params.tables}
    rows["agreement"] = [(*cell, *pair.seeds, *flips.agreement(pair)) for pair in pairs]
    constant = int(any(pair.other.outcomes.constant() for pair in pairs))
    for metric in flips.METRICS:
        known = {pair.seeds: own for pair in pairs if (own := flips.flips(pair, metric)) is not None}
        if not known:
            continue
        everyone = list(known.values())
        lost = auc([own.lost for own in everyone], params.draws, params.fewest)
        gained = auc([own.gained for own in everyone], params.draws, params.fewest)
        sizes = np.mean([(len(own.hits), *flips.counts(own.hits)) for own in everyone], axis=0).tolist()
        medians = flips.medians([own.lost for own in everyone])
        rows["flips"].append((*cell, metric, len(known), *sizes, *lost, None, *medians, *gained[:3], constant))
        rows["deciles"] += [(*cell, metric, *tenth) for tenth in flips.deciles([own.lost for own in everyone])]
        for seeds, own in known.items():
            numbers = (len(own.hits), *flips.counts(own.hits), auc([own.lost], 0, params.fewest).value)
            rows["pairs"].append((*cell, *seeds, metric, *numbers, *flips.medians([own.lost]), flips.mcnemar(own.hits)))
    return rows


def _adjusted(rows: list[tuple], columns: tuple[str, ...]) -> list[tuple]:
    """The rows with p_holm: of a panel, which is a family, stage and metric, over all methods and ratios; empty for churn."""
    import numpy as np

    from sparrow.files.paths import DENSE
    from sparrow.results.ranking import holm

    tables = [dict(zip(columns, row, strict=True)) for row in rows]
    panels: dict[tuple, list[dict[str, Any]]] = {}
    for row in tables:
        if row["stage"] != DENSE and np.isfinite(row["p"]):
            key = tuple(row[name] for name in (*LABEL_COLUMNS, "stage", "metric"))
            panels.setdefault(key, []).append(row)
    for panel in panels.values():
        for row, adjusted in zip(panel, holm([row["p"] for row in panel]), strict=True):
            row["p_holm"] = adjusted
    return [tuple(row.values()) for row in tables]


ROWS = {"benign": "right", "era": "robust"}


@opened(FigureSpec)
def draw(source: list[Path], svg: Path, png: Path, spec: FigureSpec) -> None:
    """Thin ice: whether pruning loses the images nearest to the dense network's boundary. Of images that are right (above) and
    robust (below): the chance that a lost one was nearer than a kept one, against the ratio, with 95 % intervals over
    images, and (second and fourth row) the share lost of each tenth of the images, from the nearest, at the middle ratio.
    Grey: what training the dense network again loses, where there are several seeds: what pruning does begins beyond it. No
    point where too few images were lost to tell. Dashed, at 0.5: distance plays no part.
    """
    import pandas as pd

    from sparrow.files.paths import DENSE
    from sparrow.results.figures import style

    of_study = [pd.read_csv(source[place]) for place in (0, 3)]
    looks = style.looks(svg, spec, of_study[0])
    flips, deciles = (style.select(table, dataset=spec.dataset, model=spec.model) for table in of_study)
    churn, tenths_of_churn = (style.select(table, stage=DENSE) for table in (flips, deciles))
    flips, deciles = (style.select(table, stage=spec.stage) for table in (flips, deciles))
    methods, ratios = sorted(flips["method"].unique()), sorted(flips["ratio"].unique())
    middle = style.middle_ratio(flips)
    figure, grid = style.panels(2 * len(ROWS), len(spec.objectives), width=looks.width, height=1.8, sharey="row", sharex="row")
    for number, (metric, word) in enumerate(ROWS.items()):
        for column, objective in enumerate(spec.objectives):
            above, below = grid[2 * number, column], grid[2 * number + 1, column]
            own, base = (style.select(table, objective=objective, metric=metric) for table in (flips, churn))
            _band(above, base.dropna(subset="auc"))
            for method in looks.order(methods):
                points = style.select(own, method=method).dropna(subset="auc").sort_values("ratio")
                interval = points.rename(columns={"auc": "mean", "auc_low": "low", "auc_high": "high"})
                across, bars = [style.position(ratio) for ratio in points["ratio"]], looks.errors(method, interval)
                above.errorbar(across, points["auc"], bars, capsize=2, elinewidth=0.8, **looks.line(method))
                crossed = points[points["constant"] == 1]
                style.cross_out(above, [style.position(ratio) for ratio in crossed["ratio"]], crossed["auc"])
            if own["auc"].isna().all():
                above.text(0.5, 0.7, "too few images lost", transform=above.transAxes, **style.MESSAGE)
            above.axhline(0.5, color="grey", linestyle="--", linewidth=1)
            style.compression_axis(above, ratios)
            above.set_ylim(0, 1.05)
            looks.name_ends(above)
            tenths = style.select(deciles, objective=objective, metric=metric, ratio=middle)
            _shares(below, style.select(tenths_of_churn, objective=objective, metric=metric), tenths, looks)
            above.set_xlabel("pruning ratio")
            below.set_xlabel("tenths by distance, the nearest first")
            if column == 0:
                above.set_ylabel(f"{word}: P(lost nearer\nthan kept)")
                below.set_ylabel(f"{word}, lost (%)" + (f"\nratio {middle:g}" if ratios else ""))
        # Behind all panels of the row, which have one axis: from here on it stays as it is.
        style.from_zero(grid[2 * number + 1, 0])
    for axes, objective in zip(grid[0], spec.objectives, strict=True):
        axes.set_title(style.title(spec, objective))
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)


def _band(axes: Axes, churn: pd.DataFrame) -> None:
    """The AUC of networks that were trained again, with its interval, as a grey band."""
    for value, low, high in churn[["auc", "auc_low", "auc_high"]].to_numpy(dtype=float):
        axes.axhspan(low, high, color="grey", alpha=0.25, linewidth=0)
        axes.axhline(value, color="grey", linewidth=1, label="trained again")


def _shares(axes: Axes, churn: pd.DataFrame, tenths: pd.DataFrame, looks: Looks) -> None:
    """Shares lost by tenths: a line for each method, beside each other, and grey for networks that were trained again."""
    from matplotlib import ticker

    from sparrow.results.figures import style

    if len(churn):
        axes.fill_between(
            churn["decile"], 100 * churn["low"].clip(lower=0), 100 * churn["high"], color="grey", alpha=0.25, lw=0
        )
        axes.plot(churn["decile"], 100 * churn["lost"], color="grey", linewidth=1)
    methods = looks.order(tenths["method"].unique())
    for place, method in enumerate(methods):
        own = style.select(tenths, method=method)
        shift = 0.4 * ((place + 0.5) / len(methods) - 0.5)
        bars = looks.errors(method, 100 * own[["lost", "low", "high"]].rename(columns={"lost": "mean"}))
        look: dict[str, Any] = {"elinewidth": 0.6, "linewidth": 0.8, **looks.of(method)}
        axes.errorbar(own["decile"] + shift, 100 * own["lost"], bars, **look)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
