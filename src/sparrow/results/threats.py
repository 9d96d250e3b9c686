"""A threat in words: networks of one table or figure may be trained and evaluated against different ones."""

from __future__ import annotations


def in_words(norm: str, eps: float) -> str:
    """Such as `linf 0.03137`."""
    return f"{norm} {eps:.4g}"
