"""Similarity of representations: of a network with itself, with one that lost filters, and with that of another seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from sparrow.analyses import similarity
from sparrow.analyses.similarity import GROUPS, Params, _chosen, draw
from sparrow.data import store
from sparrow.errors import ConfigError
from sparrow.files import checkpoint, examples
from sparrow.files.headers import sha256
from sparrow.inference.subjects import Network
from sparrow.jobs.interruption import Interrupted
from sparrow.networks.cutting import cut
from sparrow.stages._failure import failed_checkpoint
from sparrow.stages.analyse import analyse
from sparrow.study import analyses, cells, targets
from sparrow.study.load import load_study
from tests.analyses.jobs import columns
from tests.specs import labels
from tests.study.test_entry_flags import STUDY


@pytest.fixture
def compare(digits: Path, tmp_path: Path):
    """Runs the stage on networks and the dense ones that they come from; its table."""

    def compare(
        networks: list[Path], dense: list[Path], examples: Sequence[Path] = (), threat: dict | None = None, **settings: Any
    ) -> pd.DataFrame:
        entry = {"kind": "similarity", "samples": 200, "draws": 20} | settings
        spec = {"seed": 0, "code": "test", "model": {"kind": "cnn-small"}, "analysis": entry, "threat": threat}
        analyse(
            output=tmp_path / "similarity.csv",
            cost=tmp_path / "cost.json",
            spec=spec,
            data=digits,
            networks=networks,
            dense=dense,
            examples=examples,
        )
        return pd.read_csv(tmp_path / "similarity.csv")

    return compare


def changed(path: Path, dense: Path, change=None, **cell: Any) -> Path:
    """A copy of the network with other weights, under another name."""
    loaded = checkpoint.load(dense)
    if change:
        with torch.no_grad():
            change(loaded.model)
    header = loaded.header | {"cell": loaded.header["cell"] | cell, "parent": None}
    checkpoint.save(path, checkpoint.Checkpoint(loaded.model, loaded.masks, header))
    return path


def test_a_network_is_like_itself_in_every_layer(compare, dense: Path, tmp_path: Path) -> None:
    same = changed(tmp_path / "same.safetensors", dense, method="lwm", ratio=0.5)
    table = compare([same], [dense])
    assert list(table.columns) == columns("similarity")
    assert table[["seed", "against", "layer", "output"]].to_numpy().tolist() == [
        [0, 0, 1, "relu"],
        [0, 0, 2, "relu"],
        [0, 0, 3, "relu"],
        [0, 0, 4, "logits"],
    ]
    # 4 x 4 and 2 x 2 positions, then one row an image.
    assert table["channels"].tolist() == table["channels_dense"].tolist() == [16, 32, 100, 10]
    assert table["rows_used"].tolist() == [200 * 16, 200 * 4, 200, 200]
    for measure in ("retained", "svcca", "cka"):
        assert table[measure].tolist() == pytest.approx([1] * 4)
    assert table["k"].tolist() == table["k_dense"].tolist()
    assert table["enough"].tolist() == [int(rows >= 10 * k) for rows, k in zip(table["rows_used"], table["k"], strict=True)]
    # Chance finds much where rows are few, and less in CKA.
    assert (table["retained_floor"] < 0.9).all()
    assert table["retained_floor"][2] > 3 * table["retained_floor"][0]
    assert (table["cka_floor"] < 0.2).all()


def test_of_filters_that_are_gone_no_direction_is_left(compare, dense: Path, digits: Path, tmp_path: Path) -> None:
    loaded, images = checkpoint.load(dense), store.read(digits, "test")[0].images[:5]
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in loaded.model.named_parameters()}
    masks["0.weight"][:14] = masks["0.bias"][:14] = False
    for name, mask in masks.items():
        loaded.model.get_parameter(name).data.mul_(mask)
    header = loaded.header | {"parent": None}
    masked, small = tmp_path / "masked.safetensors", tmp_path / "small.safetensors"
    checkpoint.save(masked, checkpoint.Checkpoint(loaded.model, masks, header))
    smaller, masks, kept, _ = cut(loaded.model, (1, 8, 8), masks, images)
    checkpoint.save(small, checkpoint.Checkpoint(smaller, masks, header, kept))
    cut_out, zeros = (compare([path], [dense]) for path in (small, masked))
    first = cut_out.iloc[0]
    assert (first["channels"], first["channels_dense"], first["k"]) == (2, 16, 2)
    # What is left is all there: the mean over it says nothing of what is gone.
    assert first["svcca"] > 0.9
    assert first["retained"] == pytest.approx(first["svcca"] * 2 / first["k_dense"], rel=1e-5)
    assert first["retained_low"] <= first["retained"] <= first["retained_high"]
    # Zeros are no direction, either.
    same = ["k", "retained", "cka", "svcca", "retained_floor", "cka_floor"]
    assert cut_out[same].to_numpy() == pytest.approx(zeros[same].to_numpy(), rel=1e-4)


def test_dense_networks_are_compared_with_that_of_the_next_seed(compare, dense: Path, tmp_path: Path) -> None:
    def other(model: torch.nn.Module) -> None:
        model[0].weight.add_(0.3 * torch.randn_like(model[0].weight))

    second = changed(tmp_path / "second.safetensors", dense, other, seed=7)
    table = compare([dense, second], [dense, second], draws=0)
    assert table.groupby("seed")["against"].first().to_dict() == {0: 7, 7: 0}
    assert len(table) == 8
    one, two = (table[table["seed"] == seed].set_index("layer") for seed in (0, 7))
    # Neither correlations nor CKA know which network came first.
    assert one["cka"].tolist() == pytest.approx(two["cka"].tolist(), rel=1e-4)
    assert (one["k_dense"].tolist(), one["k"].tolist()) == (two["k"].tolist(), two["k_dense"].tolist())
    assert (one["cka"][1:] < 0.999).all()
    assert one[["retained_low", "cka_high"]].isna().all(axis=None)
    # Of a single seed there is nobody to compare with.
    assert compare([dense], [dense]).empty


@pytest.fixture
def attacked(dense: Path, digits: Path, tmp_path: Path):
    """Makes a copy of the dense network of another seed, with weights that a little noise has moved, and adversarial images of
    it: of the first test images, each one brighter; the network and the file."""

    def attacked(seed: int, images: int) -> tuple[Path, Path]:
        def moved(model: torch.nn.Module) -> None:
            model[0].weight.add_(0.1 * seed * torch.randn_like(model[0].weight))

        network = changed(tmp_path / f"seed{seed}/dense.safetensors", dense, moved, seed=seed)
        part = store.read(digits, "test")[0].first(images)
        file = network.with_suffix("") / "attacks/fmn.examples.safetensors"
        file.parent.mkdir()
        examples.write(file, part.indices, (part.images + 0.5).clamp(max=1), {"network": sha256(network)})
        return network, file

    def made(seed: int, images: int = 100) -> tuple[Path, Path]:
        (tmp_path / f"seed{seed}/dense").mkdir(parents=True)
        return attacked(seed, images)

    return made


def test_adversarial_images_are_those_of_the_dense_network_within_the_threat(
    compare, attacked, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense, file = attacked(0)
    pruned = changed(tmp_path / "pruned.safetensors", dense, lambda model: model[0].weight[:8].zero_(), method="lwm", ratio=0.5)
    seen: list[torch.Tensor] = []
    whole = similarity._layers
    monkeypatch.setattr(similarity, "_layers", lambda one, images, *rest: seen.append(images) or whole(one, images, *rest))
    given = {"examples": [file], "threat": {"norm": "linf", "eps": 0.1}, "draws": 0}
    table = compare([pruned], [dense], attacks=["fmn"], **given)
    assert set(table["inputs"]) == {"adversarial"}
    assert set(table["images"]) == {100}
    clean = store.read(digits, "test")[0].images[:100]
    for images in seen:
        assert torch.allclose(images, (clean + 0.1).clamp(max=1), atol=1e-6)
    assert len(seen) == 2
    on_clean = compare([pruned], [dense], draws=0)
    assert set(on_clean["inputs"]) == {"clean"}
    assert set(on_clean["images"]) == {200}
    assert (on_clean["retained"] != table["retained"]).all()


def test_adversarial_images_are_of_the_network_that_another_seed_is_compared_with(
    compare, attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, images), (second, more) = attacked(0, 100), attacked(1, 60)
    given = {"examples": [images, more], "threat": {"norm": "linf", "eps": 0.1}, "draws": 0}
    table = compare([first, second], [first, second], attacks=["fmn"], **given)
    assert table.groupby("seed")[["against", "images"]].first().to_numpy().tolist() == [[1, 60], [0, 100]]


def test_a_network_without_adversarial_images_is_left_out(compare, attacked, tmp_path: Path) -> None:
    (first, images), (second, none) = attacked(0, 100), attacked(1, 1)
    pruned = [changed(tmp_path / f"{seed}.safetensors", first, seed=seed, method="lwm", ratio=0.5) for seed in (0, 1)]
    given = {"examples": [images, none], "threat": {"norm": "linf", "eps": 0.1}, "draws": 0, "attacks": ["fmn"]}
    assert set(compare(pruned, [first, second], **given)["seed"]) == {0}
    failed = compare(pruned[1:], [second], **given | {"examples": [none]})
    assert "attacks have found 1 adversarial images of it, too few to compare" in failed["failed"].item()


def test_adversarial_images_are_asked_for_where_it_names_attacks_and_nowhere_else() -> None:
    config = STUDY | {"methods": {"lwm": None}, "ratios": [0.5], "attacks": {"pgd": None, "fmn": None}}
    on_clean = load_study(config | {"analyses": {"similarity": None}})
    study = load_study(config | {"analyses": {"similarity": {"attacks": ["fmn"]}}})
    assert (cells.attacks_with_examples(on_clean), cells.attacks_with_examples(study)) == (set(), {"fmn"})
    for job in analyses.jobs(study, "similarity"):
        assert len(targets.examples_read(study, job)) == len({*job.dense, *job.networks})
        assert analyses.spec(study, job).threat == study.threat
    for job in analyses.jobs(on_clean, "similarity"):
        assert targets.examples_read(on_clean, job) == []
        assert analyses.spec(on_clean, job).threat is None
    with pytest.raises(ConfigError, match=r"analyses\.similarity\.attacks: 'square' is unknown; valid: pgd, fmn"):
        load_study(config | {"analyses": {"similarity": {"attacks": ["square"]}}})


def test_networks_that_failed_are_left_out(compare, dense: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    failed_checkpoint("training diverged", tmp_path / "failed.safetensors", "finetuned", labels(method="lwm", ratio=0.5))
    same = changed(tmp_path / "same.safetensors", dense)
    table = compare([tmp_path / "failed.safetensors", same], [dense, dense], draws=0)
    assert len(table) == 4
    assert "failed.safetensors: left out: " in capsys.readouterr().out
    alone = compare([tmp_path / "failed.safetensors"], [dense])
    assert "training diverged" in alone["failed"].item()


def test_of_many_rows_some_are_drawn_the_same_for_all() -> None:
    assert _chosen(3, 4, 12, 0).tolist() == [[image, place] for image in range(3) for place in range(4)]
    some = _chosen(30, 40, 100, 5)
    assert torch.equal(some, _chosen(30, 40, 100, 5))
    assert len(set(map(tuple, some.tolist()))) == 100
    assert some.tolist() == sorted(some.tolist())
    assert (some.amin(dim=0).tolist() >= [0, 0], some.amax(dim=0).tolist() <= [29, 39]) == (True, True)
    assert len(some[:, 0].unique()) > 20


def test_rows_are_a_limit_and_batches_change_nothing(compare, dense: Path, tmp_path: Path) -> None:
    other = changed(tmp_path / "other.safetensors", dense, lambda model: model[0].weight[:8].zero_())
    some = compare([other], [dense], rows=500, samples=100)
    assert some["rows_used"].tolist() == [500, 400, 100, 100]
    small = compare([other], [dense], rows=500, samples=100, batch_size=7)
    assert small.drop(columns="spec").to_numpy()[:, 4:-4].tolist() == [
        [pytest.approx(value, rel=1e-3, abs=1e-5) if isinstance(value, float) else value for value in row]
        for row in some.drop(columns="spec").to_numpy()[:, 4:-4].tolist()
    ]
    written = [compare([other], [dense], rows=500).equals(compare([other], [dense], rows=500))]
    assert written == [True]


def test_more_images_make_narrower_intervals(compare, dense: Path, tmp_path: Path) -> None:
    other = changed(tmp_path / "other.safetensors", dense, lambda model: model[0].weight[:8].zero_())
    few, many = (compare([other], [dense], samples=samples, draws=50).iloc[0] for samples in (40, 360))
    assert GROUPS <= 40
    for measure in ("cka", "retained"):
        assert 0 < many[f"{measure}_high"] - many[f"{measure}_low"] < few[f"{measure}_high"] - few[f"{measure}_low"]


def test_an_interrupted_job_goes_on_with_the_next_network(
    compare, dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = [changed(tmp_path / f"{seed}.safetensors", dense, seed=seed) for seed in range(2)]
    expected, done, whole = compare(networks, [dense, dense]), [], similarity._compared

    def counted(reference: Network, network: Network, *rest: Any) -> list[tuple]:
        if len(done) == 1 and network.path == networks[1]:
            done.append("stopped")
            raise Interrupted
        done.append(network.path.stem)
        return whole(reference, network, *rest)

    (tmp_path / "similarity.csv").unlink()
    monkeypatch.setattr(similarity, "_compared", counted)
    with pytest.raises(Interrupted):
        compare(networks, [dense, dense])
    assert not (tmp_path / "similarity.csv").exists()
    assert compare(networks, [dense, dense]).equals(expected)
    assert done == ["0", "stopped", "1"]


@pytest.mark.parametrize("stages", [("dense", "finetuned"), ("finetuned",), ()])
def test_a_figure_is_drawn_of_whatever_there_is(stages: tuple[str, ...], tmp_path: Path) -> None:
    whose = {"dataset": "digits", "model": "cnn-small", "objective": "benign"}
    values = dict.fromkeys(Params.tables["similarity"], 0.5)
    rows = [
        whose | values | {"stage": stage, "method": method, "ratio": ratio, "seed": seed, "layer": layer}
        for stage, method, ratio in (("dense", "dense", 0.0), ("finetuned", "lwm", 0.5), ("finetuned", "lwm", 0.9))
        for seed in range(2)
        for layer in (1, 2)
        if stage in stages
    ]
    names = [*whose, "method", "ratio", "stage", *values]
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "similarity.csv", index=False)
    spec = {"dataset": "digits", "model": "cnn-small", "objectives": ["benign", "other"], "stage": "finetuned", "code": "test"}
    spec["threats"] = {name: {"norm": "linf", "eps": 0.1} for name in spec["objectives"]}
    draw(source=tmp_path / "similarity.csv", svg=tmp_path / "a.svg", png=tmp_path / "a.png", spec=spec)
    assert (tmp_path / "a.svg").stat().st_size > 1000
