"""The status words of the wire (specification 3). Nothing else may invent one."""

from __future__ import annotations

from enum import Enum

__all__ = ["WireStatus"]


class WireStatus(str, Enum):
    """A job's status as Galaxy reads it."""

    PREPROCESSING = "preprocessing"
    QUEUED = "queued"
    RUNNING = "running"
    POSTPROCESSING = "postprocessing"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        """Whether a client stops asking when it reads this word."""
        return self in _FINAL


_FINAL = frozenset({WireStatus.COMPLETE, WireStatus.FAILED, WireStatus.CANCELLED, WireStatus.LOST})
