"""Add events, read them back: the one door to the database of answers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from annotate.errors import InputError, printable
from annotate.store.connecting import Database
from annotate.store.events import UNDO, Class, Event, Seen, checked, new_id, now
from annotate.store.snapshot import Snapshot, replay, standing

if TYPE_CHECKING:
    from sqlalchemy import Connection

TOGETHER = 500  # ids that one question to the database names


@dataclass(frozen=True)
class Store:
    """The answers of one project in a database, which may hold those of others."""

    database: Database
    project: str = "project"

    def exists(self) -> bool:
        return self.database.exists()

    # -- reading -------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The answers as they stand now; none where there is no database yet."""
        return replay(*self.everything())

    def everything(self) -> tuple[list[Event], list[Class]]:
        """All events in the order in which they were added, and all classes."""
        if not self.exists():
            return [], []
        with self.database.reading() as connection:
            project = project_id(connection, self.project)
            if not project:
                return [], []
            return events_of(connection, project), classes_of(connection, project)

    def everything_with_paths(self) -> tuple[list[Event], list[Class], dict[str, str]]:
        """All events and classes, and where each image was seen last."""
        if not self.exists():
            return [], [], {}
        with self.database.reading() as connection:
            project = project_id(connection, self.project)
            if not project:
                return [], [], {}
            return events_of(connection, project), classes_of(connection, project), paths_of(connection, project)

    # -- writing -------------------------------------------------------------------------------------

    @contextmanager
    def adding(self) -> Iterator[Adding]:
        """Whatever is added in the block is there, and safe, when it ends well; else none of it.

        raises  AnnotateError where the database cannot be written
        """
        with self.database.writing() as connection:
            yield Adding(connection, project_made(connection, self.project))

    def add(
        self, events: Sequence[Event], *, classes: Sequence[Class] = (), images: Collection[Seen] = ()
    ) -> list[Event]:
        """Add events, and classes and images that they speak of; what is known by its id is left as it is.

        returns  the events that are new, with their revisions
        raises   InputError for an event that makes no sense; then nothing is added
        """
        with self.adding() as adding:
            adding.classes(classes)
            adding.images(images)
            return adding.events(events)

    def undo(self, who: str, *, everything: bool = False) -> list[Event]:
        """Take back what was said last together, or all that stands; returns the events that were taken back."""
        with self.adding() as adding:
            before = standing(events_of(adding.connection, adding.project))
            if not before:
                return []
            back = [event for event in before if everything or event.batch == before[-1].batch]
            batch = new_id()
            adding.events(
                [
                    Event(new_id(), who, now(), "undo", "", UNDO, {}, before[-1].revision, event.id, batch)
                    for event in back
                ]
            )
            return back

    def rename(self, old: str, new: str) -> None:
        """Call a class otherwise; all answers of it stay.

        raises  InputError where there is no such class, or another one has the name
        """
        with self.adding() as adding:
            known = {one.name: one for one in adding.known_classes()}
            if old not in known:
                listed = ", ".join(f"'{printable(name)}'" for name in known) or "none yet"
                raise InputError(f"no class '{printable(old)}'", hint=f"the classes are {listed}")
            if new in known and new != old:
                raise InputError(f"there is a class '{printable(new)}' already", hint="choose another name")
            adding.classes([replace(known[old], name=new)], changed=True)


class Adding:
    """A transaction that adds to one project."""

    def __init__(self, connection: Connection, project: str) -> None:
        self.connection, self.project = connection, project

    def events(self, said: Sequence[Event]) -> list[Event]:
        from sqlalchemy import insert, update

        from annotate.store.tables import events, projects

        try:
            said = [checked(event) for event in said]
        except ValueError as error:
            raise InputError(f"an answer cannot be kept: {error}", hint="nothing was written") from error
        known = self.known("events", "id", [event.id for event in said])
        fresh = [*{event.id: event for event in said if event.id not in known}.values()]
        if not fresh:
            return []
        mine = projects.c.id == self.project
        last = self.connection.execute(
            update(projects)
            .where(mine)
            .values(revision=projects.c.revision + len(fresh))
            .returning(projects.c.revision)
        ).scalar_one()
        numbered = [
            replace(event, revision=number, batch=event.batch or event.id)
            for number, event in enumerate(fresh, last - len(fresh) + 1)
        ]
        self.connection.execute(
            insert(events),
            [{**vars(event), "payload": dict(event.payload), "project": self.project} for event in numbered],
        )
        return numbered

    def classes(self, named: Sequence[Class], *, changed: bool = False) -> None:
        """Add classes whose ids are new; those that are known keep their names unless `changed`."""
        from sqlalchemy import insert, update

        from annotate.store.tables import classes

        known = self.known("classes", "id", [one.id for one in named])
        fresh = [{**vars(one), "project": self.project} for one in named if one.id not in known]
        if fresh:
            self.connection.execute(insert(classes), fresh)
        for one in named if changed else ():
            mine = (classes.c.project == self.project) & (classes.c.id == one.id)
            self.connection.execute(update(classes).where(mine).values(**vars(one)))

    def images(self, seen: Collection[Seen]) -> None:
        """Note where images lie; those that are known lie where they are seen now."""
        from sqlalchemy import bindparam, insert, update

        from annotate.store.tables import images

        by_key = {one.key: one for one in seen}
        known = self.known("images", "key", [*by_key])
        fresh = [{**vars(one), "project": self.project} for key, one in by_key.items() if key not in known]
        if fresh:
            self.connection.execute(insert(images), fresh)
        again = [{"of": key, "now": one.path} for key, one in by_key.items() if key in known]
        if again:
            mine = (images.c.project == self.project) & (images.c.key == bindparam("of"))
            self.connection.execute(update(images).where(mine).values(path=bindparam("now")), again)

    def snapshot(self) -> Snapshot:
        return replay(events_of(self.connection, self.project), self.known_classes())

    def known_classes(self) -> list[Class]:
        return classes_of(self.connection, self.project)

    def known(self, table: str, column: str, keys: Sequence[str]) -> set[str]:
        """Which of some keys a table has already."""
        from sqlalchemy import select

        from annotate.store.tables import metadata

        of = metadata.tables[table]
        found: set[str] = set()
        for part in in_parts(keys):
            asked = select(of.c[column]).where(of.c.project == self.project, of.c[column].in_(part))
            found |= {*self.connection.execute(asked).scalars()}
        return found


def in_parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), TOGETHER):
        yield keys[start : start + TOGETHER]


def project_id(connection: Connection, name: str) -> str | None:
    from sqlalchemy import select

    from annotate.store.tables import projects

    found: str | None = connection.execute(select(projects.c.id).where(projects.c.name == name)).scalar()
    return found


def project_made(connection: Connection, name: str) -> str:
    from sqlalchemy import insert

    from annotate.store.tables import projects

    found = project_id(connection, name)
    if found is None:
        found = new_id()
        connection.execute(insert(projects), [{"id": found, "name": name, "revision": 0}])
    return found


def events_of(connection: Connection, project: str) -> list[Event]:
    from sqlalchemy import select

    from annotate.store.tables import events

    columns = [column for column in events.c if column.name != "project"]
    asked = select(*columns).where(events.c.project == project).order_by(events.c.revision)
    return [Event(**row) for row in connection.execute(asked).mappings()]


def classes_of(connection: Connection, project: str) -> list[Class]:
    from sqlalchemy import select

    from annotate.store.tables import classes

    columns: list[Any] = [column for column in classes.c if column.name != "project"]
    asked = select(*columns).where(classes.c.project == project).order_by(classes.c.position, classes.c.name)
    return [Class(**row) for row in connection.execute(asked).mappings()]


def paths_of(connection: Connection, project: str) -> dict[str, str]:
    """Where each image was seen last, by what it is known by."""
    from sqlalchemy import select

    from annotate.store.tables import images

    asked = select(images.c.key, images.c.path).where(images.c.project == project)
    return {row.key: row.path for row in connection.execute(asked)}
