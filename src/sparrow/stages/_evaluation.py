"""What attacks and verifiers set up alike, and the outcome table that both write."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from sparrow import radius
from sparrow.data.store import Part, read
from sparrow.files import checkpoint, content
from sparrow.files.csv_table import write_csv
from sparrow.files.headers import DATA_FORMAT, read_header
from sparrow.files.outcome_table import COLUMNS, FAILED
from sparrow.networks.finite import require_numbers
from sparrow.settings import Evaluation, Threat
from sparrow.stages._origin import require_data


def open_case(network: Path, data: Path, spec: dict, params: Evaluation, device: torch.device) -> tuple[nn.Module, Part, int]:
    """The network in eval mode, the test images to evaluate and the number of classes.

    Raises CheckpointError if the network was trained on another data set, NetworkError if its logits are not finite.
    """
    part, about = read(data, "test")
    loaded = checkpoint.load(network, spec["model"])
    require_data(network, loaded.header, data, about)
    model, part = loaded.model.to(device), part.first(params.samples).to(device)
    require_numbers(model, part.images, params.batch_size)
    return model, part, about.classes


def origin(network: Path, data: Path, spec: dict) -> tuple[str, str, str]:
    """What a table is about: the columns `ORIGIN` of `network`'s, evaluated on `data` under `spec`."""
    digests = content.of_header(read_header(network)), read_header(data, DATA_FORMAT)["digest"]
    return *(digest[: content.SHORT] for digest in digests), content.of_spec(spec)


def failed_table(message: str, output: Path, network: Path, data: Path, spec: dict, **unused) -> None:
    """A table of one row, which says why there are no outcomes."""
    write_csv(output, FAILED, [[message, *origin(network, data, spec)]])


def write_outcomes(
    path: Path, part: Part, role: str, columns: tuple[Tensor | list, ...], threat: Threat, about: tuple[str, str, str]
) -> None:
    """One row per image, by index in the data set; `columns` are those of an outcome table from `prediction` to `norm`.

    `about` is what `origin` gives.
    """
    everything = (part.indices, part.labels, *columns)
    rows = zip(*(column.tolist() if isinstance(column, Tensor) else column for column in everything), strict=True)
    threatened = (threat.norm, radius.number(threat.eps), radius.text(threat.eps))
    write_csv(path, COLUMNS[role], [(*row, *threatened, *about) for row in sorted(rows)])
