"""The launch request: what is understood, and what is refused with its name."""

from __future__ import annotations

from typing import Any

import pytest

from pulsar.errors import RequestError
from pulsar.protocol.messages import LaunchRequest, env_statement


def test_missing_parts_have_the_defaults_of_the_specification() -> None:
    request = LaunchRequest.from_dict({"command_line": "true", "unknown": 1, "env": None})
    assert (request.env, request.remote_staging, request.submit_params, request.dynamic_file_sources) == ([], {}, {}, None)


def test_what_is_written_is_read_back() -> None:
    request = LaunchRequest("x", env=[{"name": "A", "value": "1"}], touch_outputs=["a"], dynamic_file_sources=[])
    assert LaunchRequest.from_dict(request.to_dict()) == request


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("command_line", 1),
        ("command_line", "a\0b"),
        ("submit_params", []),
        ("env", {}),
        ("env", ["x"]),
        ("env", [{"name": "A"}]),
        ("env", [{"name": "A B", "value": "x"}]),
        ("env", [{"name": "A;rm -rf", "value": "x"}]),
        ("remote_staging", "x"),
        ("remote_staging", {"setup": {}}),
        ("remote_staging", {"setup": [1]}),
        ("remote_staging", {"action_mapper": []}),
        ("dynamic_file_sources", [{"path": "x", "type": "other"}]),
        ("dynamic_file_sources", [{"type": "galaxy"}]),
        ("touch_outputs", "x"),
        ("touch_outputs", [1]),
        ("setup_params", []),
        ("dependencies_description", "x"),
        ("token_endpoint", {}),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(RequestError, match=key if key != "env" else "env"):
        LaunchRequest.from_dict({"command_line": "true", key: value})


def test_a_request_without_a_command_is_refused() -> None:
    with pytest.raises(RequestError, match="command_line"):
        LaunchRequest.from_dict({})


@pytest.mark.parametrize(
    ("entry", "statement"),
    [
        ({"name": "A", "value": 'say "hi" $HOME'}, 'A="say \\"hi\\" $HOME"; export A'),
        ({"name": "A", "value": "$(date)", "raw": True}, "A=$(date); export A"),
        ({"name": "A", "value": 3}, 'A="3"; export A'),
        ({"name": "A", "value": "", "job_directory_path": "/x"}, 'A=""; export A'),
        ({"file": "/etc/my profile"}, '. "/etc/my profile"'),
        ({"file": "~/x", "raw": True}, ". ~/x"),
        ({"execute": "module load samtools"}, "module load samtools"),
        ({"file": "/f", "execute": "e", "name": "A", "value": "v"}, '. "/f"'),
        ({"execute": "e", "name": "A", "value": "v"}, "e"),
    ],
)
def test_env_entries_become_statements(entry: dict[str, Any], statement: str) -> None:
    assert env_statement(entry) == statement
