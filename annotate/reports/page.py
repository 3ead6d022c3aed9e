"""report.html: one file with everything in it, nothing fetched and nothing run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from annotate.reports.columns import percent, whole_percent
from annotate.reports.galleries import MOST_CLASSES, Galleries, data_address
from annotate.reports.plaintext import (
    about,
    about_given,
    accuracy,
    bounds,
    confidence_source,
    coverage_table,
    given_as,
    has_scores,
    headline_share,
    left_out,
    most_certain,
    promise,
)
from annotate.reports.templates import environment

TEMPLATE = "page.html.j2"
ROWS = 100  # of a table: classes, skipped files


def page(summary: Mapping[str, Any], galleries: Galleries, folder: Path, drawn: Sequence[str]) -> str:
    """The page as text.

    folder  where the figures lie
    drawn   their file names
    """
    counts = summary["class_distribution"]
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return str(
        template().render(
            summary=summary,
            truth=summary["truth"] if has_scores(summary) else None,
            unmeasured=accuracy(summary["truth"]) if summary["truth"] and not has_scores(summary) else "",
            given=summary["given"],
            about_given=about_given(summary) if summary["given"] else "",
            promise=unbroken(promise)(summary),
            sharpness=confidence_source(summary),
            lead=headline_share(summary),
            most_certain=unbroken(most_certain)(summary),
            tabled=coverage_table(summary),
            left_out=left_out(summary["truth"]) if summary["truth"] else [],
            ranked=ranked,
            largest=max(counts.values()),
            galleries=galleries,
            most_classes=MOST_CLASSES,
            rows=ROWS,
            figures={Path(name).stem: data_address((folder / name).read_bytes(), "png") for name in drawn},
        )
    )


@functools.cache
def template() -> Any:
    templates = environment()
    templates.filters |= {
        "about": unbroken(about),
        "bounds": unbroken(bounds),
        "given_as": unbroken(given_as),
        "percent": unbroken(percent),
        "whole_percent": unbroken(whole_percent),
    }
    return templates.get_template(TEMPLATE)


def unbroken(shown: Callable[[Any], str]) -> Callable[[Any], str]:
    """A number that no line break parts from its unit."""
    return lambda value: shown(value).replace(" %", "\u00a0%")
