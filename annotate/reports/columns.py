"""Lines of a report for a terminal: titles, bars, percentages, names cut to a column, at most 80 wide."""

from __future__ import annotations

import textwrap

from annotate.errors import printable, terminal_columns

WIDTH = 80
NAME_WIDTH = 24  # columns for a class name


def section(title: str, columns: str = "") -> list[str]:
    if not columns:
        return [title, "-" * len(title)]
    return [f"{title:<{NAME_WIDTH + 5}}{columns}", "-" * (NAME_WIDTH + 5 + len(columns))]


def bar(count: int, largest: int, width: int) -> str:
    """A bar of eighths of a column; at least a sliver for anything above zero."""
    eighths = round(8 * width * count / max(1, largest))
    full, part = divmod(max(eighths, 1 if count else 0), 8)
    return "█" * full + " ▏▎▍▌▋▊▉"[part].strip()


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def whole_percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def more(count: int, where: str) -> list[str]:
    return [f"  … and {count:,} more; {where}"] if count > 0 else []


def wrapped(sentence: str, *, indent: int) -> list[str]:
    first, *rest = textwrap.wrap(sentence, WIDTH - indent, break_on_hyphens=False, break_long_words=False)
    return [f"  {first}", *(" " * indent + line for line in rest)]


def shorten(name: str, width: int) -> str:
    text = printable(name)
    if terminal_columns(text) <= width:
        return text
    while terminal_columns(text) > width - 1:
        text = text[:-1]
    return text + "…"


def fixed_width(name: str, width: int) -> str:
    text = shorten(name, width)
    return text + " " * (width - terminal_columns(text))
