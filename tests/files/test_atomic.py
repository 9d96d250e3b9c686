"""Files are there whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sparrow.errors import SparrowError, StorageError
from sparrow.files.atomic import remove_partial_files, replacing, require_writable
from sparrow.files.csv_table import write_csv


def test_a_file_takes_its_place_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("before")
    with replacing(path) as partial:
        partial.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"

    def write() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    write_csv(tmp_path / "new/table.csv", ["a"], [[1]])
    assert (tmp_path / "new/table.csv").read_text() == "a\n1\n"


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "table[1].csv"
    script = f"""
import os, signal, sys
from pathlib import Path
from sparrow.files.atomic import replacing, require_writable, remove_partial_files
with replacing(Path({str(path)!r})) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": source}, check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    (tmp_path / "table1.csv.5.partial").write_text("another file's")
    living = tmp_path / left.name.replace(f"-{left.name.split('-')[-1]}", f"-{os.getppid()}.partial")
    living.write_text("being written by somebody else")
    elsewhere = tmp_path / "table[1].csv.another-5.partial"
    elsewhere.write_text("on another machine")
    assert left.name.endswith(".partial")
    with replacing(path) as partial:
        partial.write_text("whole")
    rest = {"table1.csv.5.partial", "table[1].csv"}
    assert {file.name for file in tmp_path.iterdir()} == rest | {living.name, elsewhere.name}
    os.utime(elsewhere, (0, 0))
    remove_partial_files(path)
    assert {file.name for file in tmp_path.iterdir()} == rest | {living.name}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_named_with_the_file(tmp_path: Path) -> None:
    def write() -> None:
        with replacing(tmp_path / "table.csv"), open("/dev/full", "w") as full:
            full.write("x" * 10_000)

    with pytest.raises(StorageError, match=r"table\.csv: cannot be written: no space left on device; run again"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_errors_of_safetensors_are_recognised(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    with pytest.raises(StorageError, match="cannot be written: no such file or directory"), replacing(tmp_path / "a"):
        save_file({"a": np.zeros(1)}, tmp_path / "missing/file")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/table\.csv: cannot be written: "):
        write_csv(tmp_path / "file/table.csv", ["a"], [])


def test_files_are_as_private_as_the_user_wants(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "a") as partial:
            save_file({"a": np.zeros(1)}, partial)
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_folder_that_is_yet_to_be_made_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    require_writable(Path("results"))
    require_writable(tmp_path / "a/b/c")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    for folder in (tmp_path / "results", tmp_path / "results/digits"):
        with pytest.raises(SparrowError, match=r"cannot be written to: .*results is a file"):
            require_writable(folder)
