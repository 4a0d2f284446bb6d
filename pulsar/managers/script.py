"""The job script: what a batch system, or the wrapper of a local job, runs for one job (specification 9.7).

:func:`job_script` is pure: from a :class:`ScriptSpec` to the text of ``command.sh``. The shell code is in
``templates/job_script.sh``; this module fills in its words. The rule it keeps: whatever comes from outside enters the script
quoted, and what is meant to be shell code enters as the quoted argument of ``eval``, so no mistake in it can reach further.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from pulsar.errors import SubmitRefused
from pulsar.protocol.layout import UPLOAD_PREFIX

__all__ = ["ScriptSpec", "job_script"]

_TEMPLATE = Path(__file__).with_name("templates").joinpath("job_script.sh").read_text(encoding="utf-8")
#: A mark alone in its line stands for statements, one or none or many; any other stands for a word.
_MARK = re.compile(r"^( *)@([a-z_]+)@\n|@([a-z_]+)@", re.MULTILINE)

#: Characters of a ``tmp_dir`` that is a path and nothing more; it is then taken literally, spaces included.
_PLAIN_PATH = re.compile(r"/[\w./+:,@% -]*")


@dataclass(frozen=True)
class ScriptSpec:
    """What one job script is made of. Paths are absolute; statements and commands are shell code."""

    job_directory: str
    command_line: str
    #: Formed statements: those of the request first, then the manager's (specification 4.4).
    env_statements: tuple[str, ...] = ()
    #: Directives of the batch system, which follow the first line.
    header_lines: tuple[str, ...] = ()
    dependency_commands: tuple[str, ...] = ()
    #: None: the job's own ``tmp``. Anything else is a shell expression, used as it is (specification 9.2).
    tmp_dir: str | None = None
    galaxy_home: str | None = None
    galaxy_virtual_env: str | None = None
    preserve_galaxy_python_environment: bool = False
    #: Sets ``GALAXY_SLOTS``, in place of looking at what the batch system granted.
    slots_statement: str | None = None
    #: The value of ``GALAXY_MEMORY_MB`` unless the batch system or the environment of the job knows better.
    memory_mb: str | None = None
    #: Sets ``GALAXY_MEMORY_MB`` or ``GALAXY_MEMORY_MB_PER_SLOT``, in place of asking the batch system.
    memory_statement: str | None = None
    #: Run in ``working`` just before and just after the command.
    pre_commands: tuple[str, ...] = ()
    post_commands: tuple[str, ...] = ()
    #: Run when the script ends, also by ``exit`` or a signal that can be caught.
    exit_commands: tuple[str, ...] = ()
    shell: str = "/bin/bash"


def job_script(spec: ScriptSpec) -> str:
    """Return the text of ``command.sh`` with the contract of specification 9.7.

    The script can be encoded as UTF-8 with ``surrogateescape`` (which paths may need), and its exit status is the exit code of
    the command. Raises :class:`~pulsar.errors.SubmitRefused` when a part has a character that no script can have.
    """
    # A line each, not `;` between them: a comment or an `&` at the end of one must not reach the next.
    command = "\n".join([*spec.dependency_commands, spec.command_line])
    # A line that the command does not have.
    command_end = f"PULSAR_COMMAND_{hashlib.sha256(command.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"
    words = _words(spec) | {"command_end": command_end}
    statements = _statements(spec) | {"command": [command], "command_end": [command_end]}

    def filled(match: re.Match[str]) -> str:
        indent, block, word = match.groups()
        return words[word] if word else "".join(f"{indent}{statement}\n" for statement in statements[block])

    script = _MARK.sub(filled, _TEMPLATE)
    _check_characters(script)
    return script


def _words(spec: ScriptSpec) -> dict[str, str]:
    directory = spec.job_directory.rstrip("/")
    return {
        "shell": spec.shell,
        "job_directory": quote(directory),
        "working_directory": quote(f"{directory}/working"),
        "home_directory": quote(f"{directory}/home"),
        "memory_log": quote(f"{directory}/metadata/memory_statement.log"),
        "return_code": quote(f"{directory}/return_code"),
        "part_prefix": UPLOAD_PREFIX,
        "own_directories": "home tmp" if spec.tmp_dir is None else "home",
        "galaxy_virtual_env": quote(spec.galaxy_virtual_env or "None"),
        "galaxy_lib": quote(f"{spec.galaxy_home.rstrip('/')}/lib" if spec.galaxy_home else "None"),
        "preserve_galaxy_environment": str(spec.preserve_galaxy_python_environment),
    }


def _statements(spec: ScriptSpec) -> dict[str, Sequence[str]]:
    return {
        "header_lines": spec.header_lines,
        "slots_statement": _evaluated([spec.slots_statement]) if spec.slots_statement else ["_pulsar_find_slots"],
        "memory_given": [f': "${{GALAXY_MEMORY_MB:={spec.memory_mb}}}"'] if (spec.memory_mb or "").isdecimal() else [],
        "memory_statement": _evaluated([spec.memory_statement]) if spec.memory_statement else ["_pulsar_find_memory"],
        "tmp_statement": [_tmp_statement(spec)],
        "env_statements": _evaluated(spec.env_statements),
        "pre_commands": _evaluated(spec.pre_commands),
        "post_commands": _evaluated(spec.post_commands),
        "exit_commands": [f"trap -- {quote(chr(10).join(spec.exit_commands))} EXIT"] if spec.exit_commands else [],
    }


def _tmp_statement(spec: ScriptSpec) -> str:
    if spec.tmp_dir is None:
        return f"_GALAXY_JOB_TMP_DIR={quote(str(Path(spec.job_directory, 'tmp')))}"
    if _PLAIN_PATH.fullmatch(spec.tmp_dir):
        return f"_GALAXY_JOB_TMP_DIR={quote(spec.tmp_dir)}"
    return _evaluated([f"_GALAXY_JOB_TMP_DIR={spec.tmp_dir}"])[0]


def _evaluated(statements: Iterable[str]) -> list[str]:
    return [f"eval -- {quote(statement)}" for statement in statements]


def _check_characters(script: str) -> None:
    if "\0" in script:
        raise SubmitRefused("the command line, the environment or a path of the job has a NUL character")
    try:
        script.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as exc:
        raise SubmitRefused("the command line, the environment or a path of the job has a lone surrogate") from exc
