"""Every option of the node, one row each: name, kind, default, help, scope (specification 10.2, 9.2 to 9.9, 7.7 and 8).

``app.yml.sample`` and ``docs/configuration.md`` are written from this table by ``scripts/write_samples.py``, and
:func:`pulsar.config.load.load_config` reads by it. A row may be marked as *later*: the option is known, and this node does not do
yet what it asks for. A name that ends in ``*`` stands for all names that begin so.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pulsar.config.values import (
    ANYTHING,
    CONCURRENCY,
    COUNT,
    FRACTION,
    MAPPING,
    MODE,
    NESTED,
    PATH,
    PATHS,
    POSITIVE,
    RETRIES,
    SECONDS,
    SIZE,
    TEMPORARY,
    TEXT,
    YES_NO,
    Kind,
)

__all__ = ["GROUPS", "MANAGER_TYPES", "NO_PERSISTENCE", "OPTIONS", "Later", "Option", "Scope", "closest", "find_option"]

#: The value of ``persistence_directory`` that keeps everything in memory.
NO_PERSISTENCE = "__none__"


class Scope(str, Enum):
    """Where an option may stand."""

    APP = "app"
    MANAGER = "manager"
    #: In both: what stands at the app is the default of every manager.
    BOTH = "both"


class Later(str, Enum):
    """What happens when an option is set whose feature this node does not have yet."""

    #: A warning at start-up; the node works without the feature.
    WARN = "warn"
    #: No start: the option restricts who may do what, and a node without the restriction would be open.
    REFUSE = "refuse"


@dataclass(frozen=True)
class Option:
    """One row of the table."""

    name: str
    kind: Kind
    default: Any
    help: str
    scope: Scope = Scope.APP
    secret: bool = False
    #: Manager types that use it; empty for all.
    types: tuple[str, ...] = ()
    later: Later | None = None
    #: What the node does not do yet, when ``later`` is set.
    feature: str = ""
    aliases: tuple[str, ...] = ()
    #: Environment variable that gives the default.
    variable: str = ""
    #: What the reference says the default is, where the value does not say it.
    default_text: str = ""

    @property
    def is_prefix(self) -> bool:
        """Whether the row stands for all names that begin with it."""
        return self.name.endswith("*")

    @property
    def is_for_app(self) -> bool:
        """Whether it may stand at the top of ``app.yml``."""
        return self.scope is not Scope.MANAGER

    @property
    def is_for_manager(self) -> bool:
        """Whether it may stand among the options of a manager."""
        return self.scope is not Scope.APP

    def matches(self, name: str) -> bool:
        """Whether ``name`` is this option's name, one of its aliases, or begins with its prefix."""
        if self.is_prefix:
            return name.startswith(self.name[:-1]) and len(name) > len(self.name) - 1
        return name == self.name or name in self.aliases


#: The types of specification 9.1, whose options this table holds. A type of somebody else's has options of its own.
MANAGER_TYPES = (
    "queued_python",
    "unqueued",
    "coexecution",
    "queued_cli",
    "queued_condor",
    "queued_drmaa",
    "queued_drmaa_xsede",
    "queued_external_drmaa",
    "queued_pbs",
)

_LOCAL = ("queued_python",)
_CLI = ("queued_cli",)
_DRMAA = ("queued_drmaa", "queued_drmaa_xsede", "queued_external_drmaa")
_EXTERNAL = ("queued_external_drmaa",)
_CONDOR = ("queued_condor",)
_NAMED_JOBS = (*_DRMAA, *_CLI)
_COEXECUTION = ("coexecution",)

_MQ = "talk to a message queue"
_RELAY = "talk to a relay"
_DEPENDENCIES = "resolve tool dependencies"
_STORE = "use Galaxy's object store"
_STDOUT = "send the output of running jobs"
_METRICS = "collect job metrics with plugins"
_STAGING = "move files to and from Galaxy by itself"
_SENTRY = "report to Sentry"
_CVMFS = "mount repositories with cvmfsexec"
_CLUSTER = "use this job backend"

APP, MANAGER, BOTH = Scope.APP, Scope.MANAGER, Scope.BOTH
WARN, REFUSE = Later.WARN, Later.REFUSE


def _later(name: str, kind: Kind, default: Any, help: str, feature: str, scope: Scope = APP, **more: Any) -> Option:
    return Option(name, kind, default, help, scope, later=more.pop("later", WARN), feature=feature, **more)


GROUPS: dict[str, tuple[Option, ...]] = {
    "Places": (
        Option(
            "staging_directory",
            PATH,
            "files/staging",
            "Root of the job directories; created when missing. A manager may have its own.",
            BOTH,
        ),
        Option(
            "persistence_directory",
            PATH,
            "files/persisted_data",
            "Where the node keeps its ledger; created when missing. It must be on a disk that survives a restart. "
            f"{NO_PERSISTENCE} keeps everything in memory: jobs are then forgotten when the node ends.",
        ),
        Option("file_cache_dir", PATH, None, "Keep uploaded inputs here and share them between jobs. Unset: no such cache."),
        Option(
            "config_dir",
            PATH,
            None,
            "Directory from which relative paths count.",
            default_text="the directory of server.ini, else of app.yml, else the current one",
        ),
    ),
    "Access": (
        Option(
            "private_token",
            TEXT,
            None,
            "A secret that every request must carry. Without it anybody who reaches the port can run commands: set one, and "
            "serve over TLS or behind a proxy that does.",
            secret=True,
        ),
        Option("healthz_public", YES_NO, False, "Answer /healthz without the token, for load balancers and monitors."),
        Option("max_upload_bytes", SIZE, 0, "Refuse files larger than this; 0 for no limit."),
        _later(
            "tool_config_files",
            PATHS,
            (),
            "Galaxy toolbox files; when set, only their tools may run.",
            "check tools against a toolbox",
            later=REFUSE,
            aliases=("tool_config_file",),
        ),
        _later(
            "user_auth",
            NESTED,
            None,
            "Who may run jobs: authentication and authorization methods.",
            "check the users of jobs",
            later=REFUSE,
        ),
    ),
    "Managers": (
        Option(
            "managers",
            NESTED,
            None,
            "Job managers by name, each with its type and options; see the options of managers below. One of managers, "
            "manager and job_managers_config.",
            default_text="one queued_python manager named _default_",
        ),
        Option("manager", NESTED, None, "The one job manager: its type, its options, and a name when it is not _default_."),
        Option(
            "job_managers_config",
            PATH,
            None,
            "An ini file with a section [manager:NAME] for each job manager; it is used instead of managers and manager.",
        ),
        Option("type", TEXT, "queued_python", "The kind of manager: how it runs jobs.", MANAGER),
        Option("name", TEXT, "_default_", "The name of the one manager given by the option manager.", MANAGER),
        Option(
            "num_concurrent_jobs",
            CONCURRENCY,
            1,
            'How many jobs run at once: a number, or "*" for as many as the machine has CPUs. The others wait in order.',
            MANAGER,
            types=_LOCAL,
        ),
        Option(
            "assign_ids",
            TEXT,
            "galaxy",
            "galaxy: a job keeps the id that Galaxy gave it. uuid: the node gives it a new one, needed when several Galaxies "
            "share a manager.",
            BOTH,
        ),
        Option(
            "job_directory_mode",
            MODE,
            None,
            'Mode of job directories in octal, best quoted: "0770". An unquoted 0770 is understood as well.',
            BOTH,
            default_text="as the umask says",
        ),
        Option(
            "maximum_stream_size",
            SIZE,
            1048576,
            "How many bytes of a job's standard output and of its standard error the status holds; 0 for all.",
            BOTH,
        ),
        Option(
            "tmp_dir",
            TEMPORARY,
            None,
            "Temporary directory of jobs: true for tmp/ in the job directory, or a shell expression that each job evaluates.",
            MANAGER,
            default_text="true",
        ),
        Option("env_*", TEXT, None, "env_NAME: exported as NAME in every job of the manager.", MANAGER),
        Option("min_polling_interval", SECONDS, 0.5, "Least time between two looks at the jobs, in seconds.", BOTH),
        Option(
            "cancel_grace_s",
            FRACTION,
            10.0,
            "Seconds that a cancelled job's processes have to end between the polite and the final signal.",
            BOTH,
        ),
        Option("debug", YES_NO, False, "Keep job directories that Galaxy asks to remove, to look into them.", BOTH),
        Option("history_days", FRACTION, 30.0, "How many days the ledger remembers jobs that have ended; 0 for ever."),
        Option(
            "galaxy_home",
            PATH,
            None,
            "A Galaxy installation on this machine, told to Galaxy and used in job scripts.",
            BOTH,
            variable="GALAXY_HOME",
        ),
        Option(
            "galaxy_virtual_env",
            PATH,
            None,
            "The virtual environment of that Galaxy, activated in job scripts.",
            BOTH,
            variable="GALAXY_VIRTUAL_ENV",
        ),
        Option("galaxy_config_file", PATH, None, "Configuration file of that Galaxy, told to Galaxy.", BOTH),
        Option("galaxy_dataset_files_path", PATH, None, "Dataset directory of that Galaxy, told to Galaxy.", BOTH),
        Option("galaxy_datatypes_config_file", PATH, None, "Datatypes file of that Galaxy, told to Galaxy.", BOTH),
        Option(
            "monitor",
            TEXT,
            "background",
            "How a co-execution job is watched: background, foreground or none.",
            MANAGER,
            types=_COEXECUTION,
            later=WARN,
            feature=_CLUSTER,
        ),
    ),
    "Cluster backends": (
        _later("native_specification", TEXT, None, "Options for the cluster's scheduler.", _CLUSTER, MANAGER, types=_DRMAA),
        _later("job_name_template", TEXT, "pulsar_$job_id", "Name of jobs in the queue.", _CLUSTER, MANAGER, types=_NAMED_JOBS),
        _later(
            "production",
            YES_NO,
            True,
            "Give the helper the job's id instead of its directory.",
            _CLUSTER,
            MANAGER,
            types=_EXTERNAL,
        ),
        _later(
            "chown_working_directory_script",
            TEXT,
            None,
            "Helper that gives a job directory to a user.",
            _CLUSTER,
            MANAGER,
            types=_EXTERNAL,
            default_text="pulsar-chown-working-directory",
        ),
        _later(
            "drmaa_launch_script",
            TEXT,
            None,
            "Helper that submits as a user.",
            _CLUSTER,
            MANAGER,
            types=_EXTERNAL,
            default_text="pulsar-drmaa-launch",
        ),
        _later(
            "drmaa_kill_script",
            TEXT,
            None,
            "Helper that ends a user's job.",
            _CLUSTER,
            MANAGER,
            types=_EXTERNAL,
            default_text="pulsar-drmaa-kill",
        ),
        _later("user_mapping_script", TEXT, None, "Prints the local name of a Galaxy user.", _CLUSTER, MANAGER, types=_EXTERNAL),
        _later("user_mapping_timeout", SECONDS, 30.0, "Seconds that script has.", _CLUSTER, MANAGER, types=_EXTERNAL),
        _later(
            "job_plugin", TEXT, None, "Scheduler whose commands are used: Slurm, Torque, LSF, ...", _CLUSTER, MANAGER, types=_CLI
        ),
        _later("shell_plugin", TEXT, "LocalShell", "Where its commands are run.", _CLUSTER, MANAGER, types=_CLI),
        _later("job_*", ANYTHING, None, "job_NAME: parameter NAME of the job plugin.", _CLUSTER, MANAGER, types=_CLI),
        _later("shell_password", TEXT, None, "Password of the shell plugin.", _CLUSTER, MANAGER, types=_CLI, secret=True),
        _later("shell_*", ANYTHING, None, "shell_NAME: parameter NAME of the shell plugin.", _CLUSTER, MANAGER, types=_CLI),
        _later("submit_*", ANYTHING, None, "submit_NAME: line NAME of the submit file.", _CLUSTER, MANAGER, types=_CONDOR),
        _later(
            "cvmfsexec",
            NESTED,
            None,
            "Mount CVMFS repositories for jobs: mode, path, repositories.",
            _CVMFS,
            MANAGER,
        ),
    ),
    "Staging by the node": (
        *(
            _later(f"{step}_action_{name}", kind, default, text, _STAGING, MANAGER)
            for step in ("preprocess", "postprocess")
            for name, kind, default, text in (
                (
                    "max_retries",
                    RETRIES,
                    -1,
                    f"How often a failed transfer of {step}ing is tried again; -1 never, 0 without end.",
                ),
                ("interval_start", FRACTION, 2.0, "Seconds before the first repetition."),
                ("interval_step", FRACTION, 2.0, "Seconds by which the wait grows."),
                ("interval_max", FRACTION, 30.0, "Seconds by which it grows at most."),
            )
        ),
        _later("send_stdout_update", YES_NO, False, "Send the output of running jobs to Galaxy.", _STDOUT, BOTH),
        _later("stdout_update_interval", SECONDS, 3.0, "Seconds between two sendings.", _STDOUT, BOTH),
        _later("stdout_update_timeout", SECONDS, 30.0, "Seconds that a sending may take.", _STDOUT, BOTH),
        _later("stdout_update_chunk_size", POSITIVE, 524288, "Bytes of one sending.", _STDOUT, BOTH),
    ),
    "Message queue": (
        _later(
            "message_queue_url",
            TEXT,
            None,
            "Where jobs come from: a broker (amqp://...) or a relay (https://...).",
            _MQ,
            secret=True,
        ),
        _later("message_queue_consume", YES_NO, True, "Take jobs from it.", _MQ),
        _later("message_queue_publish", YES_NO, True, "Report to it.", _MQ),
        _later("message_queue_publish_capabilities", YES_NO, True, "Tell a relay at start-up what the node can do.", _RELAY),
        _later("message_queue_credentials_file", PATH, None, "Refresh token of a relay.", _RELAY),
        _later("message_queue_username", TEXT, None, "User name at a relay.", _RELAY),
        _later("message_queue_password", TEXT, None, "Password at a relay.", _RELAY, secret=True),
        _later("relay_topic_prefix", TEXT, "", "Put before the names of topics.", _RELAY),
        _later("relay_long_poll_timeout", SECONDS, 30.0, "Seconds that a question to the relay stays open.", _RELAY),
        _later("amqp_key_prefix", TEXT, None, "Replaces the first part of the names of queues.", _MQ),
        _later("amqp_durable", YES_NO, True, "Queues survive a restart of the broker.", _MQ),
        _later("amqp_acknowledge", YES_NO, False, "Use acknowledged messages.", _MQ),
        _later("amqp_ack_republish_time", SECONDS, 30.0, "Seconds before a message without acknowledgement is sent again.", _MQ),
        _later("amqp_consumer_timeout", FRACTION, 0.2, "Seconds that a wait for messages lasts.", _MQ),
        _later("amqp_heartbeat", ANYTHING, 580, "Seconds between signs of life; true for this default, false for none.", _MQ),
        _later("amqp_connect_ssl_ca_certs", PATH, None, "Certificates by which the broker is trusted.", _MQ),
        _later("amqp_connect_ssl_keyfile", PATH, None, "Key of the node's own certificate.", _MQ),
        _later("amqp_connect_ssl_certfile", PATH, None, "The node's own certificate.", _MQ),
        _later("amqp_connect_ssl_cert_reqs", TEXT, None, "cert_required, cert_optional or cert_none.", _MQ),
        _later("amqp_publish_retry", YES_NO, False, "Try again when a message could not be sent.", _MQ),
        _later("amqp_publish_retry_max_retries", COUNT, 5, "How often.", _MQ),
        _later("amqp_publish_retry_interval_start", FRACTION, 1.0, "Seconds before the first repetition.", _MQ),
        _later("amqp_publish_retry_interval_step", FRACTION, 2.0, "Seconds by which the wait grows.", _MQ),
        _later("amqp_publish_retry_interval_max", FRACTION, 30.0, "Seconds that it grows to.", _MQ),
        _later("amqp_publish_*", ANYTHING, None, "amqp_publish_NAME: argument NAME of kombu's publish.", _MQ),
        _later("status_outbox_drain_interval", SECONDS, 5.0, "Seconds between two tries to send what could not be sent.", _MQ),
        _later("ensure_cleanup", YES_NO, False, "Wait for the threads of the message queue when the node ends.", _MQ),
    ),
    "Tool dependencies, metrics, object store": (
        _later("tool_dependency_dir", PATH, "dependencies", "Where tool dependencies are installed.", _DEPENDENCIES),
        _later("dependency_resolution", NESTED, None, "Resolvers of tool dependencies.", _DEPENDENCIES),
        _later(
            "dependency_resolvers_config_file",
            PATH,
            "dependency_resolvers_conf.xml",
            "The same as an XML file.",
            _DEPENDENCIES,
        ),
        _later("conda_auto_init", YES_NO, False, "Install conda when it is missing.", _DEPENDENCIES),
        _later("conda_auto_install", YES_NO, False, "Install missing packages when a job needs them.", _DEPENDENCIES),
        _later("conda_*", ANYTHING, None, "Further options of the conda resolver, as in Galaxy.", _DEPENDENCIES),
        _later("job_metrics_config_file", PATH, "job_metrics_conf.xml", "Plugins that measure jobs.", _METRICS),
        _later("object_store_config_file", PATH, None, "Galaxy's object store configuration.", _STORE),
        _later("object_store_config", NESTED, None, "The same, written here.", _STORE),
        _later("object_store_file_path", PATH, None, "Directory of datasets.", _STORE),
        _later("object_store_job_working_directory", PATH, None, "Directory of job working directories.", _STORE),
        _later("object_store_new_file_path", PATH, None, "Directory of new files.", _STORE),
        _later("object_store_umask", TEXT, "0000", "umask of its files.", _STORE),
    ),
    "Server": (
        Option(
            "web_workers",
            POSITIVE,
            1,
            "Processes of gunicorn that answer requests; the built-in server has one. One of all processes is also the engine"
            " that runs jobs.",
        ),
        Option(
            "web_threads",
            POSITIVE,
            1000,
            "Most requests that a process of the built-in server or gunicorn answers at once. A thread is made when it is needed;"
            " a slow upload keeps one.",
        ),
        Option(
            "logging",
            MAPPING,
            None,
            "Logging in the form of Python's logging.config.dictConfig. Where server.ini has a section [loggers], that is used.",
            default_text="to standard error, from INFO on",
        ),
        _later("sentry_dsn", TEXT, None, "Where errors are reported to.", _SENTRY, secret=True),
        _later("sentry_event_level", TEXT, "WARNING", "From which level on.", _SENTRY),
    ),
}

OPTIONS: tuple[Option, ...] = tuple(option for group in GROUPS.values() for option in group)

_BY_NAME: dict[str, Option] = {name: option for option in OPTIONS for name in (option.name, *option.aliases)}
_PREFIXES: tuple[Option, ...] = tuple(option for option in OPTIONS if option.is_prefix)


def find_option(name: str) -> Option | None:
    """Return the row for ``name``: its own, else that of the prefix it begins with, else None."""
    option = _BY_NAME.get(name)
    if option is not None and not option.is_prefix:
        return option
    return next((option for option in _PREFIXES if option.matches(name)), None)


def closest(name: str, *, for_manager: bool) -> str | None:
    """Return the name of the option that ``name`` is probably meant to be, or None."""
    names = [key for key, option in _BY_NAME.items() if (option.is_for_manager if for_manager else option.is_for_app)]
    return next(iter(difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.7)), None)
