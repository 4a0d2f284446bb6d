"""The results as files: ``results.json`` has every sample, ``RESULTS.md`` is written from it alone.

A run of some scenarios replaces their sections and leaves the others as they are.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.measures import Metric, Section, number, ratio_text

__all__ = ["markdown", "merge", "table"]


def table(section: Section) -> list[str]:
    """Return the lines of a section's table, in Markdown."""
    titles = ["metric", *(column.title for column in section.columns), "ratio", "target", "met?"]
    lines = [_line(titles), _line(["---", *["---:"] * (len(section.columns) + 1), "---", "---"])]
    for metric in section.metrics:
        values = [number(value) for value in section.medians(metric.key)]
        lines.append(
            _line([f"{metric.title} ({metric.unit})", *values, ratio_text(section.ratio(metric.key)), *_verdict(section, metric)])
        )
    return lines


def _verdict(section: Section, metric: Metric) -> list[str]:
    met = section.is_met(metric)
    if metric.target is None:
        return ["", ""]
    return [str(metric.target), "?" if met is None else "yes" if met else "**no**"]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def merge(path: Path, sections: list[Section], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Put new sections into the JSON file and return all that it has now."""
    stored: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"sections": {}}
    for section in sections:
        stored["sections"][section.name] = {
            **dataclasses.asdict(section),
            "facts": dict(facts),
            "table": table(section),
            "verdicts": {metric.title: section.is_met(metric) for metric in section.metrics if metric.target is not None},
        }
    path.write_text(json.dumps(stored, indent=1, default=str) + "\n")
    return stored


def markdown(stored: Mapping[str, Any], order: list[str]) -> str:
    """Return the text of ``RESULTS.md``."""
    return "\n".join(_text(stored, order)) + "\n"


def _text(stored: Mapping[str, Any], order: list[str]) -> Iterator[str]:
    sections = [stored["sections"][name] for name in order if name in stored["sections"]]
    verdicts = [(section["title"], title, met) for section in sections for title, met in section["verdicts"].items()]
    yield "# Results"
    yield ""
    yield "Written by `python -m benchmarks`; how it measures is in [README.md](README.md), every sample in `results.json`."
    yield "Figures are medians. The ratio is that of the first column of figures to the second."
    yield ""
    yield f"**{sum(met is True for *_, met in verdicts)} of {len(verdicts)} targets are met.**"
    for section_title, title, met in verdicts:
        if met is not True:
            yield f"- {'not met' if met is False else 'not known'}: {section_title.lower()}: {title}"
    for section in sections:
        yield ""
        yield f"## {section['title']}"
        yield ""
        yield from section["table"]
        for note in section["notes"]:
            yield ""
            yield note
    yield ""
    yield "## Where and how"
    for facts, names in _by_facts(sections):
        yield ""
        yield f"For {', '.join(names)}:"
        yield ""
        for name, value in facts.items():
            yield f"- {name}: {value}"


def _by_facts(sections: list[dict[str, Any]]) -> list[tuple[dict[str, Any], list[str]]]:
    """Return each set of facts once, with the names of the sections that share it."""
    found: list[tuple[dict[str, Any], list[str]]] = []
    for section in sections:
        for facts, names in found:
            if facts == section["facts"]:
                names.append(section["name"])
                break
        else:
            found.append((section["facts"], [section["name"]]))
    return found
