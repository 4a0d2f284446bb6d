"""What Galaxy's paths are called on the server, for a Galaxy that writes them into its commands itself (specification 13.3)."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from typing import Any

from pulsar.client.action_mapper import FileActionMapper
from pulsar.client.actions import Staging
from pulsar.client.client import BaseJobClient
from pulsar.client.job_directory import RemoteDirectories
from pulsar.client.staging import COMMAND_VERSION_FILENAME
from pulsar.client.staging.inputs import input_name
from pulsar.client.staging.unstructured import unstructured_names

__all__ = ["PathMapper"]


class PathMapper:
    """Answers for one job. None always means: the path is called the same there, leave it as it is."""

    def __init__(
        self,
        client: BaseJobClient,
        remote_job_config: Mapping[str, Any],
        local_working_directory: str,
        action_mapper: FileActionMapper | None = None,
    ) -> None:
        self._mapper = action_mapper or client.action_mapper()
        self._remote = RemoteDirectories.from_setup(remote_job_config)
        self._working_directory = local_working_directory

    def remote_output_path_rewrite(self, local_path: str) -> str | None:
        """Return where the job writes an output. Below the working directory it keeps its base name, as everywhere."""
        path = os.path.join(self._working_directory, local_path)
        below = posixpath.abspath(path).startswith(posixpath.abspath(self._working_directory) + os.sep)
        return self._rewrite(path, "output_workdir" if below else "output", posixpath.basename(path))

    def remote_input_path_rewrite(self, local_path: str, client_input_path_type: str | None = None) -> str | None:
        """Return where the job finds an input of a type of ``CLIENT_INPUT_PATH_TYPES``."""
        return self._rewrite(local_path, "input", input_name(local_path, client_input_path_type))

    def remote_version_path_rewrite(self, local_path: str) -> str | None:
        """Return where the job writes the version of its tool."""
        return self._rewrite(local_path, "output", COMMAND_VERSION_FILENAME)

    def check_for_arbitrary_rewrite(self, local_path: str) -> tuple[str | None, dict[str, str]]:
        """Return what an unknown text, perhaps a path, is called there, and the files that have to travel for it.

        The files are Galaxy path → name below ``unstructured``: the ``arbitrary_files`` of the job description.
        """
        path = str(local_path)
        rule = self._mapper.rule_for_unstructured(path) if posixpath.isabs(path) else None
        if rule is None:
            return None, {}
        action = self._mapper.action(path, "unstructured", rule=rule)
        if action.staging is Staging.NOBODY:
            return action.rewritten_path(), {}
        names = unstructured_names(path, rule.depth)
        for found, name in names.items():
            if found.startswith(path):
                return self._remote.path("unstructured", name[: len(name) - (len(found) - len(path))]), names
        return None, {}

    def _rewrite(self, path: str, path_type: str, name: str) -> str | None:
        action = self._mapper.action(path, path_type)
        if action.staging is Staging.NOBODY:
            return action.rewritten_path()
        return self._remote.path(path_type, name)
