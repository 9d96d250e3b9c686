"""What a network's ReLUs return: the representations behind its layers."""

from __future__ import annotations

from torch import Tensor, nn

from sparrow.networks.grafting import Grafted


def relu_outputs(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Outputs (n, *neurons) of all ReLU modules for `images` (n, c, h, w), in the order in which they are run, and the logits.

    A module that is run twice has two outputs. Grafted ReLUs, lines included, count; functions that are no modules do not.
    """
    found: list[Tensor] = []
    hooks = [
        # A copy, since what comes next may work in place.
        module.register_forward_hook(lambda layer, given, output: found.append(output.detach().clone()))
        for module in model.modules()
        if isinstance(module, nn.ReLU | Grafted)
    ]
    try:
        logits = model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return [*found, logits]
