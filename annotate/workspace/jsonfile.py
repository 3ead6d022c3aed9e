"""Reading JSON that others wrote, with reasons instead of tracebacks."""

from __future__ import annotations

import json
from typing import Any

from annotate.errors import InputError, printable


def loads(text: str | bytes) -> Any:
    """As json.loads, but what is nested too deep is not JSON either.

    raises  ValueError
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def parse(text: str | bytes, *, shown: str, hint: str) -> Any:
    """The content of a JSON text of a user's; numbers are texts, as they are written.

    shown   what the user calls it, for the message
    raises  InputError where it is not JSON, has a key twice or is nested too deep
    """
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=once_each)
    except RecursionError:
        raise InputError(f"{shown}: not readable as JSON: nested too deep", hint=hint) from None
    except ValueError as error:  # text in no encoding of JSON's, too
        said = printable(str(error).splitlines()[0])
        raise InputError(f"{shown}: not readable as JSON: {said}", hint=hint) from error


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        if key in mapping:
            raise ValueError(f"'{printable(key)}' is there twice")
        mapping[key] = value
    return mapping
