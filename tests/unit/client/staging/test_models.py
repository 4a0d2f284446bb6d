from __future__ import annotations

from pathlib import Path

from pulsar.client import CLIENT_INPUT_PATH_TYPES, ClientInput, ClientInputs, ClientJobDescription, ClientOutputs, PulsarOutputs
from pulsar.client.staging import DEFAULT_DYNAMIC_COLLECTION_PATTERN
from pulsar.client.staging.inputs import input_name
from tests.unit.client.conftest import write


def test_missing_keys_of_client_outputs_are_empty() -> None:
    outputs = ClientOutputs.from_dict({})
    assert outputs.to_dict() == {
        "working_directory": None,
        "metadata_directory": None,
        "job_directory": None,
        "work_dir_outputs": [],
        "output_files": [],
        "version_file": None,
        "dynamic_outputs": DEFAULT_DYNAMIC_COLLECTION_PATTERN,
        "dynamic_file_sources": None,
        "dataset_collector_descriptions": [],
    }


def test_client_outputs_are_read_back_as_written() -> None:
    outputs = ClientOutputs(
        working_directory="/g/w",
        metadata_directory="/g/m",
        job_directory="/g",
        output_files=["/g/a.dat"],
        work_dir_outputs=[("/g/w/a", "/g/a.dat")],
        version_file="/g/V",
        dynamic_outputs=[],
        dynamic_file_sources=[{"path": "galaxy.json", "type": "galaxy"}],
        dataset_collector_descriptions=[{"pattern": "x"}],
    )
    assert ClientOutputs.from_dict(outputs.to_dict()).to_dict() == outputs.to_dict()
    assert outputs.dynamic_match("xyz")
    assert not outputs.dynamic_match("galaxy.json")


def test_galaxy_may_extend_the_patterns_of_one_job_only() -> None:
    ClientOutputs().dynamic_outputs.append("more")
    assert "more" not in ClientOutputs().dynamic_outputs


def test_outputs_are_read_from_a_status_document() -> None:
    outputs = PulsarOutputs.from_status_response(
        {
            "working_directory_contents": ["a"],
            "outputs_directory_contents": ["b"],
            "metadata_directory_contents": ["c"],
            "job_directory_contents": ["d"],
            "realized_dynamic_file_sources": [{"path": "galaxy.json"}],
            "system_properties": {"separator": "\\"},
        }
    )
    assert outputs == PulsarOutputs(("a",), ("b",), ("c",), ("d",), ({"path": "galaxy.json"},), "\\")


def test_a_short_document_has_no_outputs() -> None:
    document = {"job_id": "1", "complete": "true", "status": "failed", "returncode": None, "working_directory_contents": None}
    assert PulsarOutputs.from_status_response(document) == PulsarOutputs()


def test_simple_inputs_come_with_their_extra_files(galaxy: Path) -> None:
    plain, rich = write(galaxy / "dataset_1.dat"), write(galaxy / "dataset_2.dat")
    write(galaxy / "dataset_2_files" / "a")
    inputs = list(ClientInputs.for_simple_input_paths([plain, rich]))
    assert inputs == [
        ClientInput(plain, CLIENT_INPUT_PATH_TYPES.INPUT_PATH),
        ClientInput(rich, CLIENT_INPUT_PATH_TYPES.INPUT_PATH),
        ClientInput(str(galaxy / "dataset_2_files"), CLIENT_INPUT_PATH_TYPES.INPUT_EXTRA_FILES_PATH),
    ]
    assert list(ClientJobDescription(input_files=[plain, rich]).inputs) == inputs


def test_a_job_description_prefers_the_newer_inputs() -> None:
    newer = ClientInputs([ClientInput("/g/a", CLIENT_INPUT_PATH_TYPES.INPUT_PATH)])
    assert ClientJobDescription(input_files=["/g/b"], client_inputs=newer).inputs is newer


def test_an_input_says_where_it_is() -> None:
    assert ClientInput("/g/a", "input_path", {"dataset_id": 1}).action_source == {
        "path": "/g/a",
        "object_store_ref": {"dataset_id": 1},
    }


def test_names_of_inputs() -> None:
    assert input_name("/g/dataset_1.dat") == "dataset_1.dat"
    assert input_name("/g/dataset_1_files/", CLIENT_INPUT_PATH_TYPES.INPUT_EXTRA_FILES_PATH) == "dataset_1_files"
    assert input_name("/g/_metadata_files/12.dat", CLIENT_INPUT_PATH_TYPES.INPUT_METADATA_PATH) == "metadata_12.dat"
