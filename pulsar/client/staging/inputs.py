"""The input files of a job, as Galaxy names them (specification 13.1)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["CLIENT_INPUT_PATH_TYPES", "ClientInput", "ClientInputs", "input_name"]


class CLIENT_INPUT_PATH_TYPES:  # noqa: N801 - Galaxy imports this name
    """What an input path is."""

    INPUT_PATH = "input_path"
    INPUT_EXTRA_FILES_PATH = "input_extra_files_path"
    INPUT_METADATA_PATH = "input_metadata_path"


@dataclass(frozen=True)
class ClientInput:
    """One input: a file, or for extra files a directory."""

    path: str
    input_type: str
    object_store_ref: Mapping[str, Any] | None = None

    @property
    def action_source(self) -> dict[str, Any]:
        """The object that says in an action which file is meant."""
        return {"path": self.path, "object_store_ref": self.object_store_ref}


class ClientInputs:
    """The inputs of a job, in order."""

    def __init__(self, client_inputs: Iterable[ClientInput]) -> None:
        self.client_inputs = list(client_inputs)

    def __iter__(self) -> Iterator[ClientInput]:
        return iter(self.client_inputs)

    def __len__(self) -> int:
        return len(self.client_inputs)

    @staticmethod
    def for_simple_input_paths(input_files: Iterable[str]) -> ClientInputs:
        """Return the inputs for plain paths, each with its directory of extra files if there is one."""
        found = []
        for path in input_files:
            found.append(ClientInput(path, CLIENT_INPUT_PATH_TYPES.INPUT_PATH))
            extra = f"{path.removesuffix('.dat')}_files"
            if Path(extra).exists():
                found.append(ClientInput(extra, CLIENT_INPUT_PATH_TYPES.INPUT_EXTRA_FILES_PATH))
        return ClientInputs(found)


def input_name(path: str, input_type: str | None = None) -> str:
    """Return the name below ``inputs`` for an input path (specification 13.3)."""
    basename = posixpath.basename(path.rstrip("/"))
    return f"metadata_{basename}" if input_type == CLIENT_INPUT_PATH_TYPES.INPUT_METADATA_PATH else basename
