"""The managers of a configuration: three ways to write them, inheritance from the app, and options of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pulsar.config import Config, config_from, load_config
from pulsar.errors import ConfigError


def managers_of(tmp_path: Path, **options: Any) -> Config:
    return config_from({"private_token": "t", **options}, tmp_path, {})


def test_several_managers_keep_their_order_and_inherit_from_the_app(tmp_path: Path) -> None:
    config = managers_of(
        tmp_path,
        maximum_stream_size=10,
        assign_ids="uuid",
        cancel_grace_s=1,
        job_directory_mode="0750",
        managers={"b": {"type": "unqueued", "maximum_stream_size": 0}, "a": None, "c": {"staging_directory": "elsewhere"}},
    )
    assert [(m.name, m.type, m.maximum_stream_size) for m in config.managers] == [
        ("b", "unqueued", 0),
        ("a", "queued_python", 10),
        ("c", "queued_python", 10),
    ]
    assert {(m.assign_ids, m.cancel_grace_s, m.job_directory_mode) for m in config.managers} == {("uuid", 1.0, 0o750)}
    assert config.managers[2].staging_directory == str(tmp_path / "elsewhere")
    assert config.warnings == ()


def test_one_manager_may_have_a_name(tmp_path: Path) -> None:
    assert managers_of(tmp_path, manager={"type": "unqueued"}).managers[0].name == "_default_"
    assert managers_of(tmp_path, manager={"name": "only"}).managers[0].name == "only"


def test_an_ini_of_managers_comes_before_the_others(tmp_path: Path) -> None:
    (tmp_path / "jobs.ini").write_text(
        "[manager:_default_]\ntype = queued_python\nnum_concurrent_jobs = 3\nenv_PATH_Two = %(here)s/x\n"
        "[manager: second]\ntype = unqueued\n[other]\nx = y\n"
    )
    config = managers_of(tmp_path, job_managers_config="jobs.ini", manager={"name": "not used"})
    first, second = config.managers
    assert (first.name, first.num_concurrent_jobs, first.env) == ("_default_", 3, (("PATH_Two", f"{tmp_path}/x"),))
    assert (second.name, second.type) == ("second", "unqueued")
    assert any("manager is ignored, because job_managers_config is set" in warning for warning in config.warnings)


def test_an_ini_without_managers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jobs.ini").write_text("[x]\n")
    with pytest.raises(ConfigError, match=r"no section \[manager:NAME\]"):
        managers_of(tmp_path, job_managers_config="jobs.ini")


def test_env_keeps_order_case_and_the_text_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "app.yml").write_text(
        "private_token: t\nmanagers:\n  a:\n    env_Zed: yes\n    env_A: 1.10\n    env_EMPTY:\n    env_Q: '$HOME/x y'\n"
    )
    (manager,) = load_config(tmp_path, environ={}).managers
    assert manager.env == (("Zed", "yes"), ("A", "1.10"), ("EMPTY", ""), ("Q", "$HOME/x y"))


def test_options_of_a_type_are_typed_and_complete(tmp_path: Path) -> None:
    config = managers_of(
        tmp_path,
        manager={
            "type": "queued_cli",
            "job_plugin": "Slurm",
            "job_ncpus": "4",
            "preprocess_action_max_retries": "3",
            "shell_plugin": "SecureShell",
        },
    )
    options = config.managers[0].options
    assert options["job_plugin"] == "Slurm"
    assert options["job_ncpus"] == "4"
    assert options["preprocess_action_max_retries"] == 3
    assert options["postprocess_action_max_retries"] == -1
    assert options["job_name_template"] == "pulsar_$job_id"
    assert "native_specification" not in options


def test_options_of_somebody_elses_type_are_passed_on_without_complaint(tmp_path: Path) -> None:
    config = managers_of(tmp_path, manager={"type": "our_cloud", "region": "eu", "nodes": {"max": 3}})
    assert config.managers[0].options["region"] == "eu"
    assert config.managers[0].options["nodes"] == {"max": 3}
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"num_concurent_jobs": 4}, "did you mean num_concurrent_jobs?"),
        ({"private_token": "x"}, "private_token is not an option here and is ignored; it is an option of the node"),
        ({"type": "unqueued", "num_concurrent_jobs": 4}, "num_concurrent_jobs is not used by a manager of type unqueued"),
        ({"assign_ids": "uid"}, "assign_ids is 'uid', which is read as galaxy"),
        ({"send_stdout_update": True}, "does not send the output of running jobs yet"),
    ],
)
def test_an_option_without_effect_is_named(tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    (warning,) = managers_of(tmp_path, manager=options).warnings
    assert "manager _default_" in warning
    assert expected in warning


@pytest.mark.parametrize("raw", [0, -2, "many", 2.5, True])
def test_a_bad_number_of_jobs_stops_the_start_and_is_named(tmp_path: Path, raw: object) -> None:
    with pytest.raises(ConfigError, match=r"manager one: num_concurrent_jobs must be a whole number of at least 1, or \"\*\""):
        managers_of(tmp_path, managers={"one": {"num_concurrent_jobs": raw}})
