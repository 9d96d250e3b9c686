"""`sparrow export`: ONNX, state dicts under any names, and entries of the Adversarial Pruning Benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from sparrow import catalogue
from sparrow.cli.main import main
from sparrow.errors import NetworkError
from sparrow.exchange import fit, keymap, keymap_files, network, onnx_file, state_dict
from sparrow.files import checkpoint
from sparrow.files.headers import read_header, sha256
from sparrow.files.outcome_table import COLUMNS
from sparrow.networks.cutting import cut
from sparrow.networks.prunable import NORMS, prunable_weights
from sparrow.networks.structure import Layout, filter_masks
from sparrow.stages._failure import failed_checkpoint
from tests.conftest import ABOUT, write_failed

FAST = ["cnn-small", "resnet18"]
SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in catalogue.kinds("models") if kind not in FAST]
SHAPES = {"resnet50": (3, 64, 64), "cnn-small": (1, 8, 8), "cnn-large": (1, 8, 8)}


def _write(path: Path, kind: str, ratio: float = 0.0, dataset: str = "cifar10", filters: bool = False) -> Path:
    """A checkpoint of a network that has learned nothing, its batch norms anything but the identity."""
    torch.manual_seed(0)
    entry, shape = catalogue.load("models", kind), SHAPES.get(kind, (3, 32, 32))
    model = entry.build(entry.Params(), shape, 10)
    for module in model.modules():
        if isinstance(module, NORMS):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(std=0.1)
    for weight in prunable_weights(model).values():
        if not weight.any():  # TRADES' last layer begins with zeros, which would count as pruned.
            weight.data.normal_(std=0.1)
    masks = {}
    if ratio:
        for name, weight in prunable_weights(model).items():
            masks[name] = torch.ones_like(weight, dtype=torch.bool)
            masks[name].flatten(0 if not filters else 1)[: int(ratio * (len(weight) if filters else weight.numel()))] = False
        if filters:
            *_, last = prunable_weights(model)
            masks[last][:] = True
            masks |= filter_masks(model, Layout(model, shape), masks)
        for name, mask in masks.items():
            model.get_parameter(name).data.mul_(mask)
    cell = {"dataset": dataset, "model": kind, "objective": "trades", "seed": 0}
    header = {
        "stage": "finetuned" if ratio else "dense",
        "cell": cell | ({"method": "hydra", "ratio": ratio} if ratio else {}),
        "model": {"kind": kind, **entry.Params().model_dump()},
        "shape": list(shape),
        "classes": 10,
        **dict.fromkeys(("data", "data_regime", "code"), "none"),
        "config": {},
        "parent": None,
    }
    checkpoint.save(path, checkpoint.Checkpoint(model, masks, header))
    return path


def _export(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, str, str]:
    status = main(["export", *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out, said.err


def _logits(path: Path, images: torch.Tensor) -> torch.Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])


@pytest.mark.parametrize("kind", FAST + SLOW)
def test_onnx_gives_torchs_logits_for_any_number_of_images(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source = _write(tmp_path / "dense.safetensors", kind)
    status, said, _ = _export(capsys, source, "--format", "onnx", "--output", tmp_path / "net.onnx")
    assert status == 0
    assert f"{tmp_path}/net.onnx: written; onnxruntime's logits differ from torch's by " in said
    model = checkpoint.load(source).model
    for number in (1, 5):
        images = torch.rand(number, *SHAPES.get(kind, (3, 32, 32)))
        with torch.no_grad():
            wanted = model(images)
        assert wanted.shape == (number, 10)
        assert (_logits(tmp_path / "net.onnx", images) - wanted).abs().max() <= 1e-5 * max(1, wanted.abs().max())


def test_a_network_without_its_filters_becomes_onnx(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source = _write(tmp_path / "finetuned.safetensors", "cnn-small", 0.5, filters=True)
    loaded = checkpoint.load(source)
    smaller, masks, kept, _ = cut(loaded.model, (1, 8, 8), loaded.masks, torch.rand(2, 1, 8, 8))
    compact = tmp_path / "small.safetensors"
    checkpoint.save(compact, checkpoint.Checkpoint(smaller, masks, loaded.header, kept))
    assert _export(capsys, compact, "--format", "onnx", "--output", tmp_path / "net.onnx")[0] == 0
    assert (tmp_path / "net.onnx").stat().st_size < compact.stat().st_size + 20_000 < source.stat().st_size
    images = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        assert torch.allclose(_logits(tmp_path / "net.onnx", images), loaded.model(images), atol=1e-5)
    # Its plain state dict, too; and with zeros in their places, as its architecture has them.
    assert _export(capsys, compact, "--format", "state-dict", "--output", tmp_path / "net.safetensors")[0] == 0
    small = load_file(tmp_path / "net.safetensors")["0.weight"]
    assert small.shape == (8, 1, 4, 4)
    options = ("--format", "state-dict", "--masked", "--output", tmp_path / "masked.safetensors")
    assert _export(capsys, compact, *options)[0] == 0
    wide = load_file(tmp_path / "masked.safetensors")["0.weight"]
    assert wide.shape == (16, 1, 4, 4)
    assert torch.equal(wide[wide.flatten(1).any(dim=1)], small)


def test_a_network_without_filters_of_an_earlier_version_can_be_exported(
    family: SimpleNamespace, capsys: pytest.CaptureFixture
) -> None:
    output = family.root / "net.safetensors"
    assert _export(capsys, family.compact, "--format", "state-dict", "--output", output)[0] == 0
    assert load_file(output)["0.weight"].shape == (16, 1, 4, 4)


def test_onnx_names_the_network_and_no_machine(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    import onnx

    source = _write(tmp_path / "dense.safetensors", "cnn-small")
    for name in ("first.onnx", "second.onnx"):
        assert _export(capsys, source, "--format", "onnx", "--output", tmp_path / name)[0] == 0
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in (tmp_path / "first.onnx").read_bytes()
    model = onnx.load(tmp_path / "first.onnx")
    assert [node.name for node in (*model.graph.input, *model.graph.output)] == ["images", "logits"]
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(about["sparrow"])["sha256"] == sha256(source)


def test_onnx_that_differs_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    source = _write(tmp_path / "dense.safetensors", "cnn-small")
    monkeypatch.setattr(onnx_file, "_difference", lambda *unused: float("nan"))
    status, _, error = _export(capsys, source, "--format", "onnx", "--output", tmp_path / "net.onnx")
    assert status == 1
    assert error == f"error: {tmp_path}/net.onnx: not written: onnxruntime's logits differ from torch's by nan (relative)\n"
    assert [path.name for path in tmp_path.iterdir()] == ["dense.safetensors"]


def test_a_difference_is_relative_to_the_largest_logit(tmp_path: Path) -> None:
    loaded = network.load(_write(tmp_path / "dense.safetensors", "cnn-small"))
    with torch.no_grad():
        logits = loaded.model(images := torch.rand(2, 1, 8, 8))
    away = SimpleNamespace(run=lambda names, inputs: [(logits + 0.5).numpy()])
    assert onnx_file._difference(loaded, away, images) == pytest.approx(0.5)
    loaded.model[-1].bias.data.add_(9.5)
    with torch.no_grad():
        logits = loaded.model(images)
    assert onnx_file._difference(loaded, away, images) == pytest.approx(0.5 / float(logits.abs().max()))


@pytest.mark.parametrize("kind", FAST + SLOW)
def test_a_state_dict_goes_and_comes_back_under_every_name(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source, output = _write(tmp_path / "finetuned.safetensors", kind, 0.5), tmp_path / "net.safetensors"
    own = checkpoint.load(source)
    for name in ["ours", *(one for one in keymap_files.names()[1:] if kind in keymap.load(one).models)]:
        status, said, _ = _export(capsys, source, "--format", "state-dict", "--naming", name, "--output", output)
        assert (status, f"names: {name}" in said) == (0, True)
        entry, shape = catalogue.load("models", kind), SHAPES.get(kind, (3, 32, 32))
        back, tensors = entry.build(entry.Params(), shape, 10), state_dict.read(output).tensors
        found = fit.fit(output, tensors, back, fit.Target(kind, shape, 0.5), keymap.load(name))
        assert all(torch.equal(value, back.state_dict()[key]) for key, value in own.model.state_dict().items())
        # Among millions of weights one is zero by chance.
        assert all(int((mask ^ own.masks[key]).sum()) <= 2 for key, mask in found.masks.items())


def test_a_state_dict_holds_names_and_tensors_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source, output = _write(tmp_path / "dense.safetensors", "resnet18"), tmp_path / "net.safetensors"
    _export(capsys, source, "--format", "state-dict", "--naming", "torchvision", "--output", output)
    tensors = load_file(output)
    assert {"fc.weight", "layer2.0.downsample.0.weight", "layer1.0.bn1.num_batches_tracked"} <= tensors.keys()
    assert len(tensors) == len(checkpoint.load(source).model.state_dict())


def _table(folder: Path, name: str, rows: list[tuple], eps: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        ",".join(COLUMNS["attacks"]),
        *(",".join(map(str, (number, *row, 0, "", "", "linf", eps, eps, *ABOUT))) for number, row in enumerate(rows)),
    ]
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def pruned(tmp_path: Path) -> Path:
    """A ResNet-18 on CIFAR-10 without nine tenths of its weights, and tables of five images."""
    path = _write(tmp_path / "seed0/hydra-0.90/finetuned.safetensors", "resnet18", 0.9)
    # Label, prediction, status, margin, distance: four are right, of which two are broken.
    rows = [
        (1, 1, "robust", 0.5, "inf"),
        (2, 2, "robust", 0.1, "inf"),
        (3, 3, "broken", -0.1, 0.02),
        (4, 4, "broken", -1, 0.03),
    ]
    rows.append((5, 0, "broken", -3, 0.0))
    _table(path.with_suffix("") / "attacks", "autoattack", rows, 0.031)
    rows = [(*row[:4], distance) for row, distance in zip(rows, (0.08, 0.0313, 0.02, 0.0314, 0.0), strict=True)]
    _table(path.with_suffix("") / "attacks", "fmn", rows, 8 / 255)
    return path


def test_an_entry_of_the_benchmark_has_the_numbers_of_the_tables(pruned: Path, tmp_path: Path, capsys) -> None:
    key = "HYDRA_Sehwag2020Hydra_R18_CIFAR10_US_90"
    folder = tmp_path / "entry"
    arguments = ["--format", "ap-benchmark", "--output", folder, "--ap-key", "HYDRA_Sehwag2020Hydra"]
    status, said, _ = _export(capsys, pruned, *arguments)
    assert status == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [f"{key}.pth", f"{key}.safetensors", "evaluation.json", "issue.md", "distances.csv", "README.md"]
    )
    about = json.loads((folder / "evaluation.json").read_text())
    assert (about["key"], about["architecture"], about["dataset"], about["structure"]) == (
        key,
        "resnet18",
        "CIFAR10",
        "weights",
    )
    assert (about["clean_accuracy"], about["robust_accuracy_aa"], about["robust_accuracy_fmn"]) == (80.0, 40.0, 40.0)
    assert about["sparsity_rate"] == "90"
    assert about["sparsity_prunable"] == pytest.approx(0.9, abs=1e-4)
    assert about["evaluation"]["aa"] == {"norm": "linf", "eps": 0.031, "images": 5}
    assert about["network"]["sha256"] == sha256(pruned)
    assert (folder / "distances.csv").read_text().splitlines()[1:3] == ["0,0.08", "1,0.0313"]
    # What was not measured as the benchmark does it is said, three times.
    for text in (said, (folder / "README.md").read_text(), " ".join(about["missing"] + about["differs"])):
        assert "AutoAttack: 5 test images, the benchmark's are the first 10,000" in text
        assert "Robust Accuracy (HO-FMN)" in text
        assert "AutoAttack: eps" not in text
    issue = (folder / "issue.md").read_text()
    assert "_Clean Accuracy:_ 80.00\n_Robust Accuracy (AA):_ 40.00\n_Robust Accuracy (HO-FMN):_ (missing)" in issue


def test_both_state_dicts_of_an_entry_are_the_network(pruned: Path, tmp_path: Path, capsys) -> None:
    _export(capsys, pruned, "--format", "ap-benchmark", "--output", tmp_path / "entry")
    own = checkpoint.load(pruned).model.state_dict()
    (pth,), (plain,) = (list((tmp_path / "entry").glob(f"*.{suffix}")) for suffix in ("pth", "safetensors"))
    # Where the benchmark's loader looks for it.
    found = torch.load(pth, weights_only=True)["state_dict"]
    for tensors in (found, load_file(plain)):
        assert tensors.keys() == own.keys()
        assert all(torch.equal(tensor, own[name]) for name, tensor in tensors.items())


def test_what_an_entry_lacks_is_named_and_not_made_up(pruned: Path, tmp_path: Path, capsys) -> None:
    attacks = pruned.with_suffix("") / "attacks"
    (attacks / "autoattack.csv").unlink()
    write_failed(attacks / "fmn.csv", "finetuned.safetensors: 0.weight holds values that are not finite")
    status, said, _ = _export(capsys, pruned, "--format", "ap-benchmark", "--output", tmp_path / "entry")
    assert status == 0
    missing = [line.strip() for line in said.splitlines() if line.startswith("  missing: ")]
    assert [line.split(":")[1].split(",")[0] for line in missing] == [
        " the method's key",
        " Clean Accuracy and Robust Accuracy (AA)",
        " the distances of FMN",
        " Robust Accuracy (HO-FMN)",
    ]
    assert f"no {attacks}/autoattack.csv" in missing[1]
    assert "not finite" in missing[2]
    about = json.loads((tmp_path / "entry/evaluation.json").read_text())
    assert about["clean_accuracy"] is about["robust_accuracy_aa"] is about["robust_accuracy_fmn"] is None
    assert "_Robust Accuracy (AA):_ (missing)" in (tmp_path / "entry/issue.md").read_text()
    assert not (tmp_path / "entry/distances.csv").exists()


def test_other_settings_than_the_benchmarks_are_named(tmp_path: Path, capsys) -> None:
    path = _write(tmp_path / "seed0/hydra-0.60/finetuned.safetensors", "resnet18", 0.6, "svhn", filters=True)
    _table(path.with_suffix("") / "attacks", "aa", [(1, 1, "robust", 0.5, "inf")], 0.05)
    arguments = ["--format", "ap-benchmark", "--output", tmp_path / "entry", "--autoattack", "aa"]
    _, said, _ = _export(capsys, path, *arguments)
    assert "METHOD_AuthorYearTitle_R18_SVHN_S_60" in said
    assert "differs: sparsity 60 %: the benchmark has filters at 50, 75, 90 %" in said
    assert "differs: AutoAttack: eps 0.05, the benchmark's is 0.031" in said


REFUSED = {
    "no such file": (lambda f: f.root / "no.safetensors", ["onnx"], "no.safetensors: no such file"),
    "no checkpoint": (lambda f: f.table, ["onnx"], "truncated, or not a safetensors file"),
    "a data set": (lambda f: f.data, ["onnx"], "format 'sparrow-data/3', expected"),
    "an unknown map": (lambda f: f.dense, ["state-dict", "--naming", "hidra"], "key map 'hidra' is not known; valid: ours"),
    "a map of others": (
        lambda f: f.dense,
        ["state-dict", "--naming", "ctrain"],
        "what a cnn-small is called there; valid: cnn7",
    ),
    "an idle option": (lambda f: f.dense, ["onnx", "--naming", "hydra"], "--naming: goes with --format state-dict, not onnx"),
    "no place in the benchmark": (
        lambda f: f.finetuned,
        ["ap-benchmark"],
        "a cnn-small on digits; the benchmark takes resnet18",
    ),
    "without filters": (lambda f: f.compact, ["ap-benchmark"], "give the masked checkpoint"),
}


@pytest.mark.parametrize(("file", "arguments", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_exported_is_one_line(family: SimpleNamespace, capsys, file, arguments: list[str], words: str) -> None:
    before = sorted(family.root.rglob("*"))
    output = family.root / ("out.safetensors" if arguments[0] == "state-dict" else "out")
    status, said, error = _export(capsys, file(family), "--format", *arguments, "--output", output)
    assert (status, said) == (1, "")
    assert error.startswith("error: ")
    assert words in error
    assert error.count("\n") == 1
    assert sorted(family.root.rglob("*")) == before


@pytest.mark.parametrize("name", ["net", "net.pth"])
def test_a_state_dict_is_not_written_under_a_name_by_which_it_is_read_as_a_pickle(
    family: SimpleNamespace, tmp_path: Path, capsys, name: str
) -> None:
    status, _, error = _export(capsys, family.dense, "--format", "state-dict", "--output", tmp_path / name)
    assert (status, list(tmp_path.glob("net*"))) == (1, [])
    assert error == f"error: {tmp_path / name}: a state dict is written as safetensors; end its name in .safetensors\n"


def test_a_dense_network_is_no_entry(tmp_path: Path, capsys) -> None:
    source = _write(tmp_path / "dense.safetensors", "resnet18")
    _, _, error = _export(capsys, source, "--format", "ap-benchmark", "--output", tmp_path / "entry")
    assert "a dense network; the benchmark is of pruned ones" in error


def test_a_network_that_failed_is_one_line(tmp_path: Path, capsys) -> None:
    path = tmp_path / "dense.safetensors"
    failed_checkpoint("training diverged", path, "dense", {})
    with pytest.raises(NetworkError):
        network.load(path)
    assert _export(capsys, path, "--format", "onnx", "--output", tmp_path / "net.onnx")[2] == "error: training diverged\n"


@pytest.mark.parametrize("format", ["onnx", "state-dict"])
def test_the_checkpoint_itself_is_never_written_to(family: SimpleNamespace, capsys, format: str) -> None:
    before = family.dense.read_bytes()
    _, _, error = _export(capsys, family.dense, "--format", format, "--output", family.dense)
    assert "is the checkpoint itself; choose another path" in error
    _, _, error = _export(capsys, family.dense, "--format", format, "--output", family.root)
    assert "is a folder; give the name of a file" in error
    assert family.dense.read_bytes() == before
    assert read_header(family.dense)["stage"] == "dense"


def test_a_module_of_the_state_dict_is_plain(tmp_path: Path) -> None:
    loaded = network.load(_write(tmp_path / "finetuned.safetensors", "cnn-small", 0.5))
    assert not loaded.model.training
    assert isinstance(loaded.model, nn.Module)
    assert all((loaded.model.get_parameter(name)[~mask] == 0).all() for name, mask in loaded.masks.items())
