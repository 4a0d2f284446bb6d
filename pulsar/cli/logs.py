"""Logging of a node: the administrator's, from server.ini or the option ``logging``; else INFO and above to standard error."""

from __future__ import annotations

import logging
import logging.config
import re
from pathlib import Path
from typing import Any

from pulsar.config import Config
from pulsar.config.server import ServerSettings
from pulsar.errors import ConfigError

__all__ = ["configure_logging", "redact"]

_TOKEN = re.compile(r"(private_token=)[^&\s'\"]*")
_FORMAT = "%(asctime)s %(levelname)-5.5s [%(name)s] %(message)s"


def configure_logging(config: Config, settings: ServerSettings) -> None:
    """Set up Python's logging; :class:`ConfigError` names the source of a set-up that cannot work. No line holds a token."""
    logging.setLogRecordFactory(_record)
    try:
        if settings.has_logging and config.ini_path is not None:
            logging.config.fileConfig(config.ini_path, defaults=_ini_defaults(config.ini_path), disable_existing_loggers=False)
        elif config.logging is not None:
            logging.config.dictConfig({"disable_existing_loggers": False, "version": 1, **config.logging})
        else:
            logging.basicConfig(level=logging.INFO, format=_FORMAT, force=True)
    except Exception as exc:  # fileConfig and dictConfig raise whatever the parts of the set-up raise
        source = config.ini_path if settings.has_logging else "option logging"
        raise ConfigError(f"{source}: the set-up of logging does not work: {exc}; correct it, or remove it") from exc


def _ini_defaults(ini_path: str) -> dict[str, str]:
    path = Path(ini_path).absolute()
    return {"here": str(path.parent).replace("%", "%%"), "__file__": str(path).replace("%", "%%")}


def redact(text: str) -> str:
    """Return ``text`` with the value of every ``private_token`` in an address replaced by stars."""
    return _TOKEN.sub(r"\1***", text)


def _record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    """Make a log record without a token: servers log the addresses of requests that went wrong."""
    record = logging.LogRecord(*args, **kwargs)
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - logging itself reports a message that does not fit its arguments
        return record
    if "private_token" in message:
        record.msg, record.args = redact(message), None
    return record
