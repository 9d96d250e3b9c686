"""A study from its keys or its file, validated. Imports neither torch nor Snakemake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sparrow.errors import ConfigError
from sparrow.files.strict_yaml import refuse_duplicates
from sparrow.files.yaml_words import refuse_ambiguous
from sparrow.study import checks
from sparrow.study.config import Study
from sparrow.study.mistakes import explain


def load_study(raw: dict[str, Any], source: str = "config.yaml") -> Study:
    """The study that `raw` says. Raises ConfigError: one line per mistake, each naming key, value and what is valid."""
    try:
        study = Study.model_validate(json.loads(json.dumps(raw)))
        checks.check(study)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{source}: {line}" for line in explain(error, Study))) from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{source}: {error}") from None
    return study


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
