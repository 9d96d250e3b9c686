"""A third party's network as a checkpoint: what the header says of it, and the command that looks at a file beforehand."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from sparrow.cli.main import main
from sparrow.data import store
from sparrow.errors import CheckpointError
from sparrow.files import checkpoint, lineage
from sparrow.files.headers import read_header, sha256
from sparrow.files.parentage import refuse_other_parents
from sparrow.models import cnn_small
from sparrow.networks.cutting import without_filters
from sparrow.networks.prunable import prunable_weights
from sparrow.stages.imported import import_checkpoint
from sparrow.study import job_specs
from sparrow.study.load import load_study
from tests.default_study import default_study

ROOT = Path(__file__).parents[2]
SEED = "digits/cnn-small/benign/seed0"


def _theirs(path: Path, ratio: float = 0.0, **also: object) -> Path:
    torch.manual_seed(1)
    network = cnn_small.build(cnn_small.Params(), (1, 8, 8), 10)
    for weight in prunable_weights(network).values():
        weight.data[weight.abs() < weight.abs().flatten().sort().values[int(ratio * weight.numel())]] = 0
    torch.save({"state_dict": network.state_dict(), **also}, path)
    return path


def _spec(place: str, file: Path, **entry: object) -> dict:
    study = default_study()
    return job_specs.import_spec(load_study(study | {"imports": {place: {"file": str(file), **entry}}}), place)


@pytest.fixture
def laid_out(family: SimpleNamespace, tmp_path: Path) -> SimpleNamespace:
    """A results folder with a data set of ten classes, and where checkpoints of it lie."""
    root = tmp_path / "results"
    (root / "digits").mkdir(parents=True)
    shutil.copy(family.data, root / "digits/data.safetensors")
    return SimpleNamespace(data=root / "digits/data.safetensors", seed=root / SEED)


@pytest.mark.parametrize(("name", "ratio"), [("dense", 0.0), ("lwm-0.75/pruned", 0.75), ("theirs-0.75/finetuned", 0.75)])
def test_the_checkpoint_is_one_like_others(laid_out: SimpleNamespace, tmp_path: Path, name: str, ratio: float) -> None:
    file, output = _theirs(tmp_path / "theirs.pth", ratio), laid_out.seed / f"{name}.safetensors"
    spec = _spec(f"{SEED}/{name}", file)
    import_checkpoint(file, laid_out.data, output, spec)
    loaded = checkpoint.load(output, spec.model)
    assert loaded.header["stage"] == name.split("/")[-1]
    assert loaded.header["cell"] == spec.cell.model_dump()
    assert loaded.header["data"] == store.read(laid_out.data, "test")[1].digest
    assert loaded.masks.keys() == (prunable_weights(loaded.model).keys() if ratio else set())
    assert loaded.header["imported"] == {"file": str(file), "sha256": sha256(file)}
    assert loaded.header["config"] == {"imported": spec.imported.model_dump()}
    assert loaded.header["data_regime"] == "imported"
    # What lies where its parent would is none of it.
    (output.parent / "pruned.safetensors").write_bytes(b"another") if name.endswith("finetuned") else None
    refuse_other_parents(output, read_header(output))
    chain = lineage.chain(output)
    assert [(link.what, link.state) for link in chain] == [("data set", "ok"), (name.split("/")[-1], "")]


def test_the_same_file_gives_the_same_bytes(laid_out: SimpleNamespace, tmp_path: Path) -> None:
    file, outputs = _theirs(tmp_path / "theirs.pth"), [tmp_path / "first.safetensors", tmp_path / "second.safetensors"]
    for output in outputs:
        import_checkpoint(file, laid_out.data, output, _spec(f"{SEED}/dense", file))
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_a_network_without_filters_is_taken_over_masked_or_cut_with_the_same_numbers(
    laid_out: SimpleNamespace, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    network, images = cnn_small.build(cnn_small.Params(), (1, 8, 8), 10), torch.rand(5, 1, 8, 8)
    *hidden, _ = prunable_weights(network)
    for name in hidden:
        for tensor in (network.get_parameter(name), network.get_parameter(name.replace("weight", "bias"))):
            tensor.data[::2] = 0
    masks = {name: weight != 0 for name, weight in prunable_weights(network).items()}
    found = []
    for name, model in (("masked", network), ("cut", without_filters(network, (1, 8, 8), masks))):
        file, place = tmp_path / f"{name}.pth", f"theirs-0.50/{'pruned' if name == 'cut' else 'finetuned'}"
        torch.save({"state_dict": model.state_dict()}, file)
        output = laid_out.seed / f"{place}.safetensors"
        import_checkpoint(file, laid_out.data, output, _spec(f"{SEED}/{place}", file, granularity="filter"))
        found.append(checkpoint.load(output))
    for loaded in found:
        assert loaded.header["parameters_left"] == 5960
        assert loaded.model[0].out_channels == 8
        with torch.no_grad():
            assert torch.allclose(loaded.model(images), network(images), atol=1e-6)
    assert all(torch.equal(one, found[1].model.state_dict()[name]) for name, one in found[0].model.state_dict().items())


def test_lineage_says_where_it_comes_from(laid_out: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file, output = _theirs(tmp_path / "theirs.pth"), laid_out.seed / "dense.safetensors"
    import_checkpoint(file, laid_out.data, output, _spec(f"{SEED}/dense", file))
    capsys.readouterr()
    assert main(["lineage", str(output)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"imported from {file} (sha256 {sha256(file)[:12]}), where nothing more is known" in said


def test_the_log_says_what_was_done_with_it(laid_out: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = _theirs(tmp_path / "theirs.pth", 0.75, epoch=7)
    import_checkpoint(file, laid_out.data, tmp_path / "out.safetensors", _spec(f"{SEED}/lwm-0.75/pruned", file))
    first, *_, last = capsys.readouterr().out.splitlines()
    assert (first, last) == (f"{file}: read from its key 'state_dict'", "pruned share: 0.7500")


def test_a_file_that_does_not_fit_leaves_no_checkpoint(laid_out: SimpleNamespace, tmp_path: Path) -> None:
    file, output = _theirs(tmp_path / "theirs.pth", 0.5), laid_out.seed / "lwm-0.75/pruned.safetensors"
    with pytest.raises(CheckpointError, match=r"0\.5000 of its prunable weights are zero, the ratio 0\.75 was asked for"):
        import_checkpoint(file, laid_out.data, output, _spec(f"{SEED}/lwm-0.75/pruned", file))
    assert not output.exists()


def _command(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, str, str]:
    status = main(["import", *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.mark.parametrize("cell", [f"results/{SEED}/theirs-0.90/finetuned.safetensors", f"{SEED}/theirs-0.90/finetuned"])
def test_the_command_prints_lines_that_the_study_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch, cell: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file, before = _theirs(tmp_path / "theirs.pth", 0.9), ["theirs.pth"]
    status, said, _ = _command(capsys, file, "--study", ROOT / "config.yaml", "--cell", cell, "--map", "hydra")
    assert status == 0
    assert f"{file}: a cnn-small for images of 1 x 8 x 8 and 10 classes\n  read from its key 'state_dict'" in said
    assert "pruning ratio 0.9 asked for; 0.8999 of the prunable weights are gone" in said
    imports = yaml.safe_load(said[said.index("imports:") :])
    assert imports == {"imports": {f"{SEED}/theirs-0.90/finetuned": {"file": str(file), "map": "hydra"}}}
    load_study(default_study() | imports)
    assert [path.name for path in tmp_path.iterdir()] == before


def test_the_command_says_what_it_would_replace(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch, family: SimpleNamespace
) -> None:
    monkeypatch.chdir(tmp_path)
    file, there = _theirs(tmp_path / "theirs.pth"), tmp_path / f"results/{SEED}/dense.safetensors"
    arguments = file, "--study", ROOT / "config.yaml", "--cell", f"results/{SEED}/dense.safetensors"
    assert "is there" not in _command(capsys, *arguments)[1]
    there.parent.mkdir(parents=True)
    shutil.copy(family.dense, there)
    assert f"results/{SEED}/dense.safetensors is there, made by the study itself" in _command(capsys, *arguments)[1]


def test_options_are_keys_of_the_import(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = _theirs(tmp_path / "theirs.pth", 0.5, ema={"x": torch.zeros(1)})
    arguments = ["--study", ROOT / "config.yaml", "--cell", f"{SEED}/lwm-0.90/pruned", "--key", "state_dict"]
    status, _, error = _command(capsys, file, *arguments)
    assert (status, error.count("\n")) == (1, 1)
    assert "the ratio 0.9 was asked for" in error
    _, said, _ = _command(capsys, file, *arguments, "--filters", "--allow-ratio")
    assert "0.0000 of the filters are gone" in said
    (entry,) = yaml.safe_load(said[said.index("imports:") :])["imports"].values()
    assert entry == {"file": str(file), "key": "state_dict", "granularity": "filter", "allow_ratio": True}


MISTAKES = {
    "no study": ({"--study": "no.yaml"}, "no.yaml: no such file"),
    "a study that is a list": ({"--study": "list.yaml"}, "list.yaml: holds no mapping of keys to values, as a study is"),
    "a study that is no YAML": ({"--study": "bad.yaml"}, "bad.yaml: not YAML: "),
    "no cell": ({"--cell": "dense"}, "imports: 'dense' names no checkpoint; valid: DATASET/MODEL"),
    "a cell of another study": ({"--cell": "mnist/cnn-small/benign/seed0/dense"}, "datasets has no 'mnist'; valid: digits"),
    "an unknown map": ({"--map": "hidra"}, "key map 'hidra' is not known"),
    "an unknown key": ({"--key": "ema"}, "has no state dict under the key 'ema'; it holds state_dict"),
}


@pytest.mark.parametrize(("change", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(tmp_path: Path, capsys, monkeypatch, change: dict[str, str], words: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.yaml").write_text("[1]\n")
    Path("bad.yaml").write_text("a: [\n")
    options = {"--study": str(ROOT / "config.yaml"), "--cell": f"{SEED}/dense"} | change
    status, said, error = _command(capsys, _theirs(Path("theirs.pth")), *[part for pair in options.items() for part in pair])
    assert (status, said, error.count("\n")) == (1, "", 1)
    assert error.startswith("error: ")
    assert words in error


def test_the_command_counts_what_the_network_recognises(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch, laid_out: SimpleNamespace
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = "--study", ROOT / "config.yaml", "--cell", f"{SEED}/dense"
    file = _theirs(tmp_path / "theirs.pth")
    assert "validation images classified rightly" in _command(capsys, file, *arguments)[1]
    laid_out.data.unlink()
    said = _command(capsys, file, *arguments)[1]
    assert "is said at the import: results/digits/data.safetensors is not there yet" in said
