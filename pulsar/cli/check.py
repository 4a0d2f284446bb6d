"""``pulsar-check``: run one whole job on a server and verify everything that Galaxy relies on (specification 11)."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import traceback
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from pulsar import __version__
from pulsar.cli.check_run import CheckFailed, CheckRun, Wishes
from pulsar.cli.check_workspace import Workspace
from pulsar.cli.report import Redactor, Report, wants_colour
from pulsar.client.destination import base_url, url_to_destination_params, without_token
from pulsar.client.exceptions import PulsarClientTransportError
from pulsar.client.interface import HttpInterface
from pulsar.client.manager import build_client_manager
from pulsar.client.transport import TRANSPORTS, Transport, open_transport
from pulsar.errors import PulsarError
from pulsar.protocol.layout import checked_job_id

__all__ = ["main"]

#: How long the server may be silent over one request, in seconds; a job may take longer.
_SILENCE_S = 30.0


def main(argv: Sequence[str] | None = None, transport: Transport | None = None) -> int:
    """Run the check and return its exit status: 0 when every check passed, else 1.

    ``transport`` takes the place of the one that the flags name; that is for tests.
    """
    arguments = _parser().parse_args(argv)
    legacy = url_to_destination_params(arguments.url)
    token = arguments.private_token or legacy["private_token"]
    redact = Redactor((token,))
    try:
        with _logging(redact, debug=arguments.debug):
            return _check(arguments, legacy["url"], token, redact, transport)
    except (PulsarError, OSError) as exc:
        return _failed(str(exc), arguments, redact)
    except KeyboardInterrupt:
        _failed("interrupted", arguments, redact)
        return 130


def _failed(message: str, arguments: Namespace, redact: Redactor) -> int:
    if arguments.debug:
        print(redact(traceback.format_exc()), file=sys.stderr)
    print(redact(f"pulsar-check: {' '.join(message.splitlines())}"), file=sys.stderr)
    return 1


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="pulsar-check",
        allow_abbrev=False,
        description="Run one whole job on a Pulsar server and verify everything that Galaxy relies on.",
        epilog="The exit status is 0 when every check passed, 1 when one failed and 2 for flags that cannot be understood. "
        "The server needs a Python interpreter on the PATH of its jobs.",
    )
    parser.add_argument("--url", default="http://localhost:8913/", help="address of the server (default: %(default)s)")
    parser.add_argument("--manager", metavar="NAME", help="the manager that is to run the job (default: the server's default)")
    parser.add_argument("--private_token", "--private-token", metavar="TOKEN", help="private_token of the server's app.yml")
    parser.add_argument(
        "--transport", choices=sorted(TRANSPORTS), default="urllib", help="library for HTTP (default: %(default)s)"
    )
    parser.add_argument("--cache", action="store_true", help="send files over the server's upload cache")
    parser.add_argument("--test_errors", "--test-errors", action="store_true", help="ask also for what the server must refuse")
    parser.add_argument(
        "--suppress_output", "--suppress-output", "-q", action="store_true", help="print what failed and the summary only"
    )
    parser.add_argument("--disable_cleanup", "--disable-cleanup", action="store_true", help="leave the job on the server")
    parser.add_argument("--job_id", "--job-id", default="123456", metavar="ID", help="id of the job (default: %(default)s)")
    parser.add_argument(
        "--explicit_tool_declarations",
        "--explicit-tool-declarations",
        action="store_true",
        help="let the tool declare the files that it needs",
    )
    parser.add_argument(
        "--legacy_galaxy_json", "--legacy-galaxy-json", action="store_true", help="write galaxy.json in the older style"
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=120.0, metavar="SECONDS", help="wait so long for the job (default: %(default)g)"
    )
    parser.add_argument("--debug", action="store_true", help="log everything, and show where an error comes from")
    parser.add_argument("--version", action="version", version=f"pulsar-node {__version__}")
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise ArgumentTypeError("must be a number of seconds above 0")
    return seconds


def _check(arguments: Namespace, url: str, token: str | None, redact: Redactor, transport: Transport | None) -> int:
    address = _checked_address(url, arguments.manager)
    job_id = checked_job_id(arguments.job_id)
    silence = min(_SILENCE_S, arguments.timeout)
    transport = transport or open_transport(arguments.transport, silence)
    version = _greet(HttpInterface(address, token, transport), without_token(address), arguments.manager, bool(token))
    report = Report(sys.stdout, colour=wants_colour(sys.stdout), quiet=arguments.suppress_output, redact=redact)
    report.title(f"pulsar-check {__version__}: {without_token(address)} (server {version}), transport {arguments.transport}")
    wishes = Wishes(
        timeout_s=arguments.timeout,
        cleanup=not arguments.disable_cleanup,
        test_errors=arguments.test_errors,
        explicit_tool_files=arguments.explicit_tool_declarations,
        cache=arguments.cache,
    )
    with tempfile.TemporaryDirectory(prefix="pulsar-check-") as directory:
        workspace = Workspace(
            Path(directory).resolve(),
            legacy_galaxy_json=arguments.legacy_galaxy_json,
            explicit_tool_files=arguments.explicit_tool_declarations,
        )
        params = {"url": address, "private_token": token, "file_actions": workspace.file_actions()}
        manager = build_client_manager(transport=transport, cache=arguments.cache)
        run = CheckRun(manager.get_client(params, job_id), workspace, report, wishes)
        try:
            run.run()
        except PulsarError:
            if not report.failures:
                raise
            # The line of the step has said it already.
            if arguments.debug:
                print(redact(traceback.format_exc()), file=sys.stderr)
    report.summary()
    return 1 if report.failures else 0


def _checked_address(url: str, manager: str | None) -> str:
    address = base_url(url, manager)
    if manager and not address.endswith(f"/managers/{manager}/"):
        raise CheckFailed(f"{without_token(url)} names a manager already; leave out --manager")
    parts = urlsplit(address)
    try:
        usable = bool(parts.hostname) and parts.scheme in ("http", "https") and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or "//" in parts.path or any(char.isspace() for char in address):
        raise CheckFailed(f"{without_token(url)!r} is not the URL of a server; give it as http://HOST:8913/")
    return address


def _greet(interface: HttpInterface, address: str, manager: str | None, has_token: bool) -> str:
    """Return the server's version; whatever is in the way of talking to it is told with its remedy."""
    try:
        answer = interface.execute("healthz", {})
    except PulsarClientTransportError as exc:
        raise CheckFailed(_remedy(exc, address, manager, has_token)) from exc
    try:
        return str(json.loads(answer)["version"])
    except (ValueError, KeyError, TypeError) as exc:
        raise CheckFailed(f"what answers at {address} is not a Pulsar server; correct --url") from exc


def _remedy(error: PulsarClientTransportError, address: str, manager: str | None, has_token: bool) -> str:
    match (error.code, error.status):
        case (error.CONNECTION_REFUSED, _):
            return f"nothing listens at {address} (connection refused); start the server, or correct --url"
        case (error.TIMEOUT, _):
            return f"{address} does not answer (timeout); correct --url, or look for a firewall in between"
        case (_, 401) if has_token:
            return f"{address} does not accept the private token; give the one of its app.yml with --private_token"
        case (_, 401):
            return f"{address} wants a private token; give the one of its app.yml with --private_token"
        case (_, 404):
            return f"there is no Pulsar server at {address} (404 Not Found); correct --url" + _or_manager(manager)
        case (_, 500):
            return f"{address} fails to answer (500): see the server's log" + _or_manager(manager or _manager_in(address))
        case (_, None):
            scheme = " (http or https?)" if address.startswith("https") else ""
            return f"cannot talk to {address}: {error.transport_message or error}; correct --url{scheme}"
    return f"{address} refuses to answer: {error}"


def _or_manager(manager: str | None) -> str:
    return f", or the manager {manager!r} does not exist there" if manager else ""


def _manager_in(address: str) -> str | None:
    _, found, rest = address.partition("/managers/")
    return rest.strip("/") if found else None


class _RedactedFormatter(logging.Formatter):
    """The token is in every address, so it is taken out of every line."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(super().format(record))


@contextmanager
def _logging(redact: Redactor, *, debug: bool) -> Iterator[None]:
    """Log to standard error with ``debug``; without it the report says what there is to say."""
    handler: logging.Handler = logging.StreamHandler() if debug else logging.NullHandler()
    handler.setFormatter(_RedactedFormatter(redact))
    logger = logging.getLogger("pulsar")
    level = logger.level
    logger.addHandler(handler)
    if debug:
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


if __name__ == "__main__":
    sys.exit(main())
