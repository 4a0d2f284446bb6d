from __future__ import annotations

import io
import itertools
from urllib.parse import quote, quote_plus, urlencode

import pytest

from pulsar.cli.report import Redactor, Report, wants_colour


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def report(stream: io.StringIO, **options: object) -> Report:
    ticks = itertools.count()
    return Report(stream, clock=lambda: float(next(ticks)), **options)  # type: ignore[arg-type]


def test_one_line_per_check_and_a_summary() -> None:
    stream = io.StringIO()
    made = report(stream)
    made.title("about")
    made.check("exit code", None)
    made.check("output", "expected 1, found 2")
    with made.step("clean") as step:
        step.detail = "all of it"
    made.summary()
    assert [line.rstrip() for line in stream.getvalue().splitlines()] == [
        "about",
        "  ok    exit code",
        f"  FAIL  {'output':<34}           expected 1, found 2",
        f"  ok    {'clean':<34}  1.000 s  all of it",
        "1 of 3 checks failed in 3.00 s: output",
    ]
    assert made.failures == ["output"]


def test_a_step_that_raises_has_failed_and_the_error_goes_on() -> None:
    stream = io.StringIO()
    made = report(stream)
    with pytest.raises(ValueError, match="broken"), made.step("work"):
        raise ValueError("broken")
    assert "FAIL  work" in stream.getvalue()
    assert made.failures == ["work"]


def test_a_quiet_report_prints_failures_and_the_summary() -> None:
    stream = io.StringIO()
    made = report(stream, quiet=True)
    made.title("about")
    made.check("good", None)
    made.summary()
    assert stream.getvalue() == "all 1 checks passed in 1.00 s\n"


def test_colours_are_for_terminals_that_want_them() -> None:
    assert wants_colour(Terminal(), {})
    assert not wants_colour(Terminal(), {"NO_COLOR": "1"})
    assert not wants_colour(Terminal(), {"TERM": "dumb"})
    assert not wants_colour(io.StringIO(), {})
    stream = io.StringIO()
    made = report(stream, colour=True)
    made.check("good", None)
    made.check("bad", "why")
    assert "\x1b[32mok\x1b[0m" in stream.getvalue()
    assert "\x1b[31mFAIL\x1b[0m" in stream.getvalue()


def test_without_colour_there_are_no_escapes() -> None:
    stream = io.StringIO()
    made = report(stream)
    made.check("bad", "why")
    made.summary()
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("secret", ["sesame", "a b&c/d", "grün"])
def test_a_secret_is_taken_out_in_all_its_forms(secret: str) -> None:
    text = f"{secret} {quote(secret)} {quote(secret, safe='')} {quote_plus(secret)} {urlencode({'private_token': secret})}"
    assert Redactor((None, "", secret))(text) == "*** *** *** *** private_token=***"


def test_a_line_stays_one_line_and_a_narrow_terminal_is_no_reason_to_fail() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    report(stream, redact=Redactor(("sesame",))).check("name", "two\nlines with sesame and ü")  # type: ignore[arg-type]
    stream.seek(0)
    assert stream.read().endswith("two lines with *** and \\xfc\n")
