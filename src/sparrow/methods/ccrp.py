"""After CCRP: an evolution of its own for each layer chooses its filters by benign and robust accuracy; winners go together.

Of CCRP we have read the abstract: it "prunes filters in each layer by EAs separately", by accuracy, robustness and compactness.
Its predecessor by the same authors, CCEP, has the same cooperative coevolution without the robustness, and we have read a
released copy of its code (ChenSun-YP/coevo, CCEP.py, commit b26047c). As there: in a round, each layer has a population, all
other layers being as they are; `generations` times, every one of as many children is a random parent of which each bit is
flipped with probability `mutation` (a filter is removed only while the layer keeps enough), and the best of parents and
children stay, first by fitness, then by fewer filters. The winners of all layers are put together, and the network is trained
until the next round.

What is our reading:

- fitness is the mean of the benign accuracy and that under PGD (from the image, `pgd_steps` signed or l2 steps of 2.5 eps /
  steps), counted on fixed training images: the first ones of the round, which the mask search may see as every method here
  may. A group of layers that residual additions join is one layer;
- the pace. CCEP keeps at least 0.9 of a layer in a round and has 20 rounds, wherever they lead; here, `rounds` equal parts of
  the schedule. In a round a layer loses at least what puts it on the even way to the ratio (the same share of what is left in
  each round), and at most `leeway` times that share. Individuals are drawn between the two bounds, and children beyond them are
  mended at random;
- where the network reaches the ratio, which may be before the last round, only as many of the round's removals stand as the
  ratio asks for: those that, each alone, raise the mean cross-entropy on the images and on their attacked copies least. If
  rounding leaves too few at the end, filters go by the same measure. Then pruning is over, and training goes on;
- CCEP's crossover (off, and broken: its rate is not defined) is left out, and so is the unpruned layer in the population.

It is not cheap: each layer's evolution evaluates `population * (1 + generations)` networks a round, with an attack each. The
job's cost has these, `sparrow cost` has the training alone. (On digits, CNN-small, defaults: 974,790 gradient evaluations, of
which training is 168,390.)
CCSRP, the same for spiking networks (Song et al., 2024), has nothing to act on here.

Source: Wu et al., "Robust Neural Network Pruning by Cooperative Coevolution", PPSN 2022 (abstract); code of Shang et al.,
"Neural Network Pruning by Cooperative Coevolution", IJCAI 2022.

BibTeX:

@inproceedings{wu2022robust,
  author = {Wu, Jia-Liang and Shang, Haopu and Hong, Wenjing and Qian, Chao},
  title = {Robust Neural Network Pruning by Cooperative Coevolution},
  booktitle = {Parallel Problem Solving from Nature (PPSN XVII)},
  year = {2022},
}

@inproceedings{shang2022neural,
  author = {Shang, Haopu and Wu, Jia-Liang and Hong, Wenjing and Qian, Chao},
  title = {Neural Network Pruning by Cooperative Coevolution},
  booktitle = {International Joint Conference on Artificial Intelligence},
  year = {2022},
}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Criterion, Needs, Trains, WholeFilters
from sparrow.settings import Radius, Threat

if TYPE_CHECKING:
    from sparrow.networks.structure import FilterGroup, Layout
    from sparrow.pruning.pruner import Batch, Pruner, Step, Weights


class Params(WholeFilters):
    """The evolution's numbers are those of CCEP's released code, but for the rounds."""

    needs: ClassVar[Needs] = "schedule"
    trains: ClassVar[Trains] = "weights"
    criterion: ClassVar[Criterion] = "LIS"
    iterative: ClassVar[bool] = True
    eps: Radius | None = None
    """Radius of the attack in the fitness, in pixel units; the threat's if null."""
    rounds: int = Field(5, ge=1)
    """Equal parts of the schedule; each begins with an evolution of every layer. CCEP has 20 with a training each."""
    leeway: float = Field(2.0, ge=1)
    """A layer loses in a round at most so many times the share that an even pace asks for."""
    population: int = Field(5, ge=1)
    """Individuals that survive a generation, and children in each."""
    generations: int = Field(5, ge=0)
    """Generations of each evolution."""
    mutation: float = Field(0.1, gt=0, lt=1)
    """Probability that a filter of a child is flipped."""
    images: int = Field(256, ge=1)
    """Training images that a round's fitness is counted on."""
    pgd_steps: int = Field(7, ge=1)
    """Steps of the attack in the fitness."""


class Individual(NamedTuple):
    """One choice of a layer's filters."""

    fitness: int
    """Images classified correctly and attacked images classified correctly, together."""
    kept: torch.Tensor
    """Which filters (n,) it keeps, bool, on the CPU."""


def best_first(individuals: list[Individual]) -> list[Individual]:
    """The individuals in their order: first by fitness, then by how few filters they keep, then as they are given."""
    return sorted(individuals, key=lambda one: (-one.fitness, int(one.kept.sum())))


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that searches when each round begins, and trains for the rest of it."""
    from sparrow.networks.modes import eval_mode
    from sparrow.pruning.held_filters import HeldFilters
    from sparrow.pruning.ratio import pruned_after, pruned_count

    class Ccrp(HeldFilters):
        def start(self, weights: Weights, layout: Layout) -> list[torch.Tensor]:
            tensors = super().start(weights, layout)
            self.generator, self.rounds, self.collecting = generator, 0, True
            self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []
            self.norm, self.eps = "linf", 0.0
            return tensors

        def loss(self, batch: Batch) -> torch.Tensor:
            assert batch.threat is not None, "Params has an eps"
            if self.collecting:
                self.norm, self.eps = batch.threat.norm, batch.threat.eps
                self.seen.append((batch.images.detach().clone(), batch.labels.clone()))
            return batch.objective()

        def after_step(self, weights: Weights, step: Step) -> None:
            super().after_step(weights, step)
            now = ((step.number + 1) * params.rounds - 1) // step.total
            ends = ((step.number + 2) * params.rounds - 1) // step.total > now
            if self.collecting and (ends or sum(len(labels) for _, labels in self.seen) >= params.images):
                self.search(weights, now + 1)
                self.seen, self.collecting = [], False
            if ends and self.lost(self.kept) < self.target():
                self.collecting = True

        def target(self) -> int:
            """How many filters the network is to lose."""
            return pruned_count(sum(map(len, self.kept.values())), ratio)

        def lost(self, kept: Mapping[str, torch.Tensor]) -> int:
            """How many filters are not `kept`."""
            return sum(int((~mask).sum()) for mask in kept.values())

        def search(self, weights: Weights, rounds: int) -> None:
            """Remove what the evolutions find, so that `rounds` of all rounds are over."""
            images, labels = (torch.cat(parts)[: params.images] for parts in zip(*self.seen, strict=True))
            examined = Examined(self.network, images, labels, Threat(norm=self.norm, eps=self.eps), params.pgd_steps)
            before = {block: mask.cpu() for block, mask in self.kept.items()}
            with eval_mode(self.network):
                found = {group.layers[0]: self.evolve(examined, group, rounds) for group in self.layout.groups}
                wanted = self.target() - self.lost(before)
                gone = places({block: before[block] & ~kept for block, kept in found.items()})
                if len(gone) > wanted:
                    found = without(before, examined.least_harmful(self.layout, gone)[:wanted])
                elif len(gone) < wanted and rounds == params.rounds:
                    self.keep(found, weights)
                    found = without(found, examined.least_harmful(self.layout, places(found)), wanted - len(gone))
            self.keep(found, weights)

        def evolve(self, examined: Examined, group: FilterGroup, rounds: int) -> torch.Tensor:
            """Which filters (n,) of a group its evolution keeps, all others being as they are."""
            now = self.kept[group.layers[0]].cpu()
            least, most = self.bounds(len(now), int(now.sum()), rounds)
            if least == most == now.sum():
                return now

            def examine(kept: torch.Tensor) -> Individual:
                with examined.filters(group, kept):
                    return Individual(examined.correct(), kept)

            first = [now & (self.draw(len(now)) < (least + most) / (2 * int(now.sum()))) for _ in range(params.population)]
            living = best_first([examine(self.mend(kept, now, least, most)) for kept in first])
            for _ in range(params.generations):
                parents = [living[int(torch.randint(len(living), (), generator=self.generator))] for _ in living]
                children = [self.mend(self.mutated(parent.kept, now, least), now, least, most) for parent in parents]
                living = best_first([*living, *map(examine, children)])[: params.population]
            return living[0].kept

        def bounds(self, size: int, now: int, rounds: int) -> tuple[int, int]:
            """The fewest and the most filters that a group of `size`, `now` of them left, has when so many rounds are over."""
            most = min(now, max(1, size - pruned_after(rounds, params.rounds, size, ratio)))
            share = 1 - (1 - ratio) ** (1 / params.rounds)
            return min(most, max(1, now - int(params.leeway * share * now))), most

        def draw(self, size: int) -> torch.Tensor:
            return torch.rand(size, generator=self.generator)

        def mutated(self, parent: torch.Tensor, now: torch.Tensor, least: int) -> torch.Tensor:
            """`parent` (n,) with filters flipped: those of `now` alone, and out of it only while more than `least` are kept."""
            child = parent.clone()
            for place in ((self.draw(len(now)) < params.mutation) & now).nonzero().flatten().tolist():
                child[place] = not child[place] or int(child.sum()) <= least
            return child

        def mend(self, kept: torch.Tensor, now: torch.Tensor, least: int, most: int) -> torch.Tensor:
            """`kept` (n,) with random filters of `now` more or fewer, so that it has `least` to `most`."""
            order = self.draw(len(now)).argsort()
            out, inside = (order[places[order]] for places in (now & ~kept, kept))
            count = len(inside)
            return kept.index_fill(0, out[: max(least - count, 0)], True).index_fill(0, inside[: max(count - most, 0)], False)

    return Ccrp(params)


def places(masks: Mapping[str, torch.Tensor]) -> list[tuple[str, int]]:
    """Block and place of all that is true in the masks (n,)."""
    return [(block, place) for block, mask in masks.items() for place in mask.nonzero().flatten().tolist()]


def without(
    kept: Mapping[str, torch.Tensor], filters: list[tuple[str, int]], most: int | None = None
) -> dict[str, torch.Tensor]:
    """`kept` without the first `most` (all, if None) of `filters`, passing over those that are the last ones of their group."""
    result, left = {block: mask.clone() for block, mask in kept.items()}, len(filters) if most is None else most
    for block, place in filters:
        if left and result[block].sum() > 1:
            result[block][place] = False
            left -= 1
    return result


class Examined:
    """What a network, in eval mode, makes of fixed images (n, c, h, w), as they are and attacked."""

    def __init__(
        self, network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, threat: Threat, steps: int
    ) -> None:
        self._network, self._images, self._labels = network, images, labels
        self._threat, self._steps = threat, steps

    @contextmanager
    def filters(self, group: FilterGroup, kept: torch.Tensor) -> Iterator[None]:
        """While the context is active, the network has of `group` only the filters `kept` (n,)."""
        named = dict(self._network.named_parameters())
        own = [named[name] for name in (*group.layers, *group.besides) if name in named]
        before = [parameter.detach().clone() for parameter in own]
        for parameter in own:
            parameter.data[~kept.to(parameter.device)] = 0
        try:
            yield
        finally:
            for parameter, values in zip(own, before, strict=True):
                parameter.data.copy_(values)

    def correct(self) -> int:
        """Images that are classified correctly, and attacked ones, together; the attack is on the network as it is now."""
        with torch.no_grad():
            answers = [self._network(images).argmax(dim=1) for images in (self._images, self._attacked())]
        return sum(int((answer == self._labels).sum()) for answer in answers)

    def least_harmful(self, layout: Layout, filters: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """`filters`, that first whose removal, alone, leaves the smallest mean cross-entropy on images and attacked images.

        The attack is on the network with all of them.
        """
        both, losses = torch.cat([self._images, self._attacked()]), []
        groups, named = {group.layers[0]: group for group in layout.groups}, dict(self._network.named_parameters())
        for block, place in filters:
            kept = torch.arange(len(named[block])) != place
            with self.filters(groups[block], kept), torch.no_grad():
                losses.append(float(torch.nn.functional.cross_entropy(self._network(both), self._labels.repeat(2))))
        return [filters[place] for place in sorted(range(len(filters)), key=losses.__getitem__)]

    def _attacked(self) -> torch.Tensor:
        """The images after PGD from where they are."""
        from sparrow.adversary.geometry import direction, project

        attacked = self._images
        with torch.enable_grad():
            for _ in range(self._steps):
                attacked = attacked.detach().requires_grad_()
                loss = torch.nn.functional.cross_entropy(self._network(attacked), self._labels, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, attacked)
                step = 2.5 * self._threat.eps / self._steps * direction(gradient, self._threat)
                attacked = project(attacked.detach() + step, self._images, self._threat)
        return attacked.detach()
