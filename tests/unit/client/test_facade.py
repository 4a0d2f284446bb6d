from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import pulsar.client

#: What Galaxy imports (specification 13.1); a name that goes away here breaks Galaxies that are in use.
NAMES = [
    "CLIENT_INPUT_PATH_TYPES",
    "EXTENDED_METADATA_DYNAMIC_COLLECTION_PATTERN",
    "ClientInput",
    "ClientInputs",
    "ClientJobDescription",
    "ClientOutputs",
    "OutputNotFoundException",
    "PathMapper",
    "PulsarClientTransportError",
    "PulsarOutputs",
    "build_client_manager",
    "finish_job",
    "submit_job",
    "url_to_destination_params",
]


def test_the_facade_is_what_galaxy_imports() -> None:
    assert pulsar.client.__all__ == NAMES
    assert all(getattr(pulsar.client, name) is not None for name in NAMES)
    assert set(NAMES) <= set(dir(pulsar.client))


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = pulsar.client.no_such_name


def test_importing_the_facade_imports_nothing_else() -> None:
    code = "import sys, pulsar.client; print([name for name in sys.modules if name.startswith('pulsar.client.')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("finish_job", ["client", "cleanup_job", "job_completed_normally", "client_outputs", "pulsar_outputs"]),
        ("submit_job", ["client", "client_job_description", "remote_job_config"]),
        ("PathMapper", ["client", "remote_job_config", "local_working_directory", "action_mapper"]),
        ("ClientInput", ["path", "input_type", "object_store_ref"]),
    ],
)
def test_the_parameters_that_galaxy_passes(name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(pulsar.client, name)).parameters) == parameters


def test_a_job_description_takes_all_that_galaxy_says() -> None:
    wanted = (
        "command_line tool config_files input_files client_inputs client_outputs working_directory metadata_directory "
        "dependencies_description env arbitrary_files job_directory_files tool_directory_required_files rewrite_paths "
        "touch_outputs container remote_pulsar_app_config guest_ports"
    )
    assert set(wanted.split()) <= set(inspect.signature(pulsar.client.ClientJobDescription).parameters)


def test_the_modules_that_galaxy_imports_from() -> None:
    from pulsar.client.client import BaseJobClient
    from pulsar.client.staging import COMMAND_VERSION_FILENAME, DEFAULT_DYNAMIC_COLLECTION_PATTERN

    assert COMMAND_VERSION_FILENAME == "COMMAND_VERSION"
    assert isinstance(DEFAULT_DYNAMIC_COLLECTION_PATTERN, list)
    assert isinstance(BaseJobClient, type)
    assert pulsar.client.CLIENT_INPUT_PATH_TYPES.INPUT_METADATA_PATH == "input_metadata_path"
