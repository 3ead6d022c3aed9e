"""Class names: taken from whatever a program holds them in, and checked."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

from annotate.errors import Hint, InputError, printable


def as_class_names(classes: Any) -> list[str]:
    """The class names, in order, from a list, tuple, array, Series, generator or the keys of a dict.

    Read once: from here on they are a list.
    raises  InputError for what is no list of texts, or has no order
    """
    if classes is None:
        return []
    hint = 'for example ["dog", "cat"]'
    if isinstance(classes, (set, frozenset)):
        raise InputError("class names have an order, and a set has none", hint=f"give a list, {hint}")
    listed = classes.tolist() if hasattr(classes, "tolist") else classes  # of NumPy and pandas
    names = [*listed] if isinstance(listed, Iterable) and not isinstance(listed, (str, bytes)) else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise InputError(f"class names are a list of texts, not {printable(classes)}", hint=hint)
    return [str(name) for name in names]


def clean_class_names(names: Iterable[str]) -> list[str]:
    """The class names, checked: two or more, none empty, none twice.

    Names are compared as a reader would: without case, spaces for underscores, Unicode's spellings as one.
    raises  InputError that names the offender
    """
    names = names if isinstance(names, str) else list(names)
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InputError(f"class names are a list of texts, not {printable(names)}", hint='for example ["dog", "cat"]')
    cleaned = [unicodedata.normalize("NFC", name).strip() for name in names]
    if not cleaned:
        raise InputError(
            "no classes",
            hint=Hint("name the classes", "name them: `--classes dog,cat`, or `--classes-file FILE` with one a line"),
        )
    seen: dict[str, int] = {}
    for position, name in enumerate(cleaned, 1):
        if not name:
            raise InputError(f"class {position} has an empty name", hint="take out the extra comma or blank entry")
        earlier = seen.setdefault(as_read(name), position)
        if earlier != position:
            other = cleaned[earlier - 1]
            raise InputError(
                f"class '{printable(name)}' is named twice, as class {earlier} and as class {position}",
                hint="give each class once"
                + ("" if other == name else f"; '{printable(other)}' and '{printable(name)}' are taken for one name"),
            )
    if len(cleaned) == 1:
        raise InputError(
            f"only one class, '{printable(cleaned[0])}': every image would get it",
            hint=Hint(
                "add what the other images show, for example dog and other",
                "add what the other images show, for example `--classes dog,other`",
            ),
        )
    return cleaned


def as_read(name: str) -> str:
    """A class name without what a reader does not tell apart: case, underscores for spaces, spellings of Unicode."""
    return " ".join(unicodedata.normalize("NFC", name.casefold()).replace("_", " ").split())
