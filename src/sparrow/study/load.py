"""A study from its keys or its file, validated. Imports neither torch nor Snakemake."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError, create_model

from sparrow.errors import ConfigError
from sparrow.files.strict_yaml import refuse_duplicates, refuse_loops
from sparrow.files.yaml_words import refuse_ambiguous
from sparrow.settings import Settings
from sparrow.study import checks
from sparrow.study.config import Study
from sparrow.study.mistakes import explain


def load_study(raw: dict[str, Any], source: str = "config.yaml") -> Study:
    """The study that `raw` says. Raises ConfigError: one line per mistake, each naming key, value and what is valid."""
    study, mistakes = examine(raw)
    if mistakes:
        raise ConfigError("\n".join(f"{source}: {line}" for line in mistakes))
    return study


def read_study(path: Path) -> Study:
    """The study in a YAML file. Raises ConfigError, one line a mistake, if there is none or it is not valid."""
    return load_study(read_keys(path), str(path))


def read_keys(path: Path) -> dict[str, Any]:
    """What a study's file says, not validated. Raises ConfigError, one line a mistake, if it is no mapping in YAML."""
    raw, mistakes = parse_keys(path)
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return raw


def parse_keys(path: Path) -> tuple[dict[str, Any], list[str]]:
    """What a study's file says, and a line for each key that is there twice or that YAML takes for something else.

    Raises ConfigError, in one line, if it is no mapping in YAML.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; valid: a study such as config.yaml")
    mistakes = []
    try:
        refuse_loops(path)
        for refuse in (refuse_duplicates, refuse_ambiguous):
            try:
                refuse(path)
            except ConfigError as error:
                mistakes += str(error).splitlines()
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: holds no mapping of keys to values, as a study is")
    return raw, mistakes


def examine(raw: dict[str, Any]) -> tuple[Study, list[str]]:
    """The study that `raw` says, and one line for each of its mistakes.

    Sections whose values are not valid are missing from the study: asking for one raises `checks.MissingSection`.
    """
    try:
        raw = json.loads(json.dumps(raw))
    except (TypeError, ValueError) as error:
        return _Partial.of({}), [str(error)]
    try:
        study, mistakes = Study.model_validate(raw), []
    except ValidationError as error:
        invalid = {mistake["loc"][0] for mistake in error.errors() if mistake["loc"]}
        # A key that is misspelt stands for one that only seems to be missing.
        meant = [name for key in invalid for name in difflib.get_close_matches(str(key), Study.model_fields, n=1)]
        study = _without(raw, invalid.union(meant))
        mistakes = list(explain(error, Study))
    return study, mistakes + checks.mistakes(study)


def _without(raw: Any, invalid: set[Any]) -> _Partial:
    """A study of the sections of `raw` that are none of the `invalid` ones."""
    if not isinstance(raw, dict):
        return _Partial.of({})
    fields: dict[str, Any] = {
        name: (field.annotation, field) for name, field in Study.model_fields.items() if name not in invalid
    }
    rest = create_model("ValidSections", __base__=Settings, __cls_kwargs__={"use_attribute_docstrings": False}, **fields)
    return _Partial.of(dict(rest.model_validate({name: value for name, value in raw.items() if name in fields})))


class _Partial(Study):
    """A study of which some sections are missing."""

    @classmethod
    def of(cls, sections: dict[str, Any]) -> _Partial:
        study = cls.model_construct(**sections)
        for name in study.__dict__.keys() - sections.keys():
            del study.__dict__[name]
        return study

    def __getattr__(self, name: str) -> Any:
        raise checks.MissingSection(name)
