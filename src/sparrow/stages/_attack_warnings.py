"""Warnings that an attack may say little about a network: those that AutoAttack's package gives.

Source: Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
Attacks", ICML 2020 (fra31/auto-attack, checks.py and flags_doc.md: what is looked for, and from where on it counts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

IMAGES = 64
"""Images of the forward passes that a network is checked with."""
RANDOM, PROBABILITIES, BLIND_SHARE = 1e-4, 1e-5, 0.002
"""By how much logits of length one may differ; how far outputs may be from probabilities; the share of the images that a
part without gradients may break after all others."""


def about_network(model: nn.Module, images: Tensor) -> list[str]:
    """Warnings about `model` in eval mode, from three forward passes of a few `images` (n, c, h, w).

    Nobody else's random numbers are used up.
    """
    few = images[:IMAGES]
    half, found = len(few) // 2, []
    # As many images, half of them others: what one says must not depend on those beside it.
    mixed = torch.cat([few[:half], 1 - few[half:]])
    with torch.no_grad(), torch.random.fork_rng([few.device] if few.device.type == "cuda" else []):
        output, again, beside = model(few), model(few), model(mixed)
    if _differ(output, again):
        found.append("the network is random: it answers differently when it is asked again")
    elif _differ(output[:half], beside[:half]):
        found.append("what the network says of an image depends on the images beside it")
    sums = output.sum(dim=1)
    if (
        bool((output > -PROBABILITIES).all())
        and bool((output < 1 + PROBABILITIES).all())
        and bool(((sums - 1).abs() < PROBABILITIES).all())
    ):
        found.append("the outputs are probabilities: losses on logits may have no gradient")
    return found


def about_attack(zero_gradient: list[int], found_by: list[str], blind: str | None) -> list[str]:
    """Warnings about what an attack has met and found.

    `zero_gradient` is 1 or 0 for each image of which that is known, `found_by` names the part that broke each image of the
    table, and `blind` the part that takes no gradients, if there is one.
    """
    found, still, alone = [], sum(zero_gradient), 0 if blind is None else found_by.count(blind)
    if still:
        found.append(f"the gradient is 0 at the start of {still} of {len(zero_gradient)} attacked images")
    if blind is not None and alone > BLIND_SHARE * len(found_by):
        found.append(f"{alone} of {len(found_by)} images fall to {blind} alone, after every part that follows gradients")
    return found


def about_distances(distances: Tensor) -> list[str]:
    """A warning if some attacked images have no adversarial image at any distance: `distances` (n,) are infinite there."""
    without = int(distances.isinf().sum())
    return [f"no adversarial image at any distance for {without} of {len(distances)} attacked images"] if without else []


def about_numbers(not_finite: int, attacked: int) -> list[str]:
    """A warning if the attack gave back `not_finite` of the `attacked` images with pixels that are no finite numbers."""
    told = f"{not_finite} of {attacked} attacked images came back with pixels that are not finite, which count as unchanged"
    return [told] if not_finite else []


@contextmanager
def first_gradient_watched(model: nn.Module, images: Tensor) -> Iterator[Callable[[], Tensor | None]]:
    """Watch the first input gradient that is taken of `model` while the context lasts.

    Yields a function that says where (n,) it was exactly 0; None if none was taken, or not of all `images` at once. Further
    gradients of the same outputs do not count: the first is that of the loss that the attack follows.
    """
    begun = False
    moving: list[Tensor] = []

    def watch(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        nonlocal begun
        if begun or not inputs or not isinstance(inputs[0], Tensor) or not inputs[0].requires_grad:
            return
        begun = True
        if inputs[0].shape == images.shape:
            # FMN takes a second one there, of the margin, which sets its radius and moves nothing.
            inputs[0].register_hook(lambda gradient: moving.append(gradient.flatten(1).any(dim=1)))

    hook = model.register_forward_hook(watch)
    try:
        yield lambda: ~moving[0] if moving else None
    finally:
        hook.remove()


def _differ(first: Tensor, second: Tensor) -> bool:
    one, other = (output / (output.norm(dim=1, keepdim=True) + 1e-10) for output in (first, second))
    return bool(((one - other).norm(dim=1) > RANDOM).any())
