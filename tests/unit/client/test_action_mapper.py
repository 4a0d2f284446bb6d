from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pulsar.client.action_file import read_action_file
from pulsar.client.action_mapper import ALL_PATH_TYPES, DEFAULT_PATH_TYPES, FileActionMapper, Rule
from pulsar.client.actions import ACTION_TYPES
from pulsar.client.exceptions import ActionError


def mapper(*paths: dict[str, Any], **params: Any) -> FileActionMapper:
    return FileActionMapper.from_params({"file_actions": {"paths": list(paths)}, **params}, files_endpoint="http://g/files")


def test_without_rules_files_are_transferred() -> None:
    assert FileActionMapper().action("/g/a", "input").action_type == "transfer"


def test_the_first_rule_that_matches_decides() -> None:
    rules = mapper({"path": "/g/fast", "action": "copy"}, {"path": "/g", "action": "none"})
    assert rules.action("/g/fast/a", "input").action_type == "copy"
    assert rules.action("/g/slow/a", "input").action_type == "none"
    assert rules.action("/h/a", "input").action_type == "transfer"


def test_a_prefix_is_plain_text() -> None:
    assert mapper({"path": "/data", "action": "copy"}).action("/database/x", "input").action_type == "copy"


def test_a_glob_crosses_directories() -> None:
    rules = mapper({"path": "/g/*.foo", "match_type": "glob", "action": "copy"})
    assert rules.action("/g/a/b.foo", "input").action_type == "copy"
    assert rules.action("/g/a/b.bar", "input").action_type == "transfer"


def test_a_regex_is_anchored_at_its_start() -> None:
    rules = mapper({"path": r"/g/\d+", "match_type": "regex", "action": "copy"})
    assert rules.action("/g/12/x", "input").action_type == "copy"
    assert rules.action("/x/g/12", "input").action_type == "transfer"


def test_a_rule_without_a_path_speaks_of_types() -> None:
    rules = mapper({"path_types": "workdir, metadata", "action": "copy"})
    assert [rules.action("/g/a", kind).action_type for kind in ("workdir", "metadata", "input")] == ["copy", "copy", "transfer"]


def test_paths_are_made_absolute_first() -> None:
    assert mapper({"path": "/g/a", "action": "copy"}).action("/g/x/../a/b", "input").path == "/g/a/b"


def test_unstructured_files_are_opt_in() -> None:
    rules = mapper({"path": "/g", "action": "copy"})
    assert rules.action("/g/a", "unstructured").action_type == "none"
    assert rules.action("/g/a", "container").action_type == "none"
    any_type = mapper({"path": "/g", "action": "copy", "path_types": "*any*"})
    assert any_type.action("/g/a", "unstructured").action_type == "copy"


@pytest.mark.parametrize("kind", ["workdir", "jobdir", "metadata", "output_workdir", "output_metadata", "output_jobdir"])
def test_directories_that_always_differ_are_copied_rather_than_left(kind: str) -> None:
    assert mapper(default_file_action="none").action("/g/a", kind).action_type == "copy"
    assert mapper(default_file_action="none").action("/g/a", "input").action_type == "none"


def test_remote_transfers_carry_their_address() -> None:
    action = mapper(default_file_action="remote_transfer").action("/g/a", "input")
    assert action.to_dict()["url"] == "http://g/files?path=%2Fg%2Fa&file_type=input"


def test_ssh_options_are_those_of_the_rule_else_of_the_destination() -> None:
    rules = mapper({"path": "/g", "action": "remote_rsync_transfer", "ssh_user": "u"}, ssh_host="host", ssh_port="22")
    options = rules.action("/g/a", "input").options
    assert options == {"ssh_key": None, "ssh_user": "u", "ssh_host": "host", "ssh_port": "22"}
    default = mapper(default_file_action="remote_scp_transfer", ssh_user="d").action("/g/a", "input").options
    assert default["ssh_user"] == "d"


def test_the_serialised_form() -> None:
    rules = mapper(
        {"path": "/g/idx", "path_types": "unstructured", "depth": 2},
        {"path": "*.foo", "match_type": "glob", "action": "copy", "path_types": "*any*"},
        {"action": "copy", "path_types": "workdir"},
        {"path": "/z", "action": "rewrite", "source_directory": "/z", "destination_directory": "/y"},
        {"path": "/rs", "action": "remote_rsync_transfer", "ssh_user": "u"},
    )
    default = ",".join(DEFAULT_PATH_TYPES)
    assert rules.to_dict() == {
        "default_action": "transfer",
        "files_endpoint": "http://g/files",
        "ssh_key": None,
        "ssh_user": None,
        "ssh_port": None,
        "ssh_host": None,
        "paths": [
            {"action": "transfer", "path_types": "unstructured", "match_type": "prefix", "depth": 2, "path": "/g/idx"},
            {"action": "copy", "path_types": ",".join(ALL_PATH_TYPES), "match_type": "glob", "depth": 0, "path": "*.foo"},
            {"action": "copy", "path_types": "workdir", "match_type": "path_type_only", "depth": 0},
            {
                "action": "rewrite",
                "path_types": default,
                "match_type": "prefix",
                "depth": 0,
                "source_directory": "/z",
                "destination_directory": "/y",
                "path": "/z",
            },
            {
                "action": "remote_rsync_transfer",
                "path_types": default,
                "match_type": "prefix",
                "depth": 0,
                "ssh_key": "__UNSET__",
                "ssh_user": "u",
                "ssh_host": "__UNSET__",
                "ssh_port": "__UNSET__",
                "path": "/rs",
            },
        ],
    }


def test_what_is_written_is_read_back_the_same() -> None:
    rules = mapper({"path": "/g/idx", "path_types": "*any*", "depth": 1}, default_file_action="none")
    again = FileActionMapper.from_dict(json.loads(json.dumps(rules.to_dict())))
    assert again.to_dict() == rules.to_dict()
    assert again.rules == rules.rules


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ({"path": "/g", "action": "teleport"}, "action"),
        ({"path": "/g", "match_type": "feeling"}, "match_type"),
        ({"path": "(", "match_type": "regex"}, "regular expression"),
        ({"path": "/g", "depth": "deep"}, "depth"),
        ({"path": "/g", "action": "rewrite", "source_directory": "/g"}, "destination_directory"),
    ],
)
def test_what_is_wrong_in_a_rule_is_named(rule: dict[str, Any], key: str) -> None:
    with pytest.raises(ActionError, match=key):
        Rule.from_dict(rule)


def test_a_default_that_does_not_exist_is_named() -> None:
    with pytest.raises(ActionError, match="default_file_action 'x'"):
        FileActionMapper(default_action="x")


def test_rules_must_be_a_list_of_objects() -> None:
    with pytest.raises(ActionError, match="paths"):
        FileActionMapper.from_params({"file_actions": {"paths": "/g"}})


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ({"path": "/g/idx"}, ["/g/idx/a", "/g/idx/b/c.fa"]),
        ({"path": "/g/*.fa", "match_type": "glob"}, ["/g/idx/b/c.fa"]),
        ({"path": r"/g/idx/\w", "match_type": "regex"}, ["/g/idx/a", "/g/idx/b"]),
    ],
)
def test_a_rule_finds_its_paths_in_a_text(rule: dict[str, Any], found: list[str]) -> None:
    pattern = Rule.from_dict(rule).in_text
    assert pattern is not None
    assert [match.group(0) for match in pattern.finditer("tool /g/idx/a,'/g/idx/b/c.fa' /g/index")] == found


def test_a_rule_without_a_path_finds_none() -> None:
    assert Rule.from_dict({"action": "copy"}).in_text is None


def test_every_action_can_be_a_default() -> None:
    for name in ACTION_TYPES:
        if name != "rewrite":
            assert FileActionMapper(default_action=name, files_endpoint="http://g").action("/g/a", "input").action_type == name


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", '{"paths": [{"path": "/g"}]}'), ("a.yml", "paths:\n  - path: /g\n"), ("a.conf", "paths: [{path: /g}]")],
)
def test_a_file_of_actions_is_read_by_its_extension(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    rules = FileActionMapper.from_params({"file_action_config": str(tmp_path / name)}).rules
    assert [rule.path for rule in rules] == ["/g"]


@pytest.mark.parametrize(("name", "text"), [("a.json", "{"), ("a.yml", "a: ["), ("a.yml", "- 1"), ("b.json", "[]")])
def test_a_file_that_cannot_be_understood_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ActionError, match=name):
        read_action_file(str(tmp_path / name))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ActionError, match=r"no_such\.yml"):
        read_action_file(str(tmp_path / "no_such.yml"))
