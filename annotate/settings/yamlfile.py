"""Reading YAML that people wrote: every value as it is written, with reasons instead of tracebacks.

YAML rewrites words of its own accord: 0123 becomes 83, 1:30 becomes 90, `no` becomes false. Here a value is the text
that stands in the file, and whoever uses it knows whether it should be a number.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from annotate.errors import InputError, printable

DEEPEST = 32  # lists and mappings within each other
MOST_VALUES = 2_000_000  # aliases count as often as they are used
LARGEST_FILE = 1 << 27  # bytes
NOTHING = ("", "~", "null", "Null", "NULL")  # how YAML says that there is no value
PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")} | {"!"}


class Refused(ValueError):
    pass


def parse(text: str, *, shown: str, hint: str) -> Any:
    """The content of a YAML text: mappings, lists and texts; None where there is no content.

    shown   what the user calls it, for the message
    raises  InputError where it is not YAML, has a key twice, is nested too deep or unfolds to too much
    """
    import yaml

    try:
        return build_content(yaml.parse(text, Loader=yaml.SafeLoader))
    except Refused as error:
        raise InputError(f"{shown}: {error}", hint=hint) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # an impossible escape is an OverflowError
        said = printable((str(error) or type(error).__name__).splitlines()[0])
        raise InputError(f"{shown}: not readable as YAML: {said}", hint=hint) from error


def read(path: Path, *, hint: str) -> Any:
    """The content of a YAML file in UTF-8."""
    shown = printable(path)
    with open(path, "rb") as file:
        return parse(read_text(file, shown), shown=shown, hint=hint)


def read_text(file: IO[bytes], shown: str) -> str:
    """The text of a file in UTF-8.

    raises  InputError where it is in another encoding, or too large for something that a person wrote
    """
    content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise InputError(f"{shown}: larger than {LARGEST_FILE >> 20} MB", hint="check that it is the right file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{shown}: not UTF-8 text", hint="save it as UTF-8") from error


def build_content(events: Iterable[Any]) -> Any:
    """What a stream of YAML events builds; one document, within the limits."""
    import yaml

    root: list[Any] = []
    waiting: list[Filling] = [Filling(root)]
    anchors: dict[str, tuple[Any, int]] = {}  # finished values, and how many each unfolds to
    count = 0

    def put(value: Any, anchor: str | None, size: int, line: int) -> None:
        if anchor is not None:
            anchors[anchor] = value, size
        waiting[-1].put(value, line)

    for event in events:
        line = event.start_mark.line + 1
        match event:
            case yaml.AliasEvent():
                if event.anchor not in anchors:
                    raise Refused(f"line {line}: nothing is called '&{printable(event.anchor)}' before this line")
                value, size = anchors[event.anchor]
                count += size
                put(value, None, size, line)
            case yaml.ScalarEvent():
                count += 1
                check_tag(event.tag, line)
                put(event.value, event.anchor, 1, line)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                count += 1
                check_tag(event.tag, line)
                if len(waiting) > DEEPEST:
                    raise Refused(f"line {line}: more than {DEEPEST} lists or sections within each other")
                kind: Any = [] if isinstance(event, yaml.SequenceStartEvent) else {}
                waiting.append(Filling(kind, event.anchor, count, line))
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                ended = waiting.pop()
                put(ended.place, ended.anchor, count - ended.before + 1, ended.line)
            case yaml.DocumentStartEvent() if root:
                raise Refused(f"line {line}: a second document begins (---)")
        if count > MOST_VALUES:
            raise Refused(f"line {line}: it holds, or its aliases unfold to, more than {MOST_VALUES:,} values")
    return None if not root or root == [""] else root[0]


class Filling:
    """A list or a mapping that is being filled."""

    def __init__(self, place: Any, anchor: str | None = None, before: int = 0, line: int = 0) -> None:
        self.place, self.anchor, self.before, self.line = place, anchor, before, line
        self.key: str | None = None

    def put(self, value: Any, line: int) -> None:
        if isinstance(self.place, list):
            self.place.append(value)
        elif self.key is not None:
            self.place[self.key], self.key = value, None
        elif not isinstance(value, str):
            raise Refused(f"line {line}: a list or section where a name should be")
        elif value in self.place:
            raise Refused(f"line {line}: '{printable(value)}' is there twice")
        else:
            self.key = value


def check_tag(tag: str | None, line: int) -> None:
    if tag is not None and tag not in PLAIN_TAGS:
        raise Refused(f"line {line}: '{printable(tag)}' is not supported")
