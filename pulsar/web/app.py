"""The WSGI application: find the command, check the token, read the parameters, call the handler, answer.

Every error of a request becomes a response in one place, :func:`pulsar.web.answers.error_answer`.
"""

from __future__ import annotations

import hmac
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from pulsar.errors import RequestError, Unauthorized
from pulsar.jobs.ports import OpenedFile
from pulsar.jobs.service import JobService
from pulsar.protocol.commands import COMMANDS
from pulsar.store.cache import UploadCache
from pulsar.web.answers import Answer, error_answer, json_answer, status_line
from pulsar.web.bodies import RequestBody
from pulsar.web.downloads import send_file
from pulsar.web.handlers import Handler, Handlers
from pulsar.web.params import decoded_path, query_values
from pulsar.web.routes import Routes

__all__ = ["WebApp"]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

_TOKEN_KEY = "private_token"  # noqa: S105 - the name of the parameter
#: Characters of a path that the log shows.
_SHOWN = 200


class _Route:
    """What is known of a command before any request comes."""

    def __init__(self, handler: Handler, required: tuple[str, ...], optional: tuple[str, ...]) -> None:
        self.handler = handler
        self.required = required
        self.wanted = frozenset({*required, *optional})
        parameters = inspect.signature(handler).parameters
        self.takes_body = "body" in parameters
        self.takes_client_ip = "client_ip" in parameters


class WebApp:
    """The REST API of a node. Its parts are given; it keeps no state of its own, so any thread may call it.

    ``token`` None lets everybody in. ``healthz_public``: ``/healthz`` tells who has no token that the node is alive, and no
    more. ``max_upload_bytes`` 0 is no limit. ``reads_never_wait``: the ledger can be read at once whoever is writing.
    """

    def __init__(
        self,
        service: JobService,
        token: str | None,
        health: Callable[[], dict[str, Any]],
        *,
        healthz_public: bool = False,
        max_upload_bytes: int = 0,
        file_cache: UploadCache | None = None,
        reads_never_wait: bool = False,
    ) -> None:
        self._manager_of = service.manager_of
        self._token = token.encode("utf-8") if token else None
        self._health = health
        self._healthz_public = healthz_public
        self._most_bytes = max_upload_bytes
        self._reads_never_wait = reads_never_wait
        self._routes = Routes(COMMANDS.values())
        self._by_name = {
            name: _Route(handler, COMMANDS[name].required, COMMANDS[name].optional)
            for name, handler in Handlers(service, file_cache, health).table().items()
        }

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        body = None
        try:
            body = RequestBody(environ, self._most_bytes)
            result = self._result(environ, body)
            if isinstance(result, OpenedFile):
                return send_file(result, environ, start_response)
        except Exception as exc:  # noqa: BLE001 - the edge of a request: whatever it was becomes a response
            result = error_answer(exc, f"{environ['REQUEST_METHOD'][:20]} {environ.get('PATH_INFO', '')[:_SHOWN]!r}")
        finally:
            if body is not None:
                body.drain()
        content, content_type, status, headers = result
        start_response(status_line(status), [("Content-Type", content_type), ("Content-Length", str(len(content))), *headers])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]

    def is_quick(self, environ: Environ) -> bool:
        """Return whether the request is answered by a few reads of the ledger that wait for nobody.

        A server need not set a thread aside for it, so it is answered even when uploads have taken all threads.
        """
        if not self._reads_never_wait or environ["REQUEST_METHOD"] != "GET":
            return False
        if "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
            return False
        path = environ.get("PATH_INFO", "")
        # Whatever else ends like this is not found, which is quick as well.
        return path == "/healthz" or (path.endswith("/status") and "/jobs/" in path)

    def _result(self, environ: Environ, body: RequestBody) -> Answer | OpenedFile:
        path = decoded_path(environ.get("PATH_INFO", ""), environ.get("RAW_URI") or environ.get("REQUEST_URI"))
        command, manager, variables = self._routes.find(environ["REQUEST_METHOD"], path)
        query = environ.get("QUERY_STRING", "")
        if self._token is not None and not self._is_authorised(environ, query):
            if command.name == "healthz" and self._healthz_public:
                return self._liveness()
            raise Unauthorized("private_token is missing or wrong; give it in the query or as 'Authorization: Bearer <token>'")
        route = self._by_name[command.name]
        arguments: dict[str, Any] = query_values(query, route.wanted) if route.wanted else {}
        arguments.update(variables)
        for name in route.required:
            if name not in arguments:
                raise RequestError(f"{name} is missing from the query")
        arguments["manager"] = self._manager_of(manager)
        if route.takes_body:
            arguments["body"] = body
        if route.takes_client_ip:
            arguments["client_ip"] = _client_ip(environ)
        return route.handler(**arguments)

    def _is_authorised(self, environ: Environ, query: str) -> bool:
        assert self._token is not None
        offered = []
        if _TOKEN_KEY in query:
            try:
                offered.append(query_values(query, (_TOKEN_KEY,)).get(_TOKEN_KEY, ""))
            except RequestError:
                return False
        scheme, _, credentials = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() == "bearer":
            offered.append(credentials.strip())
        # In constant time: how long it takes tells nothing of the token.
        return any(hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token) for token in offered)

    def _liveness(self) -> Answer:
        """Return what the whole world may know."""
        health = self._health()
        return json_answer({key: health[key] for key in ("version", "status") if key in health})


def _client_ip(environ: Environ) -> str:
    """Return the address that a cache token is made of (specification 1.6)."""
    forwarded = environ.get("HTTP_X_FORWARDED_FOR")
    if forwarded:
        return str(forwarded).rsplit(",", 1)[-1].strip()
    return str(environ.get("REMOTE_ADDR", ""))
