"""Verify a network and write down for which test images it provably cannot be fooled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparrow import catalogue
from sparrow.files import examples as examples_file
from sparrow.files.specs import opened
from sparrow.jobs import journal
from sparrow.jobs.costs import record_cost
from sparrow.jobs.resume_point import resumable
from sparrow.reproducible import pick_device, seed_everything
from sparrow.stages._evaluation import failed_table, open_case, origin, write_outcomes
from sparrow.stages._failure import recorded
from sparrow.stages.specs.evaluation import VerifySpec
from sparrow.stages.verified_images import Case, bounded, smoothed


@opened(VerifySpec)
@recorded(failed_table)
def verify(network: Path, data: Path, output: Path, cost: Path, spec: VerifySpec, examples: Sequence[Path] = ()) -> str | None:
    """Verify `network` on the test images that it classifies correctly and no file in `examples` breaks.

    Status `verified`: the lower bound on the margin is above zero; `falsified`: the network is wrong on the image as it
    is, or on an adversarial example, which is projected onto the perturbation set and classified again before it counts;
    `unknown`: neither. The margin is the bound, or that of the image or of its adversarial example. A verifier of a
    smoothed classifier predicts all images itself; where it abstains, the status is `unknown`.

    Returns one line for the user if part of the verifier could not be used on this network.
    """
    with resumable(output, spec.model_dump(), network, data, *examples) as resume, record_cost(cost):
        generator = seed_everything(spec.seed, "verify", spec.verifier["kind"])
        examples_file.require_own(examples, network)
        entry, params = catalogue.from_spec("verifiers", spec.verifier)
        case = Case(*open_case(network, data, spec.model, params, pick_device()), params, spec.threat)
        with journal.open_journal(resume, generator):
            failures: list[str] = []
            if params.smoothed:
                columns = smoothed(entry, spec.verifier["kind"], case, generator)
            else:
                columns = bounded(entry, spec.verifier["kind"], case, examples, failures)
        print(f"{spec.verifier['kind']}: {columns[1].count('verified')} of {len(case.part)} images verified")
        write_outcomes(output, case.part, "verifiers", columns, case.threat, origin(network, data, spec))
    return f"warning: {output}: without {'; without '.join(failures)}" if failures else None
