#!/usr/bin/env python3
"""Write app.yml.sample, server.ini.sample, the files in etc/ and the reference in docs/configuration.md from their one source.

With ``--check`` nothing is written, and the exit status says whether everything is up to date.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pulsar.cli.config_files import Plan, nginx_conf, server_ini, supervisor_conf, systemd_unit  # noqa: E402
from pulsar.config.options import GROUPS, Later, Option, Scope  # noqa: E402

BEGIN = "<!-- reference: written by scripts/write_samples.py from pulsar/config/options.py -->"
END = "<!-- end of reference -->"

MANAGER_EXAMPLE = """\
# For example two managers, one for small jobs:
#managers:
#  _default_:
#    type: queued_python
#    num_concurrent_jobs: "*"
#    env_LC_ALL: C.UTF-8
#  small:
#    type: unqueued
"""


def yaml_value(value: Any) -> str:
    """Return ``value`` as it stands in app.yml; nothing for an option without default."""
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, str) and (not value or value[0] in "0$*") else str(value)


def default_text(option: Option) -> str:
    """Return what the reference says the default is."""
    return option.default_text or yaml_value(option.default) or "not set"


def comment(text: str) -> str:
    """Return ``text`` as lines of a comment."""
    return textwrap.fill(text, 120, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def sample_entry(option: Option) -> str:
    """Return one option of app.yml.sample."""
    text = option.help
    if option.later is not None:
        text += " (Not in this node yet.)"
    if option.default_text:
        text += f" Default: {option.default_text}."
    return f"{comment(text)}\n#{option.name}: {yaml_value(option.default)}".rstrip() + "\n"


def app_yml_sample() -> str:
    """Return app.yml.sample: every option of the node with its default, as a comment."""
    parts = [
        "# Every option of a Pulsar node, with its default. Copy this file to app.yml and uncomment what shall be different.\n"
        "# Relative paths count from the directory of this file. Written from the table in pulsar/config/options.py.\n"
    ]
    for group, options in GROUPS.items():
        of_app = [option for option in options if option.is_for_app]
        if of_app:
            parts.append(f"# ---- {group} " + "-" * (113 - len(group)) + "\n")
            parts += [sample_entry(option) for option in of_app]
        if group == "Managers":
            parts.append(MANAGER_EXAMPLE)
    return "\n".join(parts)


def row(option: Option) -> str:
    """Return one option of the reference, a row of a table."""
    where = {Scope.APP: "node", Scope.MANAGER: "manager", Scope.BOTH: "node, manager"}[option.scope]
    text = option.help
    if option.types:
        text += f" For {', '.join(f'`{name}`' for name in option.types)}."
    if option.variable:
        text += f" Its default may stand in the environment variable `{option.variable}`."
    if option.aliases:
        text += f" Also written {', '.join(f'`{name}`' for name in option.aliases)}."
    if option.secret:
        text += " A secret: never shown in logs."
    if option.later is Later.WARN:
        text += " *Not in this node yet: a warning at start-up.*"
    elif option.later is Later.REFUSE:
        text += " *Not in this node yet: the node refuses to start with it.*"
    cells = (f"`{option.name}`", option.kind.phrase, default_text(option), where, text)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def reference() -> str:
    """Return the reference: a table for each group of options."""
    parts = [BEGIN]
    for group, options in GROUPS.items():
        parts += [
            f"\n### {group}\n",
            "| option | value | default | where | meaning |",
            "| --- | --- | --- | --- | --- |",
            *(row(option) for option in options),
        ]
    return "\n".join([*parts, "", END])


def configuration_page(page: str) -> str:
    """Return the page with its reference replaced."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit("docs/configuration.md has lost the comments between which the reference is written")
    return head + reference() + tail


def rendered() -> dict[Path, str]:
    """Return every written file with its text."""
    plan = Plan(Path("/srv/pulsar"), command=("/srv/pulsar/.venv/bin/pulsar",))
    page = ROOT / "docs" / "configuration.md"
    return {
        ROOT / "app.yml.sample": app_yml_sample(),
        ROOT / "server.ini.sample": server_ini(plan),
        ROOT / "etc" / "supervisor.conf": supervisor_conf(plan),
        ROOT / "etc" / "pulsar.service": systemd_unit(plan, of_user=False),
        ROOT / "etc" / "pulsar.user.service": systemd_unit(plan, of_user=True),
        ROOT / "etc" / "nginx.conf": nginx_conf(plan),
        page: configuration_page(page.read_text(encoding="utf-8")),
    }


def stale() -> list[Path]:
    """Return the files whose text is not what it would be written as."""
    return [path for path, text in rendered().items() if not path.is_file() or path.read_text(encoding="utf-8") != text]


def main() -> int:
    """Write, or with ``--check`` compare; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which files are not up to date")
    arguments = parser.parse_args()
    outdated = stale()
    for path in outdated:
        if not arguments.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(rendered()[path], encoding="utf-8")
        sys.stdout.write(f"{'not up to date' if arguments.check else 'wrote'}: {path.relative_to(ROOT)}\n")
    return int(bool(outdated and arguments.check))


if __name__ == "__main__":
    sys.exit(main())
