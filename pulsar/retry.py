"""Waiting between tries: one back-off for everything that asks again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Backoff"]


@dataclass(frozen=True)
class Backoff:
    """Growing pauses in seconds: ``start``, then ``factor`` times longer each time, never above ``maximum``.

    ``jitter`` is the fraction by which each pause may be shortened at random, so that many waiters do not come at once.
    """

    start: float = 0.5
    factor: float = 2.0
    maximum: float = 60.0
    jitter: float = 0.1

    def pauses(self) -> Iterator[float]:
        """Yield the pauses, without end."""
        pause = self.start
        while True:
            yield pause * (1.0 - self.jitter * random.random())  # noqa: S311 - spreading load, not a secret
            pause = min(self.maximum, pause * self.factor)
