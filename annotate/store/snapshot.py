"""The answers as they stand: the replay of all events, and its digest, which is what stages read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from annotate.store.events import BOXES, CLASS, CLASSES, NONE, UNDO, VOTES, Class, Event, with_classes
from annotate.workspace.digests import content_digest


@dataclass(frozen=True)
class Snapshot:
    """What people say of images after all that they took back.

    revision  how many events the store had
    classes   by their position
    answers   of each image, the last answer of each person, the oldest person first
    boxes     likewise, where somebody drew boxes
    """

    revision: int = 0
    classes: Sequence[Class] = ()
    answers: dict[str, dict[str, Event]] = field(default_factory=dict)
    boxes: dict[str, dict[str, Event]] = field(default_factory=dict)

    @cached_property
    def names(self) -> dict[str, str]:
        """The name of each class by its id."""
        return {one.id: one.name for one in self.classes}

    @cached_property
    def digest(self) -> str:
        """Of what is said, in the names of the classes, by whom, and who spoke last; not of when or how it was said."""
        said = [
            [image, [[event.who, event.kind, dict(with_classes(event, self.names).payload)] for event in events]]
            for image, events in self.everything()
        ]
        return content_digest(sorted(said, key=lambda row: str(row[0])))

    def everything(self) -> Iterable[tuple[str, list[Event]]]:
        """Each image with all that is said of it."""
        for part in (self.answers, self.boxes):
            for image, people in part.items():
                yield image, [*people.values()]

    @property
    def people(self) -> dict[str, int]:
        """How many images each person has answered."""
        counts: dict[str, int] = defaultdict(int)
        for people in self.answers.values():
            for who in people:
                counts[who] += 1
        return dict(counts)

    @property
    def disputed(self) -> list[str]:
        """Images of which two people say different things."""
        return [image for image, people in self.answers.items() if len({meaning(e) for e in people.values()}) > 1]

    def verdict(self, image: str) -> tuple[str | None, list[str]] | None:
        """The class that an image bears by what people say of it, and who says so; None where nobody says anything.

        Each person counts once, in parts where they name several classes. The class with most of that counts; of equal
        ones that which was said last. None stands for none of the classes.
        """
        people = self.answers.get(image)
        if not people:
            return None
        weights: dict[str | None, float] = defaultdict(float)
        for event in people.values():
            for name, part in shares(event).items():
                weights[name] += part
        most = max(weights.values()) - 1e-9
        for event in sorted(people.values(), key=lambda event: -event.revision):
            parts = shares(event)
            for name in sorted(parts, key=lambda name: -parts[name]):
                if weights[name] >= most:
                    return name, [who for who, said in people.items() if shares(said).get(name, 0) > 0]
        raise AssertionError("unreachable")


def shares(event: Event) -> dict[str | None, float]:
    """How one person's answer is spread over the classes; it sums to one."""
    said = event.payload
    if event.kind == CLASS:
        return {said["class"]: 1.0}
    if event.kind == CLASSES:
        return {name: 1 / len(said["classes"]) for name in said["classes"]}
    if event.kind == VOTES:
        total = sum(said["votes"].values())
        return {name: n / total for name, n in said["votes"].items() if n > 0}
    return {None: 1.0}


def meaning(event: Event) -> frozenset[str | None]:
    """What two answers share that do not contradict each other: the classes that they name first."""
    parts = shares(event)
    most = max(parts.values())
    return frozenset(name for name, part in parts.items() if part >= most)


def replay(events: Sequence[Event], classes: Sequence[Class]) -> Snapshot:
    """The answers after these events, in the order of their revisions."""
    answers: dict[str, dict[str, Event]] = {}
    boxes: dict[str, dict[str, Event]] = {}
    for event in standing(events):
        people = (boxes if event.kind == BOXES else answers).setdefault(event.image, {})
        people.pop(event.who, None)  # whoever spoke last comes last
        people[event.who] = event
    revision = max((event.revision for event in events), default=0)
    return Snapshot(revision, sorted(classes, key=lambda one: (one.position, one.name)), answers, boxes)


def standing(events: Sequence[Event]) -> list[Event]:
    """The events that nobody took back, undos left out. An undo counts unless a later one takes it back."""
    taken_back: set[str] = set()
    for event in reversed(events):
        if event.kind == UNDO and event.undoes and event.id not in taken_back:
            taken_back.add(event.undoes)
    return [event for event in events if event.kind != UNDO and event.id not in taken_back]


def in_words(event: Event, names: dict[str, str]) -> str:
    """An answer for a cell of a table."""
    if event.kind == CLASS:
        named = str(event.payload["class"])
        return names.get(named, named)
    if event.kind == NONE:
        return "none of these"
    if event.kind == CLASSES:
        return "; ".join(names.get(name, name) for name in event.payload["classes"])
    if event.kind == VOTES:
        return "; ".join(f"{names.get(name, name)}: {n:g}" for name, n in event.payload["votes"].items() if n > 0)
    return event.kind
