"""The tables of the store, as SQLAlchemy knows them. What changes here needs a migration (migrations/versions)."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

projects = Table(
    "projects",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("revision", BigInteger, nullable=False),  # how many events it has; whoever adds some holds this row
)

classes = Table(
    "classes",
    metadata,
    Column("project", String(64), ForeignKey("projects.id"), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("colour", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("position", Integer, nullable=False),
    UniqueConstraint("project", "name"),
)

images = Table(
    "images",
    metadata,
    Column("project", String(64), ForeignKey("projects.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("path", Text, nullable=False),
    Column("width", Integer),
    Column("height", Integer),
)

events = Table(
    "events",
    metadata,
    Column("project", String(64), ForeignKey("projects.id"), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("when", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("image", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("saw", BigInteger, nullable=False),
    Column("undoes", String(64)),
    Column("batch", String(64), nullable=False),
    UniqueConstraint("project", "revision"),
    Index("events_of_image", "project", "image"),
)
