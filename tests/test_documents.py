"""README and the documents: short where they are read first, and without links that lead nowhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "reports/examples/README.md"]
PAGES = sorted((ROOT / "docs").glob("*.md"))
FILE = re.compile(r"`((?:src|workflow|benchmarks|tests|envs|reports|docs)/[\w./-]+\.\w+)`")
LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def test_readme_is_short_enough_to_be_read():
    assert len((ROOT / "README.md").read_bytes()) <= 12_000


@pytest.mark.parametrize("name", TOP)
def test_links_outside_the_site_lead_somewhere(name):
    # Those inside it are checked by `mkdocs build --strict`.
    document = ROOT / name
    targets = [target.partition("#")[0] for target in LINK.findall(without_code(document.read_text()))]
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_links_to_nothing_outside_the_site(page):
    # Such a link leads somewhere in the repository, and nowhere on the site.
    assert [target for target in LINK.findall(without_code(page.read_text())) if target.startswith(("../", "/"))] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder


def test_the_site_asks_no_other_host_for_anything(site):
    asks = re.compile(
        r"""<(?:script|img|link|iframe)\b[^>]*(?:src|href)=["'](?:https?:)?//[^"']*|@import[^;]*//|url\(["']?https?:[^)]*"""
    )
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert [(path.name, hit[0]) for path in files for hit in asks.finditer(path.read_text())] == []
    assert len(files) > len(PAGES)


def test_files_that_documents_name_are_there():
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
    texts = {document.name: document.read_text() for document in documents}
    examples = {name for text in texts.values() for name in re.findall(r"<!-- example: (\S+) -->", text)}
    named = {(page, path) for page, text in texts.items() for path in FILE.findall(text)}
    # Placeholders in capitals, the reports and the container that a user makes, and the files that a page has its reader write.
    theirs = {path for _, path in named if re.search("ROOM|NAME|STUDY", path) or path.endswith((".html", ".sif", *examples))}
    assert sorted((page, path) for page, path in named if path not in theirs and not (ROOT / path).exists()) == []


def test_the_rule_graph_has_all_rules():
    texts = [path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk"))]
    rules = {name for text in texts for name in re.findall(r"^(?:rule|use rule \w+ as) (\w+)\b", text, flags=re.MULTILINE)}
    drawn = set(re.findall(r">(\w+)</text>", (ROOT / "docs/pictures/rulegraph.svg").read_text()))
    # No analysis is of a data set alone but those of users.
    assert drawn - {"all"} == rules - {"analyse_dataset"}, "make rulegraph"
