"""Common corruptions: how often a network is right on test images under noise, blur, weather and digital artefacts.

Kinds and severities are those of CIFAR-10-C, whose constants are for 32 x 32 pixels; on images of other sizes (digits: 8 x 8)
there are only the kinds that know no size: three noises, brightness and contrast. `none` are the same images as they are. The
interval of a kind is Wilson's over images. `mean` is the mean over kinds at a severity, and without a severity over all of
these: its interval is Student's over the images' own averages, since each image is there under every kind. A severity is no
measure: the elastic transform is strongest at 1. Nobody attacks here, and no robustness to these corruptions is proven; images
that were JPEG before are hardly changed by JPEG compression.

Source: D. Hendrycks and T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR
2019; constants of the script that made CIFAR-10-C (https://github.com/hendrycks/robustness, commit ca36008). Ours: the code
that corrupts (sparrow.data.corruptions says what is not as there), and all intervals. `frost` needs photographs, and is there
only from the published archive (`datasets.X.corruptions.file`).

BibTeX:

@inproceedings{hendrycks2019benchmarking,
  author = {Hendrycks, Dan and Dietterich, Thomas},
  title = {Benchmarking Neural Network Robustness to Common Corruptions and Perturbations},
  booktitle = {International Conference on Learning Representations},
  year = {2019},
}
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from sparrow.files.corruption_kinds import GROUPS, KINDS
from sparrow.files.specs import opened
from sparrow.lazy_torch import torch
from sparrow.results.specs.figures import FigureSpec
from sparrow.settings import Analysis, Columns, Need, Scope

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from sparrow.inference.subjects import OneNetwork


class Params(Analysis):
    """How many images at a time; which corruptions, `datasets.X.corruptions` says."""

    scope: ClassVar[Scope] = "network"
    needs: ClassVar[tuple[Need, ...]] = ("corrupted",)
    # Of each image (its number in the data set), what the network takes it for: uncorrupted, and under each kind at a severity.
    tables: ClassVar[Columns] = {
        "corruptions": ("kind", "severity", "accuracy", "low", "high", "images"),
        "images": ("image", "label", "severity", "none", *KINDS),
    }

    batch_size: int = Field(512, ge=1)
    """Images per batch."""


def passes(params: Params, classes: int) -> tuple[int, int]:
    """Forward passes and gradients for each corrupted image."""
    return 1, 0


def analyse(subject: OneNetwork, params: Params) -> dict[str, list[tuple[Any, ...]]]:
    """The accuracies, and the answers behind them."""
    from sparrow.jobs.journal import compute_once
    from sparrow.networks.batched import predict

    corrupted = subject.data.corrupted
    part = subject.data.part("test", len(corrupted))
    model = subject.network.load(part.images, params.batch_size)
    labels = part.labels.cpu().numpy()
    none = predict(model, part.images, params.batch_size).cpu().numpy()
    answers: dict[int, dict[str, np.ndarray]] = {}

    def answer(kind: str, severity: int) -> torch.Tensor:
        return predict(model, corrupted.images(kind, severity), params.batch_size).cpu()

    for kind, severity in corrupted.kinds:
        found = compute_once(f"{kind}/{severity}", partial(answer, kind, severity))
        answers.setdefault(severity, {})[kind] = found.numpy()
    images = [
        (image, label, severity, clean, *(kinds[kind][place] if kind in kinds else None for kind in KINDS))
        for severity, kinds in sorted(answers.items())
        for place, (image, label, clean) in enumerate(zip(part.indices.tolist(), labels, none, strict=True))
    ]
    hits = {severity: {kind: found == labels for kind, found in kinds.items()} for severity, kinds in answers.items()}
    return {"corruptions": accuracies(none == labels, hits), "images": images}


def accuracies(none: np.ndarray, hits: dict[int, dict[str, np.ndarray]]) -> list[tuple[Any, ...]]:
    """The rows of the first table, from which images (n,) are right: as they are, and by severity and kind."""
    import numpy as np

    from sparrow.results.statistics import accuracy

    rows: list[tuple[Any, ...]] = [("none", 0, *accuracy(none), len(none))]
    for severity, kinds in sorted(hits.items()):
        rows += [(kind, severity, *accuracy(kinds[kind]), len(none)) for kind in KINDS if kind in kinds]
        rows.append(("mean", severity, *_mean(list(kinds.values())), len(none)))
    rows.append(("mean", None, *_mean([one for kinds in hits.values() for one in kinds.values()]), len(none)))
    averages = [f"{row[0]} {100 * row[2]:.1f} %" for row in (rows[0], rows[-1])]
    print(
        f"right on {len(none)} images, and on the mean over {sum(map(len, hits.values()))} corruptions: {', '.join(averages)}"
    )
    return [tuple(value.item() if isinstance(value, np.generic) else value for value in row) for row in rows]


def _mean(hits: list[np.ndarray]) -> tuple[float, float, float]:
    """Mean of `hits`, each (n,), and its 95 % interval over images, each of which is in all of them."""
    import numpy as np

    from sparrow.results.statistics import mean_over_seeds

    each = np.mean(hits, axis=0)
    if len(each) < 2:
        return float(each.mean()), np.nan, np.nan
    mean, low, high = mean_over_seeds(each)
    return mean, max(low, 0.0), min(high, 1.0)


def summary(table: pd.DataFrame) -> dict[str, float]:
    """The mean over all corruptions, with its interval: LABEL_accuracy and so on."""
    mean = table[(table["kind"] == "mean") & table["severity"].isna()].iloc[0]
    return {"accuracy": mean["accuracy"], "accuracy_low": mean["low"], "accuracy_high": mean["high"]}


@opened(FigureSpec)
def draw(source: list[Path], svg: Path, png: Path, spec: FigureSpec) -> None:
    """Accuracy under corruptions against the pruning ratio: a row of panels for each group of kinds (their mean, over all
    severities), a column for each objective. Means over seeds, with the lowest and the highest; dashed: the dense network.
    Dotted: the same networks on the images as they are."""
    import pandas as pd

    from sparrow.results.figures import style

    of_study = pd.read_csv(source[0])
    looks, table = style.looks(svg, spec, of_study), style.select(of_study, dataset=spec.dataset, model=spec.model)
    table["group"] = table["kind"].map({kind: group for group, kinds in GROUPS.items() for kind in kinds} | {"none": "none"})
    groups = [group for group in GROUPS if (table["group"] == group).any()]
    dense, pruned = (style.select(table, stage=stage) for stage in ("dense", spec.stage))
    methods, ratios = sorted(pruned["method"].unique()), sorted(pruned["ratio"].unique())
    shape = max(len(groups), 1), len(spec.objectives)
    figure, grid = style.panels(*shape, width=looks.width, height=1.5, sharex=True, sharey="row")
    for row, group in zip(grid, groups, strict=False):
        kinds = table.loc[table["group"] == group, "kind"].nunique()
        row[0].set_ylabel(f"{group} (%)\n{kinds} kind{'s' * (kinds > 1)}")
        for axes, objective in zip(row, spec.objectives, strict=True):
            for method in looks.order(methods):
                rows = style.select(pruned, objective=objective, method=method)
                points = _over_seeds(style.select(rows, group=group)).reindex(ratios)
                axes.errorbar(
                    [style.position(ratio) for ratio in ratios],
                    points["mean"],
                    looks.errors(method, points),
                    capsize=2,
                    elinewidth=0.8,
                    **looks.line(method),
                )
                clean = _over_seeds(style.select(rows, group="none")).reindex(ratios)
                across = [style.position(ratio) for ratio in ratios]
                if looks.stands_out(method):
                    axes.plot(across, clean["mean"], linestyle=":", linewidth=0.8, color=looks.of(method)["color"])
            parents = style.select(dense, objective=objective, group=group)
            if len(parents):
                axes.axhline(_over_seeds(parents)["mean"].iloc[0], color="grey", linestyle="--", linewidth=1, label="dense")
            style.compression_axis(axes, ratios)
    grid[0, 0].plot([], [], linestyle=":", linewidth=0.8, color="grey", label="uncorrupted")
    for axes, objective in zip(grid[0], spec.objectives, strict=True):
        axes.set_title(style.title(spec, objective))
    for axes in grid[-1]:
        axes.set_xlabel("pruning ratio")
    for axes in grid[:, 0]:
        style.from_zero(axes)
    for axes in grid.flat:
        looks.name_ends(axes)
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)


def _over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Percent right by ratio: mean over seeds, lowest and highest, of each network's mean over kinds and severities."""
    import pandas as pd

    means = 100 * rows.groupby(["ratio", "seed"])["accuracy"].mean()
    return pd.DataFrame(means.groupby("ratio").agg(mean="mean", low="min", high="max"))
