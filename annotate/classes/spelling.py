"""From a name as somebody wrote it to the class that it means."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

from annotate.classes.prompts import number_named


def matcher(class_names: Sequence[str]) -> Callable[[str], int | None]:
    """From a name to the class it means, or None.

    As written; else but for case, spaces, hyphens, underscores and Unicode form; else as the same number
    ("2" is "two"); else but for a plural s. A spelling that two classes share means neither.
    """
    levels = [
        (spelling, unambiguous(class_names, spelling))
        for spelling in (str, letters_only, spelled_number, letters_but_s)
    ]

    def class_meant(name: str) -> int | None:
        for spelling, known in levels:
            index = known.get(spelling(name))
            if index is not None:
                return index
        return None

    return class_meant


def unambiguous(class_names: Sequence[str], spelling: Callable[[str], str]) -> dict[str, int]:
    spelled = [spelling(name) for name in class_names]
    often = Counter(spelled)
    return {key: index for index, key in enumerate(spelled) if key and often[key] == 1}


def letters_only(name: str) -> str:
    """`T-Shirt ` and `t_shirt` as the same word."""
    return re.sub(r"[\s_\-]", "", unicodedata.normalize("NFKC", name).casefold())


def spelled_number(name: str) -> str:
    value = number_named(name)
    return "" if value is None else str(value)


def letters_but_s(name: str) -> str:
    return letters_only(name).removesuffix("s")
