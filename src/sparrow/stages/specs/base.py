"""What the specs of all jobs have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

Entry = dict[str, Any]
"""An entry of a room as plain values: `{"kind": ..., **parameters}`, which `catalogue.from_spec` opens."""

BESIDE_CONFIG = frozenset({"cell", "code", "model", "stage"})
"""What headers say under keys of their own, and not in their `config`."""


class PlainValues(BaseModel):
    """Immutable; `model_dump` gives plain values, and leaves out what is None."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _without_none(self, serialised: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialised(self).items() if value is not None}


class Spec(PlainValues):
    """What one job reads of its study. `model_dump` gives the plain values that Snakemake compares from run to run."""

    code: str
    """Digest of the code that the job runs."""

    def config(self) -> dict[str, Any]:
        """What the header of a file made under this spec says of the configuration, but for what has a key of its own."""
        return self.model_dump(exclude=set(BESIDE_CONFIG))


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
