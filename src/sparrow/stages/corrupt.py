"""Corrupt a data set's test images: made here, or read from the published archive."""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path

import torch

from sparrow.data import store
from sparrow.data.corruptions.archive import Archive
from sparrow.data.corruptions.making import corrupted
from sparrow.errors import SparrowError
from sparrow.files import corrupted as stored
from sparrow.files.specs import opened
from sparrow.jobs import journal
from sparrow.jobs.costs import record_cost
from sparrow.jobs.resume_point import resumable
from sparrow.stages.specs.corruption import CorruptSpec
from sparrow.versions import versions


@opened(CorruptSpec)
def corrupt(output: Path, cost: Path, spec: CorruptSpec, data: Path, archive: list[Path]) -> None:
    """Write the test images of `data` under each corruption of `spec` to `output`; `archive` is the published one, if used.

    Raises SparrowError, naming the archive, if that is not of these images.
    """
    asked = spec.corruptions
    if asked.file and not archive:
        raise SparrowError(f"{asked.file}: no such file, and corrupted images are to be read from it")
    with resumable(output, spec.model_dump(), data, *archive) as resume, record_cost(cost):
        part, header = store.read(data, "test")
        part = part.first(asked.samples)
        pixels, indices = part.pixels.numpy(), part.indices.numpy()
        source = Archive(archive[0]) if archive else None
        if source:
            source.require_labels(indices, part.labels.numpy())

        def images(kind: str, severity: int) -> torch.Tensor:
            if source:
                return torch.from_numpy(source.images(kind, severity, indices, header.shape).copy())
            return torch.from_numpy(corrupted(pixels, header.white, indices.tolist(), kind, severity))

        found = {}
        with journal.open_journal(resume, torch.Generator()):
            for kind, severity in product(asked.kinds, asked.severities):
                name = stored.name_of(kind, severity)
                found[kind, severity] = journal.compute_once(name, partial(images, kind, severity)).numpy()
                print(f"{name}: {len(part)} images")
        about = {"data": header.digest, "corruptions": asked.model_dump(), "code": spec.code}
        stored.write(output, found, indices, about | {"versions": versions("numpy", "scipy", "pillow")})
