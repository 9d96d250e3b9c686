"""The study in config.yaml, of which tests change one part."""

from pathlib import Path
from typing import Any

import yaml

ASKING = ("flips",)
"""Its analyses that ask for certain attacks or networks, which tests take away."""


def default_study() -> dict[str, Any]:
    """What config.yaml holds, without the analyses that ask something of its other sections."""
    study = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text())
    for analysis in ASKING:
        del study["analyses"][analysis]
    return study
