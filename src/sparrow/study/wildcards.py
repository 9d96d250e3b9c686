"""Regular expressions of names in a study's paths, for Snakemake: which rule makes a file. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sparrow.files.paths import DENSE, LABEL, WILDCARDS, outcome_job
from sparrow.study import cells
from sparrow.study.config import Study


def one_of(names: Iterable[str]) -> str:
    """A pattern that matches these names; nothing, if there are none."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


def checkpoint_with_examples(study: Study) -> str:
    """A pattern of the checkpoint in the path of an attack's table, if its adversarial examples are kept.

    It sees the rest of the path, up to the dot of its suffix.
    """
    every, dense = (
        rf"(?=/{outcome_job('attacks', f'(?:{one_of(names)})')}\.)"
        for names in (cells.attacks_with_examples(study), cells.attacks_with_examples_of_dense(study))
    )
    return f"(?:{WILDCARDS['checkpoint']}){every}|{DENSE}{dense}"


def checkpoint_without_examples(study: Study) -> str:
    """The same, only if they are not kept."""
    return f"(?!{checkpoint_with_examples(study)})(?:{WILDCARDS['checkpoint']})"


def dataset_of_trained(study: Study) -> str:
    """A pattern of the data set at the beginning of a checkpoint's path, unless the checkpoint is imported.

    It sees the whole path, up to the dot of its suffix.
    """
    return f"(?!{_imported(study)}){LABEL}"


def dataset_of_imported(study: Study) -> str:
    """The same, only if the checkpoint is imported."""
    return f"(?={_imported(study)}){LABEL}"


def _imported(study: Study) -> str:
    return rf"(?:{one_of(study.imports)})\."
