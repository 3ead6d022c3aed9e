"""Figures of soft labels: how sure each image is, on a map, and how votes lower the divergence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from annotate.kernels.vectors import Doubles, Floats
from annotate.reports.figures import COLOURS
from annotate.reports.paper import ACCENT, house_style, paper_to_accent, percents, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLES = ("-", (0, (5, 2)), (0, (1, 1.5)))


@house_style()
def confidence_map(places: Floats, sure: Doubles) -> Figure:
    """Images on a plane, the darker the surer.

    places  (N, 2)
    sure    (N,) largest share of each
    """
    figure, axes = sheet(height=4.4)
    axes.set_axis_off()
    axes.set_aspect("equal", adjustable="datalim")
    size = float(np.clip(9000 / max(1, len(sure)), 7, 60))
    order = np.argsort(-sure, kind="stable")  # the doubtful on top
    style: dict[str, Any] = {"s": size, "vmin": 0, "vmax": 1, "linewidth": 0.3, "edgecolor": "#9aa5b1"}
    x, y = places[order].T
    drawn = axes.scatter(x, y, c=sure[order], cmap=paper_to_accent(), **style)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.6, pad=0.02)
    bar.outline.set_visible(False)
    percents(bar.ax, "y")
    bar.set_label("confidence")
    return figure


@house_style()
def divergence_curves(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """KL against votes an image, one line for each name; without a name there is no legend."""
    figure, axes = sheet(height=3.4)
    for turn, (name, rows) in enumerate(curves.items()):
        votes, kl = [row["votes_per_image"] for row in rows], [row["kl"] for row in rows]
        colour = COLOURS[turn % len(COLOURS)] if name else ACCENT
        axes.plot(
            votes, kl, color=colour, linestyle=STYLES[turn // len(COLOURS) % len(STYLES)], linewidth=1.6,
            marker="o" if len(rows) < 30 else None, markersize=3, label=name, clip_on=False,
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("votes an image")
    axes.set_ylabel("KL to what people say")
    if any(curves):
        axes.legend(loc="upper right")
    return figure
