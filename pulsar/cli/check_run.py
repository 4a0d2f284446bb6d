"""One run of ``pulsar-check``: a whole job over the wire, and what is verified about it (specification 11)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulsar.cli.check_payload import EXIT_CODE, STDERR_TEXT, STDOUT_PREFIX, VERSION_TEXT
from pulsar.cli.check_workspace import ENV_VALUE, MARKER, OPTION, REWRITTEN_DIRECTORY, Workspace
from pulsar.cli.report import Report
from pulsar.client.client import JobClient
from pulsar.client.exceptions import ClientError, PulsarClientTransportError
from pulsar.client.staging.down import finish_job
from pulsar.client.staging.models import ClientOutputs, PulsarOutputs
from pulsar.client.staging.up import submit_job
from pulsar.errors import PulsarError
from pulsar.protocol.status import WireStatus
from pulsar.retry import Backoff

__all__ = ["CheckFailed", "CheckRun", "Wishes"]

_POLL = Backoff(start=0.05, factor=1.5, maximum=1.0)


class CheckFailed(PulsarError):
    """The server did not do what it must; the message is the line of the report."""


@dataclass(frozen=True)
class Wishes:
    """What the flags of the command ask for."""

    timeout_s: float = 120.0
    cleanup: bool = True
    test_errors: bool = False
    explicit_tool_files: bool = False
    cache: bool = False


class CheckRun:
    """Carries the job of ``workspace`` through its life with ``client`` and reports on every step."""

    def __init__(
        self,
        client: JobClient,
        workspace: Workspace,
        report: Report,
        wishes: Wishes,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._workspace = workspace
        self._report = report
        self._wishes = wishes
        self._sleep = sleep
        self._clock = clock

    def run(self) -> None:
        """Do it all. Raises the :class:`PulsarError` of the step that made it impossible to go on, after reporting it."""
        self._claim_job_id()
        with self._report.step("set up") as step:
            setup = self._client.setup("pulsar_check", "1.0")
            step.detail = f"job {self._client.job_id}, server speaks {setup.get('pulsar_version')}"
        try:
            document = self._carry_out(setup)
            self._verify(document, setup)
            if self._wishes.test_errors:
                self._verify_errors(document)
        except BaseException:
            self._give_up()
            raise
        self._clean(str(setup.get("job_directory")))

    # -- the life of the job ----------------------------------------------------------------------------------------------

    def _claim_job_id(self) -> None:
        """Never touch somebody else's job: the default id is a number that Galaxy may well use."""
        document = self._client.full_status()
        if document.get("status") == WireStatus.LOST.value:
            return
        job_id = self._client.job_id
        if MARKER not in (document.get("working_directory_contents") or ()):
            raise CheckFailed(
                f"the server has a job {job_id} already ({document.get('status')}), which may be a real one; "
                "give this check an id of its own with --job_id"
            )
        self._client.clean()

    def _carry_out(self, setup: dict[str, Any]) -> dict[str, Any]:
        with self._report.step("files sent and job launched") as step:
            try:
                submit_job(self._client, self._workspace.description(), setup)
            except PulsarClientTransportError as exc:
                if self._wishes.cache:
                    raise CheckFailed(f"{exc}; --cache needs file_cache_dir in the app.yml of the server") from exc
                raise
            step.detail = "with the upload cache" if self._wishes.cache else ""
        with self._report.step("job ended") as step:
            document, seen = self._await_end()
            step.detail = ", ".join(seen)
        with self._report.step("outputs collected"):
            outputs = PulsarOutputs.from_status_response(document)
            failures = finish_job(self._client, "never", True, self._workspace.outputs(), outputs)
            if failures:
                raise CheckFailed(f"{len(failures)} could not be collected: {failures[0]}{self._explanation(document)}")
        return document

    def _await_end(self) -> tuple[dict[str, Any], list[str]]:
        deadline = self._clock() + self._wishes.timeout_s
        seen: list[str] = []
        for pause in _POLL.pauses():
            document = self._client.full_status()
            status = str(document.get("status"))
            if status not in seen:
                seen.append(status)
            if document.get("complete") == "true":
                break
            if self._clock() > deadline:
                raise CheckFailed(
                    f"still {status!r} after {self._wishes.timeout_s:g} s; is the manager of the server working? "
                    "(--timeout waits longer)"
                )
            self._sleep(pause)
        if status != WireStatus.COMPLETE.value:
            raise CheckFailed(f"it ended as {status!r} instead of 'complete'{self._explanation(document)}")
        return document, seen

    def _explanation(self, document: dict[str, Any]) -> str:
        """What the server or the tool said about it; the last line of a traceback is the telling one."""
        for key in ("job_stderr", "stderr"):
            lines = str(document.get(key) or "").strip().splitlines()
            if lines and lines[-1] != STDERR_TEXT:
                return f"; {key} of the job ends with: {lines[-1][:300]}"
        return ""

    def _clean(self, directory: str) -> None:
        if not self._wishes.cleanup:
            self._report.title(f"  the job is kept in {directory}")
            return
        with self._report.step("cleaned up"):
            self._client.clean()
            status = self._client.get_status()
            if status != WireStatus.LOST.value:
                raise CheckFailed(f"the server still has the job ({status}); with debug: true in its app.yml it keeps all jobs")

    def _give_up(self) -> None:
        """End what was begun; why it was given up is what the caller has to tell."""
        if self._wishes.cleanup:
            try:
                self._client.kill()
                self._client.clean()
            except PulsarError:
                return

    # -- what is verified -------------------------------------------------------------------------------------------------

    def _verify(self, document: dict[str, Any], setup: dict[str, Any]) -> None:
        for name, expected, found in (*self._status_checks(document), *self._output_checks()):
            self._compare(name, expected, found)
        try:
            facts = json.loads(self._workspace.facts.read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise CheckFailed(f"the tool did not tell what it saw: {exc}{self._explanation(document)}") from exc
        for name, expected, found in self._fact_checks(facts, setup):
            self._compare(name, expected, found)
        self._compare_index(str(facts.get("index_path")), str(setup.get("job_id") or self._client.job_id))

    def _status_checks(self, document: dict[str, Any]) -> Iterator[tuple[str, object, object]]:
        stdout = str(document.get("stdout"))
        yield "flag 'complete'", "true", document.get("complete")
        yield "exit code", EXIT_CODE, document.get("returncode")
        yield "standard output", STDOUT_PREFIX, stdout[: len(STDOUT_PREFIX)]
        yield "standard error", STDERR_TEXT, str(document.get("stderr"))[: len(STDERR_TEXT)]

    def _output_checks(self) -> Iterator[tuple[str, object, object]]:
        space = self._workspace
        text = space.input_text
        yield "output", text, _text(space.output)
        yield "extra files of an output", f"extra {text}", _text(space.root / "dataset_2_files" / "nested" / "extra.txt")
        yield "second output", text, _text(space.copy)
        yield "version file", VERSION_TEXT, _text(space.version)
        yield "work-dir output", f"single {text}", _text(space.single)
        yield "work-dir output by pattern", f"part {text}", _text(space.part)
        expected = {"first.txt": f"first {text}", "deep/second.txt": f"second {text}"}
        yield "work-dir output: directory", expected, {name: _text(space.tree / name) for name in expected}
        yield "output by name pattern", f"primary {text}", _text(space.working / "primary_1_sample.txt")
        yield "galaxy.json", True, (space.working / "galaxy.json").is_file()
        expected = {"declared_one.txt": f"one {text}", "declared_two.txt": f"two {text}"}
        yield "files named in galaxy.json", expected, {name: _text(space.working / name) for name in expected}
        yield "metadata written by the job", f"metadata {text}", _text(space.metadata / "metadata_written")

    def _fact_checks(self, facts: dict[str, Any], setup: dict[str, Any]) -> Iterator[tuple[str, object, object]]:
        space, nonce = self._workspace, self._workspace.nonce
        separator = str((setup.get("system_properties") or {}).get("separator") or "/")

        def remote(key: str, name: str) -> str:
            return separator.join((str(setup.get(key)), name))

        yield "input", space.input_text, facts.get("input")
        yield "extra files of an input", f"extra input {nonce}", facts.get("extra")
        yield "metadata file of an input", f"input metadata {nonce}", facts.get("input_metadata")
        yield "metadata sent to the job", f"metadata {nonce}", facts.get("metadata")
        config = [
            f"input={remote('inputs_directory', 'dataset_0.dat')}",
            f"output={remote('outputs_directory', space.output.name)}",
            f"plain={nonce}",
        ]
        yield "paths in the configuration file", config, facts.get("config")
        yield "input named there", space.input_text, facts.get("input_named_in_config")
        yield "working directory", ("working", f"work file {nonce}"), (facts.get("directory"), facts.get("work_file"))
        yield "option beyond ASCII", OPTION, bytes.fromhex(str(facts.get("option"))).decode("utf-8", "replace")
        yield "environment of the request", ENV_VALUE, facts.get("env")
        yield "index files", ["bwa/human.fa", "bwa/human.fa.fai", "seq/human.seq"], facts.get("index_files")
        yield "rewritten path", f"{REWRITTEN_DIRECTORY}/reference", facts.get("rewritten")
        yield "home directory of the job", True, facts.get("home_exists")
        yield "temporary directory of the job", True, facts.get("tmp_exists")
        if self._wishes.explicit_tool_files:
            yield "helper file of the tool", f"# helper {nonce}\n", facts.get("helper")

    def _compare_index(self, path: str, job_id: str) -> None:
        pattern = rf"{re.escape(job_id)}[/\\]unstructured[/\\]\w+[/\\]bwa[/\\]human\.fa"
        problem = None if re.search(f"{pattern}$", path) else f"expected <job>/unstructured/<word>/bwa/human.fa, found {path!a}"
        self._report.check("index path", problem)

    def _compare(self, name: str, expected: object, found: object) -> None:
        problem = None if expected == found else f"expected {_shown(expected)}, found {_shown(found)}"
        self._report.check(name, problem)

    # -- errors that the server has to make ---------------------------------------------------------------------------------

    def _verify_errors(self, document: dict[str, Any]) -> None:
        """Ask for what must be refused, and see that it is."""
        client, root = self._client, self._workspace.root

        def download_missing() -> None:
            client.fetch_output(str(root / "never"), "never_made.dat")

        def leave_the_directory() -> None:
            client.put_file(None, "input", "../../../pulsar_check_escaped", contents=b"escaped")

        def send_what_is_not_here() -> None:
            client.put_file(str(root / "not_here.dat"), "input")

        self._expect_refusal("missing output is an error", download_missing)
        self._report.check("nothing is left of it", "a file was written" if (root / "never").exists() else None)
        self._expect_refusal("upload outside the job is refused", leave_the_directory)
        self._expect_refusal("missing input is an error", send_what_is_not_here)
        outputs = ClientOutputs(work_dir_outputs=[(str(root / "working" / "no_such.txt"), str(root / "dataset_9.dat"))])
        outputs.working_directory = str(root / "working")
        failures = finish_job(client, "onsuccess", True, outputs, PulsarOutputs.from_status_response(document))
        self._report.check(
            "failed collection is told", None if len(failures) == 1 else f"{len(failures)} failures were told, not 1"
        )
        kept = client.get_status()
        problem = None if kept == WireStatus.COMPLETE.value else f"it is {kept!r}, and should have been kept"
        self._report.check("job is kept after that", problem)

    def _expect_refusal(self, name: str, ask: Callable[[], None]) -> None:
        try:
            ask()
        except ClientError:
            self._report.check(name, None)
        else:
            self._report.check(name, "the server accepted it")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 300 else f"{text[:300]}..."
