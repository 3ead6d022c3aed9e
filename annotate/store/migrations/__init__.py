"""How a database of an older annotate becomes one of this: a file in versions/ for each change of its tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

HEAD = "0001"  # the last of versions/; that of every database that this annotate writes
VERSIONS = ("0001",)  # from the first to the last
VERSION_TABLE = "annotate_version"
SCHEMA = "annotate"  # of the tables in a PostgreSQL database, which may hold those of others


def upgrade(connection: Connection) -> None:
    """Bring the tables up to date, within the transaction of the connection."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def schema_of(connection: Connection) -> str | None:
    """Where the tables are in the database; None where it holds nothing else."""
    return SCHEMA if connection.dialect.name == "postgresql" else None
