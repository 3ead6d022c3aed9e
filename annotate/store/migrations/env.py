"""What Alembic runs: on the connection of the store, whose transaction stays the caller's."""

from __future__ import annotations

from alembic import context

from annotate.store.migrations import VERSION_TABLE, schema_of
from annotate.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    version_table_schema=schema_of(connection),
)
context.run_migrations()
