"""Write a checkpoint in a form that others read: ONNX, a plain state dict, or an entry of the Adversarial Pruning Benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sparrow.errors import SparrowError
from sparrow.exchange import keymap_files
from sparrow.files.paths import GRAFTED, base_of

if TYPE_CHECKING:
    from sparrow.exchange.network import Network

FORMATS = ("onnx", "state-dict", "ap-benchmark")
SUFFIX = ".safetensors"
"""The ending by which `sparrow import` recognises a state dict that is no pickle."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, metavar="CHECKPOINT", help="a checkpoint")
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="PATH",
        help=f"a file (a state dict's ends in {SUFFIX}); for ap-benchmark, a folder",
    )
    parser.add_argument(
        "--naming",
        metavar="MAP",
        help=f"state-dict: whose names the tensors get: {', '.join(keymap_files.names())} (default: ours), or a YAML file",
    )
    parser.add_argument(
        "--masked",
        action="store_true",
        help="with zeros for the filters that it lost, as its architecture has them (ap-benchmark: always)",
    )
    parser.add_argument(
        "--ap-key", metavar="KEY", help="ap-benchmark: the method's key there, such as HYDRA_Sehwag2020Hydra; open if not given"
    )
    parser.add_argument("--autoattack", metavar="TABLE", help="ap-benchmark: the table of AutoAttack (default: autoattack)")
    parser.add_argument("--fmn", metavar="TABLE", help="ap-benchmark: the table of FMN (default: fmn)")


def run(options: argparse.Namespace) -> int:
    """Write the file or folder, and print what was written; the exit status."""
    from sparrow.exchange import network

    _refuse_unused(options)
    if options.output.resolve() == options.file.resolve():
        raise SparrowError(f"{options.output}: is the checkpoint itself; choose another path")
    if options.output.is_dir() and options.format != "ap-benchmark":
        raise SparrowError(f"{options.output}: is a folder; give the name of a file")
    if options.format == "state-dict" and options.output.suffix != SUFFIX:
        raise SparrowError(f"{options.output}: a state dict is written as safetensors; end its name in {SUFFIX}")
    {"onnx": _onnx, "state-dict": _state_dict, "ap-benchmark": _ap_benchmark}[options.format](
        options, network.load(options.file, masked=options.masked or options.format == "ap-benchmark")
    )
    return 0


def _onnx(options: argparse.Namespace, network: Network) -> None:
    from sparrow.exchange import onnx_file

    apart = onnx_file.write(options.output, network)
    print(f"{options.output}: written; onnxruntime's logits differ from torch's by {apart:.2g} at most (relative, limit 1e-5)")


def _state_dict(options: argparse.Namespace, network: Network) -> None:
    from sparrow.exchange import keymap, state_dict

    name = options.naming or keymap_files.OURS
    names, kind, tensors = keymap.load(name), network.header["model"]["kind"], network.model.state_dict()
    if names and base_of(network.header["stage"]) == GRAFTED:
        raise SparrowError(
            f"{network.path}: lines are in the place of its ReLUs, for which {name} has no names; leave --naming out"
        )
    if names:
        keymap.require_model(names, name, kind)
        tensors = {names.to_theirs(kind, tensor): value for tensor, value in tensors.items()}
    state_dict.write(options.output, tensors, network.origin() | {"names": name})
    print(f"{options.output}: {len(tensors)} tensors of a {kind}, names: {name}")
    if names and kind in names.unused:
        print(
            f"  without {', '.join(names.unused[kind])}, which some of their classes have, but do not use: strict=False there"
        )


def _ap_benchmark(options: argparse.Namespace, network: Network) -> None:
    from sparrow.exchange import ap_benchmark

    entry = ap_benchmark.entry(network, options.ap_key, options.autoattack or "autoattack", options.fmn or "fmn")
    for line in ap_benchmark.write(options.output, network, entry):
        print(line)


def _refuse_unused(options: argparse.Namespace) -> None:
    """Raise SparrowError for an option that the format does not use."""
    for option, format in (("naming", "state-dict"), *((name, "ap-benchmark") for name in ("ap_key", "autoattack", "fmn"))):
        if getattr(options, option) is not None and options.format != format:
            raise SparrowError(f"--{option.replace('_', '-')}: goes with --format {format}, not {options.format}")
