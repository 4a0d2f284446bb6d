"""The library with which Galaxy talks to a Pulsar server.

Importing it costs nothing: every name of ``__all__`` is looked up in its module when it is first used. The names are a
contract with Galaxy (specification 13.1); newer Galaxies import the same objects from the modules themselves.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulsar.client.destination import url_to_destination_params as url_to_destination_params
    from pulsar.client.exceptions import OutputNotFoundException as OutputNotFoundException
    from pulsar.client.exceptions import PulsarClientTransportError as PulsarClientTransportError
    from pulsar.client.manager import build_client_manager as build_client_manager
    from pulsar.client.path_mapper import PathMapper as PathMapper
    from pulsar.client.staging import (
        EXTENDED_METADATA_DYNAMIC_COLLECTION_PATTERN as EXTENDED_METADATA_DYNAMIC_COLLECTION_PATTERN,
    )
    from pulsar.client.staging.down import finish_job as finish_job
    from pulsar.client.staging.inputs import CLIENT_INPUT_PATH_TYPES as CLIENT_INPUT_PATH_TYPES
    from pulsar.client.staging.inputs import ClientInput as ClientInput
    from pulsar.client.staging.inputs import ClientInputs as ClientInputs
    from pulsar.client.staging.models import ClientJobDescription as ClientJobDescription
    from pulsar.client.staging.models import ClientOutputs as ClientOutputs
    from pulsar.client.staging.models import PulsarOutputs as PulsarOutputs
    from pulsar.client.staging.up import submit_job as submit_job

_HOMES = {
    "CLIENT_INPUT_PATH_TYPES": "pulsar.client.staging.inputs",
    "EXTENDED_METADATA_DYNAMIC_COLLECTION_PATTERN": "pulsar.client.staging",
    "ClientInput": "pulsar.client.staging.inputs",
    "ClientInputs": "pulsar.client.staging.inputs",
    "ClientJobDescription": "pulsar.client.staging.models",
    "ClientOutputs": "pulsar.client.staging.models",
    "OutputNotFoundException": "pulsar.client.exceptions",
    "PathMapper": "pulsar.client.path_mapper",
    "PulsarClientTransportError": "pulsar.client.exceptions",
    "PulsarOutputs": "pulsar.client.staging.models",
    "build_client_manager": "pulsar.client.manager",
    "finish_job": "pulsar.client.staging.down",
    "submit_job": "pulsar.client.staging.up",
    "url_to_destination_params": "pulsar.client.destination",
}

__all__ = [
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


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
