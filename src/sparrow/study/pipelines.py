"""The ways from an initial network to a fine-tuned one: what is pruned, and under which schedules. Imports no torch."""

from __future__ import annotations

from typing import NamedTuple

from sparrow.files.paths import DENSE, INITIAL
from sparrow.pruning.params import Pipeline
from sparrow.study.sections import TrainingStage


class Stages(NamedTuple):
    """What a pipeline does with a network."""

    parent: str
    """The stage of the checkpoint that is pruned."""
    search: TrainingStage
    """Under whose schedule it is pruned, if the method trains and asks for no other."""
    afterwards: TrainingStage
    """Under whose schedule what is left trains after that."""


PIPELINES: dict[Pipeline, Stages] = {
    "after": Stages(DENSE, "prune", "finetune"),
    "before": Stages(INITIAL, "prune", "pretrain"),
    "during": Stages(INITIAL, "pretrain", "finetune"),
}
"""By the `pipeline` of a method: it prunes after, before or during training."""
