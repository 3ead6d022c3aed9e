"""To a database and back: SQLite in the workspace, or PostgreSQL by URL; what goes wrong there, in a person's words."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotate.errors import (
    AnnotateError,
    ComponentMissing,
    DamagedArtifact,
    Hint,
    InputError,
    StorageError,
    WorkspaceBusy,
    printable,
)
from annotate.store import migrations
from annotate.store.migrations import SCHEMA
from annotate.workspace.opening import not_ours

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

FILE = "answers.db"
PATIENCE = 10  # seconds that somebody waits for another who writes
ONE_WRITER = 0x616E6E6F7461  # the number of the lock that whoever writes to PostgreSQL holds
PROTOCOLS = ("postgresql://", "postgres://", "postgresql+psycopg://")
PRIMARY = 0xFF  # of SQLite's numbers of errors: the rest only says more


@dataclass(frozen=True)
class Database:
    """Where the store lies: a file of the workspace, or an address."""

    file: Path | None = None
    url: str = ""

    @property
    def shown(self) -> str:
        return printable(self.file) if self.file else without_password(self.url)

    def exists(self) -> bool:
        """Whether there is one to read; an address is always asked."""
        return self.file is None or os.path.lexists(self.file)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database; its tables are those of this annotate.

        raises  AnnotateError in a person's words
        """
        with self.connected() as engine:
            if self.version(engine) != migrations.HEAD:
                with engine.execution_options(writes=True).begin() as connection:
                    self.migrate(connection)
            with engine.begin() as connection:
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection whose changes are there, and safe, when the block ends well; else there are none.

        raises  AnnotateError in a person's words
        """
        with self.connected() as engine, engine.execution_options(writes=True).begin() as connection:
            self.migrate(connection)
            yield connection

    @contextmanager
    def connected(self) -> Iterator[Engine]:
        from sqlalchemy.exc import DBAPIError

        engine = sqlite_engine(self.file) if self.file else postgres_engine(self.url)
        try:
            yield engine
        except DBAPIError as error:
            raise self.in_words(error.orig or error) from error
        except (sqlite3.Error, UnicodeEncodeError) as error:
            raise self.in_words(error) from error
        finally:
            engine.dispose()

    def version(self, engine: Engine) -> str | None:
        with engine.begin() as connection:
            return version_of(connection, self.shown)

    def migrate(self, connection: Connection) -> None:
        if version_of(connection, self.shown) != migrations.HEAD:
            migrations.upgrade(connection)

    def in_words(self, error: BaseException) -> AnnotateError:
        """What a database refused, and what to do about it."""
        if isinstance(error, sqlite3.Error):
            return sqlite_error(error, self.shown)
        said = printable(str(error).strip().splitlines()[0]) if str(error).strip() else type(error).__name__
        state = getattr(error, "sqlstate", None) or ""
        if state.startswith("55P03"):
            return busy(self.shown)
        if state.startswith("53"):
            return StorageError(f"{self.shown}: {said}", hint="free some space on the database's machine")
        return InputError(
            f"{self.shown}: {said}",
            hint=Hint(
                "check the address, the user and the password, and that the server runs",
                "check the address, the user and the password (--database, or PGPASSWORD), and that the server runs",
            ),
        )


def version_of(connection: Connection, shown: str) -> str | None:
    """The version of the tables; None where there are none.

    raises  InputError for a database of a later annotate, or of another program
    """
    from sqlalchemy import inspect, text

    tables, schema = inspect(connection), migrations.schema_of(connection)
    if not tables.has_table(migrations.VERSION_TABLE, schema=schema):
        others = [] if schema else tables.get_table_names()
        if others:
            raise InputError(
                f"{shown}: the database of another program, with a table '{printable(others[0])}'",
                hint="choose another workspace, or another database",
            )
        return None
    found = connection.execute(text(f"SELECT version_num FROM {migrations.VERSION_TABLE}")).scalar()
    if found is not None and found not in migrations.VERSIONS:
        raise InputError(
            f"{shown} was written by a newer annotate (its version is {printable(found)}, "
            f"this one knows {migrations.HEAD})",
            hint="install the newer annotate; nothing was changed",
        )
    return found


# -- SQLite --------------------------------------------------------------------------------------------


def sqlite_engine(file: Path) -> Engine:
    """A new connection each time: the last one that closes puts all into the one file."""
    from sqlalchemy import NullPool, create_engine, event

    check_ours(file)
    engine = create_engine("sqlite://", creator=lambda: open_sqlite(file), poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that first reads and then writes fails at once where somebody else writes, without waiting.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def check_ours(file: Path) -> None:
    """raises  InputError where the name is a link, no file, or a second name of a file that lies elsewhere"""
    for name in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
        try:
            status = os.lstat(name)
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise not_ours(name)


def open_sqlite(file: Path) -> sqlite3.Connection:
    """Transactions are begun by hand; what a commit says is written is on the disk."""
    name: Any = os.fsencode(os.path.abspath(file))
    if not os.access(file.parent, os.W_OK) and file.exists():
        return sqlite3.connect(read_only_uri(file), uri=True, timeout=PATIENCE, isolation_level=None)
    connection = sqlite3.connect(name, timeout=PATIENCE, isolation_level=None)
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def read_only_uri(file: Path) -> str:
    """For a disk that cannot be written: SQLite would make a file beside it even to read."""
    from urllib.parse import quote

    return f"file:{quote(os.fsencode(os.path.abspath(file)))}?mode=ro&immutable=1"


def sqlite_error(error: sqlite3.Error, shown: str) -> AnnotateError:
    number = getattr(error, "sqlite_errorcode", 0) & PRIMARY
    if number in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return busy(shown)
    if number == sqlite3.SQLITE_FULL:
        return StorageError(f"{shown}: the disk is full", hint="free some space and run the same command again")
    if number in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return StorageError(f"{shown}: it cannot be written", hint="change the permissions of the file and its folder")
    if number == sqlite3.SQLITE_CANTOPEN:
        return StorageError(f"{shown}: it cannot be opened", hint="check that the folder exists and can be written")
    if number in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DamagedArtifact(
            f"{shown}: not the answers that were written",
            hint="put back a copy of the file; or move it away, then give the answers again",
        )
    return StorageError(f"{shown}: {error}", hint="check the disk, then run the same command again")


def busy(shown: str) -> AnnotateError:
    return WorkspaceBusy(
        f"{shown} is being written by another program for more than {PATIENCE} seconds",
        hint="wait until it ends, then run the same command again",
    )


# -- PostgreSQL ----------------------------------------------------------------------------------------


def postgres_engine(url: str) -> Engine:
    from sqlalchemy import NullPool, create_engine, event
    from sqlalchemy.exc import ArgumentError

    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise ComponentMissing(
            "a PostgreSQL database needs psycopg",
            hint=Hint("install annotate-images[postgres]", "run `pip install 'annotate-images[postgres]'`"),
        ) from error
    address = "postgresql+psycopg://" + url.partition("://")[2]
    try:
        engine = create_engine(address, poolclass=NullPool, connect_args={"connect_timeout": PATIENCE})
    except (ArgumentError, ValueError) as error:
        raise no_address(url) from error

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        if not writes:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.exec_driver_sql(f"SET LOCAL search_path TO {SCHEMA}")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout TO '{PATIENCE}s'")
        if writes:  # one at a time, as in SQLite; also whoever makes the tables
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ONE_WRITER})")
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")

    return engine


def no_address(url: str) -> InputError:
    return InputError(
        f"--database {without_password(url)}: not the address of a database",
        hint="for example postgresql://user@host/name",
    )


def without_password(url: str) -> str:
    protocol, mark, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    return printable(f"{protocol}{mark}{account.partition(':')[0]}{at}{place}")
