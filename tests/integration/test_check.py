from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pulsar.cli import check
from pulsar.cli.check_workspace import MARKER
from pulsar.client.exceptions import PulsarClientTransportError
from pulsar.client.transport import Request, Response
from tests.unit.client.fake_server import Call, FakeServer

TOKEN = "open sesame/ü"


@pytest.fixture
def server(tmp_path: Path) -> FakeServer:
    return FakeServer(tmp_path / "jobs", runs_jobs=True)


def run(server: Callable[[Request], Response], *flags: str) -> int:
    return check.main(["--url", "http://server:8913", *flags], transport=server)


def failed_checks(out: str) -> list[str]:
    return [line[8:42].strip() for line in out.splitlines() if line.startswith("  FAIL")]


# -- a server that does everything right --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags", [(), ("--explicit-tool-declarations", "--legacy_galaxy_json"), ("--cache", "--test-errors"), ("--manager", "q")]
)
def test_a_good_server_passes(server: FakeServer, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]) -> None:
    server.statuses = ["queued", "running"]
    assert refusing_escapes(server, *flags) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert failed_checks(out) == []
    assert "\x1b" not in out
    assert "queued, running, complete" in out
    assert "all " in out.splitlines()[-1]
    assert list(server.root.iterdir()) == []


def refusing_escapes(server: FakeServer, *flags: str) -> int:
    """The fake server believes every name; a real one does not."""
    upload = server._upload_file
    server.answers["upload_file"] = lambda call: Response(400, "Bad Request") if ".." in call.args["name"] else upload(call)
    return run(server, *flags)


def test_the_helper_of_the_tool_is_checked_when_it_is_declared(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    run(server)
    assert "helper file of the tool" not in capsys.readouterr().out
    run(server, "--explicit_tool_declarations")
    assert "helper file of the tool" in capsys.readouterr().out


def test_without_output_only_the_verdict_is_printed(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(server, "--suppress_output") == 0
    assert capsys.readouterr().out.startswith("all 34 checks passed in ")


def test_without_clean_up_the_job_is_kept_and_the_next_check_takes_it_over(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(server, "--disable_cleanup", "--job_id", "55") == 0
    assert f"the job is kept in {server.job('55')}" in capsys.readouterr().out
    assert (server.job("55") / "working" / MARKER).exists()
    assert run(server, "--job_id", "55") == 0
    assert not server.job("55").exists()


# -- a server that does one thing wrong --------------------------------------------------------------------------------------


def lose(name: str) -> Callable[[FakeServer], None]:
    def damage(directory: Path) -> None:
        path = directory / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return lambda server: setattr(server, "after_job", damage)


def spoil(name: str) -> Callable[[FakeServer], None]:
    return lambda server: setattr(server, "after_job", lambda directory: (directory / name).write_text("spoilt"))


def document(**changes: Any) -> Callable[[FakeServer], None]:
    def change(found: dict[str, Any]) -> dict[str, Any]:
        return found if found["status"] == "lost" else {**found, **changes}

    return lambda server: setattr(server, "change_document", change)


def fact(name: str, value: Any) -> Callable[[FakeServer], None]:
    def damage(directory: Path) -> None:
        path = directory / "outputs" / "dataset_1.dat"
        path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))

    return lambda server: setattr(server, "after_job", damage)


def without_upload(path_type: str, part: str) -> Callable[[FakeServer], None]:
    """The server says that it has the file, and does not."""

    def prepare(server: FakeServer) -> None:
        upload = server._upload_file

        def answer(call: Call) -> Response:
            response = upload(call)
            if call.args["type"] == path_type and part in call.args["name"]:
                Path(json.loads(response.body)["path"]).unlink()
            return response

        server.answers["upload_file"] = answer

    return prepare


def no_clean(server: FakeServer) -> None:
    server.answers["clean"] = lambda call: Response(200, "OK", b"OK")


def slow(server: FakeServer) -> None:
    server.statuses = ["running"] * 1000


WRONG: list[tuple[str, Callable[[FakeServer], None], str]] = [
    ("exit code", document(returncode=0), "expected 4, found 0"),
    ("standard output", document(stdout=""), "found ''"),
    ("standard error", document(stderr="other"), "expected 'pulsar-check tool"),
    ("job ended", document(status="failed", job_stderr="line\nno such queue"), "no such queue"),
    ("job ended", document(complete=True), "still 'complete'"),
    ("job ended", slow, "still 'running' after"),
    ("output", spoil("outputs/dataset_2.dat"), "spoilt"),
    ("extra files of an output", lose("outputs/dataset_2_files"), "found None"),
    ("second output", spoil("outputs/dataset_3.dat"), "spoilt"),
    ("version file", lose("outputs/COMMAND_VERSION"), "found None"),
    ("work-dir output", spoil("working/single.txt"), "spoilt"),
    ("work-dir output: directory", lose("working/tree/deep"), "second.txt"),
    ("outputs collected", lose("working/part_0001.txt"), "404"),
    ("output by name pattern", lose("working/primary_1_sample.txt"), "found None"),
    ("files named in galaxy.json", document(realized_dynamic_file_sources=[]), "declared_one.txt"),
    ("metadata written by the job", lose("metadata/metadata_written"), "found None"),
    ("work-dir output by pattern", spoil("working/part_0001.txt"), "spoilt"),
    ("galaxy.json", lose("working/galaxy.json"), "found False"),
    ("input", without_upload("input", "dataset_0.dat"), "found None"),
    ("input named there", fact("input_named_in_config", None), "found None"),
    ("extra files of an input", without_upload("input", "extra.txt"), "found None"),
    ("metadata file of an input", without_upload("input", "metadata_"), "found None"),
    ("metadata sent to the job", without_upload("metadata", "metadata_given"), "found None"),
    ("working directory", fact("directory", "elsewhere"), "elsewhere"),
    ("paths in the configuration file", fact("config", []), "found []"),
    ("option beyond ASCII", fact("option", "3f"), "found '?'"),
    ("environment of the request", fact("env", None), "found None"),
    ("index files", without_upload("unstructured", "human.seq"), "found ['bwa/human.fa', 'bwa/human.fa.fai']"),
    ("index path", fact("index_path", "/jobs/9/unstructured/x/bwa/human.fa"), "unstructured"),
    ("rewritten path", fact("rewritten", "/other"), "/other"),
    ("home directory of the job", fact("home_exists", False), "found False"),
    ("temporary directory of the job", fact("tmp_exists", False), "found False"),
    ("cleaned up", no_clean, "still has the job"),
]


@pytest.mark.parametrize(("name", "spoil_server", "problem"), WRONG, ids=[f"{i}-{row[0]}" for i, row in enumerate(WRONG)])
def test_what_is_wrong_is_found_and_named(
    server: FakeServer,
    capsys: pytest.CaptureFixture[str],
    name: str,
    spoil_server: Callable[[FakeServer], None],
    problem: str,
) -> None:
    spoil_server(server)
    assert run(server, "--timeout", "0.2") == 1
    out, err = capsys.readouterr()
    assert name in failed_checks(out)
    assert problem in next(line for line in out.splitlines() if line.startswith(f"  FAIL  {name}"))
    assert name in out.splitlines()[-1]
    assert err == ""


def test_a_job_that_is_given_up_is_ended_and_removed(server: FakeServer) -> None:
    slow(server)
    assert run(server, "--timeout", "0.1") == 1
    assert server.commands()[-2:] == ["cancel", "clean"]


def test_a_job_that_failed_is_kept_when_that_is_wanted(server: FakeServer) -> None:
    document(status="failed")(server)
    assert run(server, "--disable_cleanup") == 1
    assert "clean" not in server.commands()


def test_a_server_without_a_cache_is_told_what_to_do(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers["cache_required"] = lambda call: Response(500, "Internal Server Error")
    assert run(server, "--cache") == 1
    assert "file_cache_dir" in capsys.readouterr().out


def test_a_server_that_accepts_everything_fails_the_error_checks(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers["download_output"] = lambda call: (
        server._download_output(call) if server._download_output(call).status == 200 else Response(200, "OK", b"made up")
    )
    assert run(server, "--test_errors") == 1
    assert set(failed_checks(capsys.readouterr().out)) == {
        "missing output is an error",
        "nothing is left of it",
        "upload outside the job is refused",
        "failed collection is told",
        "job is kept after that",
    }


def test_a_job_of_somebody_else_is_not_touched(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    (server.job("123456") / "working").mkdir(parents=True)
    (server.job("123456") / "working" / "galaxy.txt").write_text("precious")
    assert run(server) == 1
    assert "--job_id" in capsys.readouterr().err
    assert server.commands() == ["healthz", "status"]


def test_a_living_job_is_not_touched(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    (server.job("123456") / "working").mkdir(parents=True)
    server.statuses = ["running"]
    assert run(server) == 1
    assert "(running)" in capsys.readouterr().err


# -- no way to the server ---------------------------------------------------------------------------------------------------


def raising(**error: Any) -> Callable[[Request], Response]:
    def transport(request: Request) -> Response:
        raise PulsarClientTransportError(**error)

    return transport


def answering(status: int, body: bytes = b"<html>") -> Callable[[Request], Response]:
    return lambda request: Response(status, "Reason", body, "text/html")


@pytest.mark.parametrize(
    ("transport", "flags", "remedy"),
    [
        (raising(code="connection_refused"), (), "start the server"),
        (raising(code="timeout"), (), "firewall"),
        (raising(transport_message="Name or service not known"), (), "Name or service not known; correct --url"),
        (answering(401), (), "wants a private token"),
        (answering(401), ("--private_token", TOKEN), "does not accept the private token"),
        (answering(404), (), "no Pulsar server"),
        (answering(404), ("--manager", "q"), "manager 'q' does not exist"),
        (answering(500), (), "server's log"),
        (answering(500), ("--url", "http://h/managers/z"), "manager 'z' does not exist"),
        (answering(302), (), "has moved"),
        (answering(200), (), "not a Pulsar server"),
        (answering(200, b"[1]"), (), "not a Pulsar server"),
    ],
)
def test_what_is_in_the_way_is_one_line_with_a_remedy(
    transport: Callable[[Request], Response], flags: tuple[str, ...], remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(transport, *flags) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("pulsar-check: ")
    assert remedy in err


@pytest.mark.parametrize("url", ["ftp://h", "http://", "http://h:99999", "http://h:x", "http://a b", "http://http://h"])
def test_an_address_that_is_none_is_told_before_anything_is_sent(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--url", url], transport=raising()) == 1
    assert "give it as http://HOST:8913/" in capsys.readouterr().err


def test_a_manager_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raising(), "--url", "http://h/managers/a", "--manager", "b") == 1
    assert "leave out --manager" in capsys.readouterr().err
    assert run(answering(401), "--url", "http://h/managers/a", "--manager", "a") == 1
    assert "private token" in capsys.readouterr().err


def test_an_id_that_cannot_name_a_job_is_told_before_anything_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raising(), "--job_id", "../x") == 1
    assert "job_id has a path separator" in capsys.readouterr().err


def test_the_server_may_go_away_in_between(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers["submit"] = lambda call: raising(code="connection_refused")(None)  # type: ignore[arg-type]
    assert run(server) == 1
    out, err = capsys.readouterr()
    assert failed_checks(out) == ["files sent and job launched"]
    assert "Traceback" not in out + err


# -- the secret -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("how", ["flag", "url"])
def test_the_token_is_never_printed(server: FakeServer, capsys: pytest.CaptureFixture[str], how: str, wrong: bool) -> None:
    token = "sesame&7" if how == "url" else TOKEN
    server.token = "another" if wrong else token
    flags = ["--url", f"http://{token}@server:8913/"] if how == "url" else ["--private-token", token]
    # A server that repeats what it was sent, as some do in their error pages.
    server.answers["clean"] = lambda call: Response(400, "Bad", f"{call.path} {call.args}".encode(), "text/plain")
    assert run(server, *flags, "--debug") == 1
    out, err = capsys.readouterr()
    assert server.calls[0].args["private_token"] == token
    assert "sesame" not in out + err
    assert ("Traceback" in err) is True


def test_the_log_is_as_it_was_afterwards(server: FakeServer) -> None:
    logger = logging.getLogger("pulsar")
    before = (list(logger.handlers), logger.level)
    run(server, "--debug")
    assert (logger.handlers, logger.level) == before


# -- flags ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [["--transport", "pigeon"], ["--timeout", "soon"], ["--timeout", "-1"], ["--no-such-flag"]])
def test_flags_that_cannot_be_understood(flags: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        check.main(flags)
    assert caught.value.code == 2


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        check.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("pulsar-node ")


def test_every_flag_of_the_specification_is_understood() -> None:
    flags = (
        "--url u --private_token t --transport curl --cache --test_errors --suppress_output --disable_cleanup "
        "--job_id 1 --explicit_tool_declarations --legacy_galaxy_json --debug --manager m --timeout 3"
    )
    arguments = check._parser().parse_args(flags.split())
    dashed = check._parser().parse_args([word.replace("_", "-") for word in flags.split()])
    assert vars(arguments) == vars(dashed)
    assert check._parser().parse_args([]).job_id == "123456"


def test_the_report_is_coloured_on_a_terminal_only(
    server: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setitem(os.environ, "TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    run(server)
    assert "\x1b[32mok" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    run(server)
    assert "\x1b" not in capsys.readouterr().out
