"""Transfer: how often adversarial images of one network fool another one of its family, for every two of them, both ways.

A family is a dense network and all that were pruned from it. Of the images that network A gets right as they are, those are
adversarial that an attack has moved, within the threat, to where A is wrong. They are tried on B where B is right on the image
as it is (`tried`; it is `wrong` on the others, of which nothing is learned), and `share` is how many of these fool B, with
Wilson's 95 % interval. `back` is the same from B to A. Where the two differ (`p`, Fisher's exact test of two proportions;
`p_holm`, adjusted for all pairs of the family), adversarial images pass one way more easily than the other. The images of the
two ways overlap, which that test does not know: it is a guide. `alone` counts the images that fool B and that the same attacks
on B itself left standing: above zero, B's gradients are masked or the attacks too weak, and its own robust accuracy is too
high. Two networks that are the same have a share of 1; one that names a single class whatever it sees is tried on images of
that class alone, and fooled by none. The share says how alike two networks fail, not how robust either is: minimum-norm attacks
stop at A's boundary, and their images fool B less often than such as lie deep behind it would. What networks share that were
merely trained apart, and without which a share says little, is the analysis `transfer-baseline`.

Source: transferability after Papernot, McDaniel and Goodfellow, "Transferability in Machine Learning: from Phenomena to
Black-Box Attacks using Adversarial Samples", arXiv 1605.07277 (its transferability matrix); between dense and pruned networks
after Zhao et al., "To Compress or Not to Compress: Understanding the Interactions between Adversarial Attacks and Neural
Network Compression", MLSys 2019. Conditions, intervals and tests are ours.

BibTeX:

@misc{papernot2016transferability,
  author = {Papernot, Nicolas and McDaniel, Patrick and Goodfellow, Ian},
  title = {Transferability in Machine Learning: from Phenomena to Black-Box Attacks using Adversarial Samples},
  year = {2016},
  eprint = {1605.07277},
  archiveprefix = {arXiv},
}

@inproceedings{zhao2019compress,
  author = {Zhao, Yiren and Shumailov, Ilia and Mullins, Robert and Anderson, Ross},
  title = {To Compress or Not to Compress: Understanding the Interactions between Adversarial Attacks and Neural Network
    Compression},
  booktitle = {Proceedings of Machine Learning and Systems (MLSys)},
  year = {2019},
}
"""

from __future__ import annotations

from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from sparrow.files.specs import opened
from sparrow.lazy_torch import torch
from sparrow.results.specs.figures import FigureSpec
from sparrow.settings import Analysis, Columns, Need, Scope, unique

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes

    from sparrow.inference.subjects import Family

FROM = ("from_method", "from_ratio", "from_stage")


class Params(Analysis):
    """Whose images, and how many."""

    scope: ClassVar[Scope] = "family"
    needs: ClassVar[tuple[Need, ...]] = ("threat", "examples")
    # B, on which images are tried, and A, whose images they are; how many A has, on how many of them B is wrong anyway, and
    # what the text above says.
    tables: ClassVar[Columns] = {
        "transfer": (
            *("method", "ratio", "stage", *FROM, "images", "wrong", "tried", "fooled"),
            *("share", "low", "high", "back", "p", "p_holm", "alone"),
        )
    }

    attacks: Annotated[list[str], Field(min_length=1), AfterValidator(unique)] | None = None
    """Labels of the attacks whose adversarial images are tried, which are kept for all networks; all that search if null. Of
    those that find distances any image, projected onto the threat; of others those at its radius."""
    samples: int | None = Field(None, ge=1)
    """Try those of this many test images; of all if null."""
    batch_size: int = Field(512, ge=1)
    """Images per batch."""


def passes(params: Params, classes: int, networks: int, dense: int, attacks: int) -> tuple[int, int]:
    """Forward passes and gradients for each image of each network: it as it is, and every network's images of each attack."""
    return networks * attacks + 1, 0


def analyse(subject: Family, params: Params) -> list[tuple[Any, ...]]:
    """A row for each network and each other one whose images are tried on it. A network that failed has none."""
    from sparrow.inference.tried_examples import answers
    from sparrow.jobs import journal

    part = subject.data.part("test", params.samples)
    networks = [network for network in (subject.dense, *subject.pruned) if network.failed is None]
    size = params.batch_size
    found = [journal.compute_once(str(one.path), partial(answers, one, networks, part, size)) for one in networks]
    correct, fooled = torch.stack([right for right, _ in found]), torch.stack([wrong for _, wrong in found])
    who = [network.who.identity() for network in networks]
    # By its ratio a cell is found again: every digit counts.
    names = [(one["method"], repr(float(one["ratio"])), one["stage"]) for one in who]
    return [(*names[to], *names[of], *values) for (to, of), values in transfers(correct, fooled).items()]


def transfers(correct: torch.Tensor, fooled: torch.Tensor) -> dict[tuple[int, int], tuple[Any, ...]]:
    """The columns from `images` on for each two of m networks, by their places: that which is tried, and that whose images
    these are.

    `correct` (m, n) are the images that each gets right; `fooled` (m, m, n) those of which the first network is wrong on the
    second one's adversarial image. A network has one that counts where it is right on the image, and wrong on its own.
    """
    from scipy.stats import fisher_exact

    from sparrow.results.ranking import holm
    from sparrow.results.statistics import accuracy

    adversarial = correct & fooled.diagonal().T
    tried = {(to, of): adversarial[of] & correct[to] for to in range(len(correct)) for of in range(len(correct)) if to != of}
    hits = {(to, of): fooled[to, of][chosen] for (to, of), chosen in tried.items()}
    pairs = list(combinations(range(len(correct)), 2))
    counts = {key: (int(hit.sum()), int((~hit).sum())) for key, hit in hits.items()}
    tests = [float(fisher_exact([counts[pair], counts[pair[::-1]]]).pvalue) for pair in pairs]
    # Where one way nothing was tried, there is nothing to compare.
    known = [bool(sum(counts[pair]) and sum(counts[pair[::-1]])) for pair in pairs]
    adjusted = iter(holm([p for p, there in zip(tests, known, strict=True) if there]))
    p_values: dict[tuple[int, int], tuple[float | None, float | None]] = {}
    for pair, p, there in zip(pairs, tests, known, strict=True):
        p_values[pair] = p_values[pair[::-1]] = (p, next(adjusted)) if there else (None, None)
    rows = {}
    for (to, of), hit in hits.items():
        share, low, high = accuracy(hit.numpy())
        back = accuracy(hits[of, to].numpy())[0]
        alone = int((tried[to, of] & fooled[to, of] & ~fooled[to, to]).sum())
        images, wrong = int(adversarial[of].sum()), int((adversarial[of] & ~correct[to]).sum())
        rows[to, of] = images, wrong, len(hit), int(hit.sum()), share, low, high, back, *p_values[to, of], alone
    return rows


@opened(FigureSpec)
def draw(source: Path, svg: Path, png: Path, spec: FigureSpec) -> None:
    """Which share of one network's adversarial images fools another one. Above: from the dense network to those pruned from it
    (lines) and back (dotted, hollow), against the pruning ratio; counts of all seeds together, with Wilson's interval. Below:
    every two of them at the ratio that most methods have (the middle one of several), in percent, from rows to columns. With a
    cross: some of these images fool a network that attacks on it could not break."""
    import pandas as pd

    from sparrow.results.figures import style

    of_study = pd.read_csv(source)
    looks, table = style.looks(svg, spec, of_study), style.select(of_study, dataset=spec.dataset, model=spec.model)
    table = table[table["stage"].isin(["dense", spec.stage]) & table["from_stage"].isin(["dense", spec.stage])]
    pruned = style.select(table, stage=spec.stage)
    methods, ratios = sorted(pruned["method"].unique()), sorted(pruned["ratio"].unique())
    ratio = style.middle_ratio(pruned)
    # A matrix has room for its numbers.
    side = max(2.3, 0.22 * len(methods) + 0.9)
    figure, grid = style.panels(2, len(spec.objectives), width=max(looks.width, side + 0.4), height=side, sharey="row")
    for column, objective in enumerate(spec.objectives):
        above, below = grid[:, column]
        rows = style.select(table, objective=objective)
        for method in looks.order(methods):
            there = pooled(style.select(rows, method=method, from_stage="dense"), ["ratio"])
            back = pooled(style.select(rows, stage="dense", from_method=method), ["from_ratio"])
            _line(above, there, looks.errors(method, there), **looks.line(method))
            if looks.stands_out(method):
                _line(above, back, looks.errors(method, back), fillstyle="none", linestyle=":", **looks.of(method))
        dotted = {"fillstyle": "none", "linestyle": ":", "color": "black", "marker": "o"}
        above.errorbar([], [], [], label="pruned to dense (dotted)", **dotted)
        style.compression_axis(above, ratios)
        above.set_title(style.title(spec, objective))
        above.set_xlabel("pruning ratio")
        _matrix(below, rows, ["dense", *methods], ratio)
    grid[0, 0].set_ylim(-3, 103)
    for axes in grid[0]:
        looks.name_ends(axes)
    grid[0, 0].set_ylabel("fooled (%)\ndense to pruned, and back")
    grid[1, 0].set_ylabel("from" + (f"\nratio {ratio:g}" if ratio is not None else ""))
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)


def pooled(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """By `keys` the counts of all seeds together: `mean`, `low` and `high` of the share that is fooled, and `alone`."""
    import numpy as np
    import pandas as pd

    from sparrow.results.statistics import accuracy

    sums = rows.groupby(keys)[["fooled", "tried", "alone"]].sum()
    counts = sums[["fooled", "tried"]].to_numpy(dtype=int).tolist()
    shares = [accuracy(np.arange(tried) < fooled) for fooled, tried in counts]
    return pd.DataFrame(shares, sums.index, columns=["mean", "low", "high"]).assign(alone=sums["alone"])


def _line(axes: Axes, points: pd.DataFrame, errors: np.ndarray | None, **look: Any) -> None:
    """Draw shares against the ratio, with their `errors`, in percent."""
    from sparrow.results.figures import style

    across = [style.position(ratio) for ratio in points.index]
    reach = None if errors is None else 100 * errors
    axes.errorbar(across, 100 * points["mean"], reach, capsize=2, elinewidth=0.8, **look)
    flagged = points[points["alone"] > 0]
    axes.plot([style.position(ratio) for ratio in flagged.index], 100 * flagged["mean"], **style.CROSS)


def _matrix(axes: Axes, rows: pd.DataFrame, names: list[str], ratio: float | None) -> None:
    """Percentages from each of the networks `names` at a ratio (rows) to each other one (columns)."""
    import numpy as np

    shown = rows[rows["ratio"].isin([0, ratio]) & rows["from_ratio"].isin([0, ratio])]
    found = pooled(shown, ["from_method", "method"])
    shares, alone = (
        found[column].unstack().reindex(index=names, columns=names).to_numpy(float) for column in ("mean", "alone")
    )
    axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=130)
    for (row, column), share in np.ndenumerate(shares):
        if not np.isnan(share):
            mark = " ×" if alone[row, column] > 0 else ""
            axes.text(column, row, f"{100 * share:.0f}{mark}", ha="center", va="center", fontsize=7)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_xlabel("to")
    axes.grid(visible=False)
