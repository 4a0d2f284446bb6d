"""The Galaxy side of ``pulsar-check``: files such as Galaxy would have, and the job that uses one of each kind."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from shlex import quote
from typing import Any

from pulsar.client.staging import DEFAULT_DYNAMIC_COLLECTION_PATTERN
from pulsar.client.staging.inputs import CLIENT_INPUT_PATH_TYPES, ClientInput, ClientInputs
from pulsar.client.staging.models import ClientJobDescription, ClientOutputs

__all__ = ["ENV_VALUE", "MARKER", "OPTION", "REWRITTEN_DIRECTORY", "Workspace"]

#: A working-directory file by which a job that an earlier check left behind is known.
MARKER = "pulsar_check.txt"
#: What a shell and a locale can spoil.
OPTION = 'Grüße an 世界, it\'s "quoted" & costs 3 €'
ENV_VALUE = "two words"
#: Exists nowhere: the ``rewrite`` action changes a text and moves nothing.
REWRITTEN_DIRECTORY = "/mnt/pulsar-check"


@dataclass(frozen=True)
class _CheckTool:
    tool_dir: str
    id: str = "pulsar_check"
    version: str = "1.0"


class _DeclaredFiles:
    """The tool says itself which files it needs."""

    def find_required_files(self, tool_directory: str) -> Sequence[str]:  # noqa: ARG002 - the shape that Galaxy has
        return ["check_tool.py", "subdir/helper.py"]


class Workspace:
    """A directory with all that the job needs, and where its outputs are to appear.

    ``nonce`` is new for every workspace and part of the files, so the outputs of another job are not taken for this one's.
    """

    def __init__(self, root: Path, *, legacy_galaxy_json: bool = False, explicit_tool_files: bool = False) -> None:
        self.root = root
        self.nonce = secrets.token_hex(8)
        self._json_style = "legacy_galaxy" if legacy_galaxy_json else "galaxy"
        self._explicit_tool_files = explicit_tool_files
        self.facts = root / "dataset_1.dat"
        self.output = root / "dataset_2.dat"
        self.copy = root / "dataset_3.dat"
        self.single = root / "dataset_4.dat"
        self.tree = root / "dataset_5_files"
        self.part = root / "dataset_6.dat"
        self.version = root / "COMMAND_VERSION_1"
        self.working = root / "working"
        self.metadata = root / "metadata"
        self._index = root / "index"
        self._write_files()

    @property
    def input_text(self) -> str:
        """What the input file says."""
        return f"input {self.nonce}"

    def file_actions(self) -> dict[str, Any]:
        """Return the file actions of the destination: the index travels with the tree two levels up, one path is rewritten."""
        return {
            "paths": [
                {"path": str(self._index), "path_types": "unstructured", "action": "transfer", "depth": 2},
                {
                    "path": str(self.root / "shared"),
                    "path_types": "unstructured",
                    "action": "rewrite",
                    "source_directory": str(self.root / "shared"),
                    "destination_directory": REWRITTEN_DIRECTORY,
                },
            ]
        }

    def outputs(self) -> ClientOutputs:
        """Return what the job is to bring home."""
        return ClientOutputs(
            working_directory=str(self.working),
            metadata_directory=str(self.metadata),
            output_files=[str(path) for path in (self.facts, self.output, self.copy, self.single, self.tree, self.part)],
            work_dir_outputs=[
                (str(self.working / "single.txt"), str(self.single)),
                (str(self.working / "tree"), str(self.tree)),
                (str(self.working / "part_*.txt"), str(self.part)),
            ],
            version_file=str(self.version),
            dynamic_outputs=DEFAULT_DYNAMIC_COLLECTION_PATTERN,
            dynamic_file_sources=[
                {"type": self._json_style, "path": "galaxy.json"},
                {"type": self._json_style, "path": "absent_galaxy.json"},
            ],
        )

    def description(self) -> ClientJobDescription:
        """Return the job as Galaxy would describe it, in Galaxy's own paths."""
        return ClientJobDescription(
            command_line=self._command_line(),
            tool=_CheckTool(str(self.root / "tool")),
            config_files=[str(self.root / "configs" / "job.conf")],
            client_inputs=ClientInputs(
                [
                    ClientInput(str(self.root / "dataset_0.dat"), CLIENT_INPUT_PATH_TYPES.INPUT_PATH),
                    ClientInput(str(self.root / "dataset_0_files"), CLIENT_INPUT_PATH_TYPES.INPUT_EXTRA_FILES_PATH),
                    ClientInput(str(self.root / "files" / "12.dat"), CLIENT_INPUT_PATH_TYPES.INPUT_METADATA_PATH),
                ]
            ),
            client_outputs=self.outputs(),
            working_directory=str(self.working),
            metadata_directory=str(self.metadata),
            env=[{"name": "PULSAR_CHECK_ENV", "value": ENV_VALUE}],
            tool_directory_required_files=_DeclaredFiles() if self._explicit_tool_files else None,
        )

    def _command_line(self) -> str:
        words = {
            "config": self.root / "configs" / "job.conf",
            "input": self.root / "dataset_0.dat",
            "extra": self.root / "dataset_0_files" / "nested" / "extra.txt",
            "input-metadata": self.root / "files" / "12.dat",
            "metadata": self.metadata / "metadata_given",
            "index": self._index / "bwa" / "human.fa",
            "rewritten": self.root / "shared" / "reference",
            "facts": self.facts,
            "output": self.output,
            "copy": self.copy,
            "version": self.version,
            "galaxy-json-style": self._json_style,
            "option": OPTION,
        }
        tool = self.root / "tool" / "check_tool.py"
        arguments = " ".join(f"--{name} {quote(str(value))}" for name, value in words.items())
        # Some servers have no "python", some nothing else.
        return (
            f'"$(command -v python3 || command -v python)" {quote(str(tool))} {arguments}'
            " > ../metadata/tool_stdout 2> ../metadata/tool_stderr"
        )

    def _write_files(self) -> None:
        payload = resources.files("pulsar.cli").joinpath("check_payload.py").read_text(encoding="utf-8")
        nonce = self.nonce
        contents = {
            "tool/check_tool.py": payload,
            "tool/subdir/helper.py": f"# helper {nonce}\n",
            "configs/job.conf": f"input={self.root / 'dataset_0.dat'}\noutput={self.output}\nplain={nonce}\n",
            "dataset_0.dat": self.input_text,
            "dataset_0_files/nested/extra.txt": f"extra input {nonce}",
            "files/12.dat": f"input metadata {nonce}",
            "metadata/metadata_given": f"metadata {nonce}",
            f"working/{MARKER}": f"work file {nonce}",
            "index/bwa/human.fa": "ACGT",
            "index/bwa/human.fa.fai": "",
            "index/seq/human.seq": "ACGT",
        }
        for name, text in contents.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
