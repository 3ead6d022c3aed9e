"""A look at every image: small, grey and whole, from a pass over the files that is kept between runs.

The encoder sees a square from the middle; what copies have in common, and what is wrong with an image, is in the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotate import sources
from annotate.encoders import cores
from annotate.images import Unreadable, own_pixel_budget
from annotate.images.allowance import FILE_MEMORY, UNKNOWN_FILE
from annotate.images.look import SIDE, look_at, shot_of
from annotate.kernels.blocks import slices
from annotate.kernels.copies import Looks
from annotate.progress import Progress
from annotate.records import Embeddings
from annotate.stages import cache
from annotate.workspace import Workspace
from annotate.workspace.plan import CACHE

VERSION = 1  # of looks that are kept; raise it when others would come out
FILE = f"looks-v{VERSION}.npz"
MEASURES = 6  # brightness, its darkest and lightest twentieth, sharpness, detail, filled
AT_ONCE = 256  # images that are given to the threads at a time


@dataclass(frozen=True)
class LooksAtImages:
    """What a pass over the files found out, row i of image i.

    grey      (N, SIDE, SIDE) uint8, zeros for images that could not be read
    measures  (N, MEASURES) float32, NaN for those
    seconds   (N,) float64 when it was taken, NaN where nobody knows
    cameras   (N,) what took it, empty where nobody knows
    """

    grey: Looks
    measures: npt.NDArray[np.float32]
    seconds: npt.NDArray[np.float64]
    cameras: npt.NDArray[np.str_]

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        return np.isfinite(self.measures[:, 0])


def looks_at(workspace: Workspace, images: Embeddings, max_megapixels: float, progress: Progress) -> LooksAtImages:
    """Those that are kept, and of all other images new ones; images are known by the digest of their bytes."""
    n = len(images.image_paths)
    made = LooksAtImages(
        np.zeros((n, SIDE, SIDE), np.uint8), np.full((n, MEASURES), np.nan, np.float32), np.full(n, np.nan), empty(n)
    )
    digests = np.array([fact["digest"] if fact else "" for fact in images.images], "U64")
    kept = workspace.root / CACHE / FILE
    recall(cache.read(kept), digests, made)
    todo = np.flatnonzero(~made.seen)
    if len(todo):
        cameras = made.cameras.tolist()
        with progress.steps("looking at images", len(todo), "images") as advance:
            for row, found in look_all(images, todo, max_megapixels):
                if found:
                    made.grey[row], made.measures[row], made.seconds[row], cameras[row] = found
                advance(1)
        made = LooksAtImages(made.grey, made.measures, made.seconds, np.array(cameras or [""], np.str_)[:n])
        known = made.seen & (digests != "")
        cache.write(
            kept,
            {
                "digests": digests[known],
                "grey": made.grey[known],
                "measures": made.measures[known],
                "seconds": made.seconds[known],
                "cameras": made.cameras[known],
            },
        )
        cache.keep_only(kept, "looks-*")
    return made


def empty(n: int) -> npt.NDArray[np.str_]:
    return np.full(n, "", "U1")


def recall(stored: cache.Arrays, digests: npt.NDArray[np.str_], made: LooksAtImages) -> None:
    """Fill in what is kept, by the digests of images."""
    if set(stored) != {"digests", "grey", "measures", "seconds", "cameras"} or not len(stored["digests"]):
        return
    order = np.argsort(stored["digests"])
    at = np.minimum(np.searchsorted(stored["digests"], digests, sorter=order), len(order) - 1)
    rows = np.flatnonzero((stored["digests"][order[at]] == digests) & (digests != ""))
    kept = order[at[rows]]
    made.grey[rows], made.measures[rows], made.seconds[rows] = (
        stored[name][kept] for name in ("grey", "measures", "seconds")
    )
    cameras = made.cameras.astype(np.result_type(made.cameras, stored["cameras"]))
    cameras[rows] = stored["cameras"][kept]
    object.__setattr__(made, "cameras", cameras)


Found = tuple[Looks, tuple[float, ...], float, str]


def look_all(
    images: Embeddings, rows: npt.NDArray[np.int64], max_megapixels: float
) -> Iterator[tuple[int, Found | None]]:
    """Each row with its look, None where the file cannot be read; a few files ahead, in threads."""

    def look(row: int) -> tuple[int, Found | None]:
        path, fact = images.image_paths[row], images.images[row]
        try:
            with FILE_MEMORY.taken(fact["size"] if fact else UNKNOWN_FILE):
                content = sources.fetch(path)
                seen, shot = look_at(content, max_megapixels=max_megapixels), shot_of(content)
        except (Unreadable, OSError, MemoryError):
            return row, None
        measures = (*seen.brightness, seen.sharpness, seen.detail, seen.filled)
        return row, (seen.grey, measures, np.nan if shot.seconds is None else shot.seconds, shot.camera)

    with own_pixel_budget(), ThreadPoolExecutor(min(16, cores()), "look") as pool:
        for some in slices(len(rows), AT_ONCE):
            yield from pool.map(look, rows[some].tolist())
