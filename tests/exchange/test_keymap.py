"""Key maps: names there and back, and files that are none."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from torchvision.models import resnet18

from sparrow import catalogue
from sparrow.errors import SparrowError
from sparrow.exchange import keymap, keymap_files

SHAPES = {"resnet50": (3, 64, 64)}


@cache
def _names(kind: str) -> list[str]:
    entry = catalogue.load("models", kind)
    return list(entry.build(entry.Params(), SHAPES.get(kind, (3, 32, 32)), 10).state_dict())


@pytest.mark.parametrize(("name", "kind"), [(n, kind) for n in keymap_files.names()[1:] for kind in keymap.load(n).models])
def test_every_name_comes_back(name: str, kind: str) -> None:
    # A wide network has the names of its narrow twin.
    names, found = _names("wrn-28-4" if kind == "wrn-28-10" else kind), keymap.load(name)
    theirs = [found.to_theirs(kind, one) for one in names]
    assert len(set(theirs)) == len(names)
    assert [found.to_ours(kind, one) for one in theirs] == names
    assert not any(found.is_unused(kind, one) for one in theirs)


def test_torchvision_has_its_own_names() -> None:
    theirs = resnet18(num_classes=10).state_dict().keys()
    found = keymap.load("torchvision")
    assert {found.to_ours("resnet18", name) for name in theirs} == set(_names("resnet18"))


def test_a_name_is_replaced_as_a_whole() -> None:
    found = keymap.KeyMap(models={"resnet18": {"fc": "linear", "fc.bias": "shift"}})
    names = ["fc.weight", "fc.bias", "fc2.weight", "a.fc.weight"]
    assert [found.to_ours("resnet18", name) for name in names] == ["linear.weight", "shift", "fc2.weight", "a.fc.weight"]


def test_only_the_models_that_have_them_have_unused_modules() -> None:
    found = keymap.load("hydra")
    assert found.is_unused("wrn-28-4", "sub_block1.layer.0.conv1.weight")
    assert not found.is_unused("wrn-28-4", "sub_block10.weight")
    assert not found.is_unused("vgg16-bn", "sub_block1.layer.0.conv1.weight")


def test_models_and_maps_are_of_the_catalogue() -> None:
    for name in keymap_files.names()[1:]:
        found = keymap.load(name)
        assert set(found.models) | set(found.unused) <= set(catalogue.kinds("models"))
        assert found.about
        assert found.source


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: [", "not a key map: while parsing"),
        ("about: nobody", "models: "),
        ("models: {resnet18: {a: b, c: b}}", "models.resnet18: two of their names stand for one of ours"),
        ("models: {resnet18: {a: b, a: c}}", "models.resnet18.a: is there twice"),
        ("modles: {resnet18: {}}", "valid keys: about, source, models, unused"),
        ("just a word", "map: 'just a word' is not valid"),
    ],
)
def test_a_file_that_is_no_map_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(SparrowError) as caught:
        keymap.load(str(tmp_path / "mine.yaml"))
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/mine.yaml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"), [("hidra", "key map 'hidra' is not known; valid: ours, al"), ("no.yaml", "No such")]
)
def test_a_map_that_is_not_there_is_named(name: str, words: str) -> None:
    with pytest.raises(SparrowError, match=words):
        keymap.load(name)
