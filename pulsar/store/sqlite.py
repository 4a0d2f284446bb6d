"""The ledger in SQLite: one file, any number of threads and processes.

Rules that this module keeps: a state change, its timeline entries and its terminal document are one transaction; an update
names the revision it replaces; requests and documents, which may be large, lie in tables of their own, so that a transition
writes a few hundred bytes. The timeline doubles as the change feed: its row numbers only grow.

Journal: write-ahead log, except on network file systems, where its shared memory does not work (https://sqlite.org/wal.html,
section "Disadvantages"); there the rollback journal is used.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pulsar.errors import LedgerError, PulsarError, StaleRevision, StorageFull
from pulsar.jobs.job import Job, JobKey, Reason, TimelineEntry
from pulsar.jobs.ports import Standing
from pulsar.jobs.states import EventKind, State
from pulsar.protocol.messages import LaunchRequest

__all__ = ["SqliteStore"]

#: Each entry brings the schema from its index to the next number (``PRAGMA user_version``). Entries are never edited.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE jobs (
            manager TEXT NOT NULL, job_id TEXT NOT NULL, directory TEXT NOT NULL, state TEXT NOT NULL, final INTEGER NOT NULL,
            attempt INTEGER NOT NULL, revision INTEGER NOT NULL, tool_id TEXT NOT NULL, tool_version TEXT NOT NULL,
            external_id TEXT, verdict_failed INTEGER NOT NULL, reason TEXT, detail TEXT NOT NULL, exit_code INTEGER,
            created_at REAL NOT NULL, updated_at REAL NOT NULL, sequence INTEGER NOT NULL, clean_requested INTEGER NOT NULL,
            cleaned_at REAL, PRIMARY KEY (manager, job_id)) WITHOUT ROWID""",
        "CREATE INDEX unfinished ON jobs (sequence) WHERE final = 0",
        "CREATE INDEX to_clean ON jobs (updated_at) WHERE final = 1 AND clean_requested = 1 AND cleaned_at IS NULL",
        "CREATE INDEX cleaned ON jobs (cleaned_at) WHERE cleaned_at IS NOT NULL",
        "CREATE TABLE requests (manager TEXT, job_id TEXT, body TEXT NOT NULL, PRIMARY KEY (manager, job_id))",
        "CREATE TABLE documents (manager TEXT, job_id TEXT, body TEXT NOT NULL, PRIMARY KEY (manager, job_id))",
        """CREATE TABLE events (
            event_id INTEGER PRIMARY KEY AUTOINCREMENT, manager TEXT NOT NULL, job_id TEXT NOT NULL, attempt INTEGER NOT NULL,
            time REAL NOT NULL, left_state TEXT, entered_state TEXT NOT NULL, event TEXT NOT NULL, detail TEXT NOT NULL)""",
        "CREATE INDEX events_of_job ON events (manager, job_id)",
    ),
)

_COLUMNS = (
    "manager",
    "job_id",
    "directory",
    "state",
    "final",
    "attempt",
    "revision",
    "tool_id",
    "tool_version",
    "external_id",
    "verdict_failed",
    "reason",
    "detail",
    "exit_code",
    "created_at",
    "updated_at",
    "sequence",
    "clean_requested",
    "cleaned_at",
)
# The column names are the constants above; no value of a request is ever part of a statement's text.
_FIELDS = ", ".join("j." + name for name in _COLUMNS)
_SELECT = f"SELECT {_FIELDS}, r.body FROM jobs j LEFT JOIN requests r USING (manager, job_id)"  # noqa: S608
_INSERT = f"INSERT OR REPLACE INTO jobs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
_UPDATE = f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in _COLUMNS[2:])} WHERE manager = ? AND job_id = ? AND revision = ?"  # noqa: S608
_INSERT_EVENT = """INSERT INTO events (manager, job_id, attempt, time, left_state, entered_state, event, detail)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""

#: How long a writer waits for a writer of another process, in seconds.
_BUSY_TIMEOUT_S = 30.0

#: File systems that several hosts share (names as in /proc/mounts).
_NETWORK_FILE_SYSTEMS = frozenset(
    {
        "nfs",
        "nfs4",
        "lustre",
        "cifs",
        "smb3",
        "smbfs",
        "gpfs",
        "beegfs",
        "afs",
        "ceph",
        "glusterfs",
        "fuse.glusterfs",
        "fuse.sshfs",
    }
)

#: Connections made before a fork. They must be neither used nor closed in the child (https://sqlite.org/howtocorrupt.html,
#: section 2.6), so they are kept from the garbage collector.
_ABANDONED: list[sqlite3.Connection] = []


class SqliteStore:
    """The :class:`~pulsar.jobs.ports.Store` of a node with a ``persistence_directory``."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._idle: list[sqlite3.Connection] = []
        # One writer at a time in this process waits here, quickly and in turn, instead of in SQLite's sleeping busy handler.
        self._writing = threading.Lock()
        self._closed = False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._journal = "DELETE" if _file_system_of(self._path.parent) in _NETWORK_FILE_SYSTEMS else "WAL"
        except OSError as exc:
            raise LedgerError(f"cannot make the directory of the ledger {self._path}: {exc.strerror}") from exc
        with self._connection() as db:
            self._migrate(db)

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def reads_never_wait(self) -> bool:
        # With the rollback journal a writer that commits keeps readers out (https://sqlite.org/lockingv3.html).
        return self._journal == "WAL"

    def get(self, key: JobKey) -> Job | None:
        with self._connection() as db:
            row = db.execute(f"{_SELECT} WHERE j.manager = ? AND j.job_id = ?", key).fetchone()
        return _job(row) if row else None

    def standing(self, key: JobKey) -> Standing | None:
        with self._connection() as db:
            row = db.execute("SELECT state, cleaned_at IS NOT NULL FROM jobs WHERE manager = ? AND job_id = ?", key).fetchone()
        return Standing(State(row[0]), bool(row[1])) if row else None

    def document(self, key: JobKey) -> str | None:
        with self._connection() as db:
            row = db.execute("SELECT body FROM documents WHERE manager = ? AND job_id = ?", key).fetchone()
        return str(row[0]) if row else None

    def unfinished(self) -> list[Job]:
        with self._connection() as db:
            rows = db.execute(f"{_SELECT} WHERE final = 0 ORDER BY sequence = 0, sequence").fetchall()
        return [_job(row) for row in rows]

    def clean_pending(self) -> list[Job]:
        with self._connection() as db:
            rows = db.execute(f"{_SELECT} WHERE final = 1 AND clean_requested = 1 AND cleaned_at IS NULL").fetchall()
        return [_job(row) for row in rows]

    def changed_since(self, mark: int) -> tuple[int, list[JobKey]]:
        with self._connection() as db:
            rows = db.execute(
                "SELECT event_id, manager, job_id FROM events WHERE event_id > ? ORDER BY event_id", (mark,)
            ).fetchall()
        if not rows:
            return mark, []
        return rows[-1][0], list(dict.fromkeys(JobKey(row[1], row[2]) for row in rows))

    def mark(self) -> int:
        with self._connection() as db:
            row = db.execute("SELECT max(event_id) FROM events").fetchone()
        return row[0] or 0

    def timeline(self, key: JobKey) -> list[TimelineEntry]:
        with self._connection() as db:
            rows = db.execute(
                "SELECT attempt, left_state, entered_state, event, detail, time FROM events"
                " WHERE manager = ? AND job_id = ? ORDER BY event_id",
                key,
            ).fetchall()
        return [TimelineEntry(row[0], State(row[1]) if row[1] else None, State(row[2]), *row[3:]) for row in rows]

    def counts(self) -> Mapping[tuple[str, State], int]:
        with self._connection() as db:
            rows = db.execute("SELECT manager, state, count(*) FROM jobs WHERE final = 0 GROUP BY manager, state").fetchall()
        return {(row[0], State(row[1])): row[2] for row in rows}

    # -- writing ------------------------------------------------------------------------------------------------------

    def begin(self, job: Job, entry: TimelineEntry) -> Job:
        with self._transaction() as db:
            row = db.execute("SELECT attempt, final FROM jobs WHERE manager = ? AND job_id = ?", job.key).fetchone()
            if (row[0] if row else 0) != job.attempt - 1 or (row and not row[1]):
                raise StaleRevision(f"job {job.key} was set up by somebody else at the same moment")
            job = replace(job, revision=job.revision + 1)
            db.execute(_INSERT, _row(job))
            db.execute("DELETE FROM documents WHERE manager = ? AND job_id = ?", job.key)
            db.execute("DELETE FROM requests WHERE manager = ? AND job_id = ?", job.key)
            self._insert_event(db, job.key, entry)
        return job

    def save(self, job: Job, entries: Sequence[TimelineEntry], document: str | None = None, *, durable: bool = False) -> Job:
        replaced = job.revision
        with self._transaction(durable=durable) as db:
            for entry in entries:
                event_id = self._insert_event(db, job.key, entry)
                if entry.event == EventKind.LAUNCH.value and job.request is not None:
                    body = json.dumps(job.request.to_dict())
                    job = replace(job, sequence=event_id)
                    db.execute("INSERT OR REPLACE INTO requests VALUES (?, ?, ?)", (*job.key, body))
            job = replace(job, revision=replaced + 1)
            changed = db.execute(_UPDATE, (*_row(job)[2:], *job.key, replaced)).rowcount
            if changed != 1:
                raise StaleRevision(f"job {job.key} was changed by somebody else")
            if document is not None:
                db.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (*job.key, document))
            if job.cleaned_at is not None:
                db.execute("DELETE FROM documents WHERE manager = ? AND job_id = ?", job.key)
                db.execute("DELETE FROM requests WHERE manager = ? AND job_id = ?", job.key)
        return job

    def forget_before(self, time: float) -> int:
        with self._transaction() as db:
            keys = db.execute("SELECT manager, job_id FROM jobs WHERE cleaned_at < ? LIMIT 1000", (time,)).fetchall()
            for table in ("events", "jobs"):
                db.executemany(f"DELETE FROM {table} WHERE manager = ? AND job_id = ?", keys)  # noqa: S608 - two constants
        return len(keys)

    @staticmethod
    def _insert_event(db: sqlite3.Connection, key: JobKey, entry: TimelineEntry) -> int:
        left = entry.left.value if entry.left else None
        values = (*key, entry.attempt, entry.time, left, entry.entered.value, entry.event, entry.detail)
        return db.execute(_INSERT_EVENT, values).lastrowid or 0

    # -- connections --------------------------------------------------------------------------------------------------

    def reset_after_fork(self) -> None:
        _ABANDONED.extend(self._idle)
        self._idle = []
        self._writing = threading.Lock()

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for one statement or transaction; what SQLite raises leaves as an error of ours."""
        if self._closed:
            raise LedgerError("the ledger is closed; the node is stopping")
        try:
            try:
                db = self._idle.pop()
            except IndexError:
                db = self._open()
        except sqlite3.Error as exc:
            raise self._translated(exc) from exc
        try:
            yield db
        except sqlite3.Error as exc:
            db.close()
            raise self._translated(exc) from exc
        except PulsarError:
            self._return(db)  # an everyday race does not cost the connection
            raise
        except BaseException:
            db.close()
            raise
        self._return(db)

    def _return(self, db: sqlite3.Connection) -> None:
        self._idle.append(db)
        if self._closed:
            self.close()

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        with self._writing, self._connection() as db:
            # NORMAL survives the death of the process, FULL also that of the machine.
            if durable:
                db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise
            finally:
                if durable and self._journal == "WAL":
                    db.execute("PRAGMA synchronous = NORMAL")

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            mode = db.execute(f"PRAGMA journal_mode = {self._journal}").fetchone()[0]
            db.execute(f"PRAGMA synchronous = {'NORMAL' if mode == 'wal' else 'FULL'}")
            # A node has as many connections as threads that were busy at once; the system's page cache serves them all.
            db.execute("PRAGMA cache_size = -128")
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _migrate(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(_MIGRATIONS):
            db.execute("ROLLBACK")
            raise LedgerError(
                f"the ledger {self._path} was written by a newer release (schema {version}, this one knows {len(_MIGRATIONS)});"
                " install that release again, or give this node another persistence_directory"
            )
        for statements in _MIGRATIONS[version:]:
            for statement in statements:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
        db.execute("COMMIT")

    def _translated(self, error: sqlite3.Error) -> PulsarError:
        text = str(error)
        if "full" in text:
            return StorageFull(f"no space left for the ledger {self._path}; free some space on the node and try again")
        if "malformed" in text or "not a database" in text:
            return LedgerError(f"the ledger {self._path} is damaged ({text}); restore it, or move it away to start a new one")
        return LedgerError(f"the ledger {self._path} cannot be used: {text}")


def _row(job: Job) -> tuple[object, ...]:
    return (
        job.key.manager,
        job.key.job_id,
        job.directory,
        job.state.value,
        int(job.state.is_final),
        job.attempt,
        job.revision,
        job.tool_id,
        job.tool_version,
        job.external_id,
        int(job.verdict_failed),
        job.reason.value if job.reason else None,
        job.detail,
        job.exit_code,
        job.created_at,
        job.updated_at,
        job.sequence,
        int(job.clean_requested),
        job.cleaned_at,
    )


def _job(row: Sequence[object]) -> Job:
    values = dict(zip((*_COLUMNS, "request"), row, strict=True))
    request = values["request"]
    return Job(
        key=JobKey(str(values["manager"]), str(values["job_id"])),
        directory=str(values["directory"]),
        state=State(values["state"]),
        attempt=values["attempt"],  # type: ignore[arg-type]  # the schema says what each column holds
        revision=values["revision"],  # type: ignore[arg-type]
        tool_id=str(values["tool_id"]),
        tool_version=str(values["tool_version"]),
        request=LaunchRequest(**json.loads(str(request))) if request else None,
        external_id=values["external_id"],  # type: ignore[arg-type]
        verdict_failed=bool(values["verdict_failed"]),
        reason=Reason(values["reason"]) if values["reason"] else None,
        detail=str(values["detail"]),
        exit_code=values["exit_code"],  # type: ignore[arg-type]
        created_at=values["created_at"],  # type: ignore[arg-type]
        updated_at=values["updated_at"],  # type: ignore[arg-type]
        sequence=values["sequence"],  # type: ignore[arg-type]
        clean_requested=bool(values["clean_requested"]),
        cleaned_at=values["cleaned_at"],  # type: ignore[arg-type]
    )


def _file_system_of(directory: Path) -> str:
    """Return the type of the file system that ``directory`` is on, as /proc/mounts names it; empty where it cannot be told."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
        real = directory.resolve()
    except OSError:
        return ""
    best, kind = "", ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        mount = fields[1].replace("\\040", " ")
        if len(mount) >= len(best) and (real == Path(mount) or Path(mount) in real.parents):
            best, kind = mount, fields[2]
    return kind
