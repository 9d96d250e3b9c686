"""Settings that all verifiers share."""

from __future__ import annotations

from pydantic import Field

from sparrow.settings import Evaluation


class Verification(Evaluation):
    """Which images are verified, how many at a time, and in how much memory."""

    memory_mb: int | None = Field(3000, ge=64)
    """Memory that the bounds may take, in MiB, beyond what the job has at the start; of the GPU, where one is used. A
    batch that needs more is halved. No limit but the machine's if null. (Linux or CUDA.)"""
