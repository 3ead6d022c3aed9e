"""Reading XML that others wrote, without document types: no entity can unfold without end, or fetch anything."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from annotate.errors import InputError, printable
from annotate.workspace.artifacts import read_file

LARGEST = 1 << 30  # bytes
DEEPEST = 64  # elements within each other
HINT = "export it again from the program that wrote it"


class Refused(ValueError):
    pass


def parse_file(path: Path) -> Element:
    """The root of an XML file.

    raises  InputError where it is not XML, or larger than a file of boxes can be
    """
    try:
        return parse(read_file(path, LARGEST))
    except OSError as error:
        raise InputError(f"{printable(path)}: {error.strerror or 'cannot be read'}", hint="check the path") from error
    except (ValueError, expat.ExpatError) as error:
        said = f"line {error.lineno} is not XML" if isinstance(error, expat.ExpatError) else str(error)
        raise InputError(f"{printable(path)}: {said}", hint=HINT) from error


def parse(content: bytes) -> Element:
    """raises  ExpatError where it is not XML, ValueError where it holds what no file of boxes needs"""
    builder, parser, depth = TreeBuilder(), expat.ParserCreate(), 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise Refused("elements nested too deep")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    def refuse(*doctype: object) -> None:
        raise Refused("a document type, which no file of boxes needs, and which could make it unfold without end")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    parser.Parse(content, True)
    return builder.close()
