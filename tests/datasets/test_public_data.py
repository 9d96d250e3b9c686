"""Public data sets: their files' forms, how they are got, and what is said where one is not what it should be."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import MNIST

from sparrow import catalogue
from sparrow.data import store
from sparrow.data.augmentation import CIFAR, NONE
from sparrow.data.download import Downloaded, Remote, fetch
from sparrow.datasets import cifar10, cifar100
from sparrow.errors import SparrowError, StorageError
from sparrow.files.headers import read_header
from sparrow.stages.data import prepare_data
from tests.data import miniatures
from tests.specs import data_spec


def _load(kind: str, root: Path, **changes):
    entry = catalogue.load("datasets", kind)
    return entry.load(entry.Params(root=str(root), download=False, **changes))


@pytest.mark.parametrize("kind", miniatures.PUBLIC)
def test_images_are_those_of_the_files(kind: str, tmp_path: Path, monkeypatch) -> None:
    written = miniatures.write(kind, tmp_path, monkeypatch)
    source = _load(kind, tmp_path)
    for part, expected in zip((source.train, source.test), written, strict=True):
        assert np.array_equal(part.images, expected.images)
        assert np.array_equal(part.labels, expected.labels)
    assert source.white == 255


@pytest.mark.parametrize("kind", miniatures.PUBLIC)
def test_validation_is_held_out_of_the_official_training_images(kind: str, tmp_path: Path, monkeypatch) -> None:
    train, test = miniatures.write(kind, tmp_path, monkeypatch)
    prepare_data(tmp_path / "data", tmp_path / "cost", data_spec(kind, root=str(tmp_path), download=False))
    header, count = read_header(tmp_path / "data", store.FORMAT), len(train.labels)
    assert header["parts"] == {"train": count * 9 // 10, "validation": count // 10, "test": len(test.labels)}
    assert header["regime"] == "held out 10 %"


@pytest.mark.parametrize("kind", miniatures.PUBLIC)
def test_photographs_alone_are_cropped_and_flipped(kind: str) -> None:
    assert catalogue.load("datasets", kind).Params().augmentation == (CIFAR if kind.startswith("cifar") else NONE)


def _files(kind: str, root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", miniatures.PUBLIC)
def test_a_missing_file_is_named_with_its_folder_and_sum(kind: str, tmp_path: Path, monkeypatch) -> None:
    miniatures.write(kind, tmp_path, monkeypatch)
    for path in _files(kind, tmp_path):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(SparrowError) as caught:
            _load(kind, tmp_path)
        message = str(caught.value)
        assert message.startswith(f"{path}: no such file (`download` is off); put {path.name} (MD5 ")
        assert hashlib.md5(content).hexdigest() in message
        assert message.endswith(f"into {path.parent}")
        assert "\n" not in message
        path.write_bytes(content)


def test_all_missing_files_are_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SparrowError) as caught:
        _load("mnist", tmp_path)
    assert all(f"{name} (MD5 {md5})" in str(caught.value) for name, md5 in MNIST.resources)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", miniatures.PUBLIC)
@pytest.mark.parametrize("download", [True, False])
def test_a_truncated_file_is_refused_and_left_alone(kind: str, download: bool, tmp_path: Path, monkeypatch) -> None:
    miniatures.write(kind, tmp_path, monkeypatch)
    path = _files(kind, tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-10])
    before = path.read_bytes()
    entry = catalogue.load("datasets", kind)
    with pytest.raises(SparrowError, match=f"^{path}: truncated, or another file than http") as caught:
        entry.load(entry.Params(root=str(tmp_path), download=download))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_folder_in_the_place_of_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / cifar10.ARCHIVE.path).mkdir()
    with pytest.raises(SparrowError, match=r"cifar-10-binary.tar.gz: cannot be read \(Is a directory\)$"):
        _load("cifar10", tmp_path)


CONTENT = b"what the publisher gives out"
NAME = "below/file.bin"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch) -> Iterator[str]:
    """Address of a file that a server on this machine gives out."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "file.bin").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path / "public")))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/file.bin"
    server.shutdown()
    server.server_close()


def _remote(*addresses: str, content: bytes = CONTENT) -> list[Remote]:
    return [Remote(NAME, hashlib.md5(content).hexdigest(), addresses)]


def test_a_file_is_downloaded_once(publisher: str, tmp_path: Path) -> None:
    params = Downloaded(root=str(tmp_path / "root"))
    (path,) = fetch(_remote(publisher), params)
    assert (path, path.read_bytes()) == (tmp_path / "root" / NAME, CONTENT)
    (tmp_path / "public" / "file.bin").unlink()
    assert fetch(_remote(publisher), params) == [path]
    assert [file.name for file in path.parent.iterdir()] == ["file.bin"]


def test_another_address_is_tried_where_one_has_nothing(publisher: str, tmp_path: Path) -> None:
    (path,) = fetch(_remote(f"{publisher}.none", publisher), Downloaded(root=str(tmp_path)))
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("address", "content", "reason"),
    [
        ("{}.none", CONTENT, "HTTP Error 404: File not found"),
        ("{}", b"what else was expected", "File not found or corrupted."),
        ("http://127.0.0.1:1/file.bin", CONTENT, "<urlopen error [Errno 111] Connection refused>"),
    ],
    ids=["not there", "wrong sum", "no network"],
)
def test_a_failed_download_leaves_one_line_and_no_file(
    publisher: str, tmp_path: Path, address: str, content: bytes, reason: str
) -> None:
    root = tmp_path / "root"
    address = address.format(publisher)
    with pytest.raises(SparrowError) as caught:
        fetch(_remote(address, content=content), Downloaded(root=str(root)))
    assert str(caught.value) == (
        f"{root / NAME}: no such file (download failed: {reason}); put file.bin (MD5 {hashlib.md5(content).hexdigest()}) "
        f"from {address.rpartition('/')[0]} into {root / 'below'}"
    )
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_a_root_that_is_a_file_is_one_line(publisher: str, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("text")
    with pytest.raises(StorageError, match="cannot be written: "):
        fetch(_remote(publisher), Downloaded(root=str(tmp_path / "root")))
    assert (tmp_path / "root").read_text() == "text"


@pytest.mark.parametrize("module", [cifar10, cifar100])
def test_no_pickles_are_asked_for(module) -> None:
    assert all("binary" in name for name in (module.ARCHIVE.path, *module.ARCHIVE.addresses))
