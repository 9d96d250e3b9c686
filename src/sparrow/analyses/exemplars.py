"""Exemplars: the images that networks name otherwise once they are pruned (pruning identified exemplars), by votes over seeds.

Of each image, the dense networks of all seeds vote for a class, and so do the networks that a method pruned from them; a tie
goes to the largest label. It is an exemplar if the two votes differ (`vote` is `class`). With `vote` `robust` they vote on
whether they are robust on it (a tie: they are). `share` of the images are exemplars, with a 95 % interval by a bootstrap over
seeds and images, which leans upwards; `lost` of these were right (robust) by the dense networks' vote, `gained` are by the
pruned ones'; `ties` counts images on which a vote was tied. `benign_` and `era_` are accuracies, means over seeds, `on`
exemplars and `off` them, of dense and of pruned networks: what tells hard images from those that pruning alone makes hard.

With few seeds most exemplars are chance. `floor` is the share of images on which half of the dense networks vote otherwise than
the other half, over all ways of halving them, and `halves` the same for half of the dense networks against the pruned ones of
the other half: where pruning does nothing, they are equal. Both are of half as many votes as `share`, which is smaller the more
seeds vote, so that the number of `seeds` belongs beside each; with fewer than four there is neither. An exemplar says that
votes differ, not why, nor that its label is wrong; look at the images (`exemplars.images.csv` has their indices in the data
set).

Source: Hooker et al., "What Do Compressed Deep Neural Networks Forget?", arXiv 1911.05248, in the form of the released code
(google-research/google-research, pruning_identified_exemplars, aggregate_predictions.py: the largest of several modes), which
has 30 networks on each side. Floor, halves, intervals and votes on robustness are Sparrow's own.

BibTeX:

@article{hooker2019compressed,
  author = {Hooker, Sara and Courville, Aaron and Clark, Gregory and Dauphin, Yann and Frome, Andrea},
  title = {What Do Compressed Deep Neural Networks Forget?},
  journal = {arXiv preprint arXiv:1911.05248},
  year = {2019},
}
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from sparrow.files.paths import CELL_COLUMNS
from sparrow.files.specs import opened
from sparrow.results.specs.figures import FigureSpec
from sparrow.settings import Analysis, Columns, Requirement, Scope

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from sparrow.results.outcomes import Outcomes
    from sparrow.results.seeds import Group
    from sparrow.results.study_tables import Tables

VOTES = ("class", "robust")


class Params(Analysis):
    """It has no settings of its own."""

    scope: ClassVar[Scope] = "tables"
    requires: ClassVar[tuple[Requirement, ...]] = ("dense",)
    seeds_needed: ClassVar[int] = 3
    # Whose votes, on what; networks a side and images; shares of the images, and of the exemplars; accuracies. Then of each
    # exemplar its index, its label, both votes, and on how many networks of each side they rest.
    tables: ClassVar[Columns] = {
        "exemplars": (
            *(*CELL_COLUMNS, "stage", "vote", "seeds", "images"),
            *("share", "low", "high", "halves", "floor", "ties", "lost", "gained"),
            *("benign_on_dense", "benign_on_pruned", "benign_off_dense", "benign_off_pruned"),
            *("era_on_dense", "era_on_pruned", "era_off_dense", "era_off_pruned"),
        ),
        "images": (
            *(*CELL_COLUMNS, "stage", "vote", "index", "label"),
            *("dense", "pruned", "dense_votes", "pruned_votes"),
        ),
    }


def analyse(subject: Tables, params: Params) -> dict[str, list[tuple]]:
    """A row for each cell and vote, and one for each exemplar. Cells with fewer networks than `seeds_needed` have none."""
    from sparrow.results.seeds import groups

    rows: dict[str, list[tuple]] = {"exemplars": [], "images": []}
    for group in groups(subject):
        if len(group.pairs) < params.seeds_needed:
            print(f"{group.name}: {len(group.pairs)} networks have outcomes, and {params.seeds_needed} are needed")
            continue
        for vote in VOTES:
            found = _exemplars(group, vote, subject.generator.initial_seed())
            if found is not None:
                rows["exemplars"].append((*group.identity, vote, *found[0]))
                rows["images"] += [(*group.identity, vote, *image) for image in found[1]]
    return rows


def _exemplars(group: Group, vote: str, seed: int) -> tuple[tuple, list[tuple]] | None:
    """The rows of one cell; None where its networks have no outcomes to vote on."""
    import numpy as np

    from sparrow.results.votes import difference, share_between_halves
    from sparrow.results.votes import vote as voted

    sides = [[_ballots(one.outcomes, vote) for one in side] for side in zip(*group.pairs, strict=True)]
    seen = group.common([series.index for side in sides for series in side])
    if seen.empty:
        return None
    dense, pruned = (np.stack([series.loc[seen].to_numpy(dtype=int) for series in side]) for side in sides)
    # The same draws for all cells, whichever others the study has.
    found = difference(dense, pruned, np.random.default_rng(seed))
    halves, floor = (share_between_halves(dense, other, np.random.default_rng(seed)) for other in (pruned, dense))
    labels = group.pairs[0][0].outcomes.labels().loc[seen].to_numpy(dtype=int)
    right = labels if vote == "class" else np.ones_like(labels)
    votes, exemplars = (voted(dense), voted(pruned)), found.differs
    lost, gained = (float((side == right)[exemplars].mean()) if exemplars.any() else np.nan for side in votes)
    row = (
        *(len(dense), len(seen), float(exemplars.mean()), found.low, found.high, halves, floor, int(found.tied.sum())),
        *(lost, gained, *_accuracies(group, seen, exemplars)),
    )
    counts = [(ballots == side).sum(axis=0) for ballots, side in zip((dense, pruned), votes, strict=True)]
    columns = (seen.to_numpy(), labels, *votes, *counts)
    images = [tuple(int(column[place]) for column in columns) for place in np.flatnonzero(exemplars)]
    return row, images


def _ballots(outcomes: Outcomes, vote: str) -> pd.Series:
    """What one network votes for each image, by image."""
    return outcomes.predictions() if vote == "class" else outcomes.robust()


def _accuracies(group: Group, seen: pd.Index, exemplars: np.ndarray) -> list[float]:
    """Benign and era, of exemplars and other images, of dense and pruned networks; NaN where there are no images."""
    import numpy as np

    from sparrow.results.outcomes import Outcomes

    found = []
    for metric in (Outcomes.correct, Outcomes.robust):
        for images in (seen[exemplars], seen[~exemplars]):
            for side in zip(*group.pairs, strict=True):
                hits = [metric(one.outcomes) for one in side]
                shares = [float(own.loc[own.index.intersection(images)].mean()) for own in hits]
                found.append(float(np.mean(shares)))
    return found


PANELS = {
    "class": "exemplars\n(% of the images)",
    "robust": "exemplars of robustness\n(% of the images)",
    "benign": "benign accuracy (%)\nof dense networks",
    "era": "era (%)\nof dense networks",
}


@opened(FigureSpec)
def draw(source: list[Path], svg: Path, png: Path, spec: FigureSpec) -> None:
    """Exemplars of pruning. Above: the share of the images on which the networks vote otherwise once they are pruned, and
    (second row) on which a majority is robust before or afterwards alone, with 95 % intervals over seeds and images; dashed,
    the floor, which is of half as many votes, and so rather too high. Below: how the dense networks do on these images (lines)
    and on all others (hollow): exemplars on which they are weak are images that hardly any network would keep.
    """
    import pandas as pd

    from sparrow.results.figures import style

    of_study = pd.read_csv(source[0])
    looks = style.looks(svg, spec, of_study)
    table = style.select(of_study, dataset=spec.dataset, model=spec.model, stage=spec.stage)
    methods, ratios, objectives = sorted(table["method"].unique()), sorted(table["ratio"].unique()), spec.objectives
    names = [name for name in PANELS if name in ("class", "benign") or (table["vote"] == "robust").any()]
    figure, grid = style.panels(len(names), len(objectives), width=looks.width, height=1.7, sharey="row", sharex=True)
    for name, row in zip(names, grid, strict=True):
        row[0].set_ylabel(PANELS[name])
        for axes, objective in zip(row, objectives, strict=True):
            own = style.select(table, objective=objective, vote=name if name in VOTES else "class")
            for method in looks.order(methods):
                points, look = style.select(own, method=method).sort_values("ratio"), looks.line(method)
                across = [style.position(ratio) for ratio in points["ratio"]]
                if name in VOTES:
                    bars = looks.errors(method, 100 * points[["share", "low", "high"]].rename(columns={"share": "mean"}))
                    axes.errorbar(across, 100 * points["share"], bars, capsize=2, elinewidth=0.8, **look)
                else:
                    axes.plot(across, 100 * points[f"{name}_on_dense"], **look)
                    hollow = {"label": None, "linestyle": ":", "linewidth": 0.8, "fillstyle": "none"}
                    axes.plot(across, 100 * points[f"{name}_off_dense"], **look | hollow)
            floor = own["floor"].mean()
            if name in VOTES and floor == floor:
                axes.axhline(
                    100 * floor, color="grey", linestyle="--", linewidth=1, label="floor: halves of the dense networks"
                )
            style.compression_axis(axes, ratios)
    for axes, objective in zip(grid[0], objectives, strict=True):
        axes.set_title(style.title(spec, objective))
        if style.select(table, objective=objective).empty:
            axes.text(0.5, 0.5, "no votes", transform=axes.transAxes, **style.MESSAGE)
    for axes in grid[-1]:
        axes.set_xlabel("pruning ratio")
    for row in grid:
        style.from_zero(row[0])
    for axes in (grid[names.index(name), 0] for name in names if name not in VOTES):
        axes.set_ylim(-3, 103)
    for axes in grid.flat:
        looks.name_ends(axes)
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)
