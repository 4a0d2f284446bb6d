"""Verdicts of the benchmarks."""

from __future__ import annotations

import pytest

from benchmarks.measures import Aim, Column, Metric, Section, Target
from benchmarks.report import markdown, table


def section_of(target: Target | None, ours: list[float], peer: list[float], unit: str = "jobs/s") -> Section:
    section = Section("s", "Title", (Column("ours", "ours"), Column("peer", "peer")), (Metric("m", "metric", unit, target),))
    for value in ours:
        section.add("m", "ours", value)
    for value in peer:
        section.add("m", "peer", value)
    return section


@pytest.mark.parametrize(
    ("aim", "bound", "unit", "ours", "met"),
    [
        (Aim.RATIO_AT_LEAST, 3.0, "jobs/s", 300, True),
        (Aim.RATIO_AT_LEAST, 3.0, "jobs/s", 299, False),
        (Aim.RATIO_AT_MOST, 0.25, "ms", 24, True),
        (Aim.RATIO_AT_MOST, 0.25, "ms", 25, False),
        (Aim.VALUE_BELOW, 16, "MiB", 15.9, True),
        (Aim.VALUE_BELOW, 16, "MiB", 16, False),
        (Aim.NOT_WORSE_BY, 0.2, "ms", 120, True),
        (Aim.NOT_WORSE_BY, 0.2, "ms", 121, False),
        (Aim.NOT_WORSE_BY, 0.2, "ms", 10, True),
        (Aim.NOT_WORSE_BY, 0.2, "jobs/s", 80, True),
        (Aim.NOT_WORSE_BY, 0.2, "jobs/s", 79, False),
    ],
)
def test_a_target_is_met_up_to_its_bound(aim: Aim, bound: float, unit: str, ours: float, met: bool) -> None:
    section = section_of(Target(aim, bound), [ours], [100], unit)
    assert section.is_met(section.metrics[0]) is met


def test_medians_are_compared() -> None:
    section = section_of(Target(Aim.RATIO_AT_LEAST, 2.0), [1, 200, 1000], [1, 100, 90])
    assert section.ratio("m") == pytest.approx(200 / 90)


def test_what_was_not_measured_is_not_known() -> None:
    section = section_of(Target(Aim.RATIO_AT_LEAST, 2.0), [1], [])
    assert section.is_met(section.metrics[0]) is None
    assert "?" in table(section)[2]


def test_a_missed_target_is_named_at_the_top() -> None:
    section = section_of(Target(Aim.RATIO_AT_LEAST, 2.0), [1], [1])
    stored = {"title": section.title, "table": table(section), "notes": [], "facts": {"date": "now"}, "name": "s"}
    text = markdown({"sections": {"s": {**stored, "verdicts": {"metric": False}}}}, ["s"])
    assert "0 of 1 targets are met" in text
    assert "not met: title: metric" in text
