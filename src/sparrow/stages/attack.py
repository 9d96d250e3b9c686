"""Attack a network and write down which test images survive."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from sparrow import catalogue, examples_file, journal
from sparrow.costs import METER, measured
from sparrow.data._store import Part
from sparrow.margin import margin
from sparrow.outcome_table import verified
from sparrow.perturbation import distance, project
from sparrow.progress import Progress
from sparrow.reproducible import pick_device, seed_everything
from sparrow.resume import resumable
from sparrow.settings import Threat
from sparrow.stages._evaluation import batches, failed_table, open_case, predict, write_outcomes
from sparrow.stages._failure import recorded
from sparrow.training.provenance import attacked


def _failed(message: str, output: Path, network: Path, spec: dict, examples: Path | None = None, **unused) -> None:
    failed_table(message, output)
    if examples is not None:
        examples_file.write(examples, torch.empty(0, dtype=torch.long), torch.empty(0, 0, 0, 0), attacked(network, spec))


@recorded(_failed)
def attack(
    network: Path,
    data: Path,
    output: Path,
    cost: Path,
    spec: dict,
    examples: Path | None = None,
    proofs: list[Path] = (),
) -> None:
    """Run `spec["attack"]` on the test images that `network` classifies correctly; keep what it finds in `examples`.

    Images that one of the outcome tables in `proofs` verifies are left out.

    Status `robust`: correct, and still correct after the attack or left out; `broken`: anything else. The attack's images are
    projected onto the perturbation set and classified again before they count; those of a minimum-norm attack also as
    they are, with the distance that they have. The margin is that of the logits within the perturbation set, or of the
    image as it is where the network is wrong anyway.
    """
    with resumable(output, spec, network, data, *proofs) as resume, measured(cost):
        generator = seed_everything(spec["seed"], "attack", spec["attack"]["kind"])
        entry, params = catalogue.from_spec("attacks", spec["attack"])
        threat = Threat(**spec["threat"])
        model, part, classes = open_case(network, data, spec, params, pick_device())
        predictions = predict(model, part.images, params.batch_size)
        found = part.images.clone()
        correct = predictions == part.labels
        targets = correct & ~_proven(proofs, part, threat)
        if proofs:
            print(f"{int((correct & ~targets).sum())} of {int(correct.sum())} correct images are verified, and left out")
        progress = Progress(int(targets.sum()), "robust")

        def work(batch: Tensor) -> Tensor:
            images, labels = part.images[batch], part.labels[batch]
            with METER.watching(model):
                results = entry.attack(model, images, labels, params, threat, classes).detach()
            # An attack that ends in something that is no image has not found one.
            return torch.where(results.isfinite(), results, images).clamp(0, 1)

        with journal.kept(resume, generator):
            for number, batch in enumerate(batches(targets, params.batch_size)):
                found[batch] = journal.once(f"batch {number}", partial(work, batch))
                inside = project(found[batch], part.images[batch], threat)
                progress.done(len(batch), int((predict(model, inside, len(batch)) == part.labels[batch]).sum()))
        far = distance(found, part.images, threat.norm)
        # What is inside stays as it is: projected once more, it might be rounded to the other side of the boundary.
        outside = (far > threat.eps).view(-1, *[1] * (found.dim() - 1))
        inside = torch.where(outside, project(found, part.images, threat), found)
        fooled, margins = _judge(model, inside, part.labels, params.batch_size)
        distances = torch.where(fooled, distance(inside, part.images, threat.norm).clamp_max(threat.eps), torch.inf)
        nearest = inside
        if getattr(entry, "MINIMUM_NORM", False):
            also, _ = _judge(model, found, part.labels, params.batch_size)
            nearest = torch.where(fooled.view(-1, *[1] * (found.dim() - 1)), inside, found)
            distances = torch.where(also & ~fooled, far, distances)
        distances[~correct] = 0
        status = ["broken" if broken else "robust" for broken in fooled.tolist()]
        print(f"{spec['attack']['kind']}: {status.count('robust')} of {len(status)} images robust")
        if examples is not None:
            kept = (correct & distances.isfinite()).cpu()
            examples_file.write(examples, part.indices[kept], nearest[kept.to(nearest.device)], attacked(network, spec))
        write_outcomes(output, part, "attacks", (predictions, status, margins, distances), threat)


def _proven(proofs: list[Path], part: Part, threat: Threat) -> Tensor:
    """Which images (n,) no attack can break, as verifiers' outcome tables say."""
    indices = set().union(*(verified(path, threat) for path in proofs))
    return torch.tensor([index in indices for index in part.indices.tolist()], device=part.images.device)


def _judge(model: nn.Module, images: Tensor, labels: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which images (n,) fool the network, and the margins (n,) of their logits."""
    with torch.no_grad():
        logits = torch.cat([model(batch) for batch in images.split(size)])
    return logits.argmax(dim=1) != labels, margin(logits, labels)
