"""An entry of the Adversarial Pruning Benchmark: the network, the numbers that its issue form asks for, and what is missing.

Source: pralab/AdversarialPruningBenchmark: README.md (the three steps), .github/ISSUE_TEMPLATE/new-ap-method.md (the form),
utils/utils.py (keys; what is loaded, and how), utils/test.py (the evaluation).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd
from torch import Tensor

from sparrow import radius
from sparrow.errors import SparrowError
from sparrow.exchange import state_dict
from sparrow.exchange.network import Network
from sparrow.files.atomic import replacing
from sparrow.files.csv_table import EXACT, write_csv
from sparrow.files.headers import COMPACT_FORMAT, read_header
from sparrow.files.lineage import DATA, data_of
from sparrow.files.outcome_table import COLUMNS, FAILED, TEXT
from sparrow.files.paths import GRAFTED, base_of, outcome_job, table_below
from sparrow.networks.prunable import prunable_weights

MODELS = {"resnet18": ("resnet18", "R18"), "vgg16-bn": ("vgg16", "V16")}
"""Our models to the benchmark's names, in full and in keys."""
DATASETS = {"cifar10": "CIFAR10", "svhn": "SVHN"}
RATIOS = {"weights": (0.9, 0.95, 0.99), "filters": (0.5, 0.75, 0.9)}
NORM, AA_EPS, AA_IMAGES = "linf", 0.031, 10_000
FMN_EPS, FMN_IMAGES = 8 / 255, 128
OPEN = "METHOD_AuthorYearTitle"
"""Placeholder in a key until the benchmark has given the method one."""


@dataclass(frozen=True)
class Numbers:
    """Numbers from the tables beside a checkpoint, accuracies in percent; None if unknown, with the reason in `missing`."""

    clean_accuracy: float | None = None
    robust_accuracy_aa: float | None = None
    robust_accuracy_fmn: float | None = None
    evaluation: dict[str, dict] = field(default_factory=dict)
    """Norm, radius and number of images behind the tables."""
    distances: list[tuple[int, float]] = field(default_factory=list)
    """Index of each image in the data set, and its distance to the nearest adversarial one (0: misclassified, inf: none)."""
    missing: list[str] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)
    """Differences from the benchmark's evaluation, in words."""


@dataclass(frozen=True)
class Entry:
    """One network for the benchmark, in the benchmark's terms."""

    key: str
    architecture: str
    dataset: str
    structure: str
    sparsity_rate: str
    sparsity_prunable: float
    sparsity_all: float
    numbers: Numbers


def entry(network: Network, method: str | None, autoattack: str, fmn: str) -> Entry:
    """The benchmark's entry for `network`, with numbers from the tables `autoattack` and `fmn` in its folder.

    `method` is the method's key in the benchmark. Raises SparrowError for a network that the benchmark does not take.
    """
    _require_place(network)
    architecture, short = MODELS[network.header["model"]["kind"]]
    dataset, structure, ratio = DATASETS[_dataset(network)], _structure(network), network.header["cell"]["ratio"]
    rate = f"{100 * ratio:g}"
    numbers = _numbers(network.path.with_suffix(""), dataset, autoattack, fmn)
    if method is None:
        numbers.missing.insert(
            0, f"the method's key, for which {OPEN} stands (the benchmark sends one with the taxonomy entry)"
        )
    if ratio not in RATIOS[structure]:
        usual = ", ".join(f"{100 * one:g}" for one in RATIOS[structure])
        numbers.differs.insert(0, f"sparsity {rate} %: the benchmark has {structure} at {usual} %")
    key = f"{method or OPEN}_{short}_{dataset}_{'US' if structure == 'weights' else 'S'}_{rate}"
    return Entry(key, architecture, dataset, structure, rate, *_sparsities(network), numbers)


def write(folder: Path, network: Network, entry: Entry) -> list[str]:
    """Write the entry's files to `folder`; returns lines with its key, and with what is missing or differs."""
    if folder.exists() and not folder.is_dir():
        raise SparrowError(f"{folder}: is a file; give a folder")
    tensors, numbers = network.model.state_dict(), entry.numbers
    state_dict.write(folder / f"{entry.key}.safetensors", tensors, network.origin() | {"key": entry.key})
    state_dict.write_pth(folder / f"{entry.key}.pth", tensors)
    if numbers.distances:
        write_csv(folder / "distances.csv", ["index", "distance"], numbers.distances)
    about, known = (
        {key: value for key, value in asdict(one).items() if key not in ("numbers", "distances")} for one in (entry, numbers)
    )
    _text(folder / "evaluation.json", json.dumps({**about, **known, "network": network.origin()}, indent=2) + "\n")
    _text(folder / "issue.md", _issue(entry))
    _text(folder / "README.md", _readme(entry))
    return [
        f"{folder}: {entry.key}",
        *(f"  missing: {line}" for line in numbers.missing),
        *(f"  differs: {line}" for line in numbers.differs),
    ]


def _require_place(network: Network) -> None:
    kind, dataset = network.header["model"]["kind"], _dataset(network)
    if network.header["format"] == COMPACT_FORMAT:
        raise SparrowError(
            f"{network.path}: without its filters it fits no network of the benchmark; give the masked checkpoint"
        )
    if base_of(network.header["stage"]) == GRAFTED:
        raise SparrowError(
            f"{network.path}: lines are in the place of its ReLUs, which the benchmark's networks have; give the "
            "fine-tuned checkpoint"
        )
    if kind not in MODELS or dataset not in DATASETS:
        valid = f"{' and '.join(MODELS)} on {' and '.join(DATASETS)}"
        raise SparrowError(f"{network.path}: a {kind} on {dataset}; the benchmark takes {valid}")
    if not network.masks:
        raise SparrowError(f"{network.path}: a dense network; the benchmark is of pruned ones")


def _dataset(network: Network) -> str:
    """The kind of data set, if its file is in its place in the results folder; else the study's label for it."""
    path = data_of(network.path, network.header)
    return read_header(path, DATA)["dataset"]["kind"] if path.is_file() else network.header["cell"]["dataset"]


def _structure(network: Network) -> str:
    """`filters` if only whole filters are pruned; `weights` otherwise."""
    rows = [network.masks[name].flatten(1) for name in prunable_weights(network.model) if name in network.masks]
    return "filters" if all((row.all(dim=1) | ~row.any(dim=1)).all() for row in rows) else "weights"


def _sparsities(network: Network) -> tuple[float, float]:
    """Share of zeros among the prunable weights, and among all parameters."""
    return _zeros(list(prunable_weights(network.model).values())), _zeros(list(network.model.parameters()))


def _zeros(tensors: Sequence[Tensor]) -> float:
    return 1 - sum(int(one.count_nonzero()) for one in tensors) / sum(one.numel() for one in tensors)


def _numbers(network: Path, dataset: str, autoattack: str, fmn: str) -> Numbers:
    missing: list[str] = []
    differs: list[str] = []
    evaluation: dict[str, dict] = {}
    found: dict[str, float] = {}
    distances: list[tuple[int, float]] = []
    table = _table(table_below(network, outcome_job("attacks", autoattack)), "Clean Accuracy and Robust Accuracy (AA)", missing)
    if table is not None:
        evaluation["aa"] = _settings(table)
        found["clean_accuracy"] = _percent(table["prediction"] == table["label"])
        found["robust_accuracy_aa"] = _percent(table["status"] == "robust")
        # All test images of CIFAR-10; the benchmark uses a part of SVHN's, which is not ours.
        images = AA_IMAGES if dataset == "CIFAR10" else None
        differs += _differences("AutoAttack", evaluation["aa"], images, f"the first {AA_IMAGES:,}", AA_EPS)
    table = _table(table_below(network, outcome_job("attacks", fmn)), "the distances of FMN", missing)
    if table is not None:
        evaluation["fmn"] = _settings(table)
        found["robust_accuracy_fmn"] = _percent(table["distance"] > FMN_EPS)
        distances = list(zip(table["index"].tolist(), table["distance"].tolist(), strict=True))
        differs += _differences("FMN", evaluation["fmn"], None, f"the {FMN_IMAGES} behind those that it tunes on")
    missing.append(
        "Robust Accuracy (HO-FMN), and the pickle of distances: FMN here is not tuned for each network; the benchmark's own "
        f"`benchmark(model, key, ...)` gives both (dataset {dataset})"
    )
    return Numbers(**found, evaluation=evaluation, distances=distances, missing=missing, differs=differs)


def _table(path: Path, what: str, missing: list[str]) -> pd.DataFrame | None:
    if not path.is_file():
        missing.append(f"{what}: no {path}")
        return None
    table = pd.read_csv(path, dtype=TEXT, converters=EXACT)
    if list(table.columns) == FAILED and len(table) == 1:
        missing.append(f"{what}: {table['failed'].iloc[0]}")
        return None
    if list(table.columns) != COLUMNS["attacks"] or table.empty:
        raise SparrowError(f"{path}: has the columns {list(table.columns)}, expected {COLUMNS['attacks']}")
    return table


def _settings(table: pd.DataFrame) -> dict:
    return {"norm": str(table["norm"][0]), "eps": float(table["eps"][0]), "images": len(table)}


def _differences(name: str, used: dict, images: int | None, theirs: str, eps: float | None = None) -> list[str]:
    lines = [f"{name}: norm {used['norm']}, the benchmark's is {NORM}"] if used["norm"] != NORM else []
    if eps is not None and used["eps"] != eps:
        lines.append(f"{name}: eps {radius.text(used['eps'])}, the benchmark's is {radius.text(eps)}")
    if used["images"] != images:
        lines.append(f"{name}: {used['images']:,} test images, the benchmark's are {theirs}")
    return lines


def _percent(hits: pd.Series) -> float:
    return round(100 * float(hits.mean()), 2)


def _text(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _issue(entry: Entry) -> str:
    """The form's section on one network, with `(missing)` for unknown numbers."""
    numbers = entry.numbers
    aa, clean = (
        "(missing)" if value is None else f"{value:.2f}" for value in (numbers.robust_accuracy_aa, numbers.clean_accuracy)
    )
    return f"""## Evaluation Results

_Model GDrive:_ "{entry.key}" : ["(your link's id)", ".pth"]
_Distances GDrive:_ "{entry.key}" : ["(your link's id)", ".pickle"]

_Clean Accuracy:_ {clean}
_Robust Accuracy (AA):_ {aa}
_Robust Accuracy (HO-FMN):_ (missing)

## Architecture details and normalization

No normalization: images in [0, 1]. The state dict loads strictly into the base {entry.architecture}; its weights are already
multiplied by their masks.
"""


def _readme(entry: Entry) -> str:
    numbers = entry.numbers
    lines = [f"- missing: {line}" for line in numbers.missing] + [f"- differs: {line}" for line in numbers.differs]
    distances = "- `distances.csv`: FMN's distance for each test image, as Sparrow ran it.\n" if numbers.distances else ""
    return f"""# {entry.key}

A {entry.architecture} on {entry.dataset}, {entry.sparsity_rate} % of its {entry.structure} pruned, for the Adversarial Pruning
Benchmark (pralab/AdversarialPruningBenchmark).

- `{entry.key}.pth`: what the benchmark loads: `torch.load(...)["state_dict"]`. It is a pickle, as torch writes it.
- `{entry.key}.safetensors`: the same tensors for everybody else; nothing in it can run.
- `evaluation.json`: the numbers, and the radius and images behind them. AutoAttack is the standard version, unless the study
  gave it other settings (`steps`, `queries`).
{distances}- `issue.md`: the benchmark's form for this network, to be pasted into its issue "New AP method".

What to know before it is handed in (the benchmark wants three networks at least, one for each sparsity):

{chr(10).join(lines)}
"""
