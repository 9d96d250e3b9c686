"""Attack a network and write down which test images survive."""

from __future__ import annotations

from pathlib import Path

import torch

from sparrow import catalogue
from sparrow.costs import METER, measured
from sparrow.perturbation import project
from sparrow.reproducible import pick_device, seed_everything
from sparrow.settings import Threat
from sparrow.stages._evaluation import batches, margin, open_case, predict, write_outcomes


def attack(network: Path, data: Path, output: Path, cost: Path, spec: dict) -> None:
    """Run `spec["attack"]` on the test images that `network` classifies correctly.

    Status `robust`: correct, and still correct after the attack; `broken`: anything else. The attack's images are
    projected onto the perturbation set and classified again before they count. The margin is that of the logits after
    the attack, or of the image as it is where the network is wrong anyway.
    """
    with measured(cost):
        seed_everything(spec["seed"], "attack", spec["attack"]["kind"])
        entry, params = catalogue.from_spec("attacks", spec["attack"])
        threat = Threat(**spec["threat"])
        model, part, classes = open_case(network, data, spec, params, pick_device())
        predictions = predict(model, part.images, params.batch_size)
        adversarial = part.images.clone()
        for number, batch in enumerate(batches(predictions == part.labels, params.batch_size)):
            images, labels = part.images[batch], part.labels[batch]
            with METER.watching(model):
                found = entry.attack(model, images, labels, params, threat, classes)
            adversarial[batch] = project(found.detach(), images, threat)
            print(f"batch {number + 1}: {len(batch)} images attacked", flush=True)
        with torch.no_grad():
            margins = torch.cat(
                [
                    margin(model(images), labels)
                    for images, labels in zip(
                        adversarial.split(params.batch_size), part.labels.split(params.batch_size), strict=True
                    )
                ]
            )
        fooled = predict(model, adversarial, params.batch_size) != part.labels
        status = ["broken" if broken else "robust" for broken in fooled.tolist()]
        print(f"{spec['attack']['kind']}: {status.count('robust')} of {len(status)} images robust")
        write_outcomes(output, part, predictions, status, margins, threat)
