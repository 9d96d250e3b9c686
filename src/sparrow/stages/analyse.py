"""One analysis of a data set, a network, a pair, a family, or a cell over all seeds: from checkpoints to a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparrow import catalogue
from sparrow.adversary.geometry import project
from sparrow.data.store import Part
from sparrow.files import examples as examples_file
from sparrow.files.csv_table import write_csv
from sparrow.files.outcome_table import FAILED
from sparrow.files.specs import opened
from sparrow.inference.subjects import Data, Family, Network, OneDataSet, OneNetwork, Pair, Seeds, Subject
from sparrow.reproducible import pick_device
from sparrow.settings import Analysis, Threat
from sparrow.stages import _analysis
from sparrow.stages._failure import recorded
from sparrow.stages.specs.analysis import NetworksAnalysisSpec


def _failed(
    message: str, output: Path, spec: NetworksAnalysisSpec, data: Path, networks: list[Path], dense: list[Path], **unused: Any
) -> None:
    """A table of one row, which says why there are no others."""
    write_csv(output, FAILED, [[message, *_analysis.origin(_about(spec, networks, dense), [data], spec)]])


@opened(NetworksAnalysisSpec)
@recorded(_failed)
def analyse(
    output: Path,
    cost: Path,
    spec: NetworksAnalysisSpec,
    data: Path,
    networks: list[Path],
    dense: list[Path],
    outputs: Sequence[Path] = (),
    corrupted: Sequence[Path] = (),
    examples: Sequence[Path] = (),
) -> None:
    """Run `spec.analysis` on `networks`, in the study's order; of a data set, on none.

    `dense` is what they were pruned from: of a pair or family one network, of seeds one for each. `outputs` are the logits of
    all of them, `examples` adversarial images that attacks have found against all of them, `corrupted` is the file of corrupted
    test images, where it reads these.
    """

    def subject(params: Analysis, generator: torch.Generator) -> Subject:
        given = Data(data, pick_device(), next(iter(corrupted), None)), generator, spec.threat

        def opened(paths: list[Path]) -> tuple[Network, ...]:
            return tuple(Network(path, given[0], spec.model or {}, spec.outputs, tried(path)) for path in paths)

        def tried(path: Path) -> Callable[[Part], list[tuple[Tensor, Tensor]]] | None:
            files = [file for file in examples if file.parents[1] == path.with_suffix("")]
            return partial(_within, files, path, spec.threat) if spec.threat and files else None

        match params.scope:
            case "network":
                return OneNetwork(*given, opened(networks)[0])
            case "pair":
                return Pair(*given, opened(dense)[0], opened(networks)[0])
            case "family":
                return Family(*given, opened(dense)[0], opened(networks))
            case "seeds":
                return Seeds(*given, opened(networks), opened(dense))
        return OneDataSet(*given)

    read = [data, *corrupted, *dict.fromkeys([*dense, *networks]), *outputs, *examples]
    _analysis.run(output, cost, spec, _about(spec, networks, dense), read, subject)


def _within(files: Sequence[Path], network: Path, threat: Threat, part: Part) -> list[tuple[Tensor, Tensor]]:
    """See `Network.examples`."""
    examples_file.require_own(files, network)
    found = [examples_file.found_of(file, part.indices, part.images) for file in files]
    return [(there, project(images, part.images, threat)) for there, images in found]


def _about(spec: NetworksAnalysisSpec, networks: list[Path], dense: list[Path]) -> list[Path]:
    """The networks that a table names: a pair's is the pruned one, whose header names its parent."""
    one = catalogue.load("analyses", spec.analysis["kind"]).Params.scope in ("network", "pair")
    return networks if one else list(dict.fromkeys([*dense, *networks]))
