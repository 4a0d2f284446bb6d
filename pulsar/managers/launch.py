"""From a job and its manager's settings to the text of its script: what every backend shares."""

from __future__ import annotations

from dataclasses import dataclass

from pulsar.errors import SubmitRefused
from pulsar.jobs.job import Job
from pulsar.managers.script import ScriptSpec, job_script
from pulsar.protocol.messages import env_statement

__all__ = ["LaunchSettings", "script_of"]


@dataclass(frozen=True)
class LaunchSettings:
    """What a manager's configuration says about every script (specification 9.2).

    ``tmp_dir``: None for a directory of the job's own, else a shell expression. ``env``: names and values, exported quoted.
    """

    tmp_dir: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    galaxy_home: str | None = None
    galaxy_virtual_env: str | None = None


def script_of(job: Job, settings: LaunchSettings, header_lines: tuple[str, ...] = ()) -> str:
    """Return the job script of a launched job; request environment first, then the manager's (specification 4.4)."""
    request = job.request
    if request is None:
        raise SubmitRefused(f"job {job.key} has no launch request")
    manager_env = [{"name": name, "value": value} for name, value in settings.env]
    return job_script(
        ScriptSpec(
            job_directory=job.directory,
            command_line=request.command_line,
            env_statements=tuple(env_statement(entry) for entry in (*request.env, *manager_env)),
            header_lines=header_lines,
            tmp_dir=settings.tmp_dir,
            galaxy_home=settings.galaxy_home,
            galaxy_virtual_env=settings.galaxy_virtual_env,
            preserve_galaxy_python_environment=bool(request.setup_params.get("preserve_galaxy_python_environment")),
        )
    )
