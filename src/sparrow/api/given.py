"""What a caller gives from Python, as the package has it inside; whatever does not fit raises SparrowError in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, get_args

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod

from sparrow import catalogue, radius
from sparrow.data.store import Part
from sparrow.errors import SparrowError
from sparrow.networks.finite import require_numbers
from sparrow.settings import Threat
from sparrow.stages.pruned_network import Training
from sparrow.training.checked_result import checked
from sparrow.training.schedule import Schedule

OF_A_STUDY = {"eps", "samples", "objectives", "in_era", "keep_examples", "skip_verified", "attacks", "ratios"}
"""Settings that name other parts of a study, or choose among its images and networks."""


def kinds(room: catalogue.Room) -> list[str]:
    """The names of all `attacks`, `verifiers`, `methods`, `objectives`, `models`, `datasets` or `analyses`, sorted.

    >>> "hydra" in sparrow.kinds("methods")
    True
    """
    if room not in get_args(catalogue.Room):
        raise SparrowError(_unknown("room", room, get_args(catalogue.Room)))
    return catalogue.kinds(room)


def settings(room: catalogue.Room, kind: str, options: Mapping[str, Any]) -> tuple[ModuleType, Any]:
    """The entry and its parameters."""
    if kind not in catalogue.kinds(room):
        raise SparrowError(_unknown(room, kind, catalogue.kinds(room)))
    entry = catalogue.load(room, kind)
    fields = entry.Params.model_fields
    valid = [name for name in fields if name not in OF_A_STUDY]
    for name in options:
        if name not in valid:
            raise SparrowError(_setting(f"{room}.{kind}", name, valid, ", which belongs to a study" if name in fields else ""))
    try:
        return entry, entry.Params(**options)
    except ValidationError as error:
        raise SparrowError(_first(error, f"{room}.{kind}")) from None


def evaluation(
    room: catalogue.EvaluatedRoom, kind: str, eps: float | str, norm: str, options: Mapping[str, Any]
) -> tuple[ModuleType, Any, Threat]:
    """An attack or a verifier, its parameters, and the threat."""
    entry, params = settings(room, kind, options)
    if norm not in params.norms:
        raise SparrowError(f"{room}.{kind}: norm {norm!r} is not valid: must be {' or '.join(params.norms)}")
    return entry, params, threat_within(eps, norm)


def threat_within(eps: float | str, norm: str) -> Threat:
    """The threat, whose radius is one of images in [0, 1]."""
    try:
        threat = Threat(norm=norm, eps=eps)
    except ValidationError as error:
        raise SparrowError(_first(error, "threat")) from None
    if threat.norm == "linf" and threat.eps >= 1:
        meant = f", such as {threat.eps:g}/255" if threat.eps < radius.LEVELS and threat.eps.is_integer() else ""
        raise SparrowError(f"threat.eps: {threat.eps:g} is not valid: images lie in [0, 1], in l-inf it must be below 1{meant}")
    return threat


def threat_of(name: str, params: Any, eps: float | str | None, norm: str) -> Threat | None:
    """The threat of an objective or a method whose settings have an `eps`; None of another."""
    if "eps" not in type(params).model_fields:
        return None
    if eps is None:
        raise SparrowError(f"{name}: works against a threat; give eps, such as 0.1 or '8/255'")
    return threat_within(eps, norm)


def training_of(
    kind: str,
    params: Any,
    objective: str | Mapping[str, Any],
    eps: float | str | None,
    norm: str,
    schedule: Mapping[str, Any] | None,
) -> Training:
    """What a method trains by."""
    if not isinstance(objective, str | Mapping) or (isinstance(objective, Mapping) and "kind" not in objective):
        raise SparrowError(f"objective: {objective!r} names none: must be a kind, or such as {{'kind': 'trades', 'beta': 6}}")
    said = {"kind": objective} if isinstance(objective, str) else dict(objective)
    name = said.pop("kind")
    entry, given = settings("objectives", name, said)
    threat = threat_of(f"objectives.{name}", given, eps, norm)
    if params.needs == "schedule" and schedule is None:
        raise SparrowError(f"methods.{kind}: trains; give a schedule, such as {{'epochs': 20, 'lr': 0.1}}")
    if schedule is not None and not isinstance(schedule, Mapping):
        raise SparrowError(f"schedule: {schedule!r} is not valid: must be such as {{'epochs': 20, 'lr': 0.1}}")
    for key in schedule or ():
        if key not in Schedule.model_fields:
            raise SparrowError(_setting("schedule", key, list(Schedule.model_fields)))
    try:
        planned = Schedule(**{"epochs": 1, **(schedule or {})})
    except ValidationError as error:
        raise SparrowError(_first(error, "schedule")) from None
    loss = checked(entry.prepare(given, threat), f"objectives.{name}")
    return Training(loss, planned, name, given.perturbs)


def share(ratio: float) -> float:
    """A pruning ratio."""
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio < 1:
        raise SparrowError(f"ratio: {ratio!r} is not valid: must be a share above 0 and below 1")
    return float(ratio)


def part_of(images: Tensor, labels: Tensor) -> Part:
    """Images and labels as those of a data set."""
    return Part(images, labels, torch.arange(len(labels)))


def require_network(model: object) -> None:
    """Raise SparrowError unless `model` is a module, in a mode in which gradients can be taken."""
    if not isinstance(model, nn.Module):
        hint = "; sparrow.load(path) gives that of a checkpoint" if isinstance(model, str) else ""
        raise SparrowError(f"model: a {type(model).__name__} is not valid: must be a torch.nn.Module{hint}")
    if torch.is_inference_mode_enabled():
        raise SparrowError("model: gradients are needed, which torch.inference_mode() forbids; call this outside of it")


def require_own_weights(model: nn.Module) -> None:
    """Raise SparrowError if a weight of `model` is computed from other parameters at each pass: pruning it would not last."""
    for name, module in model.named_modules():
        for parameter in getattr(module, "parametrizations", {}) if parametrize.is_parametrized(module) else ():
            remove = f"torch.nn.utils.parametrize.remove_parametrizations(module, {parameter!r})"
            raise SparrowError(_computed(name, parameter, "a parametrization", remove))
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, BasePruningMethod):
                parameter = hook._tensor_name
                raise SparrowError(
                    _computed(name, parameter, "torch.nn.utils.prune", f"torch.nn.utils.prune.remove(module, {parameter!r})")
                )
            if type(hook).__name__ in ("WeightNorm", "SpectralNorm"):
                kind = "weight" if type(hook).__name__ == "WeightNorm" else "spectral"
                remove = f"torch.nn.utils.remove_{kind}_norm(module)"
                raise SparrowError(_computed(name, str(hook.name), f"torch.nn.utils.{kind}_norm", remove))


def fitting(model: nn.Module, images: Tensor, labels: Tensor, size: int) -> tuple[Tensor, Tensor, int]:
    """Images and labels on the network's device, and its number of classes."""
    if not isinstance(images, Tensor) or images.dim() != 4 or not images.is_floating_point() or not len(images):
        raise SparrowError(f"images: {_shown(images)} is not valid: must be a float tensor (n, c, h, w) of one image or more")
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise SparrowError(
            f"images: {images.min():g} to {images.max():g} is not valid: must be in [0, 1]; normalise in a layer of the network"
        )
    if not isinstance(labels, Tensor) or labels.shape != images.shape[:1] or labels.is_floating_point():
        raise SparrowError(
            f"labels: {_shown(labels)} is not valid: must be a tensor ({len(images)},) of whole numbers, one for each image"
        )
    tensors = [*model.parameters(), *model.buffers()]
    device = tensors[0].device if tensors else images.device
    # Tensors that were made in inference mode can have no gradient; a copy of them can.
    images, labels = images.detach().to(device), labels.to(device).long()
    images = images.clone() if images.is_inference() else images
    try:
        with torch.no_grad():
            logits = model(images[:1])
    except (RuntimeError, ValueError, TypeError) as error:
        raise SparrowError(f"model: cannot take these images: {str(error).splitlines()[0]}") from None
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 1 or logits.shape[1] < 2:
        raise SparrowError("model: not valid: must give logits (n, classes) of two classes or more")
    classes = logits.shape[1]
    if bool(((labels < 0) | (labels >= classes)).any()):
        raise SparrowError(f"labels: {labels.min()} to {labels.max()} is not valid: must be from 0 to {classes - 1}")
    require_numbers(model, images, size)
    return images, labels, classes


def _shown(value: object) -> str:
    """A value in a few words: a tensor by its type and shape."""
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor {tuple(value.shape)}"
    return f"a {type(value).__name__}"


def _computed(layer: str, parameter: str, by: str, remove: str) -> str:
    where = f"{layer}.{parameter}" if layer else parameter
    return f"model: {where} is computed by {by} at each pass; make it the layer's own first: {remove}"


def _unknown(what: str, name: object, valid: Iterable[str]) -> str:
    named = repr(name) if isinstance(name, str) else f"a {type(name).__name__}"
    meant = difflib.get_close_matches(name.lower().replace("_", "-"), valid, n=1) if isinstance(name, str) else []
    hint = f", did you mean {meant[0]!r}?" if meant else ";"
    return f"{what}: {named} is not known{hint} valid: {', '.join(valid)}"


def _setting(where: str, name: str, valid: list[str], why: str = "") -> str:
    return f"{where}: unknown setting {name!r}{why}; valid: {', '.join(valid) or 'none'}"


def _first(error: ValidationError, where: str) -> str:
    """The first of pydantic's mistakes as one line."""
    mistake = error.errors()[0]
    key = ".".join([where, *map(str, mistake["loc"])])
    said = mistake["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{key}: {said}" if mistake["type"] == "value_error" else f"{key}: {mistake['input']!r} is not valid: {said}"
