"""Configuration of the documentation. The pages are Markdown; the state table is written from the code at each build."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from pulsar import __version__  # noqa: E402
from pulsar.jobs.states import IGNORED, TRANSITIONS, WIRE_STATUS, EventKind, State  # noqa: E402

project = "pulsar-node"
copyright = "the pulsar-node developers"
release = version = __version__
extensions = ["myst_parser"]
exclude_patterns = ["_build", "_generated"]
html_theme = "alabaster"
html_theme_options = {"description": "A remote job server for Galaxy", "fixed_sidebar": True}
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # links to files of the repository are for its web view


def _cell(state: State, event: EventKind) -> str:
    target = TRANSITIONS.get((state, event))
    if target is not None:
        return target.value.upper()
    return "·" if (state, event) in IGNORED else ""


def _write_state_table() -> None:
    lines = ["| in state (wire word) | " + " | ".join(event.value for event in EventKind) + " |"]
    lines.append("|" + " --- |" * (len(EventKind) + 1))
    for state in State:
        cells = " | ".join(_cell(state, event) for event in EventKind)
        lines.append(f"| {state.value.upper()} ({WIRE_STATUS[state].value}) | {cells} |")
    target = HERE / "_generated" / "states.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


_write_state_table()
