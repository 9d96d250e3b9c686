"""A running job's state as a tree of plain values and tensors: written down, and put back. Nothing is pickled.

Tensors are put back in place wherever there is one to take them, so that whoever holds on to them (an optimiser, a network)
sees the change.
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
    """Something that cannot be written down, by its type's name."""


def pack(value: Any, network: nn.Module | None = None) -> Packed:
    """`value` as JSON and tensors (copies, on the CPU). Parts of `network` are named, not copied.

    Knows None, bool, int, float, str, list, tuple, dict, set, Tensor, torch.Generator, and copies of the network. Functions,
    `Settings` and what is `RebuiltOnResume` are left out. Raises NotPlainError for anything else.
    """
    packer = _Packer(network)
    return packer.pack(value), packer.tensors


def put(packed: Packed, current: Any = None, network: nn.Module | None = None) -> Any:
    """What `pack` was given, put into `current` where that has the same form: tensors, lists, dicts, networks, generators."""
    return _Putter(packed[1], network).put(packed[0], current)


def _parts(network: nn.Module | None) -> dict[str, Tensor]:
    return dict([*network.named_parameters(), *network.named_buffers()]) if network is not None else {}


class _Packer:
    def __init__(self, network: nn.Module | None) -> None:
        self._network = network
        self.tensors: dict[str, Tensor] = {}
        # Whatever shares memory has to do so again; nothing is copied here, so addresses stay taken.
        self._known = {_address(part): ({"part": name}, part) for name, part in _parts(network).items() if part.numel()}

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
        own = {"tensor": str(len(self.tensors)), "device": tensor.device.type, "learns": tensor.requires_grad}
        tree, first = self._known.setdefault(_address(tensor), (own, tensor)) if tensor.numel() else (own, tensor)
        if (tensor.shape, tensor.stride(), tensor.storage_offset()) != (first.shape, first.stride(), first.storage_offset()):
            raise NotPlainError("view of a part of another tensor")
        if tree is own:
            self.tensors[own["tensor"]] = tensor.detach().to("cpu", copy=True).contiguous()
        return tree if tensor is first else tree | {"detached": not tensor.requires_grad}


def _address(tensor: Tensor) -> tuple[str, int]:
    return str(tensor.device), tensor.untyped_storage().data_ptr()


class _Putter:
    def __init__(self, tensors: dict[str, Tensor], network: nn.Module | None) -> None:
        self._tensors, self._network, self._parts = tensors, network, _parts(network)
        self._made: dict[str, Tensor] = {}
        # Memory that has another owner, or one already: what did not share it when it was packed must not now.
        self._taken = {_address(part) for part in self._parts.values() if part.numel()}

    def put(self, tree: Any, current: Any = None) -> Any:
        if not isinstance(tree, dict):
            return tree
        kind, content = next(iter(tree.items()))
        if kind in ("tensor", "part"):
            found = self._parts[content] if kind == "part" else self._tensor(tree, current)
            return found.detach() if tree.get("detached") and found.requires_grad else found
        if kind == "dict":
            there = current if isinstance(current, dict) else {}
            items = [(self.put(key), item) for key, item in content]
            found = {key: self.put(item, there.get(key)) for key, item in items}
            there.clear()
            there.update(found)
            return there
        if kind in ("list", "tuple", "set"):
            there = current if isinstance(current, list | tuple) and len(current) == len(content) else [None] * len(content)
            found = list(map(self.put, content, there))
            if kind == "list" and isinstance(current, list):
                current[:] = found
                return current
            return {"list": list, "tuple": tuple, "set": set}[kind](found)
        if kind == "generator":
            generator = current if isinstance(current, torch.Generator) else torch.Generator()
            return generator.set_state(self.put(content))
        if kind == "copy":
            usable = type(current) is type(self._network) and current is not self._network
            there = current if usable else copy.deepcopy(self._network)
            there.load_state_dict(self.put(content))
            return there.train(tree["training"])
        return self._network if kind == "network" else current

    def _tensor(self, tree: dict, current: Any) -> Tensor:
        name, saved = tree["tensor"], self._tensors[tree["tensor"]]
        form = saved.shape, saved.dtype, tree["device"]
        alike = isinstance(current, Tensor) and (current.shape, current.dtype, current.device.type) == form
        made = self._made.get(name)
        if made is not None:
            # Another name of what is there: a parameter stays a parameter.
            return current if alike and made.numel() and _address(current) == _address(made) else made
        if alike and _address(current) not in self._taken:
            current.data.copy_(saved)
            self._made[name] = current
        else:
            self._made[name] = saved.to(tree["device"], copy=True).requires_grad_(tree["learns"])
        if saved.numel():
            self._taken.add(_address(self._made[name]))
        return self._made[name]
