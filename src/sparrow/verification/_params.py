"""What all verifiers have in common."""

from __future__ import annotations

from pydantic import Field

from sparrow.settings import Evaluation


class Verification(Evaluation):
    """Which images are verified, how many at a time, and in how much memory."""

    memory_mb: int | None = Field(None, ge=1)
    """Memory that the bounds may take beyond what the job has, in MiB, of the GPU where one is used (Linux or CUDA); a batch
    that needs more is halved. No limit but the machine's if null."""
