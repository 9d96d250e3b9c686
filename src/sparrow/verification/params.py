"""Settings that all verifiers share."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from sparrow.settings import Evaluation, Norm


class Verifier(Evaluation):
    """What a verifier declares about itself; which images are verified, and how many at a time."""

    norms: ClassVar[tuple[Norm, ...]]
    """Norms of the threats that it knows; a study whose threat has another is refused."""
    smoothed: ClassVar[bool] = False
    """Whether it certifies a smoothed classifier in place of the network, of whose own answers that says nothing."""
    one_by_one: ClassVar[bool] = False
    """Whether it is given one image at a time: a job that is killed loses the work on its last batch."""


class Verification(Verifier):
    """A verifier that bounds a network's outputs, in limited memory."""

    memory_mb: int | None = Field(3000, ge=64)
    """Memory that the bounds may take, in MiB, beyond what the job has at the start; of the GPU, where one is used. A
    batch that needs more is halved. No limit but the machine's if null. (Linux or CUDA.)"""
