"""Staging: which files go to the server before a job, and which come back after it."""

from __future__ import annotations

__all__ = ["COMMAND_VERSION_FILENAME", "DEFAULT_DYNAMIC_COLLECTION_PATTERN", "EXTENDED_METADATA_DYNAMIC_COLLECTION_PATTERN"]

#: The name that the version file has below ``outputs``.
COMMAND_VERSION_FILENAME = "COMMAND_VERSION"

#: Files of the working and metadata directories that come back without being named (specification 4.6). Galaxy slices and
#: extends this list.
DEFAULT_DYNAMIC_COLLECTION_PATTERN = [
    "|".join(
        (
            r"primary_.*",
            r"galaxy.json",
            r"metadata_.*",
            r"dataset_\d+\.dat",
            r"__instrument_.*",
            r"dataset_\d+_files.+",
            r"outputs_populated/.*",
            r"tool_stdout",
            r"tool_stderr",
        )
    )
]

EXTENDED_METADATA_DYNAMIC_COLLECTION_PATTERN = [r"outputs_populated/.*"]
