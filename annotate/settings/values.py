"""Checking a value by its setting's declaration: msgspec judges, and a message says what was expected."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from annotate.errors import ConfigError, printable
from annotate.settings.declared import sections
from annotate.settings.setting import Setting

WRONG = (msgspec.ValidationError, ValueError, TypeError, OverflowError)


def checked(key: str, value: Any, *, source: str) -> Any:
    """The value in the type of its setting.

    source  the file that it comes from, for the message
    raises  ConfigError that names file, section and key
    """
    section, _, name = key.partition(".")
    shown = f"{source}: {section}: " if source else f"{section}: "
    if section not in sections():
        raise ConfigError(f"no section '{printable(section)}'", hint=suggest(section, list(sections())))
    if name not in sections()[section]:
        raise ConfigError(f"{shown}no setting '{printable(name)}'", hint=suggest(name, list(sections()[section])))
    setting = sections()[section][name]
    if value is None:
        if setting.default is None:
            return None
        raise ConfigError(f"{shown}{name}: no value", hint=f"it is {setting.shown_default} unless you say otherwise")
    if name == "splits":
        return checked_splits(value, shown)
    value = in_its_type(setting, value, f"{shown}{name}")
    try:
        return msgspec.convert(value, Annotated[setting.kind, setting.meta])
    except msgspec.ValidationError:
        above = setting.meta.gt
        said = f"{value} is out of bounds" if above is None else f"{value} is not above {above:g}"
        raise ConfigError(
            f"{shown}{name}: {said}", hint=f"it must be {setting.bounds}; {name}: {in_a_line(setting.sentence)}"
        ) from None


def in_its_type(setting: Setting, value: Any, shown: str) -> Any:
    """A value of the setting's type, which may be out of bounds still."""
    kind = str if setting.choices else setting.kind
    try:
        value = msgspec.convert(in_python(value, kind), kind, strict=False)
        if kind is float and not math.isfinite(value):
            raise ValueError
    except WRONG:
        expected = {int: "a whole number", float: "a number", str: "a word"}[kind]
        raise ConfigError(
            f"{shown}: expected {expected}, found '{printable(value)}'",
            hint=f"{setting.name}: {in_a_line(setting.sentence)}",
        ) from None
    if setting.choices and value not in setting.choices:
        raise ConfigError(f"{shown}: no '{printable(value)}'", hint=suggest(value, setting.choices))
    return value


def in_python(value: Any, kind: type) -> Any:
    """What msgspec knows of a value: the number that a text says, as Python reads it; NumPy's numbers as Python's."""
    if isinstance(value, bool):
        return value
    if kind is str:
        return str(value)
    if isinstance(value, str):
        return kind(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


def checked_splits(value: Any, shown: str) -> tuple[int, ...]:
    """Three whole percentages that sum to 100, from "70,15,15" or a list."""
    hint = "give three whole percentages for train, val and test, for example 70,15,15"
    parts = value.split(",") if isinstance(value, str) else value
    try:
        splits = msgspec.convert([in_python(part, int) for part in parts], tuple[int, ...], strict=False)
    except WRONG:
        raise ConfigError(f"{shown}splits: '{printable(value)}' is not a list of percentages", hint=hint) from None
    if len(splits) != 3 or min(splits) < 0:
        raise ConfigError(f"{shown}splits: '{printable(value)}' is not three percentages", hint=hint)
    if sum(splits) != 100:
        raise ConfigError(f"{shown}splits: {'+'.join(map(str, splits))} is {sum(splits)}, not 100", hint=hint)
    return splits


def suggest(word: object, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(str(word), known, n=1)
    return f"did you mean '{nearest[0]}'?" if nearest else f"use one of {', '.join(known)}"


def in_a_line(sentence: str) -> str:
    """A sentence after a colon: it begins small, if its first word is not an abbreviation."""
    return sentence if sentence[:2].isupper() else sentence[:1].lower() + sentence[1:]
