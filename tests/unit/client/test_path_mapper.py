from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from pulsar.client import CLIENT_INPUT_PATH_TYPES, PathMapper, build_client_manager
from tests.unit.client.conftest import write
from tests.unit.client.fake_server import setup_document


def path_mapper(separator: str = "/", **params: Any) -> PathMapper:
    client = build_client_manager().get_client({"url": "http://h", **params}, "7")
    return PathMapper(client, setup_document("/R", "7", separator), "/galaxy/w")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/galaxy/dataset_1.dat", "/R/7/outputs/dataset_1.dat"),
        ("/galaxy/w/deep/out.txt", "/R/7/working/out.txt"),
        ("relative.dat", "/R/7/working/relative.dat"),
        ("/galaxy/working/x", "/R/7/outputs/x"),
    ],
)
def test_where_outputs_are_written(path: str, expected: str) -> None:
    assert path_mapper().remote_output_path_rewrite(path) == expected


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        ("/g/dataset_2.dat", None, "/R/7/inputs/dataset_2.dat"),
        ("/g/dataset_2_files", CLIENT_INPUT_PATH_TYPES.INPUT_EXTRA_FILES_PATH, "/R/7/inputs/dataset_2_files"),
        ("/g/meta/12.dat", CLIENT_INPUT_PATH_TYPES.INPUT_METADATA_PATH, "/R/7/inputs/metadata_12.dat"),
    ],
)
def test_where_inputs_are_found(path: str, kind: str | None, expected: str) -> None:
    assert path_mapper().remote_input_path_rewrite(path, kind) == expected


def test_where_the_version_goes() -> None:
    assert path_mapper().remote_version_path_rewrite("/g/VERSION_1") == "/R/7/outputs/COMMAND_VERSION"


def test_the_separator_of_the_server_is_used() -> None:
    assert path_mapper("\\").remote_output_path_rewrite("/g/a.dat") == "/R\\7\\outputs\\a.dat"


def test_what_is_left_alone_is_none() -> None:
    mapper = path_mapper(default_file_action="none")
    assert mapper.remote_output_path_rewrite("/g/a.dat") is None
    assert mapper.remote_input_path_rewrite("/g/a.dat") is None
    assert mapper.remote_version_path_rewrite("/g/V") is None
    assert mapper.remote_output_path_rewrite("/galaxy/w/a.dat") == "/R/7/working/a.dat"


def test_a_rewrite_moves_nothing() -> None:
    rule = {"path": "/g", "action": "rewrite", "source_directory": "/g", "destination_directory": "/mnt", "path_types": "*any*"}
    mapper = path_mapper(file_actions={"paths": [rule]})
    assert mapper.remote_input_path_rewrite("/g/a.dat") == "/mnt/a.dat"
    assert mapper.check_for_arbitrary_rewrite("/g/idx/h.fa") == ("/mnt/idx/h.fa", {})


@pytest.mark.parametrize("text", ["hello", "--flag=/g/idx", "", "idx/bwa"])
def test_a_text_that_is_no_path_is_left_alone(text: str) -> None:
    rule = {"action": "transfer", "path_types": "unstructured"}
    assert path_mapper(file_actions={"paths": [rule]}).check_for_arbitrary_rewrite(text) == (None, {})


def test_a_path_without_a_rule_is_left_alone() -> None:
    assert path_mapper().check_for_arbitrary_rewrite("/g/idx/h.fa") == (None, {})


@pytest.mark.parametrize(
    ("depth", "name", "files"),
    [
        (0, "h.fa", ["h.fa"]),
        (1, "h.fa", ["h.fa", "h.fa.fai"]),
        (2, "bwa/h.fa", ["bwa/h.fa", "bwa/h.fa.fai", "seq/s"]),
    ],
)
def test_an_index_travels_with_its_tree(galaxy: Path, depth: int, name: str, files: list[str]) -> None:
    for file in ("idx/bwa/h.fa", "idx/bwa/h.fa.fai", "idx/seq/s"):
        write(galaxy / file)
    path = str(galaxy / "idx" / "bwa" / "h.fa")
    rule = {"path": str(galaxy), "path_types": "unstructured", "depth": depth}
    digest = hashlib.md5(path.encode()).hexdigest()
    rewrite, names = path_mapper(file_actions={"paths": [rule]}).check_for_arbitrary_rewrite(path)
    assert rewrite == f"/R/7/unstructured/{digest}/{name}"
    assert sorted(names.values()) == [f"{digest}/{file}" for file in files]
    assert all(Path(found).is_file() for found in names)


def test_the_prefix_of_an_index_need_not_be_a_file(galaxy: Path) -> None:
    write(galaxy / "idx" / "h.1.ebwt")
    path = str(galaxy / "idx" / "h")
    rule = {"path": str(galaxy), "path_types": "unstructured", "depth": 1}
    rewrite, names = path_mapper(file_actions={"paths": [rule]}).check_for_arbitrary_rewrite(path)
    assert rewrite == f"/R/7/unstructured/{hashlib.md5(path.encode()).hexdigest()}/h"
    assert len(names) == 1
