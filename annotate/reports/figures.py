"""Figures: what a report shows as pictures. One function each, arrays and names in, a Figure out.

Colours tell classes apart for colour-blind readers too (Paul Tol's muted scheme), with a second marker beyond ten
classes. paper.py is the house style.

N images, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from annotate.kernels.vectors import Floats, Ints
from annotate.reports.paper import (
    ACCENT,
    INK,
    OTHERS,
    QUIET,
    WARM,
    house_style,
    legible,
    paper_to_accent,
    percents,
    set_share_limits,
    sheet,
    sheets,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#332288", "#cc6677", "#117733", "#ddaa33", "#88ccee", "#882255", "#44aa99", "#999933", "#aa4499", "#5f6b76")
MARKERS = ("o", "^")
MOST_COLOURED = len(COLOURS) * len(MARKERS)  # classes on the map; the rest is grey
MOST_BARS, MOST_RANGES, MOST_CELLS, MOST_NUMBERED = 40, 40, 40, 14


@house_style()
def distribution(counts: Ints, names: Sequence[str]) -> Figure:
    """Images per class, most first; beyond forty classes the rest share a bar."""
    order = np.argsort(-counts, kind="stable")
    shown, rest = order[:MOST_BARS], order[MOST_BARS:]
    values, labels = counts[shown].tolist(), [legible(names[k], k) for k in shown]
    if len(rest):
        values.append(int(counts[rest].sum()))
        labels.append(f"{len(rest):,} other classes")
    figure, axes = sheet(height=0.9 + 0.23 * len(values))
    places = np.arange(len(values))[::-1]
    axes.barh(places, values, height=0.72, color=[ACCENT] * len(shown) + [OTHERS] * (len(rest) > 0))
    for place, value in zip(places, values, strict=True):
        axes.annotate(
            f"{value:,}", (value, place), xytext=(4, 0), textcoords="offset points", va="center", color=QUIET, size=8
        )
    axes.set_yticks(places, labels)
    axes.set_ylim(-0.6, len(values) - 0.4)
    axes.set_xlim(0, max(values) * 1.08)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("images")
    whole_numbers(axes, "x")
    return figure


@house_style()
def confidence_histogram(counts: Sequence[int], *, mean: float, median: float) -> Figure:
    """How many images have which confidence. counts: equal bins from 0 to 1."""
    figure, axes = sheet(height=2.6)
    edges = np.linspace(0, 1, len(counts) + 1)
    axes.bar(edges[:-1], counts, width=np.diff(edges) * 0.92, align="edge", color=ACCENT)
    axes.axvline(mean, color=WARM, linewidth=1.4)
    axes.annotate(
        f"mean {100 * mean:.0f} %", (mean, 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
        textcoords="offset points", ha="center", va="bottom", color=WARM, fontsize=8,
    )  # fmt: skip
    axes.set_xlim(0, 1)
    percents(axes, "x")
    whole_numbers(axes, "y")
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(f"confidence (median {100 * median:.0f} %)")
    axes.set_ylabel("images")
    return figure


@house_style()
def coverage(rows: Sequence[Mapping[str, Any]], *, of: int, estimated: bool) -> Figure:
    """Accuracy by how many of the most certain images are kept, from all of them to few.

    rows       images kept; accuracy expected, low, high; the true one or null
    of         N
    estimated  whether confidences are estimates of accuracy
    """
    distinct = {row["images"]: row for row in rows}.values()  # shares of few images, or of equals, may be the same
    keys = ("images", "expected", "low", "high", "accuracy")
    kept, expected, low, high, true = (np.array([row[key] for row in distinct], float) for key in keys)  # null is nan
    kept /= of
    figure, axes = sheet(height=2.9)
    band = "in nine cases of ten" if estimated else "in nine cases of ten, if confidences hold"
    axes.fill_between(kept, low, high, color=ACCENT, alpha=0.16, linewidth=0, label=band)
    axes.vlines(kept, low, high, color=ACCENT, linewidth=1, alpha=0.2)
    marks: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.6, "clip_on": False}
    axes.plot(kept, expected, color=ACCENT, label="expected", zorder=3, **marks)
    if not np.isnan(true).all():
        axes.plot(kept, true, color=WARM, label="true", zorder=4, **marks)
    least = float(np.nanmin([low, true]))
    axes.set_ylim(max(0.0, min(least - 0.05 * (1 - least), 0.9)), 1)
    percents(axes, "y")
    fewest = min(float(kept.min()), 0.9)
    axes.set_xlim(1.03, fewest - 0.03)
    axes.set_xticks([tenth / 10 for tenth in range(10, 0, -1) if tenth / 10 > fewest - 0.01])
    percents(axes, "x")
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("most certain images kept")
    axes.set_ylabel("right")
    drawn, words = axes.get_legend_handles_labels()
    axes.legend(
        [*drawn[1:], drawn[0]], [*words[1:], words[0]], loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3,
        borderaxespad=0.2, columnspacing=1.6,
    )  # fmt: skip
    return figure


@house_style()
def confidence_ranges(ranges: Mapping[str, Mapping[str, float | None]]) -> Figure:
    """Confidence by class: median, middle half and middle four fifths; lowest median at the bottom.

    ranges  class name to p10, p25, median, p75, p90; null for a class without images, which is left out
    """
    ranked = [(name, k, found) for k, (name, found) in enumerate(ranges.items()) if found["median"] is not None]
    ranked.sort(key=lambda entry: entry[2]["median"] or 0.0)
    left_out = max(0, len(ranked) - MOST_RANGES)
    ranked = ranked[:MOST_RANGES]  # the doubtful ones are what one looks for
    marks = ("p10", "p25", "median", "p75", "p90")
    p10, p25, median, p75, p90 = (np.array([found[mark] for _, _, found in ranked], float) for mark in marks)
    places = np.arange(len(ranked))
    figure, axes = sheet(height=1.0 + 0.25 * len(ranked))
    axes.hlines(places, p10, p90, color=ACCENT, linewidth=1.2, alpha=0.55)
    axes.hlines(places, p25, p75, color=ACCENT, linewidth=5, alpha=0.45)
    axes.scatter(median, places, s=26, color=ACCENT, edgecolor="white", linewidth=0.8, zorder=3)
    axes.set_yticks(places, [legible(name, k) for name, k, _ in ranked])
    axes.set_ylim(-0.7, len(ranked) - 0.3)
    axes.set_xlim(0, 1)
    percents(axes, "x")
    axes.grid(visible=False, axis="y")
    unseen = f" ({left_out:,} surer classes not shown)" * (left_out > 0)
    axes.set_xlabel(f"confidence: median, middle half, middle four fifths{unseen}")
    return figure


@house_style()
def convergence(history: Sequence[Mapping[str, Any]]) -> Figure:
    """How refinement went: mean certainty, images that moved and active classes by pass."""
    passes = [row["iteration"] for row in history]
    figure, panels = sheets(3, height=4.4)
    rows = (
        ("mean certainty", [row["mean_confidence"] for row in history], True),
        ("moved", [np.nan, *(row["moved_percent"] / 100 for row in history[1:])], True),
        ("active classes", [row["active_classes"] for row in history], False),
    )
    for axes, (title, values, share) in zip(panels, rows, strict=True):
        axes.plot(passes, values, color=ACCENT, marker="o", markersize=4, linewidth=1.6, clip_on=False)
        axes.set_title(title, loc="left", fontsize=9, color=QUIET)
        if share:
            set_share_limits(axes, values)
        else:
            axes.set_ylim(0, max(values) * 1.15)
            whole_numbers(axes, "y")
    panels[-1].set_xlabel("pass (0 is zero-shot)")
    panels[-1].set_xlim(min(passes) - 0.15, max(passes) + 0.15)
    whole_numbers(panels[-1], "x")
    return figure


@house_style()
def embedding_map(places: Floats, labels: Ints, names: Sequence[str]) -> Figure:
    """Images on a plane, coloured by class. The largest classes get a colour, the others are grey.

    places  (N, 2)
    labels  (N,)
    """
    figure, axes = sheet(height=4.4)
    axes.set_axis_off()
    axes.set_aspect("equal", adjustable="datalim")
    counts = np.bincount(labels, minlength=len(names))
    coloured = np.argsort(-counts, kind="stable")[:MOST_COLOURED]
    coloured = np.sort(coloured[counts[coloured] > 0])
    size = float(np.clip(9000 / max(1, len(labels)), 7, 60))
    style: dict[str, Any] = {"s": size, "linewidth": 0.3, "edgecolor": "white", "alpha": 0.9}
    grey = ~np.isin(labels, coloured)
    if grey.any():
        others = int((counts > 0).sum()) - len(coloured)
        axes.scatter(*places[grey].T, color=OTHERS, zorder=1, label=f"{others:,} other classes", **style)
    for turn, k in enumerate(coloured):
        marker, colour = MARKERS[turn // len(COLOURS)], COLOURS[turn % len(COLOURS)]
        axes.scatter(*places[labels == k].T, color=colour, marker=marker, label=legible(names[k], k), **style)
    marks, words = axes.get_legend_handles_labels()
    if grey.any():  # last of the list, under all others on the map
        marks, words = [*marks[1:], marks[0]], [*words[1:], words[0]]
    axes.legend(
        marks,
        words,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        markerscale=float(np.sqrt(30 / size)),
        handletextpad=0.2,
        labelspacing=0.45,
    )
    return figure


@house_style()
def confusion_matrix(counts: npt.NDArray[np.int64], names: Sequence[str]) -> Figure:
    """True class by label, as shares of the true class; of many classes those with the most errors.

    counts  (K, K), row true class, column label
    """
    k = len(names)
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
    shown = np.sort(np.argsort(-wrong, kind="stable")[:MOST_CELLS]) if k > MOST_CELLS else np.arange(k)
    totals = counts.sum(axis=1, keepdims=True)[shown]
    cells = counts[np.ix_(shown, shown)]
    shares = cells / np.maximum(1, totals)
    side = float(np.clip(1.9 + 0.36 * len(shown), 2.8, 7.2))
    figure, axes = sheet(width=side + 0.6, height=side)
    axes.imshow(shares, cmap=paper_to_accent(), vmin=0, vmax=1)
    small = 8 if len(shown) <= 20 else 5.5
    axes.set_xticks(range(len(shown)), [legible(names[j], j, 16) for j in shown], rotation=90, fontsize=small)
    axes.set_yticks(range(len(shown)), [legible(names[j], j, 16) for j in shown], fontsize=small)
    axes.grid(visible=False)
    axes.set_xlabel("label")
    axes.set_ylabel("truth")
    if k > len(shown):
        axes.set_title(f"the {len(shown)} classes of {k:,} with the most errors", loc="left", fontsize=9, color=QUIET)
    if len(shown) <= MOST_NUMBERED:
        for (row, column), count in np.ndenumerate(cells):
            if count:
                ink, size = "white" if shares[row, column] > 0.55 else INK, 7 if count < 1000 else 5.5
                axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=size, color=ink)
    return figure


@house_style()
def calibration(curve: Sequence[Mapping[str, float]], *, error: float) -> Figure:
    """How often images of each confidence are right; on the diagonal confidence means what it says.

    curve  confidence, accuracy and share of images of each bin
    error  expected calibration error
    """
    keys = ("confidence", "accuracy", "share")
    confidence, accuracy, share = (np.array([point[key] for point in curve]) for key in keys)
    figure, (axes, below) = sheets(2, height=4.2, heights=(4, 1), width=4.6)
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    axes.vlines(confidence, confidence, accuracy, color=WARM, linewidth=2.5, alpha=0.35)
    axes.plot(confidence, accuracy, color=ACCENT, linewidth=1.2, alpha=0.5)
    axes.scatter(confidence, accuracy, s=14 + 130 * share, color=ACCENT, clip_on=False, zorder=3)
    axes.set_title(f"calibration error {100 * error:.1f} %", loc="left", fontsize=9, color=INK)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_ylabel("right")
    percents(axes, "y")
    below.bar(confidence, share, width=0.045, color=OTHERS)
    below.set_ylabel("images")
    percents(below, "y")
    percents(below, "x")
    below.set_xlabel("confidence")
    return figure
