"""Digest of the code that a stage runs, so that Snakemake re-runs what a code change touches and nothing else.

The digest covers the modules of `sparrow` that a module imports, transitively, wherever in the file it does so.
Comments, formatting and docstrings do not count.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from sparrow.catalogue import PACKAGES, own_folders

PACKAGE = "sparrow"


@cache
def code_digest(*modules: str) -> str:
    """Hex digest (16 digits) of `modules` (full names) and of all that they import from `sparrow`.

    Raises ModuleNotFoundError if one of them does not exist.
    """
    digest = hashlib.sha256()
    for name in sorted(_closure(modules)):
        digest.update(f"{name}\n{_code(name)}\n".encode())
    return digest.hexdigest()[:16]


@cache
def function_digest(module: str, *roots: str) -> str:
    """Hex digest (16 digits) of what functions of `module` run: the definitions of the file that lead from `roots`, and all
    that these import from `sparrow`.

    So a file that computes a table and draws it does not compute anew when the drawing changes. Raises ModuleNotFoundError if
    there is no such module, LookupError if it does not define one of `roots`.
    """
    kept = _leading_from(_tree(module).body, roots)
    imported = frozenset(name for node in kept for name in _imported(node, module))
    digest = hashlib.sha256(f"{module}\n{_canonical(kept)!r}\n".encode())
    for name in sorted(_closure((*imported, module.rpartition(".")[0]))):
        digest.update(f"{name}\n{_code(name)}\n".encode())
    return digest.hexdigest()[:16]


@cache
def entry_digest(module: str) -> str:
    """Hex digest (16 digits) of an entry's file and of those that it imports from the rooms of entries, one's own or Sparrow's:
    of what the entry itself is, and not of what all of them stand on.

    Raises ModuleNotFoundError if there is no such module.
    """
    digest = hashlib.sha256()
    for name in sorted(_closure((module,))):
        if name.rpartition(".")[0] in PACKAGES.values():
            digest.update(f"{name}\n{_code(name)}\n".encode())
    return digest.hexdigest()[:16]


def is_own(module: str) -> bool:
    """Whether a module lies in a folder of entries of one's own (`catalogue.own_folders`), and not in Sparrow."""
    path = _path(module)
    return path is not None and any(path.is_relative_to(folder) for folder in own_folders())


def _leading_from(body: list[ast.stmt], roots: tuple[str, ...]) -> list[ast.stmt]:
    """The statements of a file that are run for `roots`, in their order: definitions that they name, and theirs, and whatever
    is run when the file is imported."""
    defined: dict[str, list[ast.stmt]] = {}
    todo: list[ast.stmt] = []
    for node in body:
        names = _defined(node)
        for name in names:
            defined.setdefault(name, []).append(node)
        if not names and not _is_docstring(node) and not _is_for_types(node):
            todo.append(node)
    missing = [root for root in roots if root not in defined]
    if missing:
        raise LookupError(f"nothing is called {missing[0]!r}; valid: {', '.join(defined)}")
    todo += [node for root in roots for node in defined[root]]
    kept: set[ast.stmt] = set()
    while todo:
        node = todo.pop()
        if node not in kept:
            kept.add(node)
            used = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
            todo += [other for name in used & defined.keys() for other in defined[name]]
    return [node for node in body if node in kept]


def _defined(node: ast.stmt) -> list[str]:
    """The names that a statement defines, if it does nothing else."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).split(".")[0] for alias in node.names]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)]


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@cache
def file_digest(path: Path) -> str:
    """Hex digest (16 digits) of a Python file's own code, wherever it lies and whenever it was written."""
    return hashlib.sha256(repr(_canonical(ast.parse(path.read_text()))).encode()).hexdigest()[:16]


def _closure(modules: tuple[str, ...]) -> set[str]:
    """Full names of `modules`, of all that they import from `sparrow`, and of the packages that these lie in."""
    found: set[str] = set()
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        todo.extend(_imports(name))
        if "." in name:
            todo.append(name.rpartition(".")[0])
    return found


@cache
def _path(name: str) -> Path | None:
    """The file behind a module's name, without importing it; None if it is not a module."""
    if name.split(".")[0] != PACKAGE:
        return None
    root = Path(__file__).parents[1]
    relative = Path(*name.split(".")[1:])
    for candidate in (root / relative.with_suffix(".py") if name != PACKAGE else None, root / relative / "__init__.py"):
        if candidate is not None and candidate.is_file():
            return candidate
    own = (folder / relative.with_suffix(".py") for folder in own_folders()) if relative.parent != Path() else ()
    return next((candidate for candidate in own if candidate.is_file()), None)


def _tree(name: str) -> ast.Module:
    return _parsed(_text(name))


@cache
def _text(name: str) -> str:
    path = _path(name)
    if path is None:
        raise ModuleNotFoundError(f"no module named {name!r}")
    return path.read_text()


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def _imports(name: str) -> frozenset[str]:
    """Modules of `sparrow` that a module names in an import statement."""
    return frozenset(_imported(_tree(name), name))


def _imported(tree: ast.AST, name: str) -> Iterator[str]:
    """Modules of `sparrow` that the part `tree` of the module `name` names in import statements."""
    path = _path(name)
    package = name if path is not None and path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return (module for module in found if module.split(".")[0] == PACKAGE and _path(module) is not None)


def _code(name: str) -> str:
    """The module's code in one canonical form, the same for every version of Python that parses it."""
    return _canonical_text(_text(name))


@cache
def _canonical_text(text: str) -> str:
    return repr(_canonical(_parsed(text)))


def _canonical(value: object) -> object:
    """A syntax tree as nested tuples: no positions, no docstrings, no empty fields (which come and go with versions)."""
    if isinstance(value, ast.AST):
        fields = ((name, _canonical(field)) for name, field in ast.iter_fields(value) if field not in (None, []))
        return type(value).__name__, tuple(fields)
    if isinstance(value, list):
        return tuple(_canonical(item) for item in value if not _is_docstring(item))
    return value


def _is_docstring(node: object) -> bool:
    """Whether a statement is a string and nothing else, which documents something and does nothing."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
