"""What was found, in a sentence: at each ratio who is first, ahead of whom, and where random pruning stands."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sparrow.results.comparable import DOUBTED
from sparrow.results.page import words
from sparrow.results.page.study_data import COMPARED
from sparrow.results.ranking import CONSTANT, FAILED

KEPT = "\0"
"""Where a sentence says what is kept, once it is known of which ratios it is."""
NAMED = 3
"""At most so many methods are named in a cell; of more, their number is told."""


def says(ratios: list[tuple[Any, pd.DataFrame]], controls: set[str]) -> str:
    """A sentence for all ratios of which the same is to be said, with what the first keeps there, and random pruning."""
    told: dict[str, list[tuple[str, pd.DataFrame]]] = {}
    for ratio, at in ratios:
        told.setdefault(_kind(at, controls) + _apart(at), []).append((f"{ratio:g}", at))
    found = []
    for kind, own in told.items():
        kept = _kept([at for _, at in own], controls) if KEPT in kind else ""
        found.append(f"At {words.listed([ratio for ratio, _ in own])} {kind.replace(KEPT, kept)}.")
    return " ".join(found)


def _kept(groups: list[pd.DataFrame], controls: set[str]) -> str:
    """What the first keeps at each of several ratios, with its interval, and what random pruning does: in brackets."""
    firsts = [at[at["rank"] == 1].iloc[0] for at in groups]
    kept = words.listed([words.interval(one["mean"], one["low"], one["high"]) + mark_of(one) for one in firsts])
    others = [at[at["method"].isin(controls) & at["mean"].notna()] for at in groups]
    if any(len(one) != 1 for one in others) or firsts[0]["method"] in controls:
        return f" ({kept})"
    rows = [one.iloc[0] for one in others]
    beside = words.listed([f"{words.percent(one['mean'])}\u00a0%{mark_of(one)}" for one in rows])
    return f" ({kept}; {rows[0]['method']} {beside})"


def mark_of(row: pd.Series) -> str:
    """The mark behind an accuracy that may be lower than attacks found."""
    return f"\u00a0{DOUBTED}" if row["doubted"] else ""


def _kind(at: pd.DataFrame, controls: set[str]) -> str:
    """What is told at a ratio, behind it."""
    first = at[at["rank"] == 1]
    if first.empty:
        return _without_ranks(at)
    if len(first) > 1:
        return _kind_of_tie(at, controls)
    best, others = first.iloc[0], int(at["verdict"].isin(COMPARED).sum()) - 1
    tied, likely = (at[at["verdict"] == verdict] for verdict in ("within the noise", "likely worse"))
    if not others:
        return f"{best['method']} alone has a rank{KEPT}"
    if best["method"] in controls:
        return _control_first(f"random pruning ({words.percent(best['mean'])}\u00a0%)", others, len(tied), len(likely))
    if set(tied["method"]) & controls:
        return f"{best['method']} is first{KEPT}, but random pruning is within the noise"
    if len(tied) == others:
        return f"{best['method']} is first{KEPT}, but all differences are within the noise"
    also = f", {len(likely)} only likely worse" if len(likely) else ""
    if len(tied):
        return f"{best['method']} is first{KEPT}, but {len(tied)} of {others} others {_are(len(tied))} within the noise{also}"
    return f"{best['method']} is first{KEPT}, {_ahead(len(likely), others)}"


def _apart(at: pd.DataFrame) -> str:
    """Who is compared with nobody, because of a network that answers with one class; empty where none has a rank, or all."""
    constant = list(at.loc[at["verdict"] == CONSTANT, "method"])
    if not constant or at["rank"].isna().all():
        return ""
    names = words.listed(constant) if len(constant) <= NAMED else words.count(len(constant), "method")
    return f" ({names} {'answers' if len(constant) == 1 else 'answer'} with one class: no rank)"


def _ahead(likely: int, others: int) -> str:
    return "ahead of all others" + (f" ({likely} of {others} only likely)" if likely else "")


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _without_ranks(at: pd.DataFrame) -> str:
    """Why no method has a rank."""
    lost, constant = failed_in(at), int((at["verdict"] == CONSTANT).sum())
    if constant == len(at):
        return "every method left a network that answers with one class, and none has a rank"
    reasons = [lost, f"{words.count(constant, 'method')} left a network that answers with one class" if constant else ""]
    return ", ".join([*filter(None, reasons), "and no method has a rank"]) if any(reasons) else "no method has a rank"


def _control_first(control: str, others: int, tied: int, likely: int) -> str:
    """What is told where random pruning is the best: how many methods are worse than it."""
    if tied == others:
        return f"{control} is first, and all differences are within the noise"
    also = f", {likely} only likely worse" if likely else ""
    if tied:
        return f"{control} is first: {tied} of {others} methods {_are(tied)} within the noise, and none is better{also}"
    return f"{control} is ahead of every method" + (f" ({likely} of {others} only likely)" if likely else "")


def _kind_of_tie(at: pd.DataFrame, controls: set[str]) -> str:
    """What is told where several methods share the first rank: all of them by name, and none as the best."""
    level = at[at["rank"] == 1]
    others = int(at["verdict"].isin(COMPARED).sum()) - len(level)
    tied, likely = (int((at["verdict"] == verdict).sum()) for verdict in ("within the noise", "likely worse"))
    said = f"{words.listed([*level['method']])} are level ({words.percent(level.iloc[0]['mean'])}\u00a0%, {level_in(level)})"
    if set(level["method"]) & controls:
        return f"{said}: none is better than random pruning"
    if set(at.loc[at["verdict"] == "within the noise", "method"]) & controls:
        return f"{said}, but random pruning is within the noise"
    if tied:
        also = f", {likely} only likely worse" if likely else ""
        return f"{said}, and {tied} of {others} others {_are(tied)} within the noise{also}"
    if not others:
        return said
    return f"{said}, {_ahead(likely, others)}"


def level_in(level: pd.DataFrame) -> str:
    """In what methods of the same accuracy are level: in every outcome, or on average alone."""
    first, others = level.iloc[0], level.iloc[1:]
    if others["behind_low"].notna().any():
        return "on average, not image by image"
    return f"on {_pairs(first)}"


def _pairs(row: pd.Series) -> str:
    """The pairs of outcomes behind a comparison, in words: `each of 50 images, under each of 3 seeds`."""
    images, seeds = row.get("images", float("nan")), row["seeds"]
    of = [f"each of {words.count(int(images), 'image')}"] if pd.notna(images) else []
    of += [f"{'under ' if of else ''}each of {words.count(int(seeds), 'seed')}"] if seeds > 1 or not of else []
    return ", ".join(of)


def failed_in(at: pd.DataFrame) -> str:
    """Which methods failed, in words; empty if none did."""
    failed = list(at.loc[at["verdict"] == FAILED, "method"])
    return f"{words.listed(failed) if len(failed) <= NAMED else words.count(len(failed), 'method')} failed" if failed else ""
