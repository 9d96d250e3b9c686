"""auto_LiRPA 0.3, the newest release on PyPI, made to run on today's torch and numpy.

Four things that it uses have moved since 2022, and one has changed its meaning. A newer auto_LiRPA is imported as it is; where
the import fails even so, one line says why.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparrow.errors import SparrowError
from sparrow.verification.bounded_network import BoundedNetwork
from sparrow.verification.cures import cure, method_of, replace_methods
from sparrow.verification.traced_operations import traced_as_bounded

Member = tuple[str, Tensor | None]
"""Name of a parameter or buffer, and the tensor."""


@cache
def auto_lirpa() -> types.ModuleType:
    """The auto_LiRPA module, fit for use. Raises SparrowError if it does not work with the torch installed."""
    try:
        if metadata.version("auto_LiRPA").startswith("0.3"):
            _bridge_numpy()
            _bridge_torch()
            module = importlib.import_module("auto_LiRPA")
            _bridge_bounded_module(module.BoundedModule)
            _bridge_slopes()
            cure(module)
            return module
        return importlib.import_module("auto_LiRPA")
    except metadata.PackageNotFoundError:
        raise SparrowError(
            "this network needs auto_LiRPA, which is not installed; its pins are old, so: pip install --no-deps auto_LiRPA==0.3"
        ) from None
    except (ImportError, AttributeError) as error:
        raise SparrowError(
            f"auto_LiRPA does not work with torch {torch.__version__}: {error}; "
            "the versions in envs/requirements.txt are known to work together"
        ) from error


def bounded_module(model: nn.Module, image: Tensor, options: dict[str, Any]) -> BoundedNetwork:
    """auto_LiRPA's BoundedModule of `model`, traced with an `image` (1, c, h, w)."""
    lirpa = auto_lirpa()
    with traced_as_bounded():
        return lirpa.BoundedModule(model, image, bound_opts=options)


def _bridge_numpy() -> None:
    """Provide numpy.lib.arraysetops, which has been removed, with `isin`, which auto_LiRPA imports from it."""
    with contextlib.suppress(ImportError):
        importlib.import_module("numpy.lib.arraysetops")
        return
    module = types.ModuleType("numpy.lib.arraysetops")
    vars(module)["isin"] = np.isin
    sys.modules["numpy.lib.arraysetops"] = module


def _bridge_torch() -> None:
    """Provide two helpers of the TorchScript exporter where they were before, and let graph nodes be subscripted again."""
    import torch.onnx.symbolic_helper
    import torch.onnx.utils

    if not hasattr(torch.onnx.utils, "_optimize_graph"):
        exporter = importlib.import_module("torch.onnx._internal.torchscript_exporter.utils")
        torch.onnx.utils._optimize_graph = exporter._optimize_graph
    if not hasattr(torch.onnx.symbolic_helper, "_set_opset_version"):
        settings = importlib.import_module("torch.onnx._internal.torchscript_exporter._globals").GLOBALS

        def set_opset_version(version: int) -> None:
            settings.export_onnx_opset_version = version

        vars(torch.onnx.symbolic_helper)["_set_opset_version"] = set_opset_version
    if not hasattr(torch._C.Node, "__getitem__"):
        replace_methods(torch._C.Node, __getitem__=lambda node, key: getattr(node, node.kindOf(key))(key))


def _bridge_bounded_module(bounded_module: type) -> None:
    """Let BoundedModule's `_named_members` take `remove_duplicate`, which torch passes today."""
    original = method_of(bounded_module, "_named_members")

    def named_members(
        self: nn.Module,
        get_members_fn: Callable[[nn.Module], Iterable[Member]],
        prefix: str = "",
        recurse: bool = True,
        **unused: object,
    ) -> Iterator[Member]:
        return original(self, get_members_fn, prefix, recurse)

    replace_methods(bounded_module, _named_members=named_members)


def _bridge_slopes() -> None:
    """Pass gradients straight through the clamp of alpha-CROWN's slopes to [0, 1].

    The gradient of torch.clamp *at* its limits has become zero, and the slopes start at CROWN's, which are exactly 0 or 1: they
    would never change, and alpha-CROWN would return CROWN's bounds.
    """
    relu = importlib.import_module("auto_LiRPA.operators.activation").BoundRelu

    def mask_alpha(lower: Tensor, upper: Tensor, *slopes: Tensor | None) -> tuple[Tensor | None, ...]:
        always_on = (lower >= 0).to(lower.dtype)
        always_off = upper <= 0
        unstable = (1 - always_on) * (1 - always_off.to(upper.dtype))

        def masked(slope: Tensor | None) -> Tensor | None:
            if slope is None:
                return None
            clamped = slope + (slope.clamp(0, 1) - slope).detach()
            return clamped * unstable + always_on

        return *map(masked, slopes), always_off.all()

    replace_methods(relu, _relu_mask_alpha=staticmethod(mask_alpha))
