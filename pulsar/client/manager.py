"""Client managers: what is shared between the clients of many jobs (specification 13.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulsar.client.client import InputCachingJobClient, JobClient
from pulsar.client.destination import url_to_destination_params
from pulsar.client.exceptions import ClientError
from pulsar.client.interface import HttpInterface
from pulsar.client.object_store import ObjectStoreClient
from pulsar.client.transport import Transport, open_transport
from pulsar.errors import ConfigError

__all__ = ["ClientManager", "build_client_manager"]

#: Ways to a server that this library does not speak yet, in the order in which they are looked for, and what asks for them.
_UNSPOKEN = {
    "job_manager": "an in-process job manager",
    "relay_url": "the relay",
    "amqp_url": "AMQP",
    "k8s_enabled": "Kubernetes",
    "tes_enabled": "TES",
    "gcp_batch_enabled": "Google Batch",
    "pulsar_app": "an in-process server",
}


def build_client_manager(**options: Any) -> ClientManager:
    """Return the client manager that the options ask for; options that mean nothing to it are ignored.

    ``transport`` (``urllib`` or ``curl``), ``transport_timeout`` in seconds and ``cache`` are for HTTP; a ``transport`` may also
    be a function from :class:`~pulsar.client.transport.Request` to :class:`~pulsar.client.transport.Response`. Raises
    :class:`~pulsar.errors.ConfigError` for a way that this version does not speak.
    """
    for key, way in _UNSPOKEN.items():
        if options.get(key):
            raise ConfigError(f"{key} asks for {way}, which this client library does not speak yet; use a URL")
    timeout = options.get("transport_timeout")
    chosen = options.get("transport")
    transport = chosen if callable(chosen) else open_transport(chosen, float(timeout) if timeout else None)
    return ClientManager(transport, cache=_truth(options.get("cache")))


class ClientManager:
    """Makes clients that talk HTTP; they share one transport and its connections."""

    def __init__(self, transport: Transport, *, cache: bool = False) -> None:
        self._transport = transport
        self._client_class = InputCachingJobClient if cache else JobClient

    def __bool__(self) -> bool:
        return True

    def get_client(self, destination_params: Mapping[str, Any] | str, job_id: str, **extra: Any) -> JobClient:
        """Return a client for one job. A destination may be a legacy URL; ``extra`` adds to its parameters."""
        params = (
            url_to_destination_params(destination_params) if isinstance(destination_params, str) else dict(destination_params)
        )
        params.update(extra)
        return self._client_class(params, str(job_id), self._interface(params))

    def get_object_store_client(self, destination_params: Mapping[str, Any] | str) -> ObjectStoreClient:
        """Return a client for the object store of a server."""
        params = url_to_destination_params(destination_params) if isinstance(destination_params, str) else destination_params
        return ObjectStoreClient(self._interface(params))

    def shutdown(self, ensure_cleanup: bool = False) -> None:
        """Nothing runs on its own here, so nothing is to be ended."""

    def _interface(self, params: Mapping[str, Any]) -> HttpInterface:
        url = params.get("url")
        if not url:
            raise ClientError("the destination has no url")
        return HttpInterface(str(url), params.get("private_token"), self._transport, params.get("manager"))


def _truth(value: Any) -> bool:
    return value.lower() in ("1", "true", "yes", "on") if isinstance(value, str) else bool(value)
