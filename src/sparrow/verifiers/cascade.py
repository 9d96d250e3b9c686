"""A cascade: for each image, the cheapest bound that decides it.

First an image is dropped that the network gets wrong, then one for which an attack of the study has found an adversarial
example (which is projected onto the perturbation set and classified again). The rest goes from one bound to the next, and
leaves with the first answer; batches are packed anew with what is left. It verifies what at least one of its bounds would
verify by itself, and `decided` says which was the first. A bound that the network's layers rule out, or that a point of a
perturbation set refutes, has no say; the others keep theirs, and a warning names it.

Source: the union of bounds after the evaluation in Zhang et al., "Towards Stable and Efficient Training of Verifiably
Robust Neural Networks", ICLR 2020; each bound's own source is named in its file.

BibTeX:

@inproceedings{zhang2020towards,
  author = {Zhang, Huan and Chen, Hongge and Xiao, Chaowei and Gowal, Sven and Stanforth, Robert and Li, Bo and Boning,
    Duane and Hsieh, Cho-Jui},
  title = {Towards Stable and Efficient Training of Verifiably Robust Neural Networks},
  booktitle = {International Conference on Learning Representations},
  year = {2020},
}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from sparrow.lazy_torch import torch
from sparrow.settings import Norm, Threat, unique
from sparrow.verification.params import Verification
from sparrow.verifiers import alpha_crown, branch_and_bound, crown, crown_ibp, ibp

if TYPE_CHECKING:
    from sparrow.verification.decision import Decision

ALPHA, SEARCH = "alpha-crown", "branch-and-bound"
FILES = {"ibp": ibp, "crown-ibp": crown_ibp, "crown": crown, ALPHA: alpha_crown, SEARCH: branch_and_bound}


class Params(Verification):
    """Which bounds, and the settings of those that have any."""

    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")
    bounds: Annotated[list[Literal["ibp", "crown-ibp", "crown", "alpha-crown", "branch-and-bound"]], AfterValidator(unique)] = (
        Field(["ibp", "crown-ibp", "crown", "alpha-crown"], min_length=1)
    )
    """The bounds in their order, cheapest first. `branch-and-bound` makes it complete, given time."""
    attacks: Annotated[list[str], AfterValidator(unique)] = Field([])
    """Labels of attacks whose adversarial examples are tried first."""
    alpha_batch_size: int = Field(50, ge=1)
    """Images per batch of alpha-CROWN."""
    iterations: int = Field(20, ge=1)
    """As in `alpha-crown` and `branch-and-bound`."""
    lr: float = Field(0.5, gt=0)
    """As in `alpha-crown` and `branch-and-bound`."""
    seconds: float = Field(60.0, gt=0)
    """As in `branch-and-bound`: time limit for each image that gets there."""
    domains: int = Field(20_000, ge=1)
    """As in `branch-and-bound`."""


def members(params: Params) -> dict[str, Verification]:
    """The parameters with which each bound would give its answers by itself."""
    common = {"samples": params.samples, "memory_mb": params.memory_mb}
    slopes = {"iterations": params.iterations, "lr": params.lr}
    special = {
        ALPHA: lambda: alpha_crown.Params(batch_size=params.alpha_batch_size, **slopes, **common),
        SEARCH: lambda: branch_and_bound.Params(seconds=params.seconds, domains=params.domains, **slopes, **common),
    }
    plain = {"batch_size": params.batch_size, **common}
    return {kind: special[kind]() if kind in special else FILES[kind].Params(**plain) for kind in params.bounds}


def decide(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, params: Params, threat: Threat, classes: int
) -> Decision:
    """A `Decision` on images (n, c, h, w) that `model` classifies correctly and no attack has broken.

    A bound that cannot be had of this network, or is refuted by a point of a perturbation set, has decided nothing: what it
    has proved is taken back, and goes on to the next. What the others have decided stays. Raises NetworkError if every bound
    that was asked failed.
    """
    from sparrow.errors import NetworkError
    from sparrow.jobs.progress import Progress
    from sparrow.verification.decision import NOTHING, Decision, part_size
    from sparrow.verification.memory import in_parts

    count, device = len(labels), images.device
    result = Decision(
        torch.zeros(count, dtype=torch.bool, device=device),
        torch.zeros(count, dtype=torch.bool, device=device),
        torch.full((count,), -torch.inf, device=device),
        [NOTHING] * count,
    )
    failures, worked = [], False
    for kind, settings in members(params).items():
        left = (~(result.verified | result.falsified)).nonzero().squeeze(1)
        trial, failed = _copied(result), list[str]()
        progress = Progress(len(left), "verified", kind)

        def work(part: torch.Tensor, kind: str = kind, settings: Verification = settings) -> tuple:
            return _answer(kind, model, images[part], labels[part], settings, threat, classes)

        def accept(
            part: torch.Tensor,
            answer: tuple,
            progress: Progress = progress,
            trial: Decision = trial,
            failed: list[str] = failed,
        ) -> None:
            *found, reason = answer
            if reason is not None:
                failed.append(reason)
                raise NetworkError(reason)
            trial.update(part, Decision(*found))
            progress.done(len(part), int(trial.verified[part].sum()))

        try:
            in_parts(work, accept, left, part_size(FILES[kind], model, images[left[:1]], settings, classes), kind)
        except NetworkError:
            if not failed:
                raise
            print(f"{kind} has proved nothing: {failed[0]}", flush=True)
            failures.append(f"{kind}: {failed[0]}")
            result = _with_examples(result, trial)
        else:
            result, worked = trial, worked or bool(len(left))
    if failures and not worked:
        raise NetworkError(failures[0])
    return result._replace(failures=tuple(failures))


def _answer(
    kind: str,
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    settings: Verification,
    threat: Threat,
    classes: int,
) -> tuple:
    """The first four fields of one bound's `Decision` on some images, and None; or four times None, and why the bound failed.

    The reason is a value and no exception, so that a job that goes on after a stop has it in its journal.
    """
    from sparrow.errors import NetworkError
    from sparrow.verification.decision import decide_by

    try:
        found = decide_by(FILES[kind], kind, model, images, labels, settings, threat, classes)
    except NetworkError as error:
        return None, None, None, None, str(error)
    return *found[:4], None


def _copied(result: Decision) -> Decision:
    """A copy of the `Decision` `result`, which shares no tensor with it."""
    verified, falsified, margins, decided, failures = result
    return type(result)(verified.clone(), falsified.clone(), margins.clone(), list(decided), failures)


def _with_examples(result: Decision, trial: Decision) -> Decision:
    """`result` with the images that `trial` falsifies, too: their adversarial examples count, whatever became of its bounds."""
    margins = torch.where(trial.falsified, trial.margins, result.margins)
    by = [
        new if broken else old for new, old, broken in zip(trial.decided, result.decided, trial.falsified.tolist(), strict=True)
    ]
    return result._replace(falsified=trial.falsified, margins=margins, decided=by)
