"""Keep what somebody says of the images: read it, say what it comes to, add it to the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from annotate.classes.spelling import matcher
from annotate.errors import Hint, InputError, first_few, printable
from annotate.records import Embeddings, Texts
from annotate.sources.own import made_by
from annotate.stages.answers import known_digest, snapshot_of, store_of, who_of
from annotate.stages.text import imported, texts_for
from annotate.store import interchange, older, place
from annotate.store.events import CLASS, CLASSES, VOTES, Class, Event, Seen, image_key, new_id, now
from annotate.store.reading import Said, Table, read_table
from annotate.store.snapshot import Snapshot, in_words
from annotate.workspace.plan import json_text

if TYPE_CHECKING:
    from annotate.stages import Context
    from annotate.store.store import Adding

LISTED = 10  # rows that name no image, each told


@dataclass(frozen=True)
class Labelled:
    """What a source says, and what became of it.

    source     for the reader
    answers    that are added
    images     that they are of
    unchanged  answers that were there already
    strangers  rows that name no image: number, and what they name
    skipped    rows that name a file which could not be read, likewise
    new        names that are no class yet
    waiting    answers that name one of them
    added      whether those became classes; if not, these answers are not kept
    notes      further things to know
    """

    source: str
    answers: int
    images: int
    unchanged: int = 0
    strangers: Sequence[tuple[int, str]] = ()
    skipped: Sequence[tuple[int, str]] = ()
    new: Sequence[str] = ()
    waiting: int = 0
    added: bool = False
    notes: Sequence[str] = ()

    @property
    def kept(self) -> int:
        return self.answers - (0 if self.added else self.waiting)

    @property
    def in_words(self) -> list[str]:
        """A sentence each: what is kept, then what is not."""
        said = [f"{count_of(self.kept, 'answer')} for {count_of(self.images, 'image')}"]
        if not self.answers:
            said = ["no answer that is new"]
        if self.unchanged:
            verb = "was" if self.unchanged == 1 else "were"
            said[0] += f"; {count_of(self.unchanged, 'answer')} {verb} there already"
        for rows, what in ((self.strangers, "no image"), (self.skipped, "a file that could not be read")):
            if rows:
                listed = first_few([f"row {line} ({printable(path)})" for line, path in rows], LISTED)
                said.append(f"{count_of(len(rows), 'row')} name{'s' * (len(rows) == 1)} {what}: {listed}")
        if self.new:
            verb, them = ("is", "it") if len(self.new) == 1 else ("are", "them")
            add = "" if self.added else f" (add {them}? `--new-classes`)"
            said.append(f"{count_of(len(self.new), 'class', 'classes')} {verb} new: {in_quotes(self.new)}{add}")
        return [*said, *self.notes]


@dataclass(frozen=True)
class Decision:
    """What somebody says to what a source comes to: whether to keep it, and whether to add its new classes."""

    write: bool
    new_classes: bool


Confirm = Callable[[Labelled], Decision]


def in_quotes(names: Sequence[str]) -> str:
    return first_few([f"'{printable(name)}'" for name in names])


def count_of(number: int, one: str, several: str = "") -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def label(
    context: Context, source: str | Path, *, new_classes: bool = False, confirm: Confirm | None = None
) -> Labelled:
    """Keep what a table, a dataset with moved files, or an export says of the images of the workspace.

    new_classes  whether names that are no class yet become classes
    confirm      asked before anything is written; without it all is
    raises       InputError where the source cannot be read; then nothing is written
    """
    path = Path(source)
    if not path.exists():
        raise InputError(
            f"no file or folder {printable(path)}",
            hint="give a table of path,class, or the dataset in which you moved images",
        )
    if path.is_file() and interchange.is_export(path):
        return import_export(context, path)
    from annotate.stages import boxes, foreign

    of_others = foreign.classes_in(path)
    if not of_others and boxes.are_in(path):
        return boxes.label_boxes(context, path, confirm=confirm)
    images = context.workspace.read(Embeddings)
    names = known_names(context, snapshot_of(context).classes)
    if of_others:
        table, shown = foreign.as_table(path, of_others, boxes.image_finder(images, path)), printable(path.name)
    else:
        table, shown = read_source(context, path, images, names)
    made = judged(context, table, shown, images, names)
    if not names and made.new:
        new_classes = True  # classes that have no words yet
    decision = confirm(made) if confirm else Decision(True, new_classes)
    made = replace(made, added=decision.new_classes or new_classes)
    if not made.kept and made.new and not made.unchanged and not confirm:
        raise InputError(
            f"{shown}: none of its names is a class: {in_quotes(made.new)}",
            hint=Hint(
                f"check how they are spelt, or let them be new classes; the classes are {first_few(names, 8)}",
                f"check how they are spelt, or add --new-classes; the classes are {first_few(names, 8)}",
            ),
        )
    if not decision.write or not made.kept:
        return replace(made, answers=0, waiting=0, images=0)
    if made.added:
        extend_texts(context, made.new)
    return keep(context, table, shown, images, made)


def read_source(context: Context, path: Path, images: Embeddings, names: Sequence[str]) -> tuple[Table, str]:
    """What a table says, a dataset in which images were moved, or a folder per class; and what it is called."""
    if not path.is_dir():
        return read_table(path, images.image_paths, images.folder, names), printable(path.name)
    if made_by(path) == "organize":
        from annotate.stages.corrections import moves_as_table

        return moves_as_table(path, images, context), f"moved in {printable(path)}/"
    from annotate.reports.truth import read_truth_names

    said = read_truth_names(path, images.image_paths, names, folder=images.folder, images=images.images)
    rows = [Said(row, row, "", CLASS, (name,)) for row, name in enumerate(said.names) if name is not None]
    return Table(said.source, rows), said.source


def known_names(context: Context, classes: Sequence[Class]) -> list[str]:
    """The classes that there are: those of the workspace, then those that answers speak of."""
    texts = context.workspace.read(Texts).class_names if context.workspace.has("text") else []
    class_of = matcher(texts)
    further = [one.name for one in classes]
    return [*texts, *(name for name in further if class_of(name) is None)]


def judged(context: Context, table: Table, shown: str, images: Embeddings, names: Sequence[str]) -> Labelled:
    """What a table comes to, before anything is written.

    raises  InputError where it says nothing about any image
    """
    class_of = matcher(names)
    before = snapshot_of(context)
    who = who_of(context)
    news = [one for one in table.said if not is_there(one, table, images, before, class_of, names, who)]
    waiting = [one for one in news if any(class_of(name) is None for name in one.names)]
    new = [*dict.fromkeys(name for one in waiting for name in one.names if class_of(name) is None)]
    strangers, skipped = among_skipped(table.strangers, images)
    if not table.said and table.strangers:
        raise InputError(
            f"{table.shown}: says nothing about any of the {len(images.image_paths):,} images",
            hint="its paths must be absolute, or relative to the images or to the file itself",
        )
    notes = [*table.notes]
    counted = {keys_of(images, one.image) for one in news}
    there = len(table.said) - len(news)
    return Labelled(shown, len(news), len(counted), there, strangers, skipped, new, len(waiting), notes=notes)


def is_there(
    one: Said,
    table: Table,
    images: Embeddings,
    before: Snapshot,
    class_of: Callable[[str], int | None],
    names: Sequence[str],
    who: str,
) -> bool:
    """Whether an answer says what this person, or in annotate's own table what all together, said before."""
    people = before.answers.get(keys_of(images, one.image), {})
    if not people:
        return False
    if table.ours:
        verdict = before.verdict(keys_of(images, one.image))
        said = "none of these" if verdict is None or verdict[0] is None else before.names.get(verdict[0], "")
        return says(one) == said
    event = people.get(one.who or who)
    return event is not None and in_words(event, before.names) == in_words(
        replace(event, kind=one.kind, payload=payload_of(one, lambda name: spelt(name, class_of, names))), {}
    )


def says(one: Said) -> str:
    return one.names[0] if one.kind == CLASS else "none of these" if not one.names else "; ".join(one.names)


def spelt(name: str, class_of: Callable[[str], int | None], names: Sequence[str]) -> str:
    index = class_of(name)
    return name if index is None else names[index]


def payload_of(one: Said, id_of: Callable[[str], str]) -> dict[str, object]:
    if one.kind == CLASS:
        return {"class": id_of(one.names[0])}
    if one.kind == CLASSES:
        return {"classes": [*dict.fromkeys(map(id_of, one.names))]}
    if one.kind == VOTES:
        votes: Counter[str] = Counter()
        for name, amount in zip(one.names, one.votes, strict=True):
            votes[id_of(name)] += amount  # type: ignore[assignment]  # a share
        return {"votes": {name: amount for name, amount in votes.items() if amount}}
    return {}


def keys_of(images: Embeddings, row: int) -> str:
    return image_key(known_digest(images.images[row]), images.image_paths[row])


def among_skipped(
    strangers: Sequence[tuple[int, str]], images: Embeddings
) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """The rows that name nothing, and those that name a file which could not be read."""
    from annotate.store.paths import finder

    if not strangers or not images.skipped:
        return [*strangers], []
    find = finder([row["path"] for row in images.skipped], folders=[images.folder] if images.folder else [])
    return (
        [row for row in strangers if find(row[1]) is None],
        [row for row in strangers if find(row[1]) is not None],
    )


# -- writing -------------------------------------------------------------------------------------------


def keep(context: Context, table: Table, source: str, images: Embeddings, made: Labelled) -> Labelled:
    """Add the answers in one step; byte-identical images share one, the last that was said."""
    store, who = store_of(context), who_of(context)
    older.take_over(store, context.workspace.root, who)
    with store.adding() as adding:
        return added(adding, context, table, source, images, made, who)


def added(
    adding: Adding, context: Context, table: Table, source: str, images: Embeddings, made: Labelled, who: str
) -> Labelled:
    known = adding.known_classes()
    classes = Classes(known, known_names(context, known))
    allowed = matcher(classes.names) if not made.added else None
    before, batch, at = adding.snapshot(), new_id(), now()
    events: dict[tuple[str, str], Event] = {}
    rows: dict[str, int] = {}
    class_of, names, disputed = matcher(classes.names), classes.names, []
    for one in table.said:
        if allowed and any(allowed(name) is None for name in one.names):
            continue
        if is_there(one, table, images, before, class_of, names, who):
            continue
        image, person = keys_of(images, one.image), one.who or who
        payload = payload_of(one, classes.id_of)
        first = events.get((image, person))
        if first and first.payload != payload:
            disputed.append(images.image_paths[one.image])
        events[image, person] = Event(
            new_id(), person, at, json_text(source), image, one.kind, payload, before.revision, None, batch
        )
        rows[image] = one.image
    adding.classes(classes.fresh)
    adding.images([seen_of(images, row, image) for image, row in rows.items()])
    said = adding.events([*events.values()])
    place.note(store_of(context), context.workspace.root)
    notes = [*made.notes]
    if disputed:
        notes.append(
            f"copies of the same image have different classes, for example {printable(disputed[0])}; the later one "
            "counts for all copies"
        )
    waiting = 0 if made.added else made.waiting
    return replace(made, answers=len(said) + waiting, images=len(rows), notes=notes)


class Classes:
    """The classes of the store, and those that it gets from now on."""

    def __init__(self, known: Sequence[Class], names: Sequence[str]) -> None:
        self.names = [*names]
        self.ids = {one.name: one.id for one in known}
        self.fresh: list[Class] = []
        self.meant: dict[str, str] = {}  # by name, as it is written
        self.last = max((one.position for one in known), default=-1)

    def id_of(self, name: str) -> str:
        """The id of the class that a name means; a new one where it means none."""
        if name not in self.meant:
            self.meant[name] = self.found(name)
        return self.meant[name]

    def found(self, name: str) -> str:
        index = matcher(self.names)(name)
        named = self.names[index] if index is not None else name
        if index is None:
            self.names.append(name)
        by_meaning = matcher([*self.ids])(named)
        if by_meaning is not None:
            return [*self.ids.values()][by_meaning]
        self.last += 1
        self.fresh.append(Class(new_id(), named, position=self.last))
        self.ids[named] = self.fresh[-1].id
        return self.fresh[-1].id


def seen_of(images: Embeddings, row: int, key: str) -> Seen:
    fact = images.images[row]
    return Seen(
        key,
        json_text(images.image_paths[row]),
        fact.get("width") if fact else None,
        fact.get("height") if fact else None,
    )


def extend_texts(context: Context, new: Sequence[str]) -> None:
    """Let `refine` know the new classes, in the words of their names, before answers speak of them."""
    workspace = context.workspace
    if not workspace.has("text") or not new:
        return
    if imported(workspace):
        context.progress.note(
            {
                "message": "the embeddings were imported, so annotate has no words for a new class; its answers wait",
                "hint": "run `annotate import` again with --text-embeddings and --classes that have it",
            }
        )
        return
    if context.config.classes:
        context.progress.note(
            {
                "message": f"the settings name the classes, and not {in_quotes(new)}",
                "hint": "add it to `classes` there",
            }
        )
        return
    texts_for(context, [*workspace.read(Texts).class_names, *new])


def import_export(context: Context, path: Path) -> Labelled:
    """Add the events of a file that `export` wrote."""
    store = store_of(context)
    older.take_over(store, context.workspace.root, who_of(context))
    said = interchange.take_in(store, path)
    place.note(store, context.workspace.root)
    return Labelled(printable(path.name), len(said), len({event.image for event in said if event.image}), added=True)


def undo(context: Context, *, everything: bool = False) -> list[Event]:
    """Take back what was said last together, or all that stands; returns what was taken back."""
    store, who = store_of(context), who_of(context)
    older.take_over(store, context.workspace.root, who)
    return store.undo(who, everything=everything) if store.exists() else []


def export(context: Context, file: Path) -> int:
    """Write all that was ever said, as JSON lines; returns how many answers.

    raises  InputError where nobody said anything yet
    """
    store = store_of(context)
    older.take_over(store, context.workspace.root, who_of(context))
    if not store.exists():
        raise InputError("there are no answers yet", hint=Hint("give some", "give some: `annotate label FILE`"))
    return interchange.export(store, file)


def rename(context: Context, old: str, new: str) -> None:
    """Call a class otherwise; its answers stay, and `refine` asks for the new name from now on."""
    if not new.strip():
        raise InputError(
            "a class needs a name",
            hint=Hint("for example cat=kitten", "for example `annotate label --rename cat=kitten`"),
        )
    store, workspace = store_of(context), context.workspace
    older.take_over(store, workspace.root, who_of(context))
    texts = workspace.read(Texts).class_names if workspace.has("text") else []
    if old in texts and not any(one.name == old for one in store.snapshot().classes):
        with store.adding() as adding:
            classes = Classes(adding.known_classes(), texts)
            classes.id_of(old)
            adding.classes(classes.fresh)
    store.rename(old, new)
    if old in texts and not imported(workspace) and not context.config.classes:
        texts_for(context, [new if name == old else name for name in texts])
