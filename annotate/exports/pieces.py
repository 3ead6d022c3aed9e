"""JSON, CSV and XML piece by piece, so that the files of a million images need no memory for a million rows."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def json_text(value: Any) -> bytes:
    """JSON in ASCII, as every reader takes it, also names that are not text."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False).encode("ascii")


def yaml_text(text: str) -> str:
    """A text in YAML's double quotes. YAML knows no pairs of escapes for one letter, as JSON has them."""
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08X}" for c in text) + '"'


def json_line(value: Any) -> bytes:
    return json_text(value) + b"\n"


def json_list(values: Iterable[Any]) -> Iterator[bytes]:
    """A JSON list with each value on a line of its own."""
    yield b"["
    between = b"\n"
    for value in values:
        yield between + json_text(value)
        between = b",\n"
    yield b"\n]" if between != b"\n" else b"]"


def xml_name(text: str) -> str:
    """A text with the letters that XML has no way to write replaced."""
    return NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def xml_text(text: str) -> str:
    return escape(xml_name(text), {"\r": "&#13;"})


def xml_attribute(text: str) -> str:
    """A text as the value of an attribute, with its quotes."""
    return quoteattr(xml_name(text))


def csv_rows(rows: Iterable[Sequence[object]]) -> Iterator[bytes]:
    """CSV as RFC 4180 has it, in UTF-8; what is not text survives as an escape."""
    for row in rows:
        text = io.StringIO(newline="")
        csv.writer(text).writerow(["" if cell is None else cell for cell in row])
        yield text.getvalue().encode("utf-8", "backslashreplace")
