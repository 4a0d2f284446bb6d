"""Options, their sources, and the frozen :class:`Config` that everybody downstream reads."""

from pulsar.config.load import config_from, load_config
from pulsar.config.model import Config, ManagerConfig

__all__ = ["Config", "ManagerConfig", "config_from", "load_config"]
