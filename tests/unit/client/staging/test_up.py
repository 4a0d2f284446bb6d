from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pulsar.client import CLIENT_INPUT_PATH_TYPES, ClientInput, ClientInputs, ClientJobDescription, ClientOutputs, submit_job
from pulsar.client.client import JobClient
from pulsar.client.exceptions import StagingError
from pulsar.client.transport import Response
from tests.unit.client.conftest import write
from tests.unit.client.fake_server import FakeServer

MakeClient = Callable[..., JobClient]


@dataclass
class Tool:
    tool_dir: str | None = None
    id: str = "cat"
    version: str = "1.0"


class Declared:
    def __init__(self, *names: str) -> None:
        self._names = names

    def find_required_files(self, tool_directory: str) -> list[str]:
        return list(self._names)


def inputs(*paths: Path, kind: str = CLIENT_INPUT_PATH_TYPES.INPUT_PATH) -> ClientInputs:
    return ClientInputs([ClientInput(str(path), kind) for path in paths])


def test_the_job_is_set_up_when_nobody_has_done_so(server: FakeServer, make_client: MakeClient) -> None:
    assert submit_job(make_client("7"), ClientJobDescription(command_line="true", tool=Tool())) == "7"
    assert server.commands() == ["setup", "submit"]
    assert server.calls[0].args["tool_id"] == "cat"


def test_a_job_that_is_set_up_is_not_set_up_again(server: FakeServer, make_client: MakeClient) -> None:
    client = make_client("7")
    submit_job(client, ClientJobDescription(command_line="true"), client.setup())
    assert server.commands() == ["setup", "submit"]


def test_what_the_server_reads_of_the_staging(server: FakeServer, make_client: MakeClient) -> None:
    outputs = ClientOutputs(output_files=["/g/a.dat"], dynamic_file_sources=[{"path": "galaxy.json", "type": "galaxy"}])
    description = ClientJobDescription(
        command_line="true", client_outputs=outputs, env=[{"name": "A", "value": "B"}], touch_outputs=["a.dat"]
    )
    submit_job(make_client("7"), description)
    launch = server.launch()
    assert set(launch["remote_staging"]) == {"action_mapper", "client_outputs"}
    assert launch["remote_staging"]["client_outputs"] == outputs.to_dict()
    assert launch["dynamic_file_sources"] == [{"path": "galaxy.json", "type": "galaxy"}]
    assert launch["submit_extras"] == {"touch_outputs": ["a.dat"]}
    assert launch["env"] == [{"name": "A", "value": "B"}]


def test_files_are_sent_in_the_order_of_the_specification(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    tool = write(galaxy / "t" / "script.py")
    data = write(galaxy / "dataset_1.dat")
    config = write(galaxy / "c" / "job.conf", f"in={data}")
    index = write(galaxy / "idx" / "h.fa")
    write(galaxy / "w" / "sub" / "deep.txt")
    write(galaxy / "m" / "sub" / "meta")
    extra = write(galaxy / "j" / "extra.txt")
    description = ClientJobDescription(
        command_line=f"python {tool} {data} {index} {config}",
        tool=Tool(str(galaxy / "t")),
        config_files=[config],
        client_inputs=inputs(Path(data)),
        working_directory=str(galaxy / "w"),
        metadata_directory=str(galaxy / "m"),
        arbitrary_files={index: "word/h.fa"},
        job_directory_files=[extra],
    )
    submit_job(make_client("7", file_actions=unstructured(galaxy)), description)
    assert server.uploads() == [
        ("tool", "script.py"),
        ("jobdir", "extra.txt"),
        ("input", "dataset_1.dat"),
        ("workdir", "sub/deep.txt"),
        ("metadata", "sub/meta"),
        ("unstructured", "word/h.fa"),
        ("config", "job.conf"),
    ]
    job = server.job("7")
    assert server.launch()["command_line"] == (
        f"python {job}/tool_files/script.py {job}/inputs/dataset_1.dat {job}/unstructured/word/h.fa {job}/configs/job.conf"
    )
    assert (job / "configs" / "job.conf").read_text() == f"in={job}/inputs/dataset_1.dat"


def test_the_path_of_the_answer_goes_into_the_command(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    data = write(galaxy / "dataset_1.dat")
    server.answers["upload_file"] = lambda call: Response(200, "OK", b'{"path": "/as/the/job/sees/it"}')
    submit_job(make_client("7"), ClientJobDescription(command_line=f"cat {data}", client_inputs=inputs(Path(data))))
    assert server.launch()["command_line"] == "cat /as/the/job/sees/it"


def test_outputs_and_the_version_are_renamed(server: FakeServer, make_client: MakeClient) -> None:
    outputs = ClientOutputs(
        working_directory="/g/w", output_files=["/g/dataset_1.dat", "/g/w/sub/out.dat"], version_file="/g/VERSION_7"
    )
    command = "run > /g/dataset_1.dat; run > /g/w/sub/out.dat; run -v > /g/VERSION_7"
    submit_job(make_client("7"), ClientJobDescription(command_line=command, client_outputs=outputs))
    job = server.job("7")
    assert server.launch()["command_line"] == (
        f"run > {job}/outputs/dataset_1.dat; run > {job}/working/out.dat; run -v > {job}/outputs/COMMAND_VERSION"
    )


def test_an_input_is_sent_once_and_only_when_it_is_used(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    used, unused = galaxy / "dataset_1.dat", galaxy / "dataset_2.dat"
    write(used)
    write(unused)
    submit_job(make_client("7"), ClientJobDescription(command_line=f"cat {used}", client_inputs=inputs(used, used, unused)))
    assert server.uploads() == [("input", "dataset_1.dat")]


def test_an_input_that_only_a_config_file_uses_is_sent(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    data = write(galaxy / "dataset_1.dat")
    config = write(galaxy / "job.conf", data)
    description = ClientJobDescription(command_line="run", config_files=[config], client_inputs=inputs(Path(data)))
    submit_job(make_client("7"), description)
    assert server.uploads() == [("input", "dataset_1.dat"), ("config", "job.conf")]


def test_when_galaxy_has_rewritten_all_inputs_are_sent_and_nothing_is_changed(
    server: FakeServer, make_client: MakeClient, galaxy: Path
) -> None:
    data = galaxy / "dataset_1.dat"
    write(data)
    write(galaxy / "dataset_1_files" / "a" / "b")
    config = write(galaxy / "job.conf", f"in={data}")
    both = ClientInputs([*inputs(data), *inputs(galaxy / "dataset_1_files", kind=CLIENT_INPUT_PATH_TYPES.INPUT_EXTRA_FILES_PATH)])
    description = ClientJobDescription(
        command_line=f"cat {data} /R/inputs/x", client_inputs=both, config_files=[config], rewrite_paths=False
    )
    submit_job(make_client("7"), description)
    assert server.uploads() == [("input", "dataset_1.dat"), ("input", "dataset_1_files/a/b"), ("config", "job.conf")]
    assert server.launch()["command_line"] == f"cat {data} /R/inputs/x"
    assert (server.job("7") / "configs" / "job.conf").read_text() == f"in={data}"


def test_tool_paths_are_rewritten_even_then(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    script = write(galaxy / "t" / "sub" / "script.py")
    description = ClientJobDescription(command_line=f"python {script}", tool=Tool(str(galaxy / "t")), rewrite_paths=False)
    submit_job(make_client("7"), description)
    assert server.launch()["command_line"] == f"python {server.job('7')}/tool_files/sub/script.py"


@pytest.mark.parametrize("kind", [CLIENT_INPUT_PATH_TYPES.INPUT_PATH, CLIENT_INPUT_PATH_TYPES.INPUT_METADATA_PATH])
def test_an_input_that_is_missing_here_is_an_error(make_client: MakeClient, galaxy: Path, kind: str) -> None:
    missing = galaxy / "missing.dat"
    with pytest.raises(StagingError, match=r"missing\.dat"):
        submit_job(
            make_client("7"), ClientJobDescription(command_line=f"cat {missing}", client_inputs=inputs(missing, kind=kind))
        )


def test_metadata_files_of_inputs_have_a_prefix(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    path = galaxy / "12.dat"
    write(path)
    description = ClientJobDescription(
        command_line=f"cat {path}", client_inputs=inputs(path, kind=CLIENT_INPUT_PATH_TYPES.INPUT_METADATA_PATH)
    )
    submit_job(make_client("7"), description)
    assert server.launch()["command_line"] == f"cat {server.job('7')}/inputs/metadata_12.dat"


@pytest.mark.parametrize(
    ("mention", "sent"),
    [
        ("dataset_1_files/a/b", ["dataset_1_files/a/b"]),
        ("dataset_1_files", ["dataset_1_files/c", "dataset_1_files/a/b"]),
        ("dataset_1_files/a", ["dataset_1_files/a/b"]),
        ("other", []),
    ],
)
def test_extra_files_are_sent_as_far_as_they_are_used(
    server: FakeServer, make_client: MakeClient, galaxy: Path, mention: str, sent: list[str]
) -> None:
    write(galaxy / "dataset_1_files" / "a" / "b")
    write(galaxy / "dataset_1_files" / "c")
    extra = inputs(galaxy / "dataset_1_files", kind=CLIENT_INPUT_PATH_TYPES.INPUT_EXTRA_FILES_PATH)
    submit_job(make_client("7"), ClientJobDescription(command_line=f"ls {galaxy}/{mention} end", client_inputs=extra))
    assert server.uploads() == [("input", name) for name in sent]
    expected = f"{server.job('7')}/inputs/{mention}" if sent else f"{galaxy}/{mention}"
    assert server.launch()["command_line"] == f"ls {expected} end"


def test_declared_tool_files_are_sent_whether_or_not_they_are_mentioned(
    server: FakeServer, make_client: MakeClient, galaxy: Path
) -> None:
    for name in ("script.py", "sub/helper.py", "unused.txt"):
        write(galaxy / "t" / name)
    description = ClientJobDescription(
        command_line="true",
        tool=Tool(str(galaxy / "t")),
        tool_directory_required_files=Declared("script.py", "sub/helper.py"),
    )
    submit_job(make_client("7"), description)
    assert server.uploads() == [("tool", "script.py"), ("tool", "sub/helper.py")]


def test_a_directory_of_the_tool_that_is_mentioned_is_sent_whole(
    server: FakeServer, make_client: MakeClient, galaxy: Path
) -> None:
    for name in ("lib/a.py", "lib/b/c.py", "other.py"):
        write(galaxy / "t" / name)
    tool = Tool(str(galaxy / "t"))
    submit_job(make_client("7"), ClientJobDescription(command_line=f"run {galaxy}/t/lib/a.py {galaxy}/t/lib", tool=tool))
    assert server.uploads() == [("tool", "lib/a.py"), ("tool", "lib/b/c.py")]
    assert server.launch()["command_line"] == f"run {server.job('7')}/tool_files/lib/a.py {server.job('7')}/tool_files/lib"


def unstructured(galaxy: Path, **rule: Any) -> dict[str, Any]:
    return {"paths": [{"path": str(galaxy / "idx"), "path_types": "unstructured", **rule}]}


def test_unstructured_files_are_found_in_the_command_and_travel_with_their_tree(
    server: FakeServer, make_client: MakeClient, galaxy: Path
) -> None:
    for name in ("bwa/h.fa", "bwa/h.fa.fai", "seq/s"):
        write(galaxy / "idx" / name)
    path = f"{galaxy}/idx/bwa/h.fa"
    command = f"bwa {path} {path}.fai --x='{path}'"
    submit_job(make_client("7", file_actions=unstructured(galaxy, depth=2)), ClientJobDescription(command_line=command))
    digest = hashlib.md5(path.encode()).hexdigest()
    assert sorted(server.uploads()) == [("unstructured", f"{digest}/{name}") for name in ("bwa/h.fa", "bwa/h.fa.fai", "seq/s")]
    there = f"{server.job('7')}/unstructured/{digest}/bwa/h.fa"
    assert server.launch()["command_line"] == f"bwa {there} {there}.fai --x='{there}'"


def test_the_prefix_of_an_index_is_rewritten_with_its_files(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    for name in ("h.1.ebwt", "h.2.ebwt"):
        write(galaxy / "idx" / "bt" / name)
    path = f"{galaxy}/idx/bt/h"
    submit_job(make_client("7", file_actions=unstructured(galaxy, depth=1)), ClientJobDescription(command_line=f"bowtie {path}"))
    digest = hashlib.md5(path.encode()).hexdigest()
    assert server.launch()["command_line"] == f"bowtie {server.job('7')}/unstructured/{digest}/h"
    assert len(server.uploads()) == 2


def test_a_path_that_exists_nowhere_here_is_left_alone(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    command = f"bwa {galaxy}/idx/none.fa"
    submit_job(make_client("7", file_actions=unstructured(galaxy)), ClientJobDescription(command_line=command))
    assert server.launch()["command_line"] == command


def test_a_rewrite_of_unstructured_files_moves_nothing(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    rule = unstructured(galaxy, action="rewrite", source_directory=f"{galaxy}/idx", destination_directory="/mnt/idx")
    submit_job(make_client("7", file_actions=rule), ClientJobDescription(command_line=f"bwa {galaxy}/idx/h.fa"))
    assert server.uploads() == []
    assert server.launch()["command_line"] == "bwa /mnt/idx/h.fa"


def test_what_is_left_alone_is_neither_sent_nor_rewritten(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    data = write(galaxy / "dataset_1.dat")
    outputs = ClientOutputs(output_files=["/g/out.dat"])
    description = ClientJobDescription(
        command_line=f"cat {data} > /g/out.dat", client_inputs=inputs(Path(data)), client_outputs=outputs
    )
    submit_job(make_client("7", default_file_action="none"), description)
    assert server.uploads() == []
    assert server.launch()["command_line"] == f"cat {data} > /g/out.dat"


def test_what_the_server_moves_is_written_into_the_launch(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    data = write(galaxy / "dataset_1.dat")
    ref = {"dataset_id": 1, "dataset_uuid": "u", "object_store_id": "o"}
    description = ClientJobDescription(
        command_line=f"cat {data}", client_inputs=ClientInputs([ClientInput(data, "input_path", ref)])
    )
    client = make_client("7", default_file_action="remote_transfer", files_endpoint="http://g/f?k=1")
    submit_job(client, description)
    assert server.uploads() == []
    (entry,) = server.launch()["remote_staging"]["setup"]
    assert (entry["name"], entry["type"]) == ("dataset_1.dat", "input")
    assert entry["action"]["action_type"] == "remote_transfer"
    assert entry["action"]["source"] == {"path": data, "object_store_ref": ref}
    assert entry["action"]["url"].startswith("http://g/f?k=1&path=")
    assert server.launch()["command_line"] == f"cat {server.job('7')}/inputs/dataset_1.dat"


def test_without_asking_the_server_configs_travel_in_the_launch(
    server: FakeServer, make_client: MakeClient, galaxy: Path
) -> None:
    config = write(galaxy / "job.conf", "text")
    client = make_client("7", jobs_directory="/R", default_file_action="remote_copy")
    submit_job(client, ClientJobDescription(command_line=f"run {config}", config_files=[config]))
    assert server.commands() == ["submit"]
    assert server.launch()["command_line"] == "run /R/7/configs/job.conf"
    assert server.launch()["remote_staging"]["setup"] == [
        {"name": "job.conf", "type": "config", "action": {"contents": "text", "action_type": "message"}}
    ]
    json.dumps(server.launch())


def test_a_config_file_that_is_no_text_travels_as_it_is(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    config = galaxy / "job.bin"
    config.write_bytes(b"\xff\x00")
    submit_job(make_client("7"), ClientJobDescription(command_line="run", config_files=[str(config)]))
    assert (server.job("7") / "configs" / "job.bin").read_bytes() == b"\xff\x00"


def test_a_config_file_that_cannot_be_read_is_named(make_client: MakeClient, galaxy: Path) -> None:
    with pytest.raises(StagingError, match=r"gone\.conf"):
        submit_job(make_client("7"), ClientJobDescription(command_line="run", config_files=[str(galaxy / "gone.conf")]))


def test_files_of_a_shared_file_system_are_copied(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    data = write(galaxy / "dataset_1.dat", "content")
    client = make_client("7", default_file_action="copy")
    submit_job(client, ClientJobDescription(command_line=f"cat {data}", client_inputs=inputs(Path(data))))
    assert server.commands() == ["setup", "path", "submit"]
    assert (server.job("7") / "inputs" / "dataset_1.dat").read_text() == "content"


def test_galaxy_s_own_dependencies_write_themselves(server: FakeServer, make_client: MakeClient) -> None:
    class Dependencies:
        def to_dict(self) -> dict[str, Any]:
            return {"requirements": []}

    submit_job(make_client("7"), ClientJobDescription(command_line="true", dependencies_description=Dependencies()))
    assert server.launch()["dependencies_description"] == {"requirements": []}
