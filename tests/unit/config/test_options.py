"""The table of options is complete and says what it means."""

from __future__ import annotations

from dataclasses import fields

import pytest

from pulsar.config import Config, ManagerConfig, config_from
from pulsar.config.options import OPTIONS, Option, closest, find_option
from pulsar.config.values import kind_of

#: Written out from specification 10.2, 9.2, 9.9, 7.7 and 8: the names that operators have in their files.
SPECIFIED = """
staging_directory persistence_directory private_token managers manager job_managers_config assign_ids job_directory_mode
maximum_stream_size debug galaxy_home tool_config_files tool_config_file user_auth file_cache_dir message_queue_url
message_queue_consume message_queue_publish message_queue_publish_capabilities message_queue_credentials_file
message_queue_username message_queue_password relay_topic_prefix relay_long_poll_timeout amqp_key_prefix amqp_durable
amqp_acknowledge amqp_ack_republish_time amqp_consumer_timeout amqp_heartbeat amqp_connect_ssl_ca_certs
amqp_connect_ssl_keyfile amqp_connect_ssl_certfile amqp_connect_ssl_cert_reqs amqp_publish_timeout amqp_publish_retry
amqp_publish_retry_max_retries amqp_publish_retry_interval_start amqp_publish_retry_interval_step
amqp_publish_retry_interval_max status_outbox_drain_interval tool_dependency_dir dependency_resolution
dependency_resolvers_config_file conda_auto_init conda_auto_install conda_prefix conda_exec conda_debug
conda_ensure_channels conda_use_local job_metrics_config_file object_store_config_file object_store_config
object_store_file_path object_store_job_working_directory object_store_new_file_path object_store_umask sentry_dsn
sentry_event_level ensure_cleanup send_stdout_update stdout_update_interval stdout_update_timeout stdout_update_chunk_size
min_polling_interval logging config_dir
"""

SPECIFIED_OF_MANAGERS = """
type staging_directory assign_ids maximum_stream_size job_directory_mode tmp_dir env_ANY galaxy_home galaxy_virtual_env
galaxy_config_file galaxy_dataset_files_path galaxy_datatypes_config_file debug min_polling_interval job_name_template
preprocess_action_max_retries postprocess_action_interval_max cvmfsexec send_stdout_update num_concurrent_jobs monitor
job_plugin shell_plugin job_ncpus shell_hostname native_specification production chown_working_directory_script
drmaa_launch_script drmaa_kill_script user_mapping_script user_mapping_timeout submit_requirements
"""


@pytest.mark.parametrize("name", SPECIFIED.split())
def test_every_specified_option_of_the_node_is_known(name: str) -> None:
    option = find_option(name)
    assert option is not None
    assert option.is_for_app


@pytest.mark.parametrize("name", SPECIFIED_OF_MANAGERS.split())
def test_every_specified_option_of_managers_is_known(name: str) -> None:
    option = find_option(name)
    assert option is not None
    assert option.is_for_manager


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_a_row_is_whole(option: Option) -> None:
    assert option.help.endswith(".")
    assert bool(option.later) is bool(option.feature)
    if option.default is not None and option.default != () and not option.is_prefix:
        assert option.kind.read(option.default) is not None, f"default is {kind_of(option.default)}"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_an_option_that_works_is_a_field(option: Option) -> None:
    """Nobody downstream asks a dictionary for an option that the node has."""
    computed = {"managers", "manager", "job_managers_config", "name", "env_*"}
    if option.later is None and option.name not in computed:
        if option.scope.value == "app":
            assert option.name in {field.name for field in fields(Config)}
        else:
            assert option.name in {field.name for field in fields(ManagerConfig)}


def test_names_are_unique() -> None:
    names = [name for option in OPTIONS for name in (option.name, *option.aliases)]
    assert len(names) == len(set(names))


def test_the_defaults_of_the_table_are_those_of_the_classes() -> None:
    config = config_from({}, "/", {})
    default = Config("/files/staging", "/files/persisted_data", "/", config.managers)
    assert {f.name: getattr(config, f.name) for f in fields(Config) if f.name not in ("options", "warnings")} == {
        f.name: getattr(default, f.name) for f in fields(Config) if f.name not in ("options", "warnings")
    }
    manager = ManagerConfig(staging_directory="/files/staging")
    assert [
        f.name
        for f in fields(ManagerConfig)
        if f.name != "options" and getattr(manager, f.name) != getattr(config.managers[0], f.name)
    ] == []


def test_what_was_probably_meant() -> None:
    assert closest("staging_dir", for_manager=False) == "staging_directory"
    assert closest("Private_Token", for_manager=False) == "private_token"
    assert closest("num_concurent_jobs", for_manager=True) == "num_concurrent_jobs"
    assert closest("qqq", for_manager=False) is None


def test_a_longer_name_comes_before_its_prefix() -> None:
    assert find_option("job_plugin") is not find_option("job_ncpus")
    assert find_option("job_") is None
    assert find_option("env_*") is not None
