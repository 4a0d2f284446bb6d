"""Sources, their precedence, defaults, warnings and errors of the configuration (specification 10.1, 10.2)."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from pulsar.config import Config, config_from, load_config
from pulsar.errors import ConfigError

QUIET = {"private_token": "t"}


def write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text, encoding="utf-8")


def load(directory: Path, environ: dict[str, str] | None = None, **more: object) -> Config:
    return load_config(config_dir=directory, environ=environ or {}, **more)  # type: ignore[arg-type]


class TestDefaults:
    def test_without_any_file_the_node_has_one_local_queue_under_files(self, tmp_path: Path) -> None:
        config = load(tmp_path)
        assert config.config_dir == str(tmp_path)
        assert config.staging_directory == str(tmp_path / "files" / "staging")
        assert config.persistence_directory == str(tmp_path / "files" / "persisted_data")
        assert (config.private_token, config.healthz_public, config.max_upload_bytes) == (None, False, 0)
        (manager,) = config.managers
        assert (manager.name, manager.type, manager.num_concurrent_jobs) == ("_default_", "queued_python", 1)
        assert manager.staging_directory == config.staging_directory
        assert manager.maximum_stream_size == 1048576
        assert manager.tmp_dir is None
        assert (config.ini_path, config.app_path) == (None, None)

    def test_the_current_directory_counts_when_none_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert load_config(environ={}).staging_directory == str(tmp_path / "files/staging")

    def test_loading_creates_nothing(self, tmp_path: Path) -> None:
        load(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_an_empty_app_file_is_a_configuration(self, tmp_path: Path) -> None:
        write(tmp_path, app__yml="# nothing\n")
        assert load(tmp_path).app_path == str(tmp_path / "app.yml")

    def test_an_option_left_empty_has_its_default(self, tmp_path: Path) -> None:
        write(tmp_path, app__yml="staging_directory:\nprivate_token: ''\nmanagers:\n")
        config = load(tmp_path)
        assert config.staging_directory == str(tmp_path / "files/staging")
        assert config.private_token is None

    def test_a_node_without_a_token_says_so(self, tmp_path: Path) -> None:
        assert any("private_token" in warning for warning in load(tmp_path).warnings)
        write(tmp_path, app__yml="private_token: x\n")
        assert load(tmp_path).warnings == ()


class TestPrecedence:
    @pytest.mark.parametrize(
        ("present", "winner"),
        [
            ({"default"}, "default"),
            ({"default", "ini"}, "ini"),
            ({"default", "ini", "app"}, "app"),
            ({"default", "ini", "app", "override"}, "override"),
            ({"override"}, "override"),
        ],
    )
    def test_the_first_source_that_says_something_counts(self, tmp_path: Path, present: set[str], winner: str) -> None:
        environ = {}
        if "default" in present:
            environ["PULSAR_CONFIG_PRIVATE_TOKEN"] = "default"
        if "override" in present:
            environ["PULSAR_CONFIG_OVERRIDE_PRIVATE_TOKEN"] = "override"
        if "ini" in present:
            write(tmp_path, server__ini="[app:main]\nprivate_token = ini\n")
        if "app" in present:
            write(tmp_path, app__yml="private_token: app\n")
        assert load(tmp_path, environ).private_token == winner

    def test_an_empty_variable_does_not_take_the_token_away(self, tmp_path: Path) -> None:
        write(tmp_path, app__yml="private_token: app\n")
        assert load(tmp_path, {"PULSAR_CONFIG_OVERRIDE_PRIVATE_TOKEN": ""}).private_token == "app"

    def test_words_from_the_environment_are_read_by_the_options_kind(self, tmp_path: Path) -> None:
        environ = {
            "PULSAR_CONFIG_OVERRIDE_DEBUG": "false",
            "PULSAR_CONFIG_HEALTHZ_PUBLIC": "True",
            "PULSAR_CONFIG_MAX_UPLOAD_BYTES": "10",
            "PULSAR_CONFIG_JOB_DIRECTORY_MODE": "0750",
            "PULSAR_CONFIG_MANAGERS": "{a: {num_concurrent_jobs: '*'}}",
            "PULSAR_CONFIG_DIR": str(tmp_path),
            "PULSAR_CONFIG_FILE": "/nowhere",
        }
        write(tmp_path, app__yml="debug: true\nprivate_token: x\n")
        config = load_config(environ=environ)
        (manager,) = config.managers
        assert (manager.debug, config.healthz_public, config.max_upload_bytes) == (False, True, 10)
        assert (manager.name, manager.job_directory_mode, manager.num_concurrent_jobs) == ("a", 0o750, os.cpu_count())
        assert config.warnings == ()

    def test_galaxy_home_comes_from_its_own_variable(self, tmp_path: Path) -> None:
        environ = {"GALAXY_HOME": "/galaxy", "GALAXY_VIRTUAL_ENV": "/galaxy/.venv"}
        assert load(tmp_path, environ).managers[0].galaxy_home == "/galaxy"
        write(tmp_path, app__yml="galaxy_home: /other\n")
        (manager,) = load(tmp_path, environ).managers
        assert (manager.galaxy_home, manager.galaxy_virtual_env) == ("/other", "/galaxy/.venv")

    def test_an_alias_is_the_same_option(self, tmp_path: Path) -> None:
        write(tmp_path, app__yml="tool_config_file: []\n")
        assert load(tmp_path).options["tool_config_files"] == ()


class TestFiles:
    def test_app_config_of_the_ini_counts_from_the_configuration_directory(self, tmp_path: Path) -> None:
        (tmp_path / "conf").mkdir()
        write(tmp_path, server__ini="[app:main]\napp_config = conf/mine.yml\n")
        write(tmp_path / "conf", mine__yml="private_token: mine\n")
        config = load(tmp_path)
        assert config.private_token == "mine"
        assert config.app_path == str(tmp_path / "conf" / "mine.yml")
        assert config.staging_directory == str(tmp_path / "files/staging")

    def test_here_is_the_directory_of_the_ini_even_with_a_percent_sign(self, tmp_path: Path) -> None:
        here = tmp_path / "100% sure"
        here.mkdir()
        write(here, server__ini="[app:main]\napp_config = %(here)s/mine.yml\n", mine__yml="private_token: mine\n")
        assert load_config(ini_path=here / "server.ini", environ={}).private_token == "mine"

    def test_samples_stand_in_for_missing_files(self, tmp_path: Path) -> None:
        write(tmp_path, server__ini__sample="[app:main]\napp_config = app.yml\n", app__yml__sample="private_token: sample\n")
        config = load(tmp_path)
        assert config.private_token == "sample"
        assert config.ini_path == str(tmp_path / "server.ini.sample")
        write(tmp_path, app__yml="private_token: real\n")
        assert load(tmp_path).private_token == "real"

    def test_a_named_app_file_needs_no_ini(self, tmp_path: Path) -> None:
        write(tmp_path, node__yml="staging_directory: jobs\n")
        config = load_config(app_conf_path=tmp_path / "node.yml", environ={})
        assert config.staging_directory == str(tmp_path / "jobs")
        assert config.ini_path is None

    def test_the_ini_may_name_another_app(self, tmp_path: Path) -> None:
        write(tmp_path, server__ini="[app:main]\nprivate_token = a\n[app:other]\nprivate_token = b\n")
        assert load(tmp_path, app="other").private_token == "b"
        with pytest.raises(ConfigError, match=r"no section \[app:absent\]"):
            load(tmp_path, app="absent")

    def test_keys_that_paste_has_read_are_taken_as_they_are(self, tmp_path: Path) -> None:
        write(tmp_path, server__ini="[app:main]\nprivate_token = not read\n", app__yml="debug: true\n")
        config = load_config(ini_path=tmp_path / "server.ini", local_conf={"private_token": "given", "use": "x"}, environ={})
        assert config.private_token == "given"
        assert config.managers[0].debug is True
        assert config.warnings == ()

    def test_paste_keys_are_no_options(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            server__ini="[DEFAULT]\nsome = thing\n[app:main]\npaste.app_factory = x:y\nprivate_token = x\n",
        )
        assert load(tmp_path).warnings == ()

    def test_base64_is_the_whole_configuration(self, tmp_path: Path) -> None:
        write(tmp_path, app__yml="private_token: file\n")
        document = {"staging_directory": "jobs", "managers": {"k8s": {"type": "coexecution"}}, "logging": {"version": 1}}
        config = load(tmp_path, app_conf_base64=base64.b64encode(json.dumps(document).encode()).decode())
        assert config.staging_directory == str(tmp_path / "jobs")
        assert [manager.name for manager in config.managers] == ["k8s"]
        assert config.logging == {"version": 1}
        assert config.private_token is None

    def test_an_embedding_program_gives_the_options_itself(self, tmp_path: Path) -> None:
        write(tmp_path, app__yml="private_token: file\n")
        config = config_from({"private_token": "given", "job_directory_mode": 0o770}, config_dir=tmp_path, environ={})
        assert config.private_token == "given"
        assert config.managers[0].job_directory_mode == 0o770

    def test_paths_count_from_the_configuration_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/somebody")
        write(tmp_path, app__yml="staging_directory: ../jobs\nfile_cache_dir: ~/cache\npersistence_directory: /var/x/../ledger\n")
        config = load(tmp_path)
        assert config.staging_directory == str(tmp_path.parent / "jobs")
        assert config.file_cache_dir == "/home/somebody/cache"
        assert config.persistence_directory == "/var/ledger"

    def test_none_as_persistence_directory_means_in_memory(self, tmp_path: Path) -> None:
        write(tmp_path, app__yml="persistence_directory: __none__\n")
        assert load(tmp_path).persistence_directory is None

    def test_config_dir_may_be_moved_by_the_app_file(self, tmp_path: Path) -> None:
        write(tmp_path, app__yml="config_dir: sub\n")
        config = load(tmp_path)
        assert config.config_dir == str(tmp_path / "sub")
        assert config.staging_directory == str(tmp_path / "sub/files/staging")

    def test_a_byte_order_mark_is_no_part_of_the_first_key(self, tmp_path: Path) -> None:
        (tmp_path / "app.yml").write_bytes(b"\xef\xbb\xbfprivate_token: x\n")
        assert load(tmp_path).private_token == "x"


class TestWarnings:
    def test_an_unknown_key_is_named_with_what_was_probably_meant(self, tmp_path: Path) -> None:
        write(tmp_path, app__yml="private_token: x\nstaging_dir: /x\nprivat_token: hunter2\nzzz: 1\n")
        first, second, third = load(tmp_path).warnings
        assert first == f"{tmp_path}/app.yml: staging_dir is not an option here and is ignored; did you mean staging_directory?"
        assert "did you mean private_token?" in second
        assert "hunter2" not in second
        assert "see docs/configuration.md" in third

    def test_an_unknown_variable_is_named(self, tmp_path: Path) -> None:
        (warning,) = load(tmp_path, {"PULSAR_CONFIG_OVERRIDE_DEBUGG": "1", "PULSAR_CONFIG_PRIVATE_TOKEN": "x"}).warnings
        assert "PULSAR_CONFIG_OVERRIDE_DEBUGG" in warning
        assert "did you mean debug?" in warning

    def test_an_option_of_a_manager_at_the_top_is_told_its_place(self, tmp_path: Path) -> None:
        write(tmp_path, app__yml="private_token: x\nnum_concurrent_jobs: 4\n")
        (warning,) = load(tmp_path).warnings
        assert "option of a manager" in warning

    def test_a_feature_that_is_not_there_yet_is_named(self, tmp_path: Path) -> None:
        write(tmp_path, app__yml="private_token: x\nmessage_queue_url: amqp://guest:hunter2@localhost//\namqp_durable: true\n")
        (warning,) = load(tmp_path).warnings
        assert "message_queue_url is set, but this node does not talk to a message queue yet" in warning
        assert "hunter2" not in warning

    @pytest.mark.parametrize("line", ["tool_config_files: toolbox.xml", "user_auth: {authentication: [{type: allow_all}]}"])
    def test_a_restriction_that_is_not_there_yet_refuses_to_start(self, tmp_path: Path, line: str) -> None:
        write(tmp_path, app__yml=line + "\n")
        with pytest.raises(ConfigError, match="would run without that check"):
            load(tmp_path)

    def test_a_key_written_twice_is_named_with_its_line(self, tmp_path: Path) -> None:
        write(tmp_path, app__yml="private_token: a\ndebug: true\nprivate_token: b\n")
        config = load(tmp_path)
        assert config.private_token == "b"
        assert any("private_token is written twice (again in line 3)" in warning for warning in config.warnings)


class TestErrors:
    @pytest.mark.parametrize(
        ("line", "parts"),
        [
            ("maximum_stream_size: lots", ["maximum_stream_size must be a whole number of bytes", "not text 'lots'", "1048576"]),
            ("debug: [1]", ["debug must be true or false", "not a list"]),
            ("history_days: -1", ["history_days must be a number of at least 0", "not a number -1"]),
            ("job_directory_mode: rwx", ["job_directory_mode must be an octal mode", 'for example: "0770"']),
            ("managers: [a]", ["managers must be a mapping", "not a list"]),
            ("managers: {a: 1}", ["managers: a must be a mapping", "not a number"]),
            ("manager: {num_concurrent_jobs: many}", ["manager _default_", "num_concurrent_jobs must be", "'many'"]),
            ("managers: {a/b: {}}", ["'a/b' cannot be the name of a manager"]),
            ("managers: {a: {env_A-B: x}}", ["env_A-B", "cannot be the name of an environment variable"]),
            ("job_managers_config: absent.ini", ["absent.ini, which does not exist"]),
        ],
    )
    def test_a_wrong_value_names_file_key_kind_and_remedy(self, tmp_path: Path, line: str, parts: list[str]) -> None:
        write(tmp_path, app__yml=line + "\n")
        with pytest.raises(ConfigError) as caught:
            load(tmp_path)
        message = str(caught.value)
        assert str(tmp_path / "app.yml") in message
        assert [part for part in parts if part not in message] == []
        assert "\n" not in message

    @pytest.mark.parametrize(
        "text",
        [
            "private_token: [hunter2]\n",
            "private_token: {hunter2: hunter2}\n",
            "private_token: *hunter2\n",
            "private_token: @hunter2\n",
            "private_token: 'hunter2\n",
            "private_token hunter2\n",
            "a: b\n  private_token: hunter2\n",
            "private_token: !hunter2 x\n",
            "private_token: &hunter2\n- hunter2\n",
        ],
    )
    def test_no_error_shows_a_secret(self, tmp_path: Path, text: str) -> None:
        write(tmp_path, app__yml=text)
        with pytest.raises(ConfigError) as caught:
            load(tmp_path)
        shown: BaseException | None = caught.value
        while shown is not None:
            assert "hunter2" not in str(shown)
            shown = None if shown.__suppress_context__ and shown.__cause__ is None else shown.__cause__ or shown.__context__

    def test_a_wrong_variable_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="environment variable PULSAR_CONFIG_OVERRIDE_DEBUG: debug must be true or false"):
            load(tmp_path, {"PULSAR_CONFIG_OVERRIDE_DEBUG": "perhaps"})

    @pytest.mark.parametrize(
        ("keywords", "expected"),
        [
            ({"config_dir": "/nowhere/at/all"}, "does not exist; create it"),
            ({"ini_path": "/nowhere/server.ini"}, "/nowhere/server.ini does not exist"),
            ({"app_conf_path": "/nowhere/app.yml"}, "/nowhere/app.yml does not exist"),
            ({"app_conf_base64": "%%%"}, "not base64 of a JSON document"),
            ({"app_conf_base64": base64.b64encode(b"[]").decode()}, "must hold a JSON object"),
        ],
    )
    def test_a_source_that_cannot_be_read_is_named(self, keywords: dict[str, str], expected: str) -> None:
        with pytest.raises(ConfigError, match=expected):
            load_config(environ={}, **keywords)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("key = value\n", "line 1 stands before the first"),
            ("[app:main]\nnonsense\n", "line 2 is neither"),
            ("[app:main]\nprivate_token = %(secret\n", "private_token: a name in"),
            ("[app:main]\napp_config = absent.yml\n", "absent.yml, which does not exist"),
        ],
    )
    def test_a_broken_ini_names_the_line_or_key(self, tmp_path: Path, text: str, expected: str) -> None:
        write(tmp_path, server__ini=text)
        with pytest.raises(ConfigError, match=expected):
            load(tmp_path)

    def test_an_app_file_that_is_no_mapping_is_refused(self, tmp_path: Path) -> None:
        write(tmp_path, app__yml="- a\n")
        with pytest.raises(ConfigError, match="must hold options as 'name: value' lines, not a list"):
            load(tmp_path)


class TestSecrets:
    def test_neither_repr_nor_description_shows_a_secret(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            app__yml=(
                "private_token: hunter2\nmessage_queue_url: amqp://u:hunter2@h//\nmessage_queue_password: hunter2\n"
                "managers: {a: {type: queued_cli, shell_password: hunter2, env_KEY: hunter2}}\n"
                "object_store_config: {auth: hunter2}\n"
            ),
        )
        config = load(tmp_path)
        assert config.private_token == "hunter2"
        assert config.managers[0].options["shell_password"] == "hunter2"
        assert "hunter2" not in repr(config)
        assert "hunter2" not in config.describe()
        assert "hunter2" not in " ".join(config.warnings)

    def test_the_description_says_where_an_option_comes_from(self, tmp_path: Path) -> None:
        write(tmp_path, app__yml="private_token: x\nmax_upload_bytes: 7\n")
        description = load(tmp_path).describe()
        assert f"max_upload_bytes: 7 ({tmp_path}/app.yml)" in description
        assert f"private_token: (set, not shown) ({tmp_path}/app.yml)" in description
        assert "healthz_public: False (default)" in description
        assert "manager _default_: queued_python, 1 at once" in description


def test_a_manager_is_found_by_name(tmp_path: Path) -> None:
    config = config_from({"managers": {"a": {}, "b": {}}}, tmp_path, {})
    assert config.manager("b").name == "b"
    with pytest.raises(KeyError):
        config.manager("c")
