"""A report for people: one line per check, coloured on a terminal only, and a summary. Secrets are never printed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO
from urllib.parse import quote, quote_plus

__all__ = ["Redactor", "Report", "Step", "wants_colour"]

_GREEN, _RED, _DIM, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[0m"
_NAME_WIDTH = 34


def wants_colour(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether to colour: on a terminal that can, unless NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


class Redactor:
    """Takes secrets out of a text, as they are and as they look inside a URL."""

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        known = {
            form for secret in secrets if secret for form in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret))
        }
        self._forms = sorted(known, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, "***")
        return text


class Step:
    """A check under way; ``detail`` is added to its line."""

    def __init__(self) -> None:
        self.detail = ""


class Report:
    """Prints checks as they are made and remembers those that failed.

    With ``quiet`` only what failed is printed, and the summary.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        colour: bool = False,
        quiet: bool = False,
        redact: Callable[[str], str] = str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._colour = colour
        self._quiet = quiet
        self._redact = redact
        self._clock = clock
        self._started = clock()
        self._passed = 0
        self._failed: list[str] = []

    @property
    def failures(self) -> list[str]:
        """The names of the checks that failed, in their order."""
        return list(self._failed)

    def title(self, text: str) -> None:
        """Print what the report is about."""
        if not self._quiet:
            self._print(text)

    def check(self, name: str, problem: str | None, *, seconds: float | None = None, detail: str = "") -> None:
        """Print one check; it passed when there is no problem."""
        if problem is None:
            self._passed += 1
            if not self._quiet:
                self._print(self._line(f"{self._painted('ok', _GREEN)}  ", name, seconds, self._painted(detail, _DIM)))
        else:
            self._failed.append(name)
            self._print(self._line(self._painted("FAIL", _RED), name, seconds, problem))

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time what is done in the block. It passes when the block ends; when it raises, the error is the problem and goes on."""
        step, begin = Step(), self._clock()
        try:
            yield step
        except BaseException as exc:
            self.check(name, str(exc) or type(exc).__name__, seconds=self._clock() - begin)
            raise
        self.check(name, None, seconds=self._clock() - begin, detail=step.detail)

    def summary(self) -> None:
        """Print how many checks passed and which failed."""
        count = self._passed + len(self._failed)
        seconds = self._clock() - self._started
        if self._failed:
            verdict = self._painted(f"{len(self._failed)} of {count} checks failed", _RED)
            self._print(f"{verdict} in {seconds:.2f} s: {', '.join(self._failed)}")
        else:
            self._print(f"{self._painted(f'all {count} checks passed', _GREEN)} in {seconds:.2f} s")

    def _line(self, mark: str, name: str, seconds: float | None, rest: str) -> str:
        took = f"{seconds:7.3f} s" if seconds is not None else " " * 9
        return f"  {mark}  {name:<{_NAME_WIDTH}}{took}  {rest}".rstrip()

    def _painted(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colour and text else text

    def _print(self, text: str) -> None:
        text = " ".join(self._redact(text).splitlines())
        encoding = self._stream.encoding or "utf-8"
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=self._stream, flush=True)
