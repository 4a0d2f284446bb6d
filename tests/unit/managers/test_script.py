"""The text of job scripts: what is quoted, what is verbatim, what is refused. That it does what it should: integration tests."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulsar.errors import SubmitRefused
from pulsar.managers.script import ScriptSpec, job_script

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


def script(directory: str = "/jobs/1", command: str = "true", **parts: object) -> str:
    return job_script(ScriptSpec(directory, command, **parts))  # type: ignore[arg-type]


def test_first_line_names_the_shell_and_directives_follow_at_once() -> None:
    lines = script(header_lines=("#SBATCH -J pulsar_1", "#SBATCH -n 4"), shell="/opt/bash").split("\n")
    assert lines[:3] == ["#!/opt/bash", "#SBATCH -J pulsar_1", "#SBATCH -n 4"]


def test_nothing_runs_before_the_integrity_probe_is_answered() -> None:
    text = script(env_statements=("A=1",), pre_commands=("date",))
    before = text.partition("exit 42")[0]
    code = [line for line in before.splitlines() if line and not line.startswith("#")]
    assert code == ['if [ -n "${ABC_TEST_JOB_SCRIPT_INTEGRITY_XYZ:-}" ]; then', "    "]


@given(TEXT)
def test_command_enters_as_one_here_document(command: str) -> None:
    before, opening, after = script(command=command).partition(" << 'PULSAR_COMMAND_")
    end, _, body = after.partition("'\n")
    assert opening
    assert "PULSAR_COMMAND_" not in before
    assert body.startswith(f"{command}\nPULSAR_COMMAND_{end}\n")


@given(TEXT.filter(lambda text: "/" not in text and text not in ("", ".", "..")))
def test_job_directory_never_enters_unquoted(job_id: str) -> None:
    directory = f"/jobs/$(touch pwned)/{job_id}"
    text = script(directory)
    assert text.count(directory) == text.count(f"'{directory}") or "'" in job_id
    assert f"cd {shlex.quote(directory)} ||" in text


def test_marks_in_values_are_not_filled_in() -> None:
    text = script("/jobs/@command@", "echo @job_directory@ @env_statements@\n@post_commands@\n", env_statements=("A=@shell@",))
    assert "cd /jobs/@command@ ||" in text or "cd '/jobs/@command@' ||" in text
    assert "\necho @job_directory@ @env_statements@\n@post_commands@\n\nPULSAR_COMMAND_" in text
    assert "eval -- A=@shell@\n" in text or "eval -- 'A=@shell@'\n" in text


def test_no_mark_of_the_template_is_left() -> None:
    text = script()
    code = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert "@" not in code.replace("[@]", "")


def test_environment_statements_keep_their_order() -> None:
    text = script(env_statements=("A=1", "A=2", "A=3"))
    assert text.index("A=1") < text.index("A=2") < text.index("A=3")


def test_each_dependency_command_has_a_line_of_its_own_before_the_command() -> None:
    assert "'\n. a # b\n. c\ntool\nPULSAR_COMMAND_" in script(command="tool", dependency_commands=(". a # b", ". c"))


@pytest.mark.parametrize(
    ("expression", "statement"),
    [
        (None, "_GALAXY_JOB_TMP_DIR=/jobs/1/tmp\n"),
        ("/scratch/my jobs", "_GALAXY_JOB_TMP_DIR='/scratch/my jobs'\n"),
        ("/scratch/$USER", "eval -- '_GALAXY_JOB_TMP_DIR=/scratch/$USER'\n"),
        ("$(mktemp -d)", "eval -- '_GALAXY_JOB_TMP_DIR=$(mktemp -d)'\n"),
        ('"/scratch/my jobs"', "eval -- '_GALAXY_JOB_TMP_DIR=\"/scratch/my jobs\"'\n"),
    ],
)
def test_tmp_dir_is_a_path_or_a_live_expression(expression: str | None, statement: str) -> None:
    assert statement in script(tmp_dir=expression)


def test_unknown_galaxy_is_the_word_none() -> None:
    text = script()
    for name in ("GALAXY_VIRTUAL_ENV", "_GALAXY_VIRTUAL_ENV", "GALAXY_LIB"):
        assert f"    {name}=None\n" in text


def test_galaxy_lib_is_below_galaxy_home() -> None:
    assert "    GALAXY_LIB='/opt/my galaxy/lib'\n" in script(galaxy_home="/opt/my galaxy/")


@pytest.mark.parametrize("memory", ["", "4G", "-1", "$(reboot)", None])
def test_given_memory_that_is_no_number_is_left_out(memory: str | None) -> None:
    assert script(memory_mb=memory) == script()


@pytest.mark.parametrize(
    "parts",
    [
        {"command": "a\0b"},
        {"command": "a\ud800"},
        {"env_statements": ("A=\0",)},
        {"directory": "/jobs/\0"},
        {"dependency_commands": ("\udfff",)},
    ],
)
def test_characters_that_no_script_can_have_are_refused(parts: dict[str, str]) -> None:
    with pytest.raises(SubmitRefused, match="has a"):
        script(**parts)


def test_bytes_of_a_path_that_are_not_utf8_are_kept() -> None:
    assert b"/jobs/\xff" in script("/jobs/\udcff").encode("utf-8", "surrogateescape")
