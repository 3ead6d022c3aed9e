"""The store: what was said stays said, in SQLite as in PostgreSQL."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annotate.errors import AnnotateError, DamagedArtifact, InputError, StorageError, WorkspaceBusy
from annotate.store import connecting, interchange, migrations
from annotate.store.connecting import Database, without_password
from annotate.store.events import Class, Event, Seen, new_id, now
from annotate.store.older import FILE as OLDER
from annotate.store.older import take_over
from annotate.store.snapshot import Snapshot, replay
from annotate.store.store import Store
from annotate.workspace.artifacts import as_json
from annotate.workspace.digests import content_digest

CAT, DOG = Class("c1", "cat", position=0), Class("c2", "dog", position=1)


def said(image: str, name: str | None = "c1", who: str = "ann", **further: Any) -> Event:
    kind, payload = ("class", {"class": name}) if name else ("none", {})
    return replace(Event(new_id(), who, now(), "a test", image, kind, payload), **further)


def undo(event: Event) -> Event:
    return Event(new_id(), "ann", now(), "a test", "", "undo", {}, undoes=event.id)


def classes(found: Snapshot) -> dict[str, str | None]:
    return {image: verdict[0] for image in found.answers if (verdict := found.verdict(image))}


# -- laws of the replay --------------------------------------------------------------------------------


def test_the_last_word_of_a_person_counts_and_undo_brings_the_one_before_back() -> None:
    first, second = said("a", "c1"), said("a", "c2")
    back = undo(second)
    assert classes(replay([first, second], [CAT, DOG])) == {"a": "c2"}
    assert classes(replay([first, second, back], [CAT, DOG])) == {"a": "c1"}
    assert classes(replay([first, second, back, undo(back)], [CAT, DOG])) == {"a": "c2"}
    assert classes(replay([first, second, back, undo(first)], [CAT, DOG])) == {}


def test_replay_is_what_a_pencil_and_a_rubber_would_do() -> None:
    """Against a model that rubs out and writes again after every event."""
    draw = random.Random(0)
    for _ in range(200):
        events: list[Event] = []
        for _ in range(draw.randrange(12)):
            earlier = list(events)
            if earlier and draw.random() < 0.4:
                events.append(undo(draw.choice(earlier)))
            else:
                events.append(said(draw.choice("abc"), draw.choice(["c1", "c2", None]), draw.choice(["ann", "bob"])))

        def stands(event: Event, events: list[Event] = events) -> bool:
            return not any(later.undoes == event.id and stands(later) for later in events[events.index(event) + 1 :])

        paper: dict[tuple[str, str], str | None] = {}
        for event in events:
            if event.kind != "undo" and stands(event):
                paper[event.image, event.who] = event.payload.get("class")
        found = replay(events, [CAT, DOG])
        assert {
            (image, who): event.payload.get("class")
            for image, people in found.answers.items()
            for who, event in people.items()
        } == paper


def test_most_people_decide_and_of_as_many_the_later() -> None:
    people = [
        said("a", "c1", "ann", revision=1),
        said("a", "c2", "bob", revision=2),
        said("a", "c1", "eve", revision=3),
    ]
    assert replay(people, [CAT, DOG]).verdict("a") == ("c1", ["ann", "eve"])
    assert replay(people[:2], [CAT, DOG]).verdict("a") == ("c2", ["bob"])
    assert replay(people, [CAT, DOG]).disputed == ["a"]
    assert replay(people[::2], [CAT, DOG]).disputed == []


def test_votes_and_several_classes_count_in_parts() -> None:
    votes = said("a", kind="votes", payload={"votes": {"c1": 1, "c2": 3}})
    several = said("a", who="bob", kind="classes", payload={"classes": ["c1", "c2"]})
    assert replay([votes], []).verdict("a") == ("c2", ["ann"])
    assert replay([votes, several], []).verdict("a") == ("c2", ["ann", "bob"])
    assert replay([said("b", None)], []).verdict("b") == (None, ["ann"])
    assert replay([], []).verdict("a") is None


def test_the_digest_is_of_what_is_said_not_of_when() -> None:
    first = [said("a", "c1"), said("b", "c2", "bob")]
    later = [replace(event, id=new_id(), when="2020", revision=7) for event in reversed(first)]
    assert replay(first, [CAT, DOG]).digest == replay(later, [DOG, CAT]).digest
    others = [
        replay(first, [replace(CAT, name="hound"), DOG]),
        replay([*first, said("a", "c2")], [CAT, DOG]),
        replay(first[:1], [CAT, DOG]),
        replay([replace(first[0], who="eve"), first[1]], [CAT, DOG]),
    ]
    assert len({replay(first, [CAT, DOG]).digest, *(found.digest for found in others)}) == 5
    assert replay(first, [CAT, DOG, Class("c3", "unused")]).digest == replay(first, [CAT, DOG]).digest


# -- in a database -------------------------------------------------------------------------------------


def test_what_is_added_is_read_back_and_added_once(store: Store) -> None:
    assert store.snapshot().answers == {}
    events = [said("a"), said("b", None, "bob", source="known.csv", saw=3), said("a", "c2")]
    added = store.add(events, classes=[CAT, DOG], images=[Seen("a", "/photos/a.jpg", 40, 30)])
    assert [event.revision for event in added] == [1, 2, 3]
    assert store.add([*events, events[0]], classes=[CAT]) == []
    found, names = store.everything()
    assert found == added
    assert names == [CAT, DOG]
    assert store.snapshot().people == {"ann": 1, "bob": 1}
    store.add([], images=[Seen("a", "/elsewhere/a.jpg")])
    assert store.everything_with_paths()[2] == {"a": "/elsewhere/a.jpg"}


def test_undo_takes_back_what_was_said_together(store: Store) -> None:
    assert store.undo("ann") == []
    store.add([said("a", batch="1"), said("b", batch="1")], classes=[CAT, DOG])
    store.add([said("a", "c2", batch="2")])
    assert [event.image for event in store.undo("ann")] == ["a"]
    assert classes(store.snapshot()) == {"a": "c1", "b": "c1"}
    assert len(store.undo("ann")) == 2
    assert store.undo("ann") == []
    store.add([said("a", batch="3"), said("b", batch="4")])
    assert len(store.undo("ann", everything=True)) == 2
    assert classes(store.snapshot()) == {}
    assert len(store.everything()[0]) == 10  # nothing is ever taken away


def test_a_class_keeps_its_answers_under_another_name(store: Store) -> None:
    store.add([said("a")], classes=[CAT, DOG])
    store.rename("cat", "hound")
    assert store.snapshot().names == {"c1": "hound", "c2": "dog"}
    assert classes(store.snapshot()) == {"a": "c1"}
    with pytest.raises(InputError, match="no class 'cat'"):
        store.rename("cat", "tom")
    with pytest.raises(InputError, match="there is a class 'dog' already"):
        store.rename("hound", "dog")


@pytest.mark.parametrize(
    ("kind", "payload", "why"),
    [
        ("class", {}, "names no class"),
        ("class", {"class": 1}, "names no class"),
        ("classes", {"classes": ["c1", "c1"]}, "one twice"),
        ("classes", {"classes": []}, "names no classes"),
        ("votes", {"votes": {"c1": -1}}, "zero or more"),
        ("votes", {"votes": {"c1": float("nan")}}, "zero or more"),
        ("votes", {"votes": {"c1": 0}}, "all its votes are zero"),
        ("boxes", {"boxes": [{"x": 0, "y": 0, "width": 0, "height": 1, "class": "c1"}]}, "its boxes"),
        ("boxes", {"boxes": [{"x": 0, "y": 0, "width": 1, "height": 1}]}, "its boxes"),
        ("wish", {}, "no kind of answer"),
        ("undo", {}, "an undo names an event"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused_with_all_beside_it(
    file: Store, kind: str, payload: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        file.add([said("a"), said("b", kind=kind, payload=payload)], classes=[CAT])
    assert file.everything() == ([], [])


def test_boxes_are_kept_beside_the_class_of_an_image(store: Store) -> None:
    box = {"x": 1, "y": 2.5, "width": 3, "height": 4, "class": "c2"}
    store.add([said("a"), said("a", kind="boxes", payload={"boxes": [box]})], classes=[CAT, DOG])
    found = store.snapshot()
    assert found.verdict("a") == ("c1", ["ann"])
    assert found.boxes["a"]["ann"].payload == {"boxes": [box]}


def test_many_writers_at_once_lose_nothing_and_share_no_number(store: Store) -> None:
    store.add([said("start")], classes=[CAT, DOG])
    failed: list[BaseException] = []

    def write(who: str) -> None:
        try:
            for number in range(5):
                store.add([said(f"{who}-{number}", who=who)])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(f"p{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert [event.revision for event in store.everything()[0]] == list(range(1, 22))


def test_projects_share_a_database_and_nothing_else(store: Store) -> None:
    other = replace(store, project=f"{store.project}, too")
    event = said("a")
    store.add([event], classes=[CAT])
    assert other.everything() == ([], [])
    assert [one.revision for one in other.add([event], classes=[CAT])] == [1]
    assert len(store.everything()[0]) == 1


# -- out and in ----------------------------------------------------------------------------------------


def test_an_export_read_into_an_empty_store_is_the_same_snapshot(store: Store, tmp_path: Path) -> None:
    odd = "caf\u00e9 \U0001f408 'x'\\\"\n"
    store.add([said("a"), said("a", "c2", odd), said("b", None)], classes=[CAT, replace(DOG, name=odd)])
    store.add([said("c", kind="votes", payload={"votes": {"c1": 1, "c2": 0.25}})], images=[Seen("c", odd)])
    store.undo("ann")
    store.add([said("d", kind="empty", payload={})])
    assert interchange.export(store, tmp_path / "out.jsonl") == 6
    assert interchange.is_export(tmp_path / "out.jsonl")
    other = Store(Database(tmp_path / "other.db"))
    assert len(interchange.take_in(other, tmp_path / "out.jsonl")) == 6
    assert other.snapshot().digest == store.snapshot().digest
    assert other.everything_with_paths() == store.everything_with_paths()
    assert interchange.take_in(other, tmp_path / "out.jsonl") == []


def test_an_export_read_into_a_store_takes_classes_of_one_name_for_one(file: Store, tmp_path: Path) -> None:
    other = Store(Database(tmp_path / "other.db"))
    other.add([said("a", "x1"), said("b", "x2")], classes=[Class("x1", "dog"), Class("x2", "bird", position=1)])
    interchange.export(other, tmp_path / "out.jsonl")
    file.add([said("c")], classes=[CAT, DOG])
    interchange.take_in(file, tmp_path / "out.jsonl")
    assert classes(file.snapshot()) == {"c": "c1", "a": "c2", "b": "x2"}
    assert [one.name for one in file.snapshot().classes] == ["cat", "dog", "bird"]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda text: text.rpartition("\n")[0].rpartition("\n")[0] + "\n", "1 answers, its first line says 2"),
        (lambda text: text[:-20], "line 4: not readable as JSON"),
        (lambda text: text.replace('"who"', '"whom"'), "line 3: no 'who'"),
        (lambda text: text.replace('"version": 1', '"version": 2'), "another version"),
        (lambda text: text.replace('"class": {"id": "c1"', '"class": {"id": "c9"'), "classes that it does not name"),
        (lambda text: text.replace('"kind": "class"', '"kind": "klass"'), "line 3: no kind"),
    ],
)
def test_an_export_that_is_not_whole_adds_nothing(
    file: Store, tmp_path: Path, spoil: Callable[[str], str], why: str
) -> None:
    file.add([said("a"), said("b")], classes=[CAT])
    out = tmp_path / "out.jsonl"
    interchange.export(file, out)
    out.write_text(spoil(out.read_text()))
    other = Store(Database(tmp_path / "other.db"))
    with pytest.raises(InputError, match=why):
        interchange.take_in(other, out)
    assert not other.exists()


def test_answers_of_before_the_store_are_taken_over_once(file: Store, tmp_path: Path) -> None:
    answers = [{"digest": "a", "path": "p", "name": "cat"}, {"digest": None, "path": "q", "name": "dog"}]
    content = as_json({"answers": answers, "sha256": content_digest(answers)})
    for _ in range(2):  # as after a kill before the file got its other name
        (tmp_path / OLDER).write_bytes(content)
        take_over(file, tmp_path, "ann")
        assert not (tmp_path / OLDER).exists()
        found = file.snapshot()
        assert {image: found.names[str(name)] for image, name in classes(found).items()} == {
            "a": "cat",
            "path q": "dog",
        }
        assert len(file.everything()[0]) == 2


# -- what goes wrong -----------------------------------------------------------------------------------


def test_a_database_of_a_newer_annotate_is_left_alone(store: Store) -> None:
    from sqlalchemy import text

    store.add([said("a")], classes=[CAT])
    with store.database.writing() as connection:
        connection.execute(text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'"))
    try:
        for act in (store.snapshot, lambda: store.add([said("b")])):
            with pytest.raises(InputError, match="was written by a newer annotate") as caught:
                act()
            assert caught.value.hint
    finally:
        with store.database.connected() as engine, engine.begin() as connection:
            connection.execute(text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '{migrations.HEAD}'"))


def test_the_tables_are_those_that_migrations_make(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from annotate.store.tables import metadata

    store.add([])
    with store.database.reading() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": migrations.VERSION_TABLE,
                "version_table_schema": migrations.schema_of(connection),
                "compare_type": True,
            },
        )
        if migrations.schema_of(connection) is None:
            assert compare_metadata(context, metadata) == []
    assert migrations.VERSIONS[-1] == migrations.HEAD
    assert len([*Path(migrations.__file__).parent.glob("versions/v*.py")]) == len(migrations.VERSIONS)


def test_the_database_of_another_program_is_left_alone(file: Store, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / connecting.FILE) as other:
        other.execute("CREATE TABLE songs (name)")
    other.close()
    with pytest.raises(InputError, match="the database of another program, with a table 'songs'"):
        file.add([said("a")])


def test_somebody_who_writes_for_long_is_waited_for_and_then_named(
    file: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.add([said("a")], classes=[CAT])
    monkeypatch.setattr(connecting, "PATIENCE", 0.1)
    other = sqlite3.connect(tmp_path / connecting.FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(WorkspaceBusy, match="is being written by another program") as caught:
        file.add([said("b")])
    assert caught.value.hint
    assert list(file.snapshot().answers) == ["a"]  # whoever only reads waits for nobody
    other.close()
    file.add([said("b")])


def test_a_full_disk_adds_nothing(file: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.add([said("a")], classes=[CAT])
    real = connecting.open_sqlite

    def small(place: Path) -> sqlite3.Connection:
        connection = real(place)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(connecting, "open_sqlite", small)
        with pytest.raises(StorageError, match="the disk is full") as caught:
            file.add([said(f"{i:064}") for i in range(200)])
        assert caught.value.hint
    assert list(file.snapshot().answers) == ["a"]


def test_a_read_only_disk_can_be_read_and_says_that_it_cannot_be_written(
    file: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.add([said("a")], classes=[CAT])
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere but on such a disk
    assert list(file.snapshot().answers) == ["a"]
    with pytest.raises(StorageError, match="cannot be written") as caught:
        file.add([said("b")])
    assert caught.value.hint


@pytest.mark.parametrize(
    "content", [b"no database, but long enough to be taken for one" * 100, b"SQLite format 3\0" * 99]
)
def test_what_is_no_database_is_said_not_dropped(file: Store, tmp_path: Path, content: bytes) -> None:
    (tmp_path / connecting.FILE).write_bytes(content)
    for act in (file.snapshot, lambda: file.add([said("a")])):
        with pytest.raises(DamagedArtifact, match="not the answers that were written") as caught:
            act()
        assert caught.value.hint
    assert (tmp_path / connecting.FILE).read_bytes() == content


@pytest.mark.parametrize("put", [os.mkdir, os.mkfifo, lambda place: os.symlink("elsewhere", place)])
def test_nothing_is_written_through_what_is_no_file(file: Store, tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / connecting.FILE)
    with pytest.raises(AnnotateError) as caught:
        file.add([said("a")])
    assert caught.value.hint
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "url", ["postgresql://eve:secret@127.0.0.1:1/none", "postgresql://eve:secret@127.0.0.1:nine/none"]
)
def test_a_server_that_is_not_there_is_told_in_a_line_without_the_password(url: str) -> None:
    with pytest.raises(InputError) as caught:
        Store(Database(url=url)).snapshot()
    assert "secret" not in str(caught.value) + caught.value.hint
    assert "eve" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_password_is_not_shown() -> None:
    assert without_password("postgresql://a:b@c@host/d") == "postgresql://a@host/d"
    assert without_password("postgresql://host/d") == "postgresql://host/d"
