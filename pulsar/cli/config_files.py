"""The texts of the files that ``pulsar-config`` writes. Values that may hold anything are quoted for the format of their file."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from pulsar.config.server import DEFAULT_HOST, DEFAULT_PORT

__all__ = ["Plan", "app_yml", "local_env", "nginx_conf", "server_ini", "supervisor_conf", "systemd_unit"]

_MESSAGE_QUEUE_URL = "amqp://guest:guest@localhost:5672//"
#: Seconds that a supervisor gives a node to end: requests under way are answered, jobs are left running.
_STOP_S = 60


@dataclass(frozen=True)
class Plan:
    """What the node to be set up is like."""

    directory: Path
    #: How the launcher is called.
    command: tuple[str, ...] = ("pulsar",)
    #: Mode of the launcher.
    mode: str = "default"
    user: str = "pulsar"
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    private_token: str | None = None
    libdrmaa_path: str | None = None
    auto_conda: bool = False
    message_queue: bool = False
    logging: bool = True

    @property
    def address(self) -> str:
        """``host:port``, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def launch(self) -> tuple[str, ...]:
        """The words that start the node."""
        return (*self.command, "--mode", self.mode, "--config", str(self.directory))


def _yaml_text(text: str) -> str:
    # A JSON string is a YAML string; escapes of characters beyond the first plane are not, so they are written as they are.
    return json.dumps(text, ensure_ascii=False)


def app_yml(plan: Plan) -> str:
    """Return ``app.yml``: the options of the node. It may hold secrets."""
    lines = [
        "# Options of this Pulsar node. All there are: app.yml.sample and docs/configuration.md.",
        "# This file may hold secrets: it is for the user that runs the node, and nobody else (chmod 600).",
        "",
        "# A secret that every request must carry. Without it anybody who reaches the port can run commands.",
        f"private_token: {_yaml_text(plan.private_token)}"
        if plan.private_token is not None
        else '#private_token: "a long secret"',
    ]
    if plan.message_queue:
        lines += ["", "# Where jobs come from.", f"message_queue_url: {_yaml_text(_MESSAGE_QUEUE_URL)}"]
    lines += ["", "# How jobs are run."]
    if plan.libdrmaa_path is not None:
        lines += ["manager:", "  type: queued_drmaa"]
    else:
        lines += ["#manager:", "#  type: queued_python", '#  num_concurrent_jobs: "*"']
    if plan.auto_conda:
        lines += ["", "# Tool dependencies.", "conda_auto_init: true", "conda_auto_install: true"]
    return "\n".join(lines) + "\n"


_LOGGING = """
; Logging, as Python's logging.config.fileConfig reads it.
[loggers]
keys = root, pulsar

[handlers]
keys = console

[formatters]
keys = generic

[logger_root]
level = WARNING
handlers = console

[logger_pulsar]
level = INFO
handlers = console
qualname = pulsar
propagate = 0

[handler_console]
class = StreamHandler
args = (sys.stderr,)
level = NOTSET
formatter = generic

[formatter_generic]
format = %(asctime)s %(levelname)-5.5s [%(name)s] %(message)s
"""


def server_ini(plan: Plan) -> str:
    """Return ``server.ini``: the web server of the node, and its logging."""
    host = plan.host.replace("%", "%%")
    address = plan.address.replace("%", "%%")
    paste_logger = "paste-logger = True\n" if plan.logging else ""
    return f"""\
; The web server of this Pulsar node. The options of the node itself are in app.yml.

[server:main]
; Who may reach these can ask the node: keep localhost unless app.yml has a private_token.
host = {host}
port = {plan.port}
; A PEM file with certificate and key; when it exists, the node speaks HTTPS.
;ssl_pem = host.pem
; Another server than the node's own choice, by its PasteDeploy name.
;use = egg:Paste#http

[app:main]
paste.app_factory = pulsar.web.wsgi:app_factory
app_config = %(here)s/app.yml

; Read by uWSGI only (pulsar --mode uwsgi). The request that submits a job holds the job's whole description, and uWSGI takes none
; with more than 32 kB of it: for larger jobs serve by the default server.
[uwsgi]
master = True
{paste_logger}http = {address}
processes = 1
enable-threads = True
buffer-size = 16384
{_LOGGING if plan.logging else ""}"""


def local_env(plan: Plan) -> str:
    """Return ``local_env.sh``: environment of the node."""
    drmaa = "export DRMAA_LIBRARY_PATH=" + (
        shlex.quote(plan.libdrmaa_path) if plan.libdrmaa_path is not None else "/path/to/libdrmaa.so"
    )
    return f"""\
# Environment of the node: the launcher reads this file with bash before it starts the server.

# Library of the cluster, for managers of the DRMAA types.
{"" if plan.libdrmaa_path is not None else "#"}{drmaa}

# A Galaxy installation on this machine, and its virtual environment.
#export GALAXY_HOME=/path/to/galaxy
#export GALAXY_VIRTUAL_ENV=/path/to/galaxy/.venv
"""


def supervisor_conf(plan: Plan) -> str:
    """Return a program of supervisord that runs the node."""

    def value(text: str) -> str:
        return text.replace("%", "%%")

    directory = value(str(plan.directory))
    return f"""\
; A program of supervisord: include this file in its configuration, or start supervisord with it.

[program:pulsar]
command = {value(shlex.join(plan.launch))}
directory = {directory}
user = {plan.user}
autostart = true
autorestart = true
startsecs = 2
; Jobs outlive the node: only the node itself is told to end, and after a restart it finds its jobs again.
stopsignal = TERM
stopwaitsecs = {_STOP_S}
stopasgroup = false
killasgroup = false
redirect_stderr = true
stdout_logfile = {directory}/pulsar.log
"""


def systemd_unit(plan: Plan, *, of_user: bool) -> str:
    """Return a unit of systemd that runs the node: of the system, or of the user's own manager, which needs no root."""

    def word(text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
        return f'"{escaped}"'

    install = "default.target" if of_user else "multi-user.target"
    if of_user:
        head = f"""\
# A unit of your own systemd, without root:
#   mkdir -p ~/.config/systemd/user && cp pulsar.user.service ~/.config/systemd/user/pulsar.service
#   systemctl --user daemon-reload && systemctl --user enable --now pulsar
# Your systemd ends, and the node and its jobs with it, when you log out, unless you once say: loginctl enable-linger {plan.user}
"""
        user = ""
    else:
        head = """\
# A unit of the system:
#   cp pulsar.service /etc/systemd/system/ && systemctl daemon-reload && systemctl enable --now pulsar
"""
        user = f"User={plan.user}\n"
    return f"""\
{head}
[Unit]
Description=Pulsar, a remote job server for Galaxy
{"" if of_user else "Wants=network-online.target" + chr(10) + "After=network-online.target" + chr(10)}
[Service]
Type=simple
{user}WorkingDirectory={str(plan.directory).replace("%", "%%")}
ExecStart={" ".join(word(part) for part in plan.launch)}
# Jobs outlive the node: only the node's own process is told to end, and it ends its others. After a restart it finds its jobs.
KillMode=process
TimeoutStopSec={_STOP_S}
Restart=on-failure
RestartSec=2
# A job that the kernel kills for lack of memory is no reason to stop the node.
OOMPolicy=continue

[Install]
WantedBy={install}
"""


def nginx_conf(plan: Plan) -> str:
    """Return a server of nginx that speaks TLS in front of the node."""
    return f"""\
# A server of nginx in front of the node, for TLS: include it in the http block of nginx.conf.

server {{
    listen 443 ssl;
    server_name pulsar.example.org;
    ssl_certificate /etc/ssl/certs/pulsar.example.org.pem;
    ssl_certificate_key /etc/ssl/private/pulsar.example.org.key;

    # Files of any size pass through as they come, without a copy on the proxy's disk.
    client_max_body_size 0;
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_http_version 1.1;
    proxy_read_timeout 300s;
    proxy_send_timeout 300s;

    # The request that submits a job has the job's whole description in its first line.
    large_client_header_buffers 8 4m;

    # The address of a request holds the private token: keep it out of the log.
    access_log off;

    location / {{
        proxy_pass http://{plan.address};
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-Proto $scheme;
    }}
}}
"""
