"""BibTeX of what studies use: Sparrow, the tools it stands on, and the papers behind each entry. Imports no torch."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import yaml

from sparrow import catalogue
from sparrow.errors import SparrowError
from sparrow.study.config import Study

CITATION = Path(__file__).parents[3] / "CITATION.cff"
TOOLS = {
    "torchattacks": """
@misc{kim2020torchattacks,
  author = {Kim, Hoki},
  title = {Torchattacks: A {PyTorch} Repository for Adversarial Attacks},
  year = {2020},
  eprint = {2010.01950},
  archiveprefix = {arXiv},
}""",
    "auto_LiRPA": """
@inproceedings{xu2020automatic,
  author = {Xu, Kaidi and Shi, Zhouxing and Zhang, Huan and Wang, Yihan and Chang, Kai-Wei and Huang, Minlie and
    Kailkhura, Bhavya and Lin, Xue and Hsieh, Cho-Jui},
  title = {Automatic Perturbation Analysis for Scalable Certified Robustness and Beyond},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2020},
}""",
    "Snakemake": """
@article{moelder2021sustainable,
  author = {Mölder, Felix and Jablonski, Kim Philipp and Letcher, Brice and Hall, Michael B. and Tomkins-Tinch,
    Christopher H. and Sochat, Vanessa and Forster, Jan and Lee, Soohyun and Twardziok, Sven O. and Kanitz, Alexander and
    Wilm, Andreas and Holtgrewe, Manuel and Rahmann, Sven and Nahnsen, Sven and Köster, Johannes},
  title = {Sustainable Data Analysis with {Snakemake}},
  journal = {F1000Research},
  volume = {10},
  number = {33},
  year = {2021},
}""",
    "PyTorch": """
@inproceedings{paszke2019pytorch,
  author = {Paszke, Adam and Gross, Sam and Massa, Francisco and Lerer, Adam and Bradbury, James and Chanan, Gregory and
    Killeen, Trevor and Lin, Zeming and Gimelshein, Natalia and Antiga, Luca and Desmaison, Alban and Köpf, Andreas and
    Yang, Edward and DeVito, Zachary and Raison, Martin and Tejani, Alykhan and Chilamkurthy, Sasank and Steiner, Benoit
    and Fang, Lu and Bai, Junjie and Chintala, Soumith},
  title = {{PyTorch}: An Imperative Style, High-Performance Deep Learning Library},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2019},
}""",
}


def bibtex(studies: list[Study]) -> str:
    """Each paper once, sorted by key, under a comment that says what uses it. Raises SparrowError for what is no BibTeX."""
    texts: dict[str, str] = {}
    users: dict[str, dict[str, None]] = {}
    for user, text in _citations(studies):
        for key, entry in parse(text, user).items():
            if texts.setdefault(key, entry) != entry:
                raise SparrowError(f"{user}: the BibTeX key {key!r} is that of another text at {next(iter(users[key]))}")
            users.setdefault(key, {})[user] = None
    return "\n\n".join(f"% {', '.join(users[key])}\n{texts[key]}" for key in sorted(texts))


def parse(text: str, where: str) -> dict[str, str]:
    """The BibTeX entries of `text` by key. Raises SparrowError, naming `where`, if there is anything else in it."""
    found: dict[str, str] = {}
    rest = text.strip()
    while rest:
        head = re.match(r"@[A-Za-z]+\{([^\s,{}]+),", rest)
        end = _closed(rest)
        if head is None or not end:
            raise SparrowError(
                f"{where}: {rest.splitlines()[0]!r} begins no BibTeX entry; valid: @misc{{key, title = {{...}}}}"
            )
        if head[1] in found:
            raise SparrowError(f"{where}: two BibTeX entries have the key {head[1]!r}")
        found[head[1]] = rest[:end]
        rest = rest[end:].lstrip()
    return found


def _closed(text: str) -> int:
    """The index after the first pair of braces; 0 if they do not close."""
    depth = 0
    for place, letter in enumerate(text):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "}" and depth <= 0:
            return place + 1 if depth == 0 else 0
    return 0


def _citations(studies: list[Study]) -> list[tuple[str, str]]:
    """Pairs of a thing in use (Sparrow, a tool, an entry, what is added to objectives) and its BibTeX."""
    used = [("Sparrow", own_bibtex()), *TOOLS.items()]
    for study in studies:
        if study.grafting:
            used.append(("grafting", _bibtex_in("sparrow.networks.grafting")))
        for label, variant in study.variants.items():
            if variant.mixed_precision:
                used.append((f"variants.{label}", _bibtex_in("sparrow.stages._mixed_precision")))
        for room in catalogue.PACKAGES:
            for label, params in getattr(study, room).items():
                used.append((f"{room}.{label}", catalogue.bibtex(room, params.kind)))
                # What only some of its settings use.
                used.append((f"{room}.{label}", getattr(params, "bibtex", "")))
                # What is made of verifiers, such as a cascade.
                members = getattr(catalogue.load(room, params.kind), "members", None)
                for kind in members(params) if members else ():
                    used.append((f"{room}.{label}", catalogue.bibtex("verifiers", kind)))
        for objective in study.objectives:
            used += [(key, catalogue.bibtex_of(one.load())) for key, one in study.additions(objective).items()]
    return used


def _bibtex_in(module: str) -> str:
    """BibTeX in the docstring of what is no entry, and imports torch."""
    found = find_spec(module)
    assert found is not None, "it is a module of this package"
    doc = ast.get_docstring(ast.parse(Path(str(found.origin)).read_text(encoding="utf-8"))) or ""
    return doc.partition("\nBibTeX:\n")[2].strip()


def own_bibtex() -> str:
    """BibTeX of Sparrow itself, as CITATION.cff has it."""
    about = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
    people = (
        f"{{{who['name']}}}" if "name" in who else f"{who['family-names']}, {who['given-names']}" for who in about["authors"]
    )
    fields = {
        "author": " and ".join(people),
        "title": about["title"],
        "year": str(about["date-released"])[:4],
        "note": f"Version {about['version']}",
    }
    return "\n".join(["@misc{sparrow,", *(f"  {name} = {{{value}}}," for name, value in fields.items()), "}"])
