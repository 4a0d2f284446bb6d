"""What is to be collected after a job, as a list (specification 6.3). Pure: names in, names out.

The same plan serves the client, which downloads what is its own to collect, and a server that delivers.
"""

from __future__ import annotations

import fnmatch
import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pulsar.client.files import inside
from pulsar.client.staging import COMMAND_VERSION_FILENAME
from pulsar.client.staging.dynamic import References
from pulsar.client.staging.models import ClientOutputs, PulsarOutputs
from pulsar.protocol.layout import BOOKKEEPING

__all__ = ["CollectedFile", "plan_collection"]


@dataclass(frozen=True)
class CollectedFile:
    """One file that comes home: ``name`` in the directory of ``path_type`` on the server, ``galaxy_path`` at home."""

    galaxy_path: str
    name: str
    path_type: str


def plan_collection(client_outputs: ClientOutputs, pulsar_outputs: PulsarOutputs) -> list[CollectedFile]:
    """Return the files to collect, in the order of specification 6.3, none of them twice.

    An output that the job did not make is left out; a work-dir output that it did not make stays in, so that its absence is
    noticed. Raises :class:`~pulsar.client.exceptions.StagingError` for names that lead out of their directory.
    """
    planned: dict[tuple[str, str], CollectedFile] = {}
    for file in _Plan(client_outputs, pulsar_outputs).files():
        planned.setdefault((file.path_type, file.name), file)
    return list(planned.values())


class _Plan:
    def __init__(self, wanted: ClientOutputs, found: PulsarOutputs) -> None:
        self._wanted = wanted
        self._working = _slashed(found.working_directory_contents, found.remote_separator)
        self._outputs = _slashed(found.output_directory_contents, found.remote_separator)
        self._metadata = _slashed(found.metadata_directory_contents, found.remote_separator)
        self._job = _slashed(found.job_directory_contents, found.remote_separator)
        self._rules = wanted.dynamic_rules()
        self._references = References.of(found.realized_dynamic_file_sources)

    def files(self) -> Iterator[CollectedFile]:
        yield from self._work_dir_outputs()
        yield from self._named_outputs()
        if self._wanted.version_file and COMMAND_VERSION_FILENAME in self._outputs:
            yield CollectedFile(self._wanted.version_file, COMMAND_VERSION_FILENAME, "output")
        yield from self._dynamic(self._working, self._wanted.working_directory, "output_workdir", self._references)
        yield from self._dynamic(self._metadata, self._wanted.metadata_directory, "output_metadata")
        own = [name for name in self._job if name not in BOOKKEEPING]
        yield from self._dynamic(own, self._wanted.job_directory, "output_jobdir")

    def _work_dir_outputs(self) -> Iterator[CollectedFile]:
        for source, destination in self._wanted.work_dir_outputs:
            name = _name_in(self._wanted.working_directory, source)
            below = [entry for entry in self._working if entry.startswith(f"{name}/")]
            if below:
                for entry in below:
                    yield CollectedFile(inside(destination, entry[len(name) + 1 :]), entry, "output_workdir")
            else:
                yield CollectedFile(destination, self._work_dir_name(name), "output_workdir")

    def _work_dir_name(self, name: str) -> str:
        if name in self._working:
            return name
        return next((entry for entry in self._working if fnmatch.fnmatchcase(entry, name)), name)

    def _named_outputs(self) -> Iterator[CollectedFile]:
        from_working = {destination for _, destination in self._wanted.work_dir_outputs}
        for path in self._wanted.output_files:
            if path in from_working:
                continue
            directory, name = posixpath.split(path)
            if name in self._outputs:
                yield CollectedFile(path, name, "output")
            extra = f"{name[:-4]}_files/"
            for entry in self._outputs:
                if entry.startswith(extra):
                    yield CollectedFile(inside(directory, entry), entry, "output")

    def _dynamic(
        self, names: Sequence[str], directory: str | None, path_type: str, references: References | None = None
    ) -> Iterator[CollectedFile]:
        if directory is None:
            return
        for name in names:
            if self._rules.match(name) or (references is not None and references.match(name)):
                yield CollectedFile(inside(directory, name), name, path_type)


def _slashed(names: Sequence[str], separator: str) -> list[str]:
    return list(names) if separator == "/" else [name.replace(separator, "/") for name in names]


def _name_in(working_directory: str | None, source: str) -> str:
    if working_directory is None or not posixpath.isabs(source):
        return source
    return os.path.relpath(source, working_directory)
