"""Sparrow: what is left of a robust network after pruning.

`sparrow` knows *how* (data, models, objectives, pruning, attacks, verification, results); the Snakemake
workflow beside it decides *what* runs. This package never imports snakemake.

From Python: `sparrow.load`, `attack`, `verify`, `prune`, `tables` and `kinds` (docs/python.md). They are in
`sparrow.api.calls` and loaded at first use, so that whatever needs one module of the package loads that one alone.
"""

__all__ = ["Attacked", "Pruned", "SparrowError", "Verified", "attack", "kinds", "load", "prune", "tables", "verify"]


def __getattr__(name: str) -> object:
    """What `sparrow.api.calls` offers, and the version."""
    if name == "__version__":
        return __import__("sparrow.versions", fromlist=["SPARROW"]).SPARROW
    if name in __all__:
        return getattr(__import__("sparrow.api.calls", fromlist=[name]), name)
    raise AttributeError(f"module 'sparrow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
