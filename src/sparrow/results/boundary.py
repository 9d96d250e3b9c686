"""How far the images of a network are from its decision boundary, as far as its outcome tables tell."""

from __future__ import annotations

import pandas as pd

from sparrow.results.outcomes import Outcomes

NOTHING = pd.Series([], index=pd.Index([], dtype=int), dtype=float)


def distances(outcomes: Outcomes) -> pd.Series:
    """By image, how far away (in the threat's norm) the nearest image is that any attack, counted for era or not, fooled the
    network with; 0 where it is wrong as it is, inf where no attack found one.

    Of the images that an attack has seen which seeks the nearest one: of others nobody knows, and an attack within a radius
    that left out what is proven has none for these. An upper bound of the distance of the boundary. Empty without such an
    attack, or where it failed.
    """
    seekers = [outcomes.attacks[name].index for name in outcomes.minimum_norm if name in outcomes.attacks]
    if not seekers:
        return NOTHING
    found = pd.concat([table["distance"] for table in outcomes.attacks.values()]).groupby(level=0).min()
    seen = seekers[0]
    for index in seekers[1:]:
        seen = seen.union(index)
    return found.loc[seen.sort_values()].astype(float)


def nearness(outcomes: Outcomes) -> pd.Series:
    """By image, a number that orders images by how near they are to being right, and stay so: `distances` of those that the
    network has right; below 0, and so before all of these, the logits' margin of those that it has wrong."""
    found = distances(outcomes)
    if found.empty:
        return found
    tables = [table[table["prediction"] != table["label"]] for table in outcomes.attacks.values()]
    # An attack leaves alone what is wrong as it is: its margin there is that of the image itself.
    margins = pd.concat([table["margin"] for table in tables]).groupby(level=0).max()
    return found.mask(found.index.isin(margins.index), margins.reindex(found.index)).astype(float)
