"""What the demo shows: steps with their times, a progress bar, a table and a histogram."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence

__all__ = ["Screen", "histogram", "table"]

_BAR = 30


class Screen:
    """Prints steps with the seconds since the start; progress goes into one line where there is a terminal."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._is_terminal = sys.stdout.isatty()
        self._open_bar = False
        self._told_quarter = 0

    def step(self, what: str, detail: str = "") -> None:
        """Print one step."""
        self._close_bar()
        print(f"  {time.monotonic() - self._start:7.2f} s  {what:<13} {detail}".rstrip(), flush=True)

    def progress(self, done: int, total: int, unit: str) -> None:
        """Show how far it is; without a terminal, once for each quarter."""
        filled = _BAR * done // total
        bar = f"{'#' * filled}{'.' * (_BAR - filled)} {done}/{total} {unit}"
        if self._is_terminal:
            print(f"\r  {'':9}  {'':13} {bar}", end="", flush=True)
            self._open_bar = True
        elif (quarter := 4 * done // total) > self._told_quarter:
            self._told_quarter = quarter
            self.step("", bar)

    def _close_bar(self) -> None:
        if self._open_bar:
            print()
            self._open_bar = False


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows with their columns one below the other; the first is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  " + "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def histogram(title: str, values: Sequence[float], step: int) -> str:
    """Return a histogram of text, one line for each ``step`` of the values."""
    counts = Counter(int(value // step) for value in values)
    highest = max(counts.values())
    lines = [f"  {title}"]
    for number in range(min(counts), max(counts) + 1):
        count = counts[number]
        lines.append(f"  {number * step:>6} |{'#' * round(46 * count / highest)} {count or ''}".rstrip())
    return "\n".join(lines)
