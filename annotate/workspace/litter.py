"""What systems strew about by themselves, in any folder: nobody's work, and no damage."""

from __future__ import annotations

# Files and folders that systems put everywhere by themselves: macOS, Windows, KDE, Synology.
LITTER = frozenset(
    {
        ".ds_store",
        ".appledouble",
        "__macosx",
        "icon\r",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        ".directory",
        "@eadir",
    }
)


def is_litter(path: str) -> bool:
    """Whether some system put this here by itself, so that it is nobody's work; `._x` is macOS's second half of `x`."""
    return any(part.casefold() in LITTER or part.startswith("._") for part in path.split("/"))
