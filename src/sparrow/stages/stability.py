"""How many ReLUs of a network are stable: what makes it easy or hard to verify.

A ReLU is stable for an image if its input has one sign over the whole perturbation set, as far as CROWN can tell; bounds
lose nothing there, and branch and bound has nothing to split. Source: Xiao et al., "Training for Faster Adversarial
Robustness Verification via Inducing ReLU Stability", ICLR 2019.
"""

from __future__ import annotations

from pathlib import Path

import torch

from sparrow.files.csv_table import write_csv
from sparrow.files.outcome_table import STABILITY
from sparrow.jobs.costs import record_cost
from sparrow.networks.batched import batches, predict
from sparrow.reproducible import pick_device, seed_everything
from sparrow.settings import Evaluation
from sparrow.stages._door import opened
from sparrow.stages._evaluation import failed_table, open_case, origin
from sparrow.stages._failure import recorded
from sparrow.stages.specs.evaluation import StabilitySpec
from sparrow.verification.bounds import input_ranges


@opened(StabilitySpec)
@recorded(failed_table)
def stability(network: Path, data: Path, output: Path, cost: Path, spec: StabilitySpec) -> None:
    """Count stable ReLUs of `network` over the test images that it classifies correctly (all, if that is none)."""
    with record_cost(cost):
        seed_everything(spec.seed, "stability")
        params, threat = Evaluation(**spec.stability), spec.threat
        model, part, classes = open_case(network, data, spec.model, params, pick_device())
        chosen = predict(model, part.images, params.batch_size) == part.labels
        chosen = chosen if chosen.any() else torch.ones_like(chosen)
        totals: list[list[float]] = []
        for batch in batches(chosen, params.batch_size):
            ranges = input_ranges(model, part.images[batch], part.labels[batch], threat, classes)
            totals = totals or [[0.0, 0.0] for _ in ranges]
            for total, (lower, upper) in zip(totals, ranges, strict=True):
                # What is always zero hands nothing on, such as a filter that was pruned.
                total[0] += float(((lower >= 0) & (upper > 0)).sum())
                total[1] += float((upper <= 0).sum())
        sizes = [lower[0].numel() for lower, _ in ranges]
        count = int(chosen.sum())
        whole = len(sizes), *origin(network, data, spec)
        rows = [
            (layer, size, on / count, off / count, size - (on + off) / count, count, *whole)
            for layer, (size, (on, off)) in enumerate(zip(sizes, totals, strict=True), start=1)
        ]
        print(f"{sum(row[4] for row in rows):.1f} of {sum(sizes)} ReLUs unstable on average over {count} images")
        write_csv(output, STABILITY, rows)
