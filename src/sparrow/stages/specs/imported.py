"""What taking over a third party's network reads."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from sparrow.stages.specs.base import CheckpointSpec


class ImportedFile(BaseModel):
    """The file of a third party's network and how it is to be read: `study.sections.Import`, with the digest of its map."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    map: str
    key: str | None
    granularity: Literal["weight", "filter"]
    allow_ratio: bool
    map_sha256: str | None
    """The SHA-256 of the key map, if it is a file of the user's own."""


class ImportSpec(CheckpointSpec):
    """The checkpoint whose place a network takes, and the file that it is read from."""

    stage: Literal["dense", "pruned", "finetuned"]
    imported: ImportedFile
