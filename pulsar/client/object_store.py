"""The object store of a server, over the ``object_store_*`` commands (specification 1.2)."""

from __future__ import annotations

from typing import Any

from pulsar.client.client import decoded
from pulsar.client.interface import ServerInterface

__all__ = ["ObjectStoreClient"]


class ObjectStoreClient:
    """Ask about objects by id. ``options`` are the optional query keys of the command, such as ``extra_dir``."""

    def __init__(self, interface: ServerInterface) -> None:
        self._interface = interface

    def exists(self, object_id: str, **options: Any) -> bool:
        """Return whether the object is in the store."""
        return bool(self._ask("object_store_exists", object_id, options))

    def file_ready(self, object_id: str, **options: Any) -> bool:
        """Return whether the object's file can be read now."""
        return bool(self._ask("object_store_file_ready", object_id, options))

    def create(self, object_id: str, **options: Any) -> Any:
        """Make the object, empty."""
        return self._ask("object_store_create", object_id, options)

    def empty(self, object_id: str, **options: Any) -> bool:
        """Return whether the object has no bytes."""
        return bool(self._ask("object_store_empty", object_id, options))

    def size(self, object_id: str, **options: Any) -> int:
        """Return the object's size in bytes."""
        return int(self._ask("object_store_size", object_id, options))

    def delete(self, object_id: str, **options: Any) -> bool:
        """Remove the object; return whether it is gone."""
        return bool(self._ask("object_store_delete", object_id, options))

    def get_data(self, object_id: str, start: int = 0, count: int = -1, **options: Any) -> str:
        """Return ``count`` characters of the object from ``start`` (all of them when negative)."""
        return str(self._ask("object_store_get_data", object_id, {"start": start, "count": count, **options}))

    def get_filename(self, object_id: str, **options: Any) -> str:
        """Return the path of the object's file on the server."""
        return str(self._ask("object_store_get_filename", object_id, options))

    def update_from_file(self, object_id: str, **options: Any) -> None:
        """Replace the object by a file of the server (``file_name``)."""
        self._ask("object_store_update_from_file", object_id, options)

    def get_store_usage_percent(self) -> float:
        """Return how full the store is."""
        return float(self._ask("object_store_get_store_usage_percent", None, {}))

    def _ask(self, name: str, object_id: str | None, options: dict[str, Any]) -> Any:
        args = {key: None if value is None else str(value) for key, value in options.items()}
        return decoded(self._interface.execute(name, {"object_id": object_id, **args}), name)
