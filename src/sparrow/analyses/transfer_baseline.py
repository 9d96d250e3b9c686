"""Transfer baseline: how often adversarial images of dense networks of other seeds fool a network, beside those of its parent.

A share of adversarial images that pass from a dense network to a pruned one says nothing by itself: they pass between networks
that were merely trained apart, too. So here the adversarial images of the dense networks of all seeds are tried on the networks
of one cell. With `from_seed` equal to `seed` they are those of the network that this one was pruned from; all others come from
training again. Of dense networks (method `dense`) there are the others alone: what two trainings share. What a pruned network
takes from its parent beyond what it takes from others is what it has kept of it.

Columns are as in `transfer`: `images` are adversarial for the dense network of `from_seed`, which gets them right as they are;
on `wrong` of them the other network is wrong as they are, the rest is `tried`; `share` is how many of these fool it, with
Wilson's 95 % interval. The networks from which images come may be robust to a different degree: compare shares, not counts.

Source: transferability after Papernot, McDaniel and Goodfellow, "Transferability in Machine Learning: from Phenomena to
Black-Box Attacks using Adversarial Samples", arXiv 1605.07277, which tries images on models of one kind that were trained
apart; as a baseline of pruning it is ours.

BibTeX:

@misc{papernot2016transferability,
  author = {Papernot, Nicolas and McDaniel, Patrick and Goodfellow, Ian},
  title = {Transferability in Machine Learning: from Phenomena to Black-Box Attacks using Adversarial Samples},
  year = {2016},
  eprint = {1605.07277},
  archiveprefix = {arXiv},
}
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from sparrow.files.specs import opened
from sparrow.results.specs.figures import FigureSpec
from sparrow.settings import Analysis, Columns, Need, Requirement, Scope, unique

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from sparrow.inference.subjects import Seeds
    from sparrow.results.figures.style import Looks


class Params(Analysis):
    """Whose images, and how many."""

    scope: ClassVar[Scope] = "seeds"
    seeds_needed: ClassVar[int] = 2
    needs: ClassVar[tuple[Need, ...]] = ("threat", "examples")
    requires: ClassVar[tuple[Requirement, ...]] = ("dense",)
    tables: ClassVar[Columns] = {
        "transfer-baseline": ("seed", "from_seed", "images", "wrong", "tried", "fooled", "share", "low", "high")
    }

    attacks: Annotated[list[str], Field(min_length=1), AfterValidator(unique)] | None = None
    """Labels of the attacks whose adversarial images are tried, which are kept for all networks; all that search if null. Of
    those that find distances any image, projected onto the threat; of others those at its radius."""
    samples: int | None = Field(None, ge=1)
    """Try those of this many test images; of all if null."""
    batch_size: int = Field(512, ge=1)
    """Images per batch."""


def passes(params: Params, classes: int, networks: int, dense: int, attacks: int) -> tuple[int, int]:
    """Forward passes and gradients for each image of each network: it as it is, and each dense one's images of each attack."""
    return dense * attacks + 1, 0


def analyse(subject: Seeds, params: Params) -> list[tuple[Any, ...]]:
    """A row for each network and each dense one, but itself, whose images are tried on it. A network that failed has none."""
    from sparrow.inference.tried_examples import answers
    from sparrow.jobs import journal
    from sparrow.results.statistics import accuracy

    part, size = subject.data.part("test", params.samples), params.batch_size
    dense, networks = ([one for one in all_of if one.failed is None] for all_of in (subject.dense, subject.networks))
    found = {
        path: journal.compute_once(str(path), partial(answers, network, dense, part, size))
        for path, network in {one.path: one for one in (*dense, *networks)}.items()
    }
    rows = []
    for network in networks:
        correct, fooled = found[network.path]
        for place, source in enumerate(dense):
            right, broken = found[source.path]
            adversarial = right & broken[place]
            hits = fooled[place][adversarial & correct]
            if source.path != network.path:
                seeds = network.who.parent.seed, source.who.parent.seed
                counts = int(adversarial.sum()), int((adversarial & ~correct).sum()), len(hits), int(hits.sum())
                rows.append((*seeds, *counts, *accuracy(hits.numpy())))
    return rows


@opened(FigureSpec)
def draw(source: Path, svg: Path, png: Path, spec: FigureSpec) -> None:
    """Which share of a dense network's adversarial images fools pruned ones: those of their own parent (lines), and those of
    dense networks of other seeds (dotted, hollow), against the pruning ratio. Means over seeds, with the lowest and the
    highest. Dashed: between dense networks of different seeds, which have nothing in common but their training. Where dotted
    lines come up to the others, a network fails as any of its kind would, and no longer as its parent.
    """
    import pandas as pd

    from sparrow.results.figures import style

    of_study = pd.read_csv(source)
    looks, table = style.looks(svg, spec, of_study), style.select(of_study, dataset=spec.dataset, model=spec.model)
    dense, pruned = (style.select(table, stage=stage) for stage in ("dense", spec.stage))
    methods, ratios = sorted(pruned["method"].unique()), sorted(pruned["ratio"].unique())
    figure, grid = style.panels(1, len(spec.objectives), width=looks.width, height=2.4, sharey=True)
    for axes, objective in zip(grid[0], spec.objectives, strict=True):
        own, others = style.select(pruned, objective=objective), style.select(dense, objective=objective)
        for method in looks.order(methods):
            rows = style.select(own, method=method)
            same = rows["seed"] == rows["from_seed"]
            _line(axes, rows[same], looks, method)
            if looks.stands_out(method):
                _line(axes, rows[~same], looks, method, label=None, fillstyle="none", linestyle=":")
        hollow = {"fillstyle": "none", "linestyle": ":", "color": "black", "marker": "o"}
        axes.errorbar([], [], [], label="dense, other seed, to pruned", **hollow)
        if len(others):
            among = {"linestyle": "--", "color": "grey", "linewidth": 1, "label": "dense, other seed, to dense"}
            axes.axhline(100 * others.groupby("seed")["share"].mean().mean(), **among)
        style.compression_axis(axes, ratios)
        axes.set_title(style.title(spec, objective))
        axes.set_xlabel("pruning ratio")
    grid[0, 0].set_ylim(-3, 103)
    for axes in grid[0]:
        looks.name_ends(axes)
    grid[0, 0].set_ylabel("fooled (%)")
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)


def _line(axes: Axes, rows: pd.DataFrame, looks: Looks, method: str, **look: Any) -> None:
    """Draw shares against the ratio: the mean over seeds, each a mean over those whose images are tried; lowest and highest."""
    import pandas as pd

    from sparrow.results.figures import style

    by_seed = 100 * rows.groupby(["ratio", "seed"])["share"].mean()
    points = pd.DataFrame(by_seed.groupby("ratio").agg(mean="mean", low="min", high="max"))
    across = [style.position(ratio) for ratio in points.index]
    errors = looks.errors(method, points)
    axes.errorbar(across, points["mean"], errors, capsize=2, elinewidth=0.8, **looks.line(method) | look)
