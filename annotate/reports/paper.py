"""Paper and ink of the figures: settings, axes, fonts, and class names in letters that the fonts have.

House style: white paper, one accent colour, grey for what only supports, no frame, a thin grid.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, FAINT, ACCENT, WARM = "#1f2933", "#66727f", "#e4e7eb", "#2f6fab", "#c8553d"
OTHERS = "#c9ced4"
DPI = 144
NOT_LOOKS = ("backend", "backend_fallback", "interactive", "date.epoch")  # of matplotlib's settings
NAME_CHARACTERS = 22  # characters of a class name
# Fonts that some systems have, for scripts that matplotlib's own font lacks.
FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "WenQuanYi Micro Hei",
    "Arial Unicode MS",
)


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Our own settings, whatever the user's matplotlibrc says."""
    load_matplotlib()
    import matplotlib

    settings: dict[str, Any] = {
        "font.family": list(fonts()[0]),
        "font.size": 9,
        "text.color": INK,
        "text.parse_math": False,  # a class may be called "$5"
        "axes.unicode_minus": False,
        "axes.labelcolor": QUIET,
        "axes.labelsize": 8.5,
        "axes.edgecolor": FAINT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": FAINT,
        "grid.linewidth": 0.7,
        "xtick.color": QUIET,
        "ytick.color": INK,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "figure.facecolor": "white",
    }
    looks: dict[Any, Any] = {name: its for name, its in matplotlib.rcParamsDefault.items() if name not in NOT_LOOKS}
    with matplotlib.rc_context(looks | settings):  # matplotlib.style would read the user's own styles first
        yield


@lru_cache
def load_matplotlib() -> None:
    """Import matplotlib without the settings of other programs, which may keep it from starting at all.

    MPLBACKEND names a backend that this Python may lack, and a matplotlibrc in the folder of the photos may hold
    anything. Whoever draws later in this process, in a notebook, finds the settings that are theirs.
    """
    if "matplotlib" in sys.modules:
        return
    backend, file = os.environ.pop("MPLBACKEND", None), os.environ.get("MATPLOTLIBRC")
    package = importlib.util.find_spec("matplotlib")
    assert package and package.origin
    os.environ["MATPLOTLIBRC"] = os.path.join(os.path.dirname(package.origin), "mpl-data")
    exists = os.path.exists

    def other_than_here(path: Any) -> bool:
        return exists(path) and path not in ("matplotlibrc", os.path.abspath("matplotlibrc"))

    os.path.exists = other_than_here
    try:
        import matplotlib
    finally:
        os.path.exists = exists
        del os.environ["MATPLOTLIBRC"]
        os.environ |= {
            **({"MPLBACKEND": backend} if backend is not None else {}),
            **({"MATPLOTLIBRC": file} if file is not None else {}),
        }
    log = logging.getLogger("matplotlib")
    log.addFilter(silent := lambda record: False)
    with contextlib.suppress(ValueError, OSError):  # settings that cannot be read are left to whoever uses them
        theirs = matplotlib.rc_params_from_file(matplotlib.matplotlib_fname(), use_default_template=False)
        matplotlib.rcParams.update(theirs)
        if backend:
            matplotlib.rcParams["backend"] = backend
    log.removeFilter(silent)


@house_style()
def save(figure: Figure, path: Path) -> None:
    """The figure as a PNG whose bytes depend on what it shows alone."""
    figure.savefig(path, format="png", dpi=DPI, metadata={"Software": None})


def sheet(*, height: float, width: float = 6.2) -> tuple[Figure, Axes]:
    figure, (axes,) = sheets(1, height=height, width=width)
    return figure, axes


def sheets(
    count: int, *, height: float, width: float = 6.2, heights: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """An empty figure, in inches, with panels one above the other that share their x axis."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
    panels = figure.subplots(count, 1, sharex=True, squeeze=False, height_ratios=heights)
    return figure, list(panels[:, 0])


def percents(axes: Axes, which: str) -> None:
    from matplotlib.ticker import FuncFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))


def whole_numbers(axes: Axes, which: str) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(6 if which == "x" else 4, integer=True, min_n_ticks=1))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def set_share_limits(axes: Axes, values: Sequence[float]) -> None:
    """Shares on an axis that starts at zero where they come near it, and is never narrower than ten points."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    low = 0.0 if low < 0.15 else low
    middle, half = (low + high) / 2, max((high - low) / 2 * 1.15, 0.05)
    start = max(0.0, middle - half)
    axes.set_ylim(0.0 if low == 0 else start, max(min(1.0, middle + half), high) * 1.02)
    percents(axes, "y")


def paper_to_accent() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("accent", ["#f7f9fb", "#b9d3ea", ACCENT, "#173a5e"])


def legible(name: str, k: int, width: int = NAME_CHARACTERS) -> str:
    """A class name in the glyphs that the fonts have, shortened; "class 7" where nothing of it is left."""
    known = fonts()[1]
    text = unicodedata.normalize("NFC", name)
    text = "".join(" " if c.isspace() else c for c in text if c.isspace() or ord(c) in known)
    text = " ".join(text.split())
    if not any(c.isalnum() for c in text) and text != " ".join(name.split()):
        return f"class {k + 1}"
    if any(unicodedata.bidirectional(c) in ("R", "AL") for c in text):
        text = text[::-1]  # drawn from left to right
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


@lru_cache
def fonts() -> tuple[tuple[str, ...], frozenset[int]]:
    """The fonts of FONTS that this machine has, and the characters that they can show."""
    load_matplotlib()
    from matplotlib import font_manager

    files = {font.name: font.fname for font in font_manager.fontManager.ttflist}
    present = tuple(name for name in FONTS if name in files)
    characters: set[int] = set()
    for name in present:
        path = font_manager.findfont(font_manager.FontProperties(family=name))
        characters |= font_manager.get_font(path).get_charmap().keys()
    return present, frozenset(characters)
