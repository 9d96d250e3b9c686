"""Write what is generated from the code anew: the JSON Schema of studies, and the tables in README.md and docs/.

A test says when they are out of date.
"""

from __future__ import annotations

import argparse
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

from sparrow import catalogue
from sparrow.catalogue import Room
from sparrow.errors import SparrowError
from sparrow.study.config import Study
from sparrow.study.job_specs import method_facts

SCHEMA = Path("workflow/schemas/config.schema.json")
DOCUMENTS = (Path("README.md"), Path("docs/entries.md"), Path("docs/options.md"))
FACTS = ["prunes ... training", "steps", "removes", "compete in the", "criterion"]
"""Headers of what the Adversarial Pruning Benchmark says of methods."""
TITLES: dict[Room, str] = {
    "datasets": "Data sets",
    "models": "Models",
    "objectives": "Objectives",
    "methods": "Pruning methods",
    "attacks": "Attacks",
    "verifiers": "Verifiers",
    "analyses": "Analyses",
}


def schema() -> str:
    """JSON Schema of the config: an editor completes keys and shows their descriptions."""
    document = Study.model_json_schema()
    for room in TITLES:
        _name_labels(document, room)
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    document["title"] = "A Sparrow study"
    return json.dumps(document, indent=2) + "\n"


def _name_labels(document: dict[str, Any], room: Room) -> None:
    """`hydra:` may be empty and needs no `kind`; any other label needs one."""
    section, refs = document["properties"][room], _variants(document, room)
    section["properties"] = {kind: {"anyOf": [{"$ref": ref}, {"type": "null"}]} for kind, ref in refs.items()}
    # A pattern also applies to labels named above; those it must leave alone.
    section["additionalProperties"] = {"oneOf": [{"$ref": ref, "required": ["kind"]} for ref in refs.values()]}
    section["propertyNames"] = {"pattern": next(iter(section.pop("patternProperties")))}


def _variants(document: dict[str, Any], room: Room) -> dict[str, str]:
    """Reference of the definition of each kind, in the schema that pydantic wrote."""
    (section,) = document["properties"][room]["patternProperties"].values()
    return section["discriminator"]["mapping"]


def names_table() -> str:
    """A table of the names of all entries, a row for each room."""
    rows = [f"| {TITLES[room].lower()} | {', '.join(f'`{kind}`' for kind in catalogue.kinds(room))} |" for room in TITLES]
    return "\n".join(["| kind | names |", "|---|---|", *rows]) + "\n"


def entries_table() -> str:
    """A section for each room: the names of its entries, what they are, and their sources."""
    lines = []
    for room, title in TITLES.items():
        own = FACTS if room == "methods" else []
        heads = ["name", "what it is", *own, "source"]
        lines += [f"## {title} (`{room}`)", "", _row(heads), _row(["---"] * len(heads)).replace(" ", "")]
        for kind in catalogue.kinds(room):
            facts = _facts(kind) if own else []
            lines.append(_row([f"`{kind}`", catalogue.summary(room, kind), *facts, catalogue.source(room, kind)]))
        lines.append("")
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _facts(kind: str) -> list[str]:
    """What a method is at its defaults, in the order of FACTS."""
    facts = method_facts(catalogue.load("methods", kind).Params.model_construct())
    steps = "iterative" if facts.iterative else "one shot"
    return [facts.pipeline, steps, facts.structure, facts.locality, facts.criterion or ""]


def options_table() -> str:
    """Every key of the config, its type, default and description; STAGE stands for pretrain, prune and finetune,
    OBJECTIVE for any objective, CHECKPOINT for the path of a checkpoint, LABEL for that of a variant."""
    document = Study.model_json_schema()
    lines = ["| key | type | default | what it does |", "|---|---|---|---|"]
    schedule = document["$defs"]["Schedule"]
    for name, field in schedule["properties"].items():
        lines += _rows(document, field, f"training.STAGE.{name}", name in schedule["required"])
    for name, field in document["$defs"]["FineTuning"]["properties"].items():
        if name not in schedule["properties"]:
            lines += _rows(document, field, f"training.finetune.{name}", False)
    for name, key in (("Distillation", "training.finetune.distillation"), ("StabilityLoss", "objectives.OBJECTIVE.nrs")):
        for option, field in document["$defs"][name]["properties"].items():
            lines += _rows(document, field, f"{key}.{option}", False)
    for name in document["properties"]:
        if name not in TITLES and name != "training":
            lines += _rows(document, document["properties"][name], name, name in document["required"])
    for room in TITLES:
        for kind, ref in _variants(document, room).items():
            model = _resolve(document, {"$ref": ref})
            for key, field in model["properties"].items():
                if key not in ("kind", "training"):
                    lines += _rows(document, field, f"{room}.{kind}.{key}", False)
    return "\n".join(lines) + "\n"


def _rows(document: dict, field: dict, key: str, required: bool) -> list[str]:
    target = _resolve(document, field)
    if target.get("type") == "object" and "properties" in target:
        needed = target.get("required", [])
        return [
            row
            for name, child in target["properties"].items()
            for row in _rows(document, child, f"{key}.{name}", name in needed)
        ]
    labelled = [target.get("additionalProperties", {}), *target.get("patternProperties", {}).values()]
    for entry in (one for one in labelled if one and "$ref" in one):
        # A section of labels of the user's choice: a row for the section, then rows for an entry.
        whole = {name: value for name, value in target.items() if name not in ("additionalProperties", "patternProperties")}
        label = "LABEL" if "patternProperties" in target else "CHECKPOINT"
        return _rows(document, whole, key, required) + _rows(document, entry, f"{key}.{label}", False)
    default = "required" if required or "default" not in field else f"`{json.dumps(field['default'])}`"
    description = " ".join(field.get("description", "").split())
    own = f"| `{key}` | {_type(document, field)} | {default} | {description} |"
    # A section that may be left out as a whole has keys all the same; those of entries, which many have, are said once above.
    options = target.get("anyOf", ()) if "." not in key or key.startswith("variants.") else ()
    inner = [option for option in options if "properties" in _resolve(document, option)]
    return [own, *(row for option in inner for row in _rows(document, option, key, False))]


def _resolve(document: dict, field: dict) -> dict:
    return document["$defs"][field["$ref"].rsplit("/", 1)[-1]] if "$ref" in field else field


def _type(document: dict, field: dict) -> str:
    field = _resolve(document, field)
    if "anyOf" in field:
        return " or ".join(_type(document, option) for option in field["anyOf"])
    if field.get("format") == "fraction":
        return "fraction"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        return f"list of {_type(document, field['items'])}"
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = ", ".join(f"{sign} {field[name]:g}" for name, sign in bounds.items() if name in field)
    return f"{field.get('type', 'any')}{' ' if limits else ''}{limits}"


def _with_content(content: str, match: re.Match[str]) -> str:
    return f"{match[1]}{content}{match[2]}"


def filled(text: str) -> str:
    """A document with its generated parts, between `<!-- generated: NAME -->` and `<!-- end -->`, made anew."""
    for name, content in (("names", names_table()), ("entries", entries_table()), ("options", options_table())):
        text = re.sub(
            rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)",
            partial(_with_content, content),
            text,
            flags=re.DOTALL,
        )
    return text


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments: the command has no options."""


def run(options: argparse.Namespace) -> int:
    """Write the schema and the documents; exit status. Raises SparrowError outside the root of a checkout."""
    if not SCHEMA.is_file():
        raise SparrowError(f"{SCHEMA}: no such file here; run it in the root of a checkout")
    SCHEMA.write_text(schema())
    for document in DOCUMENTS:
        document.write_text(filled(document.read_text()))
    return 0
