"""A running job's state as a tree for JSON and tensors, and back. Nothing is pickled.

Tensors are copied into existing ones where there are any, so that whoever refers to these (an optimiser, a network) sees the
change.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from sparrow.settings import RebuiltOnResume, Settings

Packed = tuple[Any, dict[str, Tensor]]
"""A tree for JSON, and the tensors that it names."""


class NotPlainError(Exception):
    """A value that `pack` does not know; the message is its type."""


def pack(value: Any, network: nn.Module | None = None) -> Packed:
    """`value` as a tree for JSON and its tensors (copies, on the CPU). Parameters and buffers of `network` are named instead.

    Accepts None, bool, int, float, str, list, tuple, dict, set, Tensor, torch.Generator, and copies of the network. Functions,
    `Settings` and `RebuiltOnResume` are left out. Raises NotPlainError for anything else.
    """
    packer = _Packer(network)
    return packer.pack(value), packer.tensors


def unpack(packed: Packed, current: Any = None, network: nn.Module | None = None) -> Any:
    """The value that `pack` was given. Tensors, lists, dicts, networks and generators of `current` that have the same form
    and place are changed to it and returned; what `pack` left out is taken from `current`."""
    return _Unpacker(packed[1], network).unpack(packed[0], current)


def _parts(network: nn.Module | None) -> dict[str, Tensor]:
    return dict([*network.named_parameters(), *network.named_buffers()]) if network is not None else {}


class _Packer:
    def __init__(self, network: nn.Module | None) -> None:
        self._network = network
        self.tensors: dict[str, Tensor] = {}
        # Tensors that share memory have to share it again. Nothing is copied here, so no address is used twice.
        self._known: dict[tuple[str, int], tuple[dict[str, Any], Tensor]] = {
            _address(part): ({"part": name}, part) for name, part in _parts(network).items() if part.numel()
        }

    def pack(self, value: Any) -> Any:
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return value
        if isinstance(value, Tensor):
            return self._tensor(value)
        if kind in (list, tuple, set):
            return {kind.__name__: [self.pack(item) for item in (sorted(value) if kind is set else value)]}
        if kind in (dict, OrderedDict):
            return {"dict": [[self.pack(key), self.pack(item)] for key, item in value.items()]}
        if kind is torch.Generator:
            return {"generator": self.pack(value.get_state())}
        if self._network is not None and value is self._network:
            return {"network": None}
        if self._network is not None and kind is type(self._network):
            return {"copy": self.pack(value.state_dict()), "training": value.training}
        if isinstance(value, Settings | RebuiltOnResume | type | partial | FunctionType | BuiltinFunctionType | MethodType):
            return {"left out": kind.__name__}
        raise NotPlainError(kind.__name__)

    def _tensor(self, tensor: Tensor) -> Any:
        own: dict[str, Any] = {"tensor": str(len(self.tensors)), "device": tensor.device.type, "learns": tensor.requires_grad}
        tree, first = self._known.setdefault(_address(tensor), (own, tensor)) if tensor.numel() else (own, tensor)
        if (tensor.shape, tensor.stride(), tensor.storage_offset()) != (first.shape, first.stride(), first.storage_offset()):
            raise NotPlainError("view of a part of another tensor")
        if tree is own:
            self.tensors[own["tensor"]] = tensor.detach().to("cpu", copy=True).contiguous()
        return tree if tensor is first else tree | {"detached": not tensor.requires_grad}


def _address(tensor: Tensor) -> tuple[str, int]:
    return str(tensor.device), tensor.untyped_storage().data_ptr()


class _Unpacker:
    def __init__(self, tensors: dict[str, Tensor], network: nn.Module | None) -> None:
        self._tensors, self._network, self._parts = tensors, network, _parts(network)
        self._made: dict[str, Tensor] = {}
        # Memory that belongs to another tensor already: tensors that shared none when they were packed must not share any now.
        self._taken = {_address(part) for part in self._parts.values() if part.numel()}

    def unpack(self, tree: Any, current: Any = None) -> Any:
        if not isinstance(tree, dict):
            return tree
        kind, content = next(iter(tree.items()))
        if kind in ("tensor", "part"):
            tensor = self._parts[content] if kind == "part" else self._tensor(tree, current)
            return tensor.detach() if tree.get("detached") and tensor.requires_grad else tensor
        if kind == "dict":
            mapping: dict[Any, Any] = current if isinstance(current, dict) else {}
            items = [(self.unpack(key), item) for key, item in content]
            values = {key: self.unpack(item, mapping.get(key)) for key, item in items}
            mapping.clear()
            mapping.update(values)
            return mapping
        if kind in ("list", "tuple", "set"):
            same_length = isinstance(current, list | tuple) and len(current) == len(content)
            there = current if same_length else [None] * len(content)
            found = list(map(self.unpack, content, there))
            if kind == "list" and isinstance(current, list):
                current[:] = found
                return current
            return {"list": list, "tuple": tuple, "set": set}[kind](found)
        if kind == "generator":
            generator = current if isinstance(current, torch.Generator) else torch.Generator()
            return generator.set_state(self.unpack(content))
        if kind == "copy" and self._network is not None:
            usable = type(current) is type(self._network) and current is not self._network
            network: nn.Module = current if usable else copy.deepcopy(self._network)
            network.load_state_dict(self.unpack(content))
            return network.train(tree["training"])
        return self._network if kind == "network" else current

    def _tensor(self, tree: dict, current: Any) -> Tensor:
        name, saved = tree["tensor"], self._tensors[tree["tensor"]]
        form = saved.shape, saved.dtype, tree["device"]
        alike = isinstance(current, Tensor) and (current.shape, current.dtype, current.device.type) == form
        made = self._made.get(name)
        if made is not None:
            # Another name of a tensor that is there: a parameter stays a parameter.
            return current if alike and made.numel() and _address(current) == _address(made) else made
        if alike and _address(current) not in self._taken:
            current.data.copy_(saved)
            self._made[name] = current
        else:
            self._made[name] = saved.to(tree["device"], copy=True).requires_grad_(tree["learns"])
        if saved.numel():
            self._taken.add(_address(self._made[name]))
        return self._made[name]
