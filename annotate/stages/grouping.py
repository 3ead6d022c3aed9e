"""What images have in common, so that a split does not part them: their folder, or a column of their list."""

from __future__ import annotations

import os

from annotate import sources
from annotate.errors import Hint, InputError, printable
from annotate.records import Embeddings
from annotate.sources.columns import column_of

FOLDER = "folder"


def group_names(group_by: str | None, images: Embeddings) -> list[str | None]:
    """The name of each image's group, None for an image without one; nothing where nobody asks.

    raises  InputError where the images' list has no such column
    """
    if group_by is None:
        return []
    if group_by == FOLDER:
        return [folder_of(path, images.folder) for path in images.image_paths]
    if images.folder is None or not os.path.isfile(images.folder):
        listed = (
            "the images do not come from a list" if images.folder is None else f"{printable(images.folder)} is none"
        )
        raise InputError(
            f"--group-by {printable(group_by)}: a column needs a list of images, and {listed}",
            hint=Hint(
                "keep the images of a folder together, or embed a table with such a column",
                "use --group-by folder, or embed a .csv with such a column",
            ),
        )
    cells = column_of(images.folder, group_by)
    return [cells.get(path) for path in images.image_paths]


def folder_of(path: str, top: str | None) -> str:
    """The folder of an image, relative to where the images were looked for: it stays the same when all are moved."""
    parent = os.path.dirname(sources.path_without_query(path))
    base = sources.base_folder(top) if top else ""
    return os.path.relpath(parent, base) if base and parent.startswith(base) else parent
