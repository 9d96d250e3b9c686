"""What an analysis is given, by its scope: data, networks, the threat, and random numbers. Files are read when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparrow.data import store
from sparrow.data.store import Header, Part
from sparrow.errors import CheckpointError, SparrowError
from sparrow.files import checkpoint, corrupted
from sparrow.files import outputs as outputs_file
from sparrow.files.headers import CORRUPTED_FORMAT, failure, read_header
from sparrow.files.paths import Checkpoint, checkpoint_in
from sparrow.networks.finite import require_numbers
from sparrow.settings import Threat


@dataclass(frozen=True)
class Data:
    """A prepared data set, as the study's networks see it."""

    path: Path
    device: torch.device
    corrupted_path: Path | None = None

    @property
    def corrupted(self) -> Corrupted:
        """The test images under common corruptions. Raises LookupError unless `needs` names them; SparrowError, naming the
        file, if it was made of other images."""
        if self.corrupted_path is None:
            raise LookupError("corrupted images are given to an analysis whose Params say needs = ('corrupted',)")
        found = read_header(self.corrupted_path, CORRUPTED_FORMAT)["data"]
        if found != self.about.digest:
            raise SparrowError(
                f"{self.corrupted_path}: made of another data set than {self.path} (digest {found[:12]}); delete it and run "
                "again"
            )
        return Corrupted(self.corrupted_path, self.device)

    @cached_property
    def about(self) -> Header:
        """Its digest, image shape, number of classes and their names."""
        return store.read(self.path, "test")[1]

    def part(self, name: str = "test", samples: int | None = None) -> Part:
        """The first `samples` images (of a fixed shuffled order), or all, of its `train`, `validation` or `test` part, on the
        job's device."""
        return store.read(self.path, name)[0].first(samples).to(self.device)


@dataclass(frozen=True)
class Corrupted:
    """Test images under common corruptions, in the order of the test part: the first ones of it, or all."""

    path: Path
    device: torch.device

    def __len__(self) -> int:
        """The number of images of each kind and severity."""
        return len(corrupted.read(self.path, corrupted.INDICES))

    @property
    def kinds(self) -> list[tuple[str, int]]:
        """Each kind with each of its severities, in the order of the kinds."""
        return corrupted.contents(self.path)

    def images(self, kind: str, severity: int) -> torch.Tensor:
        """The images (n, c, h, w), float32 in [0, 1], on the job's device."""
        found = corrupted.read(self.path, corrupted.name_of(kind, severity))
        return torch.from_numpy(found).to(self.device, torch.float32) / 255


@dataclass(frozen=True)
class Network:
    """A checkpoint, and where it lies. One that lost whole filters is there at its physical size."""

    path: Path
    data: Data
    architecture: dict[str, Any]
    """The model's specification, which the checkpoint has to have."""
    given_outputs: dict[str, Any] | None = None
    """How its logits were written down, if they were."""
    given_examples: Callable[[Part], list[tuple[torch.Tensor, torch.Tensor]]] | None = None
    """What `examples` gives, if they are asked for."""

    @property
    def header(self) -> dict[str, Any]:
        """What the file says of itself."""
        return read_header(self.path)

    @property
    def who(self) -> Checkpoint:
        """Which network of the study it is, and at which stage."""
        return checkpoint_in(self.header)

    @property
    def failed(self) -> str | None:
        """Why there are no weights in the file, if there are none."""
        found = failure(self.path)
        return None if found is None else str(found["failed"])

    @property
    def cut(self) -> bool:
        """Whether it lost whole filters, and is smaller than its architecture."""
        header = self.header
        return header.get("multiply_adds_left", header["multiply_adds"]) < header["multiply_adds"]

    @cached_property
    def outputs(self) -> outputs_file.Outputs:
        """Its logits on test images, on the CPU. Raises LookupError unless `needs` names them, NetworkError if it failed."""
        if self.given_outputs is None:
            raise LookupError("outputs are given to an analysis whose Params say needs = ('outputs',)")
        return outputs_file.of_network(self.path, self.given_outputs)

    def examples(self, part: Part) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each attack, whether (n,) it knows an adversarial image of each of a part's images, and these (n, c, h, w): the
        nearest, moved within the threat, where it may fool nobody; the image itself where there is none.

        Raises LookupError unless `needs` names them, SparrowError if they are of another network.
        """
        if self.given_examples is None:
            raise LookupError("adversarial images are given to an analysis whose Params say needs = ('examples',)")
        return self.given_examples(part)

    def as_built(self, images: torch.Tensor) -> nn.Module:
        """A network of its architecture before training, in eval mode on the device of `images`, whatever it lost."""
        return checkpoint.untrained(self.path, self.header).to(images.device)

    def load(self, images: torch.Tensor, batch_size: int) -> nn.Module:
        """The network in eval mode with its effective weights, on the device of `images` (n, c, h, w).

        One that lost whole filters has its physical size; `sparrow.exchange.network.load(path, masked=True)` its masked twin.
        Raises NetworkError if it failed, or if its logits on `images` are not finite; CheckpointError if it has another
        architecture, or was trained on another data set.
        """
        loaded = checkpoint.load(self.path, self.architecture)
        if loaded.header["data"] != self.data.about.digest:
            raise CheckpointError(
                f"{self.path}: trained on a data set other than {self.data.path} (digest {loaded.header['data'][:12]})"
            )
        model = loaded.model.to(images.device)
        require_numbers(model, images, batch_size)
        return model


@dataclass(frozen=True)
class Subject:
    """What every analysis is given."""

    data: Data
    generator: torch.Generator
    """On the CPU, seeded by the networks' seed and the name of the analysis; so are the global ones."""
    given_threat: Threat | None

    @property
    def threat(self) -> Threat:
        """The threat against which the networks were trained. Raises LookupError unless `needs` names it."""
        if self.given_threat is None:
            raise LookupError("the threat is given to an analysis whose Params say needs = ('threat',)")
        return self.given_threat


@dataclass(frozen=True)
class OneDataSet(Subject):
    """Scope `dataset`: the data set alone."""


@dataclass(frozen=True)
class OneNetwork(Subject):
    """Scope `network`: an evaluated network, dense or pruned."""

    network: Network


@dataclass(frozen=True)
class Pair(Subject):
    """Scope `pair`: a pruned network and the dense one that it comes from."""

    dense: Network
    pruned: Network


@dataclass(frozen=True)
class Family(Subject):
    """Scope `family`: a dense network and all evaluated ones that were pruned from it, in the study's order."""

    dense: Network
    pruned: tuple[Network, ...]


@dataclass(frozen=True)
class Seeds(Subject):
    """Scope `seeds`: the networks of one cell, one for each seed of the study, and the dense ones that they come from.

    Of a dense cell, both are the same.
    """

    networks: tuple[Network, ...]
    dense: tuple[Network, ...]
