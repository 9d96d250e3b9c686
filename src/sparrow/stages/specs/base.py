"""What the specs of all jobs that make checkpoints have in common."""

from __future__ import annotations

from sparrow.files.specs import Entry, PlainValues, Spec


class Labels(PlainValues):
    """The owner of the file that a job makes: labels of the study, the seed and, of a pruned network, method and ratio."""

    dataset: str
    model: str
    objective: str
    seed: int
    method: str | None = None
    ratio: float | None = None


class CheckpointSpec(Spec):
    """What a job reads that makes a checkpoint: whose it is, and the network's architecture."""

    cell: Labels
    model: Entry
