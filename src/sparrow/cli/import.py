"""Check whether a third party's network can take the place of a checkpoint of a study, and print the lines that say so."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from sparrow.exchange import keymap_files
from sparrow.files.paths import data_path

if TYPE_CHECKING:
    from torch import nn

    from sparrow.study.config import Study


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, metavar="STATE_DICT", help="its state dict: .safetensors, or a file of torch.save's")
    parser.add_argument("--study", type=Path, required=True, metavar="STUDY.yaml", help="the study that is to evaluate it")
    parser.add_argument(
        "--cell",
        required=True,
        metavar="CHECKPOINT",
        help="whose place it takes, such as results/digits/cnn-small/benign/seed0/dense.safetensors, or "
        ".../seed0/METHOD-RATIO/finetuned.safetensors; METHOD may be any new label",
    )
    names = f"{', '.join(keymap_files.names())}, or a YAML file"
    parser.add_argument("--map", default=keymap_files.OURS, metavar="MAP", help=f"whose names its tensors have: {names}")
    parser.add_argument("--key", help="under which key of the file the state dict lies, if that is none of the usual ones")
    parser.add_argument("--filters", action="store_true", help="it lost whole filters: the ratio is a share of these")
    parser.add_argument("--allow-ratio", action="store_true", help="take it though its share of zeros is not the cell's ratio")
    parser.epilog = "Nothing is written. The workflow imports what the study's key `imports` names, whenever the file changes."


def run(options: argparse.Namespace) -> int:
    """Print what was found, and the lines for the study; the exit status."""
    from sparrow.files.headers import read_header
    from sparrow.stages.imported import examine
    from sparrow.study import job_specs
    from sparrow.study.load import load_study, read_keys

    raw = read_keys(options.study)
    results = str(raw.get("results", "results"))
    path = os.path.normpath(options.cell).removeprefix(f"{results}/").removesuffix(".safetensors")
    entry = {"file": str(options.file)} | _unless("map", options.map, keymap_files.OURS) | _unless("key", options.key, None)
    entry |= {"granularity": "filter"} if options.filters else {}
    entry |= {"allow_ratio": True} if options.allow_ratio else {}
    study = load_study(raw | {"imports": {**(raw.get("imports") or {}), path: entry}}, str(options.study))
    spec = job_specs.import_spec(study, path)
    shape, classes = _images(study, spec.cell.dataset)
    network, fitted, place = examine(options.file, spec, shape, classes)
    print(f"{options.file}: a {spec.model['kind']} for images of {' x '.join(map(str, shape))} and {classes} classes")
    for line in [*([f"read from {place}"] if place else []), *fitted.notes]:
        print(f"  {line}")
    if spec.cell.ratio is not None:
        what = "filters" if options.filters else "prunable weights"
        print(f"  pruning ratio {spec.cell.ratio:g} asked for; {fitted.ratio:.4f} of the {what} are gone")
    for line in _recognised(Path(study.results, data_path(spec.cell.dataset)), network, shape, classes):
        print(f"  {line}")
    there = Path(study.results, f"{path}.safetensors")
    if there.is_file() and "imported" not in read_header(there):
        print(f"  {there} is there, made by the study itself, and the import will take its place: keep a copy if you need it")
    print(f"\nFor {options.study}, beside any other imports that it has:\n")
    print(yaml.safe_dump({"imports": {path: entry}}, sort_keys=False), end="")
    return 0


def _unless(key: str, value: str | None, default: str | None) -> dict:
    return {} if value == default else {key: value}


def _recognised(data: Path, network: nn.Module, shape: tuple[int, int, int], classes: int) -> list[str]:
    """Lines about the network's accuracy on the validation images, if the study has prepared them."""
    from sparrow.data.store import read
    from sparrow.exchange.recognition import recognise

    if not data.is_file():
        return [f"how many images it classifies rightly is said at the import: {data} is not there yet"]
    validation, about = read(data, "validation")
    if (about.shape, about.classes) != (shape, classes):
        return [f"{data} holds other images than the study says now: what it classifies rightly is said at the import"]
    found = recognise(network, validation, about)
    return [*found.lines, *([f"warning: {found.warning}"] if found.warning else [])]


def _images(study: Study, dataset: str) -> tuple[tuple[int, int, int], int]:
    """Shape of a data set's images, and its number of classes."""
    from sparrow import catalogue

    params = study.datasets[dataset]
    return catalogue.load("datasets", params.kind).describe(params)
