"""Images of the user's own, in files that may be missing, or change."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sparrow.data import store
from sparrow.files.headers import read_header
from tests.workflow.conftest import TINY, Checkout

OWN = {"kind": "image-folder", "folder": "images", "size": 8, "channels": 1, "classes": 2, "extra": "extra.npz"}
TARGET = "results/own/data.safetensors"
PREPARED = ["Prepare own: load, split, store"]


@pytest.fixture
def own(checkout: Checkout) -> Checkout:
    """A checkout with a study of twenty images in a folder, and of extra images that are not there yet."""
    checkout.write(TINY | {"datasets": {"own": OWN}})
    for name, shade in (("dark", 50), ("light", 200)):
        (checkout.root / "images" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (8, 8), shade + number).save(checkout.root / "images" / name / f"{number}.png")
    return checkout


def _put_extra(checkout: Checkout, value: int) -> None:
    np.savez(checkout.root / "extra.npz", image=np.full((5, 8, 8, 1), value, np.uint8), label=np.zeros(5, np.uint8))


def test_a_data_set_is_made_anew_where_its_files_change(own: Checkout) -> None:
    done = own.snakemake(TARGET)
    assert done.returncode == 1
    told = "datasets.own.extra: extra.npz: no such file or folder, and images are to be read from it"
    assert told in done.stderr.splitlines()
    # No job has begun, and a study can be looked at all the same.
    assert not (own.root / "results/logs").exists()
    assert own.planned(TARGET) == PREPARED
    assert not (own.root / TARGET).exists()

    _put_extra(own, 7)
    own.run(TARGET)
    assert read_header(own.root / TARGET, store.FORMAT)["parts"] == {"train": 13 + 5, "validation": 3, "test": 4}

    new = own.root / "images" / "dark" / "new.png"
    Image.new("L", (8, 8), 70).save(new)
    assert own.planned(TARGET) == PREPARED
    new.unlink()
    assert own.planned(TARGET) == []

    _put_extra(own, 8)
    assert own.planned(TARGET) == PREPARED
