"""Logging: whose set-up counts, and that no line holds a token."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from pulsar.cli.logs import configure_logging
from pulsar.config import config_from, load_config
from pulsar.config.server import ServerSettings, load_server_settings
from pulsar.errors import ConfigError

INI = """[loggers]
keys = root
[handlers]
keys = file
[formatters]
keys =
[logger_root]
level = WARNING
handlers = file
[handler_file]
class = FileHandler
args = (%(here)r + "/mine.log",)
"""


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = (list(root.handlers), root.level, logging.getLogRecordFactory())
    yield
    for handler in root.handlers:
        if handler not in before[0]:
            handler.close()
    root.handlers[:], root.level = before[0], before[1]
    logging.setLogRecordFactory(before[2])


def test_the_inis_logging_counts(tmp_path: Path) -> None:
    (tmp_path / "server.ini").write_text(INI.replace("%(here)r", f"{str(tmp_path)!r}"))
    config = load_config(tmp_path, environ={})
    configure_logging(config, load_server_settings(config.ini_path))
    logging.getLogger("pulsar.x").warning("kept")
    logging.getLogger("pulsar.x").info("not kept")
    assert (tmp_path / "mine.log").read_text() == "kept\n"


def test_the_option_counts_where_there_is_no_ini(tmp_path: Path) -> None:
    document = {
        "handlers": {"f": {"class": "logging.FileHandler", "filename": str(tmp_path / "log")}},
        "root": {"level": "DEBUG", "handlers": ["f"]},
    }
    configure_logging(config_from({"logging": document}, tmp_path, {}), ServerSettings())
    logging.getLogger("pulsar.x").debug("kept")
    assert (tmp_path / "log").read_text() == "kept\n"


def test_a_set_up_that_cannot_work_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="option logging: the set-up of logging does not work"):
        configure_logging(config_from({"logging": {"handlers": {"f": {"class": "no.such"}}}}, tmp_path, {}), ServerSettings())


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("GET /jobs?private_token=hunter2&x=1 failed", ()),
        ("%s failed", ("/jobs?x=1&private_token=hunter2",)),
        ("%r", ("GET /?private_token=hunter2 HTTP/1.1",)),
    ],
)
def test_no_line_holds_a_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], message: str, arguments: tuple[str, ...]
) -> None:
    configure_logging(config_from({}, tmp_path, {}), ServerSettings())
    logging.getLogger("gunicorn.error").error(message, *arguments)
    err = capsys.readouterr().err
    assert "private_token=***" in err
    assert "hunter2" not in err
