"""How many targets of each image a targeted search follows at once."""

from __future__ import annotations


def targets_at_once(standing: int, targets: int, batch: int) -> int:
    """How many of the next `targets` of `standing` images fill a batch; one if the images do so by themselves.

    No more than it takes to be done after as many searches: of nine where seven would fit, five, and then four.
    """
    most = min(max(batch // max(standing, 1), 1), targets)
    return -(-targets // -(-targets // most))
