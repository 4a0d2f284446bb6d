"""Job scripts are run by a real bash: the contract that jobs, batch systems and Galaxy rely on (specification 9.7)."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pulsar.managers.script import ScriptSpec, job_script

PATH = "/usr/local/bin:/usr/bin:/bin"


class ScriptJob:
    """A job directory as set-up leaves it, whose script can be run again and again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("inputs", "working", "outputs", "configs", "tool_files", "metadata"):
            (directory / name).mkdir(parents=True)
        #: As a batch system or the node would set it.
        self.environment = {"PATH": PATH, "HOME": "/home/nobody", "LC_CTYPE": "C.UTF-8"}

    def run(self, command: str, **parts: object) -> subprocess.CompletedProcess[str]:
        spec = replace(ScriptSpec(str(self.directory), command), **parts)  # type: ignore[arg-type]
        script = self.directory / "command.sh"
        script.write_bytes(job_script(spec).encode("utf-8", "surrogateescape"))
        return subprocess.run(
            ["/bin/bash", str(script)],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=60,
        )

    def output(self, command: str, **parts: object) -> str:
        """Run a command that must succeed without complaint, and return what it printed."""
        done = self.run(command, **parts)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.rstrip("\n")

    def value(self, name: str, **parts: object) -> str:
        return self.output(f'printf %s "${{{name}-unset}}"', **parts)

    def declaration(self, name: str) -> str:
        """Return how bash would declare the variable, which shows whether it is exported."""
        return self.output(f"declare -p {name}")

    @property
    def return_code(self) -> str | None:
        path = self.directory / "return_code"
        return path.read_text() if path.exists() else None

    @property
    def memory_log(self) -> str:
        return (self.directory / "metadata" / "memory_statement.log").read_text()


@pytest.fixture
def job(tmp_path: Path) -> ScriptJob:
    return ScriptJob(tmp_path / "staging" / "1")


def assigned(**values: str) -> tuple[str, ...]:
    return tuple(f"export {name}={shlex.quote(value)}" for name, value in values.items())


def fake_program(directory: Path, name: str, body: str) -> str:
    """Put a program before all others and return the PATH that finds it."""
    directory.mkdir(exist_ok=True)
    program = directory / name
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return f"{directory}:{PATH}"


# -- the exit code ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 3, 126, 255])
def test_exit_code_is_in_the_file_and_is_the_script_s_own(job: ScriptJob, code: int) -> None:
    done = job.run(f"(exit {code})")
    assert (done.returncode, job.return_code) == (code, f"{code}\n")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("false # a comment", 1),
        ("false; # a comment", 1),
        ("false\n", 1),
        ("false\n\n  \n# the end", 1),
        ("true\nfalse\n(exit 5)", 5),
        ("(exit 5)\ntrue", 0),
        ("false ;", 1),
        ("false &", 0),
        ("(exit 4) & wait $!", 4),
        ("exit 3", 3),
        ("exit", 0),
        ("exec sh -c 'exit 4'", 4),
        ("return 7", 2),  # there is nothing to return from
        ("kill -KILL $BASHPID", 137),
        ("sh -c 'kill -TERM $$'", 143),
        ("/no/such/program", 127),
        ("echo \\", 0),
        ("echo a |", 2),
        ("true &&", 2),
        ("if true", 2),
        ('echo "', 2),
        ("echo '", 2),
        ("echo $(", 2),
        ("}", 2),
        ("fi", 2),
        ("cat <<END\ntext\nEND", 0),
        ("cat <<END; false\ntext\nEND", 1),
        ("-no-such-option", 127),
        ("cd /; (exit 6)", 6),
        ("set -e; (exit 6); exit 9", 6),
        ("set -eu; echo $NO_SUCH_VARIABLE", 1),
        ("set -C; (exit 6)", 6),
        ("set -f; IFS=/; (exit 6)", 6),
        ("PATH=/nowhere; (exit 6)", 6),
        ("mv() { :; }; echo() { :; }; printf() { :; }; (exit 6)", 6),
        ("return_code=8; (exit 6)", 6),
        ("trap 'exit 9' EXIT; (exit 6)", 9),
        ("trap '' TERM; (exit 6)", 6),
        ("exec >/dev/null 2>&1 <&-; (exit 6)", 6),
        ("rm -rf ../working; (exit 6)", 6),
        ("for i in 1 2 3; do (exit $i); done", 3),
        ("x='" + "y" * 1_000_000 + "'; (exit 6)", 6),
        ("", 0),
        (" \n", 0),
    ],
)
def test_any_command_leaves_its_exit_code(job: ScriptJob, command: str, code: int) -> None:
    done = job.run(command)
    assert (job.return_code, done.returncode) == (f"{code}\n", code)


def test_a_command_with_an_open_here_document_sees_its_own_text_only(job: ScriptJob) -> None:
    assert job.run("cat <<END\nmine").stdout == "mine\n"


def test_nothing_of_the_node_is_left_beside_the_exit_code(job: ScriptJob) -> None:
    job.run("true")
    own = {"command.sh", "return_code", "home", "tmp", "working.orig", "outputs.orig", "configs.orig"}
    assert {path.name for path in job.directory.iterdir()} == own | {
        *("inputs", "working", "outputs", "configs", "tool_files", "metadata"),
    }


def test_exit_code_replaces_what_a_job_put_in_its_place(job: ScriptJob, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("kept")
    job.run(f"ln -s {target} ../return_code; false")
    assert (job.return_code, target.read_text()) == ("1\n", "kept")
    assert not (job.directory / "return_code").is_symlink()


def test_script_that_is_changed_while_it_runs_goes_on_unchanged(job: ScriptJob) -> None:
    done = job.run("printf 'exit 99\\n%.0s' {1..3000} > ../command.sh; (exit 5)", post_commands=("echo after",))
    assert (done.returncode, done.stdout, job.return_code) == (5, "after\n", "5\n")


def test_integrity_probe_is_answered_without_a_trace(job: ScriptJob) -> None:
    job.environment["ABC_TEST_JOB_SCRIPT_INTEGRITY_XYZ"] = "1"
    before = {path.name for path in job.directory.iterdir()}
    assert job.run("touch ran", env_statements=("touch ../ran",)).returncode == 42
    assert {path.name for path in job.directory.iterdir()} == before | {"command.sh"}
    assert list((job.directory / "working").iterdir()) == []


def test_a_job_directory_that_is_gone_is_an_error(job: ScriptJob, tmp_path: Path) -> None:
    script = tmp_path / "command.sh"
    script.write_text(job_script(ScriptSpec(str(tmp_path / "gone"), "touch ran")))
    done = subprocess.run(["/bin/bash", str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "the job directory is gone" in done.stderr
    assert not (tmp_path / "ran").exists()


# -- what surrounds the command -----------------------------------------------------------------------------------------


def test_working_is_the_current_directory_and_siblings_are_beside_it(job: ScriptJob) -> None:
    job.output("touch made; echo x > ../outputs/out; echo y > ../metadata/tool_stdout; cat ../configs/c 2>/dev/null || true")
    assert (job.directory / "working" / "made").exists()
    assert (job.directory / "outputs" / "out").read_text() == "x\n"


def test_pre_dependencies_command_and_post_run_in_this_order(job: ScriptJob) -> None:
    done = job.run(
        "echo command $DEP; cd /; exit 3",
        pre_commands=("echo pre; pwd", "cd /"),
        dependency_commands=("DEP=found # a comment", "echo dependency"),
        post_commands=("echo post $return_code", "pwd", "false"),
    )
    working = str(job.directory / "working")
    # What comes before the command may leave another current directory behind; that is its affair, as it is the command's.
    assert done.stdout.splitlines() == ["pre", working, "dependency", "command found", "post 3", "/"]
    assert (done.returncode, job.return_code) == (3, "3\n")


@pytest.mark.parametrize("broken", ["echo '", "}", "if", "exit_code=", "/no/such", "cat <<E", "("])
def test_broken_statements_around_the_command_do_not_reach_it(job: ScriptJob, broken: str) -> None:
    done = job.run("echo ran; (exit 4)", env_statements=(broken,), pre_commands=(broken,), post_commands=(broken,))
    assert (done.stdout.count("ran\n"), done.returncode, job.return_code) == (1, 4, "4\n")


def test_exit_commands_run_last_whatever_happens(job: ScriptJob) -> None:
    done = job.run("echo command; exit 3", exit_commands=("echo 'it is over'", "echo really"), post_commands=("echo post",))
    assert (done.stdout.splitlines(), done.returncode) == (["command", "post", "it is over", "really"], 3)
    done = job.run("echo never", exit_commands=("echo over",), pre_commands=("exit 5",))
    assert (done.stdout, done.returncode) == ("over\n", 5)


@pytest.mark.parametrize(
    "job_id",
    [
        "$(touch pwned)",
        "`touch pwned`",
        "a;touch pwned",
        "a&touch pwned",
        "a|touch pwned",
        "a>pwned",
        "quote'd",
        'double"d',
        "'; touch pwned; '",
        '"; touch pwned; "',
        "two  words",
        " ",
        "*",
        "?[a-z]{x,y}",
        "~root",
        "-rf",
        "--",
        "#",
        "!",
        "!!",
        "@command@",
        "%s%n",
        "${HOME}",
        "\N{SNOWMAN}\N{GREEK SMALL LETTER PI}",
        os.fsdecode(b"\xff\xfe"),
    ],
)
def test_job_id_is_a_name_and_nothing_else(tmp_path: Path, job_id: str) -> None:
    job = ScriptJob(tmp_path / "staging" / job_id)
    (job.directory / "outputs" / "out").touch()
    job.run("echo spoiled > ../outputs/out")
    done = job.run('printf "%s\\n" "$PWD" "$_GALAXY_JOB_TMP_DIR"; cat ../outputs/out; (exit 4)')
    assert done.stdout.encode("utf-8", "surrogateescape") == os.fsencode(f"{job.directory}/working\n{job.directory}/tmp\n")
    assert (done.stderr, job.return_code) == ("", "4\n")
    assert list(tmp_path.rglob("pwned")) == []
    assert [path.name for path in (tmp_path / "staging").iterdir()] == [job_id]


# -- the environment ----------------------------------------------------------------------------------------------------


def test_variables_of_a_plain_job(job: ScriptJob) -> None:
    expected = {
        "HOME": "declare -x {}='/home/nobody'",
        "PYTHONWARNINGS": "declare -x {}='ignore'",
        "GALAXY_SLOTS": "declare -x {}='1'",
        "GALAXY_VIRTUAL_ENV": "declare -- {}='None'",
        "_GALAXY_VIRTUAL_ENV": "declare -- {}='None'",
        "GALAXY_LIB": "declare -- {}='None'",
        "PRESERVE_GALAXY_ENVIRONMENT": "declare -- {}='False'",
        "_GALAXY_JOB_DIR": f"declare -- {{}}='{job.directory}/working'",
        "_GALAXY_JOB_HOME_DIR": f"declare -x {{}}='{job.directory}/home'",
        "_GALAXY_JOB_TMP_DIR": f"declare -x {{}}='{job.directory}/tmp'",
        "TMPDIR": f"declare -- {{}}='{job.directory}/tmp'",
    }
    for name, declaration in expected.items():
        assert job.declaration(name) == declaration.format(name).replace("'", '"')
    for name in ("GALAXY_SLOTS_CONFIGURED", "GALAXY_MEMORY_MB", "GALAXY_MEMORY_MB_PER_SLOT", "PYTHONPATH"):
        assert job.value(name) == "unset"
    assert (job.directory / "home").is_dir()
    assert (job.directory / "tmp").is_dir()


def test_galaxy_variables_when_galaxy_is_known(job: ScriptJob, tmp_path: Path) -> None:
    parts = {"galaxy_home": str(tmp_path / "my galaxy"), "galaxy_virtual_env": str(tmp_path / "my venv")}
    assert job.value("GALAXY_LIB", **parts) == f"{tmp_path}/my galaxy/lib"
    assert job.value("GALAXY_VIRTUAL_ENV", **parts) == f"{tmp_path}/my venv"
    assert job.value("_GALAXY_VIRTUAL_ENV", **parts) == f"{tmp_path}/my venv"
    assert job.value("PYTHONPATH", **parts) == "unset"


def test_galaxy_lib_is_on_the_python_path_if_it_is_to_be_preserved(job: ScriptJob) -> None:
    assert job.value("PYTHONPATH", galaxy_home="/g", preserve_galaxy_python_environment=True) == "/g/lib"
    job.environment["PYTHONPATH"] = "/mine"
    assert job.value("PYTHONPATH", galaxy_home="/g", preserve_galaxy_python_environment=True) == "/g/lib:/mine"
    assert job.value("PYTHONPATH", galaxy_home="/g") == "/mine"
    assert job.value("PYTHONPATH", preserve_galaxy_python_environment=True) == "/mine"


def test_command_can_set_up_the_environment_again_for_a_part_of_galaxy(job: ScriptJob, tmp_path: Path) -> None:
    job.environment["TMPDIR"] = str(tmp_path)
    printed = job.output(
        "cd /; echo keep > ../$_GALAXY_JOB_TMP_DIR/file; _galaxy_setup_environment True; _galaxy_setup_environment True; pwd;"
        " echo $PYTHONPATH; cat $_GALAXY_JOB_TMP_DIR/file",
        galaxy_home="/g",
        env_statements=("echo environment",),
    )
    assert printed.splitlines() == ["environment"] * 3 + ["/", "/g/lib", "keep"]


def test_virtual_environment_is_activated_unless_it_is_active(job: ScriptJob, tmp_path: Path) -> None:
    binaries = tmp_path / "my venv" / "bin"
    binaries.mkdir(parents=True)
    fake_program(binaries, "python", "exit")
    (binaries / "activate").write_text(f'PATH="{binaries}:$PATH"; ACTIVATED="${{ACTIVATED-}}x"\n')
    parts = {"galaxy_virtual_env": str(tmp_path / "my venv")}
    assert job.value("ACTIVATED", **parts) == "x"
    assert job.value("GALAXY_PYTHON", **parts) == f"{binaries}/python"
    job.environment["PATH"] = f"{binaries}:{PATH}"
    assert job.value("ACTIVATED", **parts) == "unset"
    assert job.value("GALAXY_PYTHON") == f"{binaries}/python"


def test_virtual_environment_that_is_not_there_is_left_out(job: ScriptJob, tmp_path: Path) -> None:
    assert job.value("VIRTUAL_ENV", galaxy_virtual_env=str(tmp_path / "none")) == "unset"


def test_galaxy_python_is_empty_where_there_is_no_python(job: ScriptJob, tmp_path: Path) -> None:
    job.environment["PATH"] = fake_program(tmp_path / "bin", "mkdir", 'exec /bin/mkdir "$@"').partition(":")[0]
    assert job.value("GALAXY_PYTHON") == ""


def test_environment_statements_run_in_order_and_see_what_is_set_before_them(job: ScriptJob) -> None:
    assert (
        job.value("A", env_statements=("A=1", 'A="$A 2"', 'export A="$A $GALAXY_SLOTS ${_GALAXY_JOB_DIR##*/}"'))
        == "1 2 1 working"
    )


def test_environment_statements_beat_the_defaults(job: ScriptJob) -> None:
    values = {"GALAXY_SLOTS": "8", "HOME": "/elsewhere", "PYTHONWARNINGS": "error", "TMPDIR": "/var/tmp"}
    for name, value in values.items():
        assert job.value(name, env_statements=assigned(**{name: value})) == value


def test_home_of_the_job_that_a_statement_names_is_created(job: ScriptJob, tmp_path: Path) -> None:
    home = tmp_path / "a home"
    assert job.value("_GALAXY_JOB_HOME_DIR", env_statements=assigned(_GALAXY_JOB_HOME_DIR=str(home))) == str(home)
    assert home.is_dir()


def test_strict_mode_of_an_environment_file_holds_for_the_command_only(job: ScriptJob, tmp_path: Path) -> None:
    site = tmp_path / "site.sh"
    site.write_text("set -euo pipefail\nexport SITE=1\n")
    done = job.run("false; echo unreached", env_statements=(f'. "{site}"',), post_commands=("false", "echo post"))
    assert (done.stdout, done.stderr, done.returncode, job.return_code) == ("post\n", "", 1, "1\n")


def test_options_of_an_environment_file_do_not_keep_the_script_from_its_work(job: ScriptJob) -> None:
    for _ in range(2):
        done = job.run("(exit 4)", env_statements=("set -Cfu; IFS=/",), memory_statement="echo found >&2")
        assert (done.stderr, job.return_code, job.memory_log) == ("", "4\n", "found\n")


def test_environment_statement_that_begins_with_a_dash_is_no_option_of_the_script(job: ScriptJob) -> None:
    assert job.run("echo $A", env_statements=("-x 2> /dev/null; A=1",)).stdout == "1\n"


def test_environment_without_a_path_leaves_the_exit_code_all_the_same(job: ScriptJob) -> None:
    done = job.run("(exit 4)", env_statements=("export PATH=/nowhere",))
    assert (done.stderr, job.return_code) == ("", "4\n")


# TMP, TEMP and TMPDIR as seen, given these values; J stands for the job's own directory.
@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({}, ("J", "J", "J")),
        ({"TMP": "/a"}, ("/a", "/a", "/a")),
        ({"TEMP": "/b"}, ("/b", "/b", "/b")),
        ({"TMPDIR": "/c"}, ("/c", "/c", "/c")),
        ({"TMP": "/a", "TMPDIR": "/c"}, ("/a", "/a", "/c")),
        ({"TEMP": "/b", "TMPDIR": "/c"}, ("/b", "/b", "/c")),
        ({"TMP": "/a", "TEMP": "/b"}, ("/a", "/b", "/a")),
        ({"TMP": "/a", "TEMP": "/b", "TMPDIR": "/c"}, ("/a", "/b", "/c")),
        ({"TMP": "/a", "TEMP": "", "TMPDIR": ""}, ("/a", "/a", "/a")),
    ],
)
def test_names_of_the_temporary_directory_are_filled_from_each_other(
    job: ScriptJob, given: dict[str, str], seen: tuple[str, str, str]
) -> None:
    job.environment.update(given)
    printed = job.output(
        'printf "%s\\n" "$TMP" "$TEMP" "$TMPDIR"; env | grep -E "^(TMP|TEMP|TMPDIR)=" | cut -d= -f1 | sort || true'
    )
    lines = printed.splitlines()
    assert lines[:3] == [value.replace("J", f"{job.directory}/tmp") for value in seen]
    assert lines[3:] == sorted(given), "only what was in the environment is exported"


def test_temporary_directory_of_an_earlier_run_is_moved_aside(job: ScriptJob) -> None:
    for _ in range(3):
        assert job.output("ls -A $TMPDIR; touch $TMPDIR/mine") == ""
    moved = [path for path in job.directory.iterdir() if path.name.startswith("tmp.")]
    assert len(moved) == 2
    assert all((path / "mine").exists() for path in moved)


def test_a_link_to_nowhere_in_the_place_of_tmp_is_moved_aside(job: ScriptJob) -> None:
    (job.directory / "tmp").symlink_to("nowhere")
    assert job.output("touch $TMPDIR/mine; ls $TMPDIR") == "mine"
    assert not (job.directory / "tmp").is_symlink()


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("{}/plain", "plain"),
        ("{}/two words", "two words"),
        ("{}/$WHO", "somebody"),
        ("$(echo {}/made)", "made"),
        ('"{}/a b"', "a b"),
    ],
)
def test_tmp_dir_option_names_the_directory_and_it_is_created(job: ScriptJob, tmp_path: Path, expression: str, name: str) -> None:
    job.environment["WHO"] = "somebody"
    assert job.value("TMPDIR", tmp_dir=expression.format(tmp_path)) == f"{tmp_path}/{name}"
    assert (tmp_path / name).is_dir()
    assert not (job.directory / "tmp").exists()


# -- slots and memory ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "slots"),
    [
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_NTASKS": "2", "NSLOTS": "3", "GALAXY_SLOTS": "9"}, "8"),
        ({"SLURM_NTASKS": "2", "SLURM_CPUS_PER_TASK": "3", "NSLOTS": "4"}, "6"),
        ({"SLURM_NTASKS": "2"}, "2"),
        ({"SLURM_CPUS_PER_TASK": "3"}, "3"),
        ({"NSLOTS": "4", "NCPUS": "5"}, "4"),
        ({"NCPUS": "5", "PBS_NCPUS": "6"}, "5"),
        ({"PBS_NCPUS": "6", "LSB_DJOB_NUMPROC": "7"}, "6"),
        ({"LSB_DJOB_NUMPROC": "7", "GALAXY_SLOTS": "9"}, "7"),
        ({"GALAXY_SLOTS": "9", "PYTHON_CPU_COUNT": "2"}, "9"),
        ({"PYTHON_CPU_COUNT": "2"}, "2"),
        ({"SLURM_NTASKS": "08", "SLURM_CPUS_PER_TASK": "09"}, "72"),
        ({"SLURM_CPUS_ON_NODE": "a[$(touch pwned)]", "NSLOTS": "4"}, "4"),
        ({"SLURM_NTASKS": "a[$(touch pwned)]", "NSLOTS": "4"}, "4"),
    ],
)
def test_slots_are_what_the_batch_system_granted(job: ScriptJob, granted: dict[str, str], slots: str) -> None:
    job.environment.update(granted)
    assert job.output("echo $GALAXY_SLOTS; env | grep ^GALAXY_SLOTS | sort").splitlines() == [
        slots,
        f"GALAXY_SLOTS={slots}",
        "GALAXY_SLOTS_CONFIGURED=1",
    ]
    assert list(job.directory.rglob("pwned")) == []


@pytest.mark.parametrize(("content", "slots"), [("n1\nn1\nn2\n", "3"), ("n1\nn2", "2"), ("n1\n", "1")])
def test_slots_are_the_lines_of_the_node_file(job: ScriptJob, tmp_path: Path, content: str, slots: str) -> None:
    (tmp_path / "node file").write_text(content)
    job.environment.update(PBS_NODEFILE=str(tmp_path / "node file"), LSB_DJOB_NUMPROC="7")
    assert job.value("GALAXY_SLOTS") == slots


def test_slots_can_be_stated(job: ScriptJob) -> None:
    job.environment["NSLOTS"] = "4"
    assert job.value("GALAXY_SLOTS", slots_statement="GALAXY_SLOTS=$((NSLOTS * 2))") == "8"


MEMORY = 'echo "${GALAXY_MEMORY_MB-unset} ${GALAXY_MEMORY_MB_PER_SLOT-unset}"; env | grep -c ^GALAXY_MEMORY || true'


@pytest.mark.parametrize(
    ("given", "total", "per_slot"),
    [
        ({}, "unset", "unset"),
        ({"GALAXY_MEMORY_MB": "4096"}, "4096", "4096"),
        ({"GALAXY_MEMORY_MB": "4096", "GALAXY_SLOTS": "3"}, "4096", "1365"),
        ({"GALAXY_MEMORY_MB_PER_SLOT": "1000", "GALAXY_SLOTS": "3"}, "3000", "1000"),
        ({"GALAXY_MEMORY_MB": "99", "GALAXY_MEMORY_MB_PER_SLOT": "1000", "GALAXY_SLOTS": "3"}, "99", "1000"),
        ({"GALAXY_MEMORY_MB": "0"}, "unset", "unset"),
        ({"GALAXY_MEMORY_MB": "-3"}, "unset", "unset"),
        ({"GALAXY_MEMORY_MB": "lots"}, "unset", "unset"),
        ({"GALAXY_MEMORY_MB": "a[$(touch pwned)]"}, "unset", "unset"),
        ({"GALAXY_MEMORY_MB": "9" * 40}, "unset", "unset"),
        ({"GALAXY_MEMORY_MB": "2", "GALAXY_SLOTS": "3"}, "2", "unset"),
        ({"SGE_HGR_h_vmem": "2G", "GALAXY_SLOTS": "4"}, "8192", "2048"),
        ({"SGE_HGR_h_vmem": "1.5G", "GALAXY_SLOTS": "4"}, "6144", "1536"),
        ({"SGE_HGR_h_vmem": "512M"}, "512", "512"),
        ({"SGE_HGR_h_vmem": "1048576K"}, "1024", "1024"),
        ({"SGE_HGR_h_vmem": "2g"}, "1907", "1907"),
        ({"SGE_HGR_h_vmem": "1T"}, "1048576", "1048576"),
        ({"SGE_HGR_h_vmem": "3000"}, "3000", "3000"),
        ({"SGE_HGR_h_vmem": "2147483648"}, "2048", "2048"),
        ({"SGE_HGR_h_vmem": "lots"}, "unset", "unset"),
        ({"SGE_HGR_h_vmem": "2G", "GALAXY_MEMORY_MB": "77"}, "77", "2048"),
    ],
)
def test_memory_from_the_environment(job: ScriptJob, given: dict[str, str], total: str, per_slot: str) -> None:
    printed = job.output(MEMORY, env_statements=assigned(**given))
    assert printed.splitlines() == [f"{total} {per_slot}", str([total, per_slot].count("unset") * -1 + 2)]
    assert list(job.directory.rglob("pwned")) == []


@pytest.mark.parametrize(
    ("report", "memory"),
    [
        ("JobId=5 Name=x\n   NodeList=n1\n     Nodes=n1 CPU_IDs=0-1 Mem=4096 GRES=\n", "4096 2048"),
        ("JobId=5 Nodes=n1 CPU_IDs=0-1 Mem=2048 GRES= Nodes=n2 CPU_IDs=0 Mem=1024 GRES=", "2048 1024"),
        ("JobId=5 Nodes=n1 Mem=4G GRES=", "4096 2048"),
        ("JobId=5 Nodes=n1 Mem=4096", "4096 2048"),
        ("JobId=5 MinMemoryNode=4G TRES=cpu=2,mem=4G", "unset unset"),
        ("", "unset unset"),
    ],
)
def test_memory_from_slurm(job: ScriptJob, tmp_path: Path, report: str, memory: str) -> None:
    (tmp_path / "report").write_text(report)
    body = f'echo "$*" > {tmp_path}/asked; echo diagnosis >&2; cat {tmp_path}/report'
    job.environment.update(PATH=fake_program(tmp_path / "bin", "scontrol", body), SLURM_JOB_ID="5", SLURM_CPUS_ON_NODE="2")
    assert job.output(MEMORY).splitlines()[0] == memory
    assert (tmp_path / "asked").read_text().split()[-3:] == ["show", "job", "5"]
    assert "diagnosis\n" in job.memory_log


def test_memory_that_slurm_does_not_tell_is_the_given_one(job: ScriptJob) -> None:
    job.environment["SLURM_JOB_ID"] = "5"
    assert job.value("GALAXY_MEMORY_MB", memory_mb="300") == "300"
    assert "scontrol" in job.memory_log


def test_memory_of_the_environment_beats_the_given_one(job: ScriptJob) -> None:
    assert job.value("GALAXY_MEMORY_MB", memory_mb="300") == "300"
    assert job.value("GALAXY_MEMORY_MB", memory_mb="300", env_statements=assigned(GALAXY_MEMORY_MB="400")) == "400"


def test_memory_can_be_stated(job: ScriptJob) -> None:
    parts = {"memory_statement": "echo why >&2; GALAXY_MEMORY_MB_PER_SLOT=100", "slots_statement": "GALAXY_SLOTS=3"}
    assert job.value("GALAXY_MEMORY_MB", **parts) == "300"
    assert job.memory_log == "why\n"


def test_memory_log_is_there_and_empty_when_there_is_nothing_to_say(job: ScriptJob) -> None:
    job.output("true")
    assert job.memory_log == ""


# -- running again ------------------------------------------------------------------------------------------------------


def test_a_job_that_is_run_again_finds_what_it_found_the_first_time(job: ScriptJob) -> None:
    (job.directory / "outputs" / "touched").touch()
    (job.directory / "working" / "given").write_text("given")
    (job.directory / "working" / ".hidden").write_text("hidden")
    (job.directory / "working" / "link").symlink_to("given")
    (job.directory / "working" / "given").chmod(0o640)
    os.utime(job.directory / "working" / "given", (1_000_000_000, 1_000_000_000))
    look = "for d in working outputs configs; do (cd ../$d; find . -type f -printf '%p %s %m ' -o -printf '%p %l '); done; echo"
    spoil = "echo x > ../outputs/touched; echo x > given; rm -f .hidden link; mkdir more; touch more/file ../configs/new; exit 3"
    first = job.run(f"{look}\n{spoil}")
    assert "hidden" in first.stdout
    for _ in range(2):
        again = job.run(f"{look}\n{spoil}")
        assert (again.stdout, again.stderr, again.returncode) == (first.stdout, "", 3)
    assert (job.directory / "working.orig" / "given").stat().st_mtime == 1_000_000_000


def test_outputs_of_the_first_run_stay_when_there_is_no_second(job: ScriptJob) -> None:
    job.output("echo result > ../outputs/out; echo result > out")
    assert (job.directory / "outputs" / "out").read_text() == "result\n"
    assert (job.directory / "working" / "out").read_text() == "result\n"
    assert list((job.directory / "outputs.orig").iterdir()) == []


def test_a_snapshot_that_was_cut_short_is_not_restored_from(job: ScriptJob) -> None:
    (job.directory / "working" / "given").write_text("given")
    part = job.directory / ".pulsar-upload-working.orig"
    part.mkdir()
    (part / "half").touch()
    assert job.output("ls; cat given") == "given\ngiven"
    assert not part.exists()
    assert [path.name for path in (job.directory / "working.orig").iterdir()] == ["given"]


def test_a_restoration_that_was_cut_short_is_done_again(job: ScriptJob) -> None:
    (job.directory / "working" / "given").write_text("given")
    job.run("rm given")
    shutil.rmtree(job.directory / "working")
    assert job.output("cat given") == "given"


def test_exit_code_of_an_earlier_run_is_gone_when_the_job_runs_again(job: ScriptJob) -> None:
    job.run("true")
    assert job.output("ls ../return_code 2> /dev/null || echo gone") == "gone"


def test_a_snapshot_that_fails_is_told_and_does_not_stop_the_job(job: ScriptJob, tmp_path: Path) -> None:
    job.environment["PATH"] = fake_program(tmp_path / "bin", "cp", 'mkdir "$3"; touch "$3/half"; exit 1')
    (job.directory / "outputs" / "touched").touch()
    done = job.run("echo ran")
    assert (done.stdout, done.returncode) == ("ran\n", 0)
    assert "no snapshot of outputs was made" in done.stderr
    assert not (job.directory / "outputs.orig").exists()
    assert list(job.directory.glob(".pulsar-*")) == []


def test_a_job_that_cannot_be_restored_is_not_run(job: ScriptJob, tmp_path: Path) -> None:
    job.run("true")
    job.environment["PATH"] = fake_program(tmp_path / "bin", "cp", "exit 1")
    done = job.run("echo ran")
    assert (done.stdout, done.returncode, job.return_code) == ("", 1, "1\n")
    assert "cannot restore working" in done.stderr


def test_a_job_whose_directories_cannot_be_made_is_not_run(job: ScriptJob, tmp_path: Path) -> None:
    job.environment["PATH"] = fake_program(tmp_path / "bin", "mkdir", "exit 1")
    done = job.run("echo ran")
    assert (done.stdout, done.returncode, job.return_code) == ("", 1, "1\n")


# -- cost ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def started_programs(job: ScriptJob, tmp_path: Path) -> Callable[[], list[str]]:
    """Let the job find, instead of all programs, stand-ins that note their start."""
    log = tmp_path / "started"
    log.touch()
    stand_ins = tmp_path / "bin"
    for directory in PATH.split(":"):
        for program in Path(directory).glob("*"):
            fake_program(
                stand_ins, program.name, f'echo {shlex.quote(program.name)} >> {log}; exec {shlex.quote(str(program))} "$@"'
            )
    job.environment["PATH"] = str(stand_ins)
    return lambda: log.read_text().split()


def test_a_plain_job_starts_one_program_before_its_command_and_one_after(
    job: ScriptJob, started_programs: Callable[[], list[str]]
) -> None:
    job.output("true", env_statements=assigned(A="1"))
    # The other is mv, found without PATH, which writes the exit code.
    assert started_programs() == ["mkdir"]


def test_a_plain_job_starts_in_a_few_milliseconds(job: ScriptJob) -> None:
    def duration() -> float:
        for name in ("home", "tmp", "working.orig", "outputs.orig", "configs.orig"):
            shutil.rmtree(job.directory / name, ignore_errors=True)
        begun = time.perf_counter()
        job.run("true")
        return time.perf_counter() - begun

    # About 7 ms on a quiet machine; the limit is for a busy one.
    assert min(duration() for _ in range(10)) < 0.1
