"""Attack a network and write down which test images survive."""

from __future__ import annotations

from pathlib import Path

import torch

from sparrow import catalogue
from sparrow.costs import METER, measured
from sparrow.perturbation import project
from sparrow.reproducible import pick_device, seed_everything
from sparrow.settings import Threat
from sparrow.stages._evaluation import Progress, batches, margin, open_case, predict, write_outcomes


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
        correct = predictions == part.labels
        progress = Progress(int(correct.sum()), "robust")
        for batch in batches(correct, params.batch_size):
            images, labels = part.images[batch], part.labels[batch]
            with METER.watching(model):
                found = entry.attack(model, images, labels, params, threat, classes)
            # An attack that ends in something that is no image has not found one.
            found = torch.where(found.detach().isfinite(), found.detach(), images)
            adversarial[batch] = project(found, images, threat)
            progress.done(len(batch), int((model(adversarial[batch]).argmax(dim=1) == labels).sum()))
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
