"""The samples and the reference are what the table of options says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import yaml

from pulsar.config import load_config
from pulsar.config.options import OPTIONS
from pulsar.config.server import load_server_settings

ROOT = Path(__file__).resolve().parents[3]


def test_samples_and_reference_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("write_samples", ROOT / "scripts" / "write_samples.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.stale() == [], "run scripts/write_samples.py"


def test_the_sample_is_the_defaults(tmp_path: Path) -> None:
    """Uncommented, every line of app.yml.sample is an option with the value it has anyway."""
    sample = (ROOT / "app.yml.sample").read_text()
    lines = [line[1:] for line in sample.splitlines() if line.startswith("#") and not line.startswith("# ")]
    lines = [line for line in lines if not line.startswith(" ") and not line.startswith("managers:") and "*:" not in line]
    (tmp_path / "app.yml").write_text("\n".join(lines))
    written = load_config(tmp_path, environ={})
    (tmp_path / "app.yml").write_text("")
    default = load_config(tmp_path, environ={})
    assert yaml.safe_load("\n".join(lines)).keys() >= {
        option.name for option in OPTIONS if option.scope.value == "app" and not option.is_prefix
    } - {"managers"}
    assert written.managers == default.managers
    assert written.options == default.options
    assert written.warnings == default.warnings
    assert (written.staging_directory, written.persistence_directory) == (
        default.staging_directory,
        default.persistence_directory,
    )


def test_the_sample_of_the_server_is_the_default_place() -> None:
    settings = load_server_settings(ROOT / "server.ini.sample")
    assert (settings.host, settings.port, settings.ssl_pem, settings.use) == ("localhost", 8913, None, None)
    assert settings.has_logging
