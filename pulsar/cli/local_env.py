"""``local_env.sh``: a shell fragment with the node's environment (specification 10.3), read by running it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pulsar.errors import ConfigError

__all__ = ["environment_after"]

#: What the shell itself sets, and what says nothing about the node.
_OF_THE_SHELL = frozenset({"_", "SHLVL", "PWD", "OLDPWD"})

#: A script that cannot be parsed is refused as a whole; else the shell would read on after it as if nothing had been.
_READ = '"$0" -n "$1" || exit 2; . "$1" >&2; exec env -0'


def environment_after(script: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` as it is after the shell has read ``script``. What the script prints goes to standard error.

    Raises :class:`ConfigError` when the script ends the shell; that its last command fails is no error, as in any shell.
    """
    shell = shutil.which("bash", path=environ.get("PATH")) or "/bin/sh"
    try:
        done = subprocess.run(
            [shell, "-c", _READ, shell, str(script)],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=False,
        )
    except OSError as exc:
        raise ConfigError(f"{script} cannot be read, because {shell} does not start: {exc.strerror}") from exc
    if done.returncode != 0 or not done.stdout:
        raise ConfigError(f"{script} ends the shell with status {done.returncode}; correct it, or remove it")
    after = dict(entry.split("=", 1) for entry in os.fsdecode(done.stdout).split("\0") if "=" in entry)
    for name in _OF_THE_SHELL:
        after.pop(name, None)
        if name in environ:
            after[name] = environ[name]
    return after
