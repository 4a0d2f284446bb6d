from __future__ import annotations

from typing import Any

import pytest

from pulsar.client import ClientOutputs, PulsarOutputs
from pulsar.client.exceptions import StagingError
from pulsar.client.staging.plan import CollectedFile, plan_collection


def plan(
    wanted: dict[str, Any],
    *,
    working: tuple[str, ...] = (),
    outputs: tuple[str, ...] = (),
    metadata: tuple[str, ...] = (),
    job: tuple[str, ...] = (),
    separator: str = "/",
    sources: tuple[dict[str, Any], ...] = (),
) -> list[tuple[str, str, str]]:
    client_outputs = ClientOutputs(**{"working_directory": "/g/w", "metadata_directory": "/g/m", "dynamic_outputs": [], **wanted})
    planned = plan_collection(client_outputs, PulsarOutputs(working, outputs, metadata, job, sources, separator))
    assert all(isinstance(file, CollectedFile) for file in planned)
    return [(file.path_type, file.name, file.galaxy_path) for file in planned]


def test_outputs_that_exist_come_home() -> None:
    wanted = {"output_files": ["/g/dataset_1.dat", "/g/dataset_2.dat"]}
    assert plan(wanted, outputs=("dataset_2.dat",)) == [("output", "dataset_2.dat", "/g/dataset_2.dat")]


def test_extra_files_come_with_their_output() -> None:
    files = ("dataset_1_files/a/b", "dataset_1_files/c", "dataset_11_files/d")
    assert plan({"output_files": ["/g/dataset_1.dat"]}, outputs=files) == [
        ("output", "dataset_1_files/a/b", "/g/dataset_1_files/a/b"),
        ("output", "dataset_1_files/c", "/g/dataset_1_files/c"),
    ]


def test_a_work_dir_output_comes_under_its_final_name() -> None:
    wanted = {"work_dir_outputs": [("/g/w/out.txt", "/g/dataset_1.dat")], "output_files": ["/g/dataset_1.dat"]}
    found = plan(wanted, working=("out.txt",), outputs=("dataset_1.dat",))
    assert found == [("output_workdir", "out.txt", "/g/dataset_1.dat")]


def test_a_work_dir_output_may_be_a_directory() -> None:
    wanted = {"work_dir_outputs": [("/g/w/tree", "/g/dataset_1_files")]}
    assert plan(wanted, working=("tree/a", "tree/b/c", "tree2")) == [
        ("output_workdir", "tree/a", "/g/dataset_1_files/a"),
        ("output_workdir", "tree/b/c", "/g/dataset_1_files/b/c"),
    ]


def test_a_work_dir_output_may_be_a_pattern() -> None:
    wanted = {"work_dir_outputs": [("/g/w/part_*.txt", "/g/dataset_1.dat")]}
    assert plan(wanted, working=("other", "part_2.txt", "part_3.txt")) == [("output_workdir", "part_2.txt", "/g/dataset_1.dat")]


def test_an_exact_name_goes_before_a_pattern() -> None:
    wanted = {"work_dir_outputs": [("/g/w/a[1]", "/g/dataset_1.dat")]}
    assert plan(wanted, working=("a1", "a[1]")) == [("output_workdir", "a[1]", "/g/dataset_1.dat")]


def test_a_missing_work_dir_output_is_asked_for_so_that_it_is_missed() -> None:
    wanted = {"work_dir_outputs": [("/g/w/out.txt", "/g/dataset_1.dat")]}
    assert plan(wanted) == [("output_workdir", "out.txt", "/g/dataset_1.dat")]


def test_a_work_dir_output_may_be_named_relative_to_the_directory() -> None:
    assert plan({"work_dir_outputs": [("sub/a", "/g/d.dat")]}, working=("sub/a",)) == [("output_workdir", "sub/a", "/g/d.dat")]


@pytest.mark.parametrize("version_file", ["/g/VERSION_1", None])
def test_the_version_comes_when_somebody_wants_it(version_file: str | None) -> None:
    found = plan({"version_file": version_file}, outputs=("COMMAND_VERSION",))
    assert found == ([("output", "COMMAND_VERSION", "/g/VERSION_1")] if version_file else [])


def test_a_version_that_was_not_written_is_not_missed() -> None:
    assert plan({"version_file": "/g/VERSION_1"}) == []


def test_dynamic_outputs_come_from_working_and_metadata() -> None:
    found = plan({"dynamic_outputs": ["primary_.*"]}, working=("primary_1", "x"), metadata=("primary_2",), outputs=("primary_3",))
    assert found == [("output_workdir", "primary_1", "/g/w/primary_1"), ("output_metadata", "primary_2", "/g/m/primary_2")]


def test_nothing_is_collected_twice() -> None:
    wanted = {"dynamic_outputs": ["primary_.*"], "work_dir_outputs": [("/g/w/primary_1", "/g/d.dat")]}
    assert plan(wanted, working=("primary_1",)) == [("output_workdir", "primary_1", "/g/d.dat")]


def test_files_named_in_galaxy_json_come_from_the_working_directory_only() -> None:
    source = {"type": "galaxy", "path": "galaxy.json", "contents": '[{"filename": "named"}]'}
    found = plan({}, working=("named", "other"), metadata=("named",), sources=(source,))
    assert found == [("output_workdir", "named", "/g/w/named")]


def test_directories_that_galaxy_does_not_have_are_not_collected_into() -> None:
    wanted = {"dynamic_outputs": [".*"], "working_directory": None, "metadata_directory": None}
    assert plan(wanted, working=("a",), metadata=("b",), job=("c",)) == []


def test_the_job_directory_is_collected_into_when_galaxy_names_one_without_the_node_s_own_files() -> None:
    found = plan({"dynamic_outputs": [".*"], "job_directory": "/g/j"}, job=("working", "return_code", "galaxy_7.ec"))
    assert found == [("output_jobdir", "galaxy_7.ec", "/g/j/galaxy_7.ec")]


def test_names_with_the_separator_of_the_server() -> None:
    wanted = {"work_dir_outputs": [("/g/w/tree", "/g/t")], "output_files": ["/g/dataset_1.dat"]}
    found = plan(wanted, working=("tree\\a",), outputs=("dataset_1_files\\b",), separator="\\")
    assert found == [("output_workdir", "tree/a", "/g/t/a"), ("output", "dataset_1_files/b", "/g/dataset_1_files/b")]


@pytest.mark.parametrize(
    ("wanted", "listed"),
    [
        ({"output_files": ["/g/dataset_1.dat"]}, {"outputs": ("dataset_1_files/../../../etc/passwd",)}),
        ({"dynamic_outputs": [".*"]}, {"working": ("../../etc/passwd",)}),
        ({"dynamic_outputs": [".*"]}, {"metadata": ("/etc/passwd",)}),
        ({"work_dir_outputs": [("/g/w/tree", "/g/t")]}, {"working": ("tree/../../x",)}),
    ],
)
def test_a_server_cannot_write_where_it_likes(wanted: dict[str, Any], listed: dict[str, Any]) -> None:
    with pytest.raises(StagingError, match="leads out of its directory"):
        plan(wanted, **listed)
