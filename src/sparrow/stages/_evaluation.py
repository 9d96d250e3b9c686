"""What attacks and verifiers set up alike, and the outcome table that both write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparrow import radius
from sparrow.data.store import Part, read
from sparrow.files import checkpoint, content
from sparrow.files.csv_table import write_csv
from sparrow.files.headers import DATA_FORMAT, read_header
from sparrow.files.outcome_table import COLUMNS, FAILED
from sparrow.files.specs import Entry, Spec
from sparrow.networks.finite import require_numbers
from sparrow.settings import Evaluation, Threat
from sparrow.stages._origin import require_data


def open_case(network: Path, data: Path, model: Entry, params: Evaluation, device: torch.device) -> tuple[nn.Module, Part, int]:
    """The network, an architecture `model` in eval mode, the test images to evaluate it on, and the number of classes.

    Raises CheckpointError if the network was trained on another data set, NetworkError if its logits are not finite.
    """
    part, about = read(data, "test")
    loaded = checkpoint.load(network, model)
    require_data(network, loaded.header, data, about)
    found, part = loaded.model.to(device), part.first(params.samples).to(device)
    require_numbers(found, part.images, params.batch_size)
    return found, part, about.classes


def origin(network: Path, data: Path, spec: Spec) -> tuple[str, str, str]:
    """Digests of a network, a data set and a spec: the columns `ORIGIN` of the table that is made from them."""
    found, about = content.of_header(read_header(network)), read_header(data, DATA_FORMAT)
    return found[: content.SHORT], about["digest"][: content.SHORT], content.of_spec(spec.model_dump())


def failed_table(message: str, output: Path, network: Path, data: Path, spec: Spec, **unused: Any) -> None:
    """Write a table of one row, which says why there are no outcomes."""
    write_csv(output, FAILED, [[message, *origin(network, data, spec)]])


def write_outcomes(
    path: Path, part: Part, role: str, columns: tuple[Tensor | list, ...], threat: Threat, about: tuple[str, str, str]
) -> None:
    """Write an outcome table: one row per image, by index in the data set; `columns` are those from `prediction` to `norm`.

    `about` is what `origin` gives.
    """
    everything = (part.indices, part.labels, *columns)
    rows = zip(*(column.tolist() if isinstance(column, Tensor) else column for column in everything), strict=True)
    threatened = (threat.norm, radius.number(threat.eps), radius.text(threat.eps))
    write_csv(path, COLUMNS[role], [(*row, *threatened, *about) for row in sorted(rows)])
