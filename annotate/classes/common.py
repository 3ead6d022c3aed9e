"""Common names: what images may show that none of the user's names says. common.txt holds them, with broader words.

A common name is left out where a user's name says the same, is narrower, or is made of the same words ("guitar" of
"electric guitar"). Where the user's is broader ("dog" of "samoyed"), what shows the narrower fits the broader.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).parent / "common.txt"


@functools.cache
def broader_words() -> Mapping[str, frozenset[str]]:
    """The common names that annotate brings, in order, each with its broader words."""
    lines = [line for line in LIST.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    pairs = [line.partition("\t") for line in lines]
    return {name: frozenset(filter(None, broader.split("|"))) for name, _, broader in pairs}


def common_names() -> list[str]:
    """The common names that annotate brings, in order."""
    return list(broader_words())


@dataclass(frozen=True)
class Beside:
    """Common names beside the user's: which say something else, and which name a kind of what the user's name.

    other   of each common name, whether it says something else than all class names
    kinds   of each, whether it is narrower than one: what fits it fits that class
    """

    other: list[bool]
    kinds: list[bool]


def beside(common: Sequence[str], class_names: Sequence[str]) -> Beside:
    """Compare common names with class names, by their words and by the broader words that are known."""
    asked = [spoken(name) for name in class_names]
    words = [set(name.split()) for name in asked]
    broader = {spoken(name): broader for name, broader in broader_words().items()}
    wider = set(asked).union(*(broader.get(name, ()) for name in asked))
    plain = set(asked) | {singular(name) for name in asked}
    other, kinds = [], []
    for name in map(spoken, common):
        own = set(name.split())
        kinds.append(name not in plain and not plain.isdisjoint(broader.get(name, ())))
        alike = name in wider or any(own <= theirs or theirs <= own for theirs in words)
        other.append(not kinds[-1] and not alike)
    return Beside(other, kinds)


def spoken(name: str) -> str:
    """A name in small letters, without what stands in brackets."""
    return " ".join(re.sub(r"\(.*?\)", "", name).replace("_", " ").lower().split())


def singular(name: str) -> str:
    """dogs as dog, leaves as leave: enough to look a word up."""
    return name.removesuffix("s") if len(name) > 3 and not name.endswith("ss") else name
