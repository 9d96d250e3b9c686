"""Training images beyond the data set's own."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from sparrow.data import extra as _extra
from sparrow.data import store
from sparrow.data.order import mixed_order
from sparrow.data.source import Description, Images
from sparrow.data.split import HeldOut
from sparrow.errors import SparrowError
from sparrow.files.digests import content_digest
from sparrow.files.headers import read_header
from sparrow.stages._training import training_data
from sparrow.stages.data import prepare_data
from sparrow.training.loop import train
from sparrow.training.schedule import Schedule
from tests.specs import data_spec

ABOUT = Description((3, 4, 5), 10)
COLOUR = np.random.default_rng(0).integers(0, 256, (12, 3, 4, 5), np.uint8)
LABELS = np.arange(12) % 10
OWN = Images(np.zeros((2, 3, 4, 5), np.uint8), np.array([3, 4]))


def _added(path: Path, about: Description = ABOUT, own: Images = OWN, white: int = 255, **params) -> Images:
    """What comes behind the data set's own images, which stay what they are."""
    images, labels = _extra.with_extra(own, HeldOut(extra=str(path), **params), about, white)
    count = len(own.labels)
    assert np.array_equal(images[:count], own.images)
    assert np.array_equal(labels[:count], own.labels)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
    return Images(images[count:], labels[count:])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("form", [(0, 1, 2, 3), (0, 2, 3, 1)], ids=["channels first", "channels last"])
@pytest.mark.parametrize("piece", [5, 12, 4096])
def test_images_are_read_in_either_order(tmp_path: Path, monkeypatch, save, form: tuple, piece: int) -> None:
    monkeypatch.setattr(_extra, "PIECE", piece)
    save(tmp_path / "extra.npz", image=np.ascontiguousarray(COLOUR.transpose(form)), label=LABELS)
    images, labels = _added(tmp_path / "extra.npz")
    assert np.array_equal(images, COLOUR)
    assert np.array_equal(labels, LABELS)


@pytest.mark.parametrize(("images", "labels"), [("image", "label"), ("images", "labels"), ("data", "targets"), ("x", "y")])
def test_arrays_may_have_other_names(tmp_path: Path, images: str, labels: str) -> None:
    np.savez(tmp_path / "extra.npz", **{images: COLOUR, labels: LABELS.astype(np.uint8)}, more=np.zeros(3))
    assert _added(tmp_path / "extra.npz").labels.tolist() == LABELS.tolist()


def test_grey_images_may_go_without_channels(tmp_path: Path) -> None:
    np.savez(tmp_path / "extra.npz", image=COLOUR[:, 0], label=LABELS)
    own = Images(np.zeros((1, 1, 4, 5), np.uint8), np.array([0]))
    assert np.array_equal(_added(tmp_path / "extra.npz", Description((1, 4, 5), 10), own).images, COLOUR[:, :1])


def test_the_first_so_many_are_taken(tmp_path: Path) -> None:
    np.savez(tmp_path / "extra.npz", image=COLOUR, label=LABELS)
    images, labels = _added(tmp_path / "extra.npz", extra_samples=7)
    assert np.array_equal(images, COLOUR[:7])
    assert np.array_equal(labels, LABELS[:7])


@pytest.mark.parametrize(("params", "expected"), [({}, 12), ({"extra_samples": 5}, 5)])
def test_they_can_be_counted_without_being_read(tmp_path: Path, params: dict, expected: int) -> None:
    np.savez(tmp_path / "extra.npz", image=COLOUR, label=LABELS)
    assert _extra.count(HeldOut(extra=str(tmp_path / "extra.npz"), **params)) == expected
    assert _extra.count(HeldOut()) == 0


BAD = {
    "no images": ({"pixels": COLOUR, "label": LABELS}, r"has the arrays pixels, label, but not image \(or images, data, x\)"),
    "no labels": ({"image": COLOUR}, r"has the arrays image, but not label \(or labels, targets, y\)"),
    "nothing": ({"image": COLOUR[:0], "label": LABELS[:0]}, "has 0 images"),
    "floats": ({"image": COLOUR / 255, "label": LABELS}, r"image is float64 of shape \(12, 3, 4, 5\); must be uint8, "),
    "other size": (
        {"image": COLOUR[:, :, :3], "label": LABELS},
        r"image is uint8 of shape \(12, 3, 3, 5\); must be uint8, \(n, 3, 4, 5\) or \(n, 4, 5, 3\)$",
    ),
    "one image": ({"image": COLOUR[0], "label": LABELS[:3]}, r"image is uint8 of shape \(3, 4, 5\)"),
    "one number": ({"image": np.uint8(3), "label": LABELS}, "has 0 images"),
    "fewer labels": (
        {"image": COLOUR, "label": LABELS[:5]},
        r"label is int64 of shape \(5,\); must be a whole number for each of 12",
    ),
    "one-hot labels": ({"image": COLOUR, "label": np.eye(12)}, "label is float64"),
    "label too large": ({"image": COLOUR, "label": LABELS + 1}, "label has the value 10; the data set's go from 0 to 9"),
    "label too small": ({"image": COLOUR, "label": LABELS - 1}, "label has the value -1"),
    "objects": ({"image": COLOUR, "label": LABELS.astype(object)}, "label is a pickle of Python objects"),
    "fortran": ({"image": np.asfortranarray(COLOUR), "label": LABELS}, "image is in Fortran order"),
}


@pytest.mark.parametrize("case", BAD)
def test_arrays_that_do_not_fit_are_one_line(tmp_path: Path, case: str) -> None:
    arrays, expected = BAD[case]
    np.savez(tmp_path / "extra.npz", **arrays)
    with pytest.raises(SparrowError, match=f"^{tmp_path}/extra.npz: {expected}") as caught:
        _added(tmp_path / "extra.npz")
    assert "\n" not in str(caught.value)


def test_more_than_there_are_is_one_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "extra.npz", image=COLOUR, label=LABELS)
    with pytest.raises(SparrowError, match=r"has 12 images; `extra_samples` is 13$"):
        _added(tmp_path / "extra.npz", extra_samples=13)


def test_brighter_than_white_is_one_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "extra.npz", image=COLOUR, label=LABELS)
    with pytest.raises(SparrowError, match=rf"image has the value {COLOUR.max()}; the data set's go from 0 to 16$"):
        _added(tmp_path / "extra.npz", white=16)


def _missing(path: Path) -> str:
    return "no such file; `extra` names an .npz"


def _pickled(path: Path) -> str:
    path.write_bytes(pickle.dumps({"data": COLOUR, "extrapolated_targets": LABELS}))
    return "a pickle, which may run code and is not read; valid: an .npz"


def _npy(path: Path) -> str:
    with open(path, "wb") as file:
        np.save(file, COLOUR)
    return "truncated, or not an .npz"


def _truncated(path: Path) -> str:
    np.savez(path, image=COLOUR, label=LABELS)
    path.write_bytes(path.read_bytes()[:-100])
    return "truncated, or not an .npz"


def _damaged(path: Path) -> str:
    np.savez_compressed(path, image=COLOUR, label=LABELS)
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)
    return "truncated, or not an .npz"


def _cut_inside(path: Path) -> str:
    """The header promises more images than there are."""
    np.savez(path, image=COLOUR, label=LABELS)
    path.write_bytes(path.read_bytes().replace(b"(12, 3, 4, 5)", b"(19, 3, 4, 5)").replace(b"(12,)", b"(19,)"))
    return "truncated, or not an .npz"


def _folder(path: Path) -> str:
    path.mkdir()
    return "truncated, or not an .npz"


@pytest.mark.parametrize(
    "spoil", [_missing, _pickled, _npy, _truncated, _damaged, _cut_inside, _folder], ids=lambda case: case.__name__
)
def test_bad_file_is_one_line(tmp_path: Path, spoil) -> None:
    expected = spoil(tmp_path / "extra.npz")
    with pytest.raises(SparrowError, match=f"^{tmp_path}/extra.npz: {expected}") as caught:
        _added(tmp_path / "extra.npz")
    assert "\n" not in str(caught.value)


def test_a_pickle_among_the_arrays_is_never_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    np.savez(tmp_path / "extra.npz", image=np.array([Trap()], dtype=object), label=np.array([0]))
    with pytest.raises(SparrowError, match="image is a pickle of Python objects"):
        _added(tmp_path / "extra.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("key", ["extra_samples", "extra_share"])
def test_how_many_of_no_file_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match=f"{key} is .*, but `extra` names no file"):
        HeldOut(**{key: 0.5 if key == "extra_share" else 2})


@pytest.fixture
def extra(tmp_path: Path) -> dict:
    """A data set of digits with 300 images besides, of which 250 are taken."""
    images = np.random.default_rng(0).integers(0, 17, (300, 8, 8), np.uint8)
    np.savez(tmp_path / "extra.npz", image=images, label=np.arange(300) % 10)
    return {"kind": "digits", "extra": str(tmp_path / "extra.npz"), "extra_samples": 250}


def test_they_join_the_training_part_alone(extra: dict, digits: Path, tmp_path: Path) -> None:
    prepare_data(tmp_path / "data", tmp_path / "cost", data_spec(**extra))
    for part in ("validation", "test"):
        with_them, without = store.read(tmp_path / "data", part)[0], store.read(digits, part)[0]
        assert torch.equal(with_them.pixels, without.pixels)
        assert torch.equal(with_them.indices, without.indices)
    part, about = store.read(tmp_path / "data", "train")
    own = len(store.read(digits, "train")[0])
    assert torch.equal(part.indices[own:], torch.arange(1797, 1797 + 250))
    assert torch.equal(part.pixels[own:, 0], torch.from_numpy(np.load(extra["extra"])["image"][:250]))
    assert torch.equal(part.labels[own:], torch.arange(250) % 10)
    assert about.regime == "held out 15 %, 250 extra"
    assert about.digest != store.read(digits, "train")[1].digest
    assert (part.epoch, len(part.order(torch.Generator()).unique())) == (own + 250, own + 250)


def test_bad_extra_images_leave_no_data_set(extra: dict, tmp_path: Path) -> None:
    with pytest.raises(SparrowError, match="has 300 images; `extra_samples` is 301"):
        prepare_data(tmp_path / "data", tmp_path / "cost", data_spec(**extra | {"extra_samples": 301}))
    assert [path.name for path in tmp_path.iterdir()] == ["extra.npz"]


def test_their_share_is_in_the_regime_and_an_epoch_as_long_as_without(extra: dict, digits: Path, tmp_path: Path) -> None:
    prepare_data(tmp_path / "data", tmp_path / "cost", data_spec(**extra, extra_share=0.5))
    assert read_header(tmp_path / "data", store.FORMAT)["extra"] == {"images": 250, "share": 0.5}
    parts, about = training_data(tmp_path / "data", torch.device("cpu"), None)
    own = len(store.read(digits, "train")[0])
    assert parts["train"].epoch == len(parts["train"].order(torch.Generator())) == own
    assert parts["validation"].epoch == len(parts["validation"])
    assert about.regime == "held out 15 %, 250 extra (50 % of each batch)"


def test_training_takes_so_many_steps(extra: dict, tmp_path: Path) -> None:
    linear, seen = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), []

    def objective(model, images, labels, progress):
        seen.append(len(images))
        return model(images).mean()

    for share in (None, 0.5):
        seen.clear()
        prepare_data(tmp_path / "data", tmp_path / "cost", data_spec(**extra, extra_share=share))
        parts, _ = training_data(tmp_path / "data", torch.device("cpu"), None)
        parts["validation"] = parts["validation"].first(64)
        schedule = Schedule(epochs=1, batch_size=64, lr=0.01)
        train(linear, objective, parts, schedule, list(linear.parameters()), torch.Generator())
        # The last ones are validation's.
        assert sum(seen) == 64 + len(parts["train"]) - (250 if share else 0)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7, 0.75])
def test_every_batch_has_its_share(share: float) -> None:
    order = mixed_order(1000, 3000, share, torch.Generator().manual_seed(0))
    assert len(order) == 1000
    assert int((order >= 1000).sum()) == round(1000 * share)
    for batch in order.split(64):
        assert abs(int((batch >= 1000).sum()) - share * len(batch)) <= 1
    assert len(order.unique()) == 1000


def test_few_come_again_as_often_as_each_other() -> None:
    order = mixed_order(1000, 100, 0.5, torch.Generator().manual_seed(0))
    assert (order[order >= 1000] - 1000).bincount().tolist() == [5] * 100


def test_the_order_is_random_and_decided_by_its_seed() -> None:
    first, again, other = (mixed_order(50, 50, 0.5, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_digest_is_that_of_the_bytes() -> None:
    # Of arrays that are not in one piece, too.
    array = np.arange(12, dtype=np.int64).reshape(3, 4)
    assert content_digest([("a", array.T)]) == content_digest([("a", np.ascontiguousarray(array.T))])
    assert content_digest([("a", array.T)]) != content_digest([("a", array.reshape(4, 3))])
