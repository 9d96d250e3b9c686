"""What preparing a data set reads."""

from __future__ import annotations

from sparrow.files.specs import Entry, Spec


class DataSpec(Spec):
    """A data set, and the user's folders behind it: each with a digest of the files in it."""

    dataset: Entry
    folders: dict[str, str] | None = None
