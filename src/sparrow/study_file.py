"""A study as a file, read without Snakemake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sparrow.config import Study, load_study
from sparrow.errors import ConfigError
from sparrow.yaml_keys import refuse_duplicates
from sparrow.yaml_words import refuse_ambiguous


def read_study(path: Path) -> Study:
    """The study in a YAML file. Raises ConfigError, one line a mistake, if there is none or it is not valid."""
    return load_study(read_keys(path), str(path))


def read_keys(path: Path) -> dict[str, Any]:
    """What a study's file says, not validated. Raises ConfigError, one line a mistake, if it is no mapping in YAML."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; valid: a study such as config.yaml")
    try:
        refuse_duplicates(path)
        refuse_ambiguous(path)
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: holds no mapping of keys to values, as a study is")
    return raw
