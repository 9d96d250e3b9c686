"""Outcome tables of networks, made by hand, as analyses of scope `tables` are given them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from sparrow.files.outcome_table import ABSTAINED
from sparrow.results.outcomes import Outcomes
from sparrow.results.study_tables import Evaluated, Tables


def attacked(labels: list[int], predictions: list[int], robust: list[bool] | None = None) -> pd.DataFrame:
    """An attack's table of the images 0, 1, ...; as robust as it is right, if not told otherwise."""
    right = [label == prediction for label, prediction in zip(labels, predictions, strict=True)]
    status = ["robust" if hit else "broken" for hit in (right if robust is None else robust)]
    columns = {"label": labels, "prediction": predictions, "status": status, "distance": 0.0, "norm": "linf", "eps": 0.1}
    return pd.DataFrame(columns).rename_axis("index")


def certified(labels: list[int], predictions: list[int], margins: list[float], norm: str, eps: float) -> pd.DataFrame:
    """The table of a verifier of a smoothed classifier."""
    table = pd.DataFrame({"label": labels, "prediction": predictions, "margin": margins, "norm": norm, "eps": eps})
    verified = (table["label"] == table["prediction"]) & (table["margin"] > 0)
    unknown = (table["label"] == table["prediction"]) | (table["prediction"] == ABSTAINED)
    status = unknown.map({True: "unknown", False: "falsified"}).mask(verified, "verified")
    return table.assign(status=status).rename_axis("index")


def network(
    table: pd.DataFrame | None, seed: int = 0, ratio: float = 0.0, method: str = "lwm", smoothed: pd.DataFrame | None = None
) -> Evaluated:
    """A network with this table of an attack; dense at ratio 0."""
    pruned = {"method": method, "ratio": ratio, "seed": seed, "stage": "finetuned"}
    identity = {"dataset": "digits", "model": "cnn-small", "objective": "benign"}
    identity |= pruned if ratio else {"method": "dense", "ratio": 0.0, "seed": seed, "stage": "dense"}
    attacks = {} if table is None else {"pgd": table}
    failed = {"attacks": "diverged"} if table is None else {}
    more = {} if smoothed is None else {"smoothing": smoothed}
    return Evaluated(identity, Outcomes(Path("network"), attacks, {}, more, 0.1, failed=failed), (1, 8, 8))


def study(*networks: Evaluated) -> Tables:
    """The study of these networks."""
    ordered = sorted(networks, key=lambda one: tuple(one.identity.values()))
    return Tables(tuple(ordered), torch.Generator().manual_seed(0))
