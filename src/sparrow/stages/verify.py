"""Verify a network and write down for which test images it provably cannot be fooled."""

from __future__ import annotations

from pathlib import Path

import torch

from sparrow import catalogue
from sparrow.costs import measured
from sparrow.errors import SparrowError
from sparrow.reproducible import pick_device, seed_everything
from sparrow.settings import Threat
from sparrow.stages._evaluation import Progress, batches, margin, open_case, predict, write_outcomes


def verify(network: Path, data: Path, output: Path, cost: Path, spec: dict) -> None:
    """Run `spec["verifier"]` on the test images that `network` classifies correctly.

    Status `verified`: the lower bound on the margin is above zero; `falsified`: the network is wrong on the image as it
    is; `unknown`: neither. The margin is the bound, or that of the image as it is where that is wrong.
    Raises SparrowError if a bound is not a number.
    """
    with measured(cost):
        seed_everything(spec["seed"], "verify", spec["verifier"]["kind"])
        entry, params = catalogue.from_spec("verifiers", spec["verifier"])
        threat = Threat(**spec["threat"])
        model, part, classes = open_case(network, data, spec, params, pick_device())
        predictions = predict(model, part.images, params.batch_size)
        with torch.no_grad():
            margins = torch.cat([model(batch) for batch in part.images.split(params.batch_size)])
            margins = margin(margins, part.labels)
        correct = predictions == part.labels
        progress = Progress(int(correct.sum()), "verified")
        for batch in batches(correct, params.batch_size):
            bounds = entry.bound(model, part.images[batch], part.labels[batch], params, threat, classes)
            if bounds.isnan().any():
                raise SparrowError(f"{network}: {spec['verifier']['kind']} gave a bound that is not a number")
            margins[batch] = bounds
            progress.done(len(batch), int((bounds > 0).sum()))
        status = [
            "falsified" if not right else "verified" if bound > 0 else "unknown"
            for right, bound in zip(correct.tolist(), margins.tolist(), strict=True)
        ]
        print(f"{spec['verifier']['kind']}: {status.count('verified')} of {len(status)} images verified")
        write_outcomes(output, part, predictions, status, margins, threat)
