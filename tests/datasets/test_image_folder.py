"""Images of the user's own, in a folder or a zip."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparrow.data import store
from sparrow.datasets import image_folder
from sparrow.errors import SparrowError
from sparrow.files.headers import read_header
from sparrow.stages.data import prepare_data
from tests.specs import data_spec

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten 6 x 6 images of each of three colours; the k-th has a black pixel in column k % 6 of its first row."""
    for name, colour in COLOURS.items():
        place = tmp_path / "images" / name
        place.mkdir(parents=True)
        for number in range(10):
            image = Image.new("RGB", (6, 6), colour)
            image.putpixel((number % 6, 0), (0, 0, 0))
            image.save(place / f"{number}.png")
    return tmp_path / "images"


def _params(folder: Path, **changes) -> image_folder.Params:
    return image_folder.Params(**{"folder": str(folder), "size": 6, "classes": 3} | changes)


def test_classes_are_numbered_in_the_order_of_their_names(folder: Path) -> None:
    images, labels = image_folder.load(_params(folder)).train
    assert labels.tolist() == [label for label in range(3) for _ in range(10)]
    assert [tuple(image[:, 5, 5].tolist()) for image in images[::10]] == list(COLOURS.values())


def test_rows_and_columns_stay_what_they_are(folder: Path) -> None:
    images, _ = image_folder.load(_params(folder)).train
    assert [int(image.sum(axis=0)[0].argmin()) for image in images[:6]] == [0, 1, 2, 3, 4, 5]
    assert (images[:, :, 1:].sum(axis=1) == 255).all()


@pytest.mark.parametrize("above", [".", "deep/er"])
def test_zip_is_read_as_the_folder_is(folder: Path, tmp_path: Path, above: str) -> None:
    root = tmp_path / "root"
    shutil.copytree(folder, root / above, dirs_exist_ok=True)
    (root / "README.txt").write_text("not an image")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "._0.png").write_text("not an image either")
    archive = shutil.make_archive(str(tmp_path / "archive"), "zip", root)
    from_folder, from_zip = (image_folder.load(_params(Path(path))).train for path in (folder, archive))
    assert np.array_equal(from_folder.images, from_zip.images)
    assert np.array_equal(from_folder.labels, from_zip.labels)


def test_images_are_cut_to_a_square_around_their_middle(tmp_path: Path) -> None:
    # Left third red, the rest green: of a 9 x 3 image, the middle square is green.
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        image = Image.new("RGB", (9, 3), COLOURS["green"])
        image.paste(COLOURS["red"], (0, 0, 3, 3))
        image.save(tmp_path / name / "0.png")
    images, _ = image_folder.load(_params(tmp_path, size=3, classes=2)).train
    assert images.shape == (2, 3, 3, 3)
    assert (images == np.array(COLOURS["green"])[:, None, None]).all()


def test_grey_images_have_one_channel(folder: Path) -> None:
    params = _params(folder, channels=1)
    assert image_folder.load(params).train.images.shape == (30, 1, 6, 6)
    assert image_folder.describe(params).shape == (1, 6, 6)


def test_official_test_images_are_the_test_part(folder: Path, tmp_path: Path) -> None:
    spec = data_spec("image-folder", folder=str(folder), test_folder=str(folder), size=6, classes=3, validation=0.2)
    prepare_data(tmp_path / "data", tmp_path / "cost", spec)
    parts = read_header(tmp_path / "data", store.FORMAT)["parts"]
    assert parts == {"train": 24, "validation": 6, "test": 30}
    test, about = store.read(tmp_path / "data", "test")
    assert sorted(test.indices.tolist()) == list(range(30))
    assert test.first(6).labels.bincount().tolist() == [2, 2, 2]
    assert about.regime == "held out 20 %"
    # The index is that in the test set: the image behind it is the same.
    images, _ = image_folder.load(_params(folder)).test or image_folder.load(_params(folder)).train
    assert np.array_equal(test.pixels.numpy(), images[test.indices])


def test_without_test_images_a_share_is_drawn(folder: Path, tmp_path: Path) -> None:
    spec = data_spec("image-folder", folder=str(folder), size=6, classes=3, validation=0.2, test=0.2)
    prepare_data(tmp_path / "data", tmp_path / "cost", spec)
    assert read_header(tmp_path / "data", store.FORMAT)["parts"] == {"train": 18, "validation": 6, "test": 6}


def _no_folder(folder: Path) -> str:
    shutil.rmtree(folder)
    return "no such folder or zip"


def _no_zip(folder: Path) -> str:
    shutil.rmtree(folder)
    folder.write_text("text")
    return "neither a folder nor a zip"


def _class_missing(folder: Path) -> str:
    shutil.rmtree(folder / "red")
    return r"has 2 folders of images \(blue, green\); `classes` says 3"


def _no_class_folders(folder: Path) -> str:
    for path in list(folder.glob("red/*")):
        path.rename(folder / f"red-{path.name}")
    for name in COLOURS:
        shutil.rmtree(folder / name)
    return "has 0 folders of images; `classes` says 3"


def _broken_image(folder: Path) -> str:
    (folder / "green" / "3.png").write_bytes((folder / "green" / "3.png").read_bytes()[:40])
    return "green/3.png is not a readable image"


def _text_as_image(folder: Path) -> str:
    (folder / "green" / "3.png").write_text("no image")
    return "green/3.png is not a readable image"


def _more_than_eight_bits(folder: Path) -> str:
    Image.fromarray(np.arange(36, dtype=np.uint16).reshape(6, 6) * 1000).save(folder / "green" / "3.png")
    return "green/3.png is not a readable image .its pixels are of Pillow's mode I;16, which has more than eight bits"


def _parts_in_place_of_classes(folder: Path) -> str:
    for name, part in zip(COLOURS, ("test", "train", "val"), strict=True):
        (folder / name).rename(folder / part)
    return "test and train and val are parts of a data set; give one as `folder`, another as `test_folder`"


@pytest.mark.parametrize(
    "spoil",
    [
        _no_folder,
        _no_zip,
        _class_missing,
        _no_class_folders,
        _broken_image,
        _text_as_image,
        _more_than_eight_bits,
        _parts_in_place_of_classes,
    ],
    ids=lambda f: f.__name__,
)
def test_bad_folder_is_named_in_one_line(folder: Path, spoil) -> None:
    expected = spoil(folder)
    with pytest.raises(SparrowError, match=f"^{folder}: {expected}") as caught:
        image_folder.load(_params(folder))
    assert "\n" not in str(caught.value)


def test_other_classes_in_the_test_images_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "test")
    (tmp_path / "test" / "red").rename(tmp_path / "test" / "pink")
    with pytest.raises(SparrowError, match=r"its class folders are not those of .* \(one has no 'pink'\)"):
        image_folder.load(_params(folder, test_folder=str(tmp_path / "test")))


def test_numbered_classes_are_in_the_order_of_their_numbers(folder: Path) -> None:
    for number, name in zip((10, 9, 1), COLOURS, strict=True):
        (folder / name).rename(folder / str(number))
    images, labels = image_folder.load(_params(folder)).train
    # 1 was red, 9 green, 10 blue.
    assert [tuple(image[:, 5, 5].tolist()) for image in images[np.argsort(labels, kind="stable")][::10]] == [
        COLOURS[name] for name in ("red", "green", "blue")
    ]


def test_classes_are_named_in_the_log(folder: Path, capsys: pytest.CaptureFixture) -> None:
    image_folder.load(_params(folder))
    assert capsys.readouterr().out == "classes: blue, green, red\n"


def _numbered(root: Path, count: int = 12) -> Path:
    """Folders 0 to 11 of one image each, as grey as their number."""
    for number in range(count):
        (root / str(number)).mkdir(parents=True)
        Image.new("L", (2, 2), number).save(root / str(number) / "0.png")
    return root


def _greys(root: Path, **changes) -> list[int]:
    """The grey of each logit's class."""
    source = image_folder.load(_params(root, size=2, classes=12, channels=1, **changes))
    order = np.argsort(source.train.labels)
    assert [str(grey) for grey in source.train.images[order, 0, 0, 0]] == list(source.names)
    return source.train.images[order, 0, 0, 0].tolist()


def test_classes_may_be_in_the_order_of_torchvision(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from torchvision.datasets import ImageFolder

    root = _numbered(tmp_path / "images")
    theirs = ImageFolder(str(root))
    assert _greys(root) == list(range(12))
    said = capsys.readouterr().out
    assert f"torchvision's ImageFolder has {', '.join(theirs.classes)}, which is `class_order: string`" in said
    assert _greys(root, class_order="string") == [int(name) for name in theirs.classes] == [0, 1, 10, 11, *range(2, 10)]
    assert "torchvision" not in capsys.readouterr().out
    order = [str(number) for number in (5, *range(5), *range(6, 12))]
    assert _greys(root, class_order=order) == [int(name) for name in order]
    # As YAML reads them where they are not in quotes.
    assert _greys(root, class_order=list(map(int, order))) == [int(name) for name in order]


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (
            ["blue", "green", "pink"],
            "`class_order`: 'pink' is no folder of images there; valid: blue, green, red, in any order",
        ),
        (["blue", "green"], "class_order names 2 classes, `classes` says 3"),
        (["blue", "green", "green"], "green appears 2 times"),
        ("alphabetic", "'alphabetic' is no order of classes; valid: numeric, string, or a list"),
        ([True, 1, 2], "is no order of classes"),
        ([1, "1", 2], "1 appears 2 times"),
    ],
)
def test_an_order_of_other_classes_is_refused(folder: Path, order, words: str) -> None:
    with pytest.raises((SparrowError, ValueError), match=words):
        image_folder.load(_params(folder, class_order=order))


def test_the_data_set_says_what_its_classes_are_called(folder: Path, tmp_path: Path) -> None:
    spec = data_spec("image-folder", folder=str(folder), size=6, classes=3, class_order=["red", "blue", "green"])
    prepare_data(tmp_path / "data", tmp_path / "cost", spec)
    assert store.read(tmp_path / "data", "test")[1].names == ("red", "blue", "green")


def test_images_behind_links_are_read(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    (folder / "red").mkdir(parents=True)
    for file in (elsewhere / "red").iterdir():
        (folder / "red" / file.name).symlink_to(file)
    for name in ("blue", "green"):
        (folder / name).symlink_to(elsewhere / name, target_is_directory=True)
    linked, own = (image_folder.load(_params(place)).train for place in (folder, elsewhere))
    assert np.array_equal(linked.images, own.images)
    assert np.array_equal(linked.labels, own.labels)


def test_what_is_not_read_is_told(folder: Path, capsys: pytest.CaptureFixture) -> None:
    (folder / "red" / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "red" / "self.png").symlink_to("self.png")
    (folder / "red" / "back").symlink_to(folder, target_is_directory=True)
    for name in ("a.jfif", "b.jfif", "c.tga", "d"):
        shutil.copy(folder / "red" / "0.png", folder / "red" / name)
    shutil.copy(folder / "red" / "0.png", folder / "cover.png")
    (folder / ".hidden.png").write_text("hidden")
    assert len(image_folder.load(_params(folder)).train.labels) == 30
    assert (
        f"{folder}: 8 files were not read: 1 a link to a folder in which it lies, 2 a link to nothing, "
        "1 outside the class folders, 2 with the suffix .jfif, 1 with the suffix .tga, 1 without a suffix\n"
    ) in capsys.readouterr().out


def test_a_class_of_files_that_are_not_read_is_told_with_them(folder: Path) -> None:
    for file in (folder / "red").iterdir():
        file.rename(file.with_suffix(".jfif"))
    with pytest.raises(SparrowError, match=r"has 2 folders of images .*; `classes` says 3; not read: 10 with the suffix .jfif"):
        image_folder.load(_params(folder))


NAMINGS = {
    "a dot": lambda name: f"./{name}",
    "two slashes": lambda name: name.replace("/", "//"),
    "backslashes": lambda name: name.replace("/", "\\"),
    "a root": lambda name: f"/{name}",
}


def _zipped(folder: Path, naming) -> Path:
    target = folder.parent / "named.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            # Named afterwards: a ZipInfo would take a part of the name away at once.
            info = zipfile.ZipInfo("x")
            info.filename = naming(file.relative_to(folder).as_posix())
            archive.writestr(info, file.read_bytes())
    return target


@pytest.mark.parametrize("naming", NAMINGS.values(), ids=NAMINGS)
def test_a_zip_may_write_its_names_in_its_own_way(folder: Path, naming) -> None:
    found, expected = (image_folder.load(_params(place)).train for place in (_zipped(folder, naming), folder))
    assert np.array_equal(found.images, expected.images)
    assert np.array_equal(found.labels, expected.labels)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_a_zip_names_twice_counts_once(folder: Path, capsys: pytest.CaptureFixture) -> None:
    target = _zipped(folder, lambda name: name)
    with zipfile.ZipFile(target, "a") as archive:
        archive.write(folder / "red" / "0.png", "red/0.png")
        archive.write(folder / "red" / "1.png", "./red/1.png")
    assert len(image_folder.load(_params(target)).train.labels) == 30
    assert f"{target}: 2 files were not read: 2 listed twice" in capsys.readouterr().out
    with zipfile.ZipFile(target, "a") as archive:
        archive.write(folder / "red" / "2.png", "red/0.png")
    with pytest.raises(SparrowError, match=r"named.zip: holds two files red/0.png, which differ"):
        image_folder.load(_params(target))
