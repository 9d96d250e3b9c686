"""Print the BibTeX of what a study uses: Sparrow, the tools it stands on, and the papers behind each entry."""

from __future__ import annotations

import argparse
from pathlib import Path

from sparrow.study.citations import bibtex
from sparrow.study.load import read_study


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("studies", type=Path, nargs="+", metavar="STUDY", help="a study, such as config.yaml")


def run(options: argparse.Namespace) -> int:
    """Print each paper once, sorted by key, under a comment that says what uses it; exit status."""
    print(bibtex([read_study(path) for path in options.studies]))
    return 0
