"""Metrics, what is aimed at, and the samples of a scenario: medians, ratios and verdicts come from here."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["Aim", "Column", "Metric", "Section", "Target", "number", "ratio_text"]


class Aim(Enum):
    """What is compared with a target's bound."""

    RATIO_AT_LEAST = "ratio at least"
    RATIO_AT_MOST = "ratio at most"
    VALUE_BELOW = "below"
    NOT_WORSE_BY = "not worse by"


@dataclass(frozen=True)
class Target:
    """A bound for the ratio of the first column to the second, or for the first column's value."""

    aim: Aim
    bound: float

    def is_met(self, first: float | None, second: float | None, *, is_rate: bool = False) -> bool | None:
        """Return whether it is met; None when it cannot be told. ``is_rate``: more is better."""
        if first is None or (second is None and self.aim is not Aim.VALUE_BELOW):
            return None
        if self.aim is Aim.VALUE_BELOW:
            return first < self.bound
        assert second is not None
        if self.aim is Aim.RATIO_AT_LEAST:
            return first >= self.bound * second
        if self.aim is Aim.RATIO_AT_MOST:
            return first < self.bound * second
        return first >= second * (1 - self.bound) if is_rate else first <= second * (1 + self.bound)

    def __str__(self) -> str:
        match self.aim:
            case Aim.RATIO_AT_LEAST:
                return f"≥ {self.bound:g} x"
            case Aim.RATIO_AT_MOST:
                return f"< {self.bound:g} x"
            case Aim.VALUE_BELOW:
                return f"< {self.bound:g}"
        return f"≤ {self.bound * 100:g} % worse"


@dataclass(frozen=True)
class Metric:
    """One row of the results."""

    key: str
    title: str
    unit: str
    target: Target | None = None

    @property
    def is_rate(self) -> bool:
        """Whether more of it is better."""
        return self.unit.endswith("/s")


@dataclass(frozen=True)
class Column:
    """One column of the results: a contender, or a state of ours."""

    key: str
    title: str


@dataclass
class Section:
    """The results of one scenario. The ratio is that of the first column to the second."""

    name: str
    title: str
    columns: tuple[Column, ...]
    metrics: tuple[Metric, ...] = ()
    notes: list[str] = field(default_factory=list)
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    taken_at: str = ""

    def add(self, metric: str, column: str, value: float) -> None:
        """Note one sample."""
        self.samples.setdefault(metric, {}).setdefault(column, []).append(value)

    def median(self, metric: str, column: str) -> float | None:
        """Return the median of the samples; None when there are none."""
        values = self.samples.get(metric, {}).get(column)
        return statistics.median(values) if values else None

    def medians(self, metric: str) -> list[float | None]:
        """Return the median of each column."""
        return [self.median(metric, column.key) for column in self.columns]

    def ratio(self, metric: str) -> float | None:
        """Return the ratio of the first column to the second; None when it cannot be told."""
        first, second = self.medians(metric)[:2]
        return first / second if first is not None and second else None

    def is_met(self, metric: Metric) -> bool | None:
        """Return whether the target of the metric is met; None when there is none, or it cannot be told."""
        first, second = self.medians(metric.key)[:2]
        return metric.target.is_met(first, second, is_rate=metric.is_rate) if metric.target else None


def number(value: float | None) -> str:
    """Return a value with three significant digits or more, for a table."""
    if value is None:
        return "-"
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def ratio_text(value: float | None) -> str:
    """Return a ratio for a table."""
    return "-" if value is None else f"{value:.2f} x"
