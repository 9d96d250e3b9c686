"""The progress of an evaluation, in the job's log."""

from __future__ import annotations

import time


class Progress:
    """Prints a line for each batch: images done, how many of them are `what` (`robust`, `verified`), and the time left."""

    def __init__(self, images: int, what: str, by: str = "") -> None:
        self._images, self._what, self._by, self._started = images, what, f"{by}: " if by else "", time.perf_counter()
        self._done = self._hits = 0

    def done(self, images: int, hits: int) -> None:
        """Another batch of `images`, `hits` of them robust or verified, is finished."""
        self._done, self._hits = self._done + images, self._hits + hits
        left = (time.perf_counter() - self._started) / self._done * (self._images - self._done)
        print(f"{self._by}{self._done} of {self._images} images done, {self._hits} {self._what}, ETA {left:.0f} s", flush=True)
