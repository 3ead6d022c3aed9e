"""Planted embeddings of any number of images, and workspaces that hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from annotate.kernels.vectors import Floats, Ints, Rows, unit
from annotate.records import IMPORTED, EmbeddingRows, Texts
from annotate.workspace import Workspace
from annotate.workspace.plan import Plan

MEANING = 64  # dimensions along which classes differ
HEIGHT = 50_000  # images made at a time


def planted(
    n: int, k: int, *, d: int = 512, seed: int = 0, into: npt.NDArray[np.floating] | None = None
) -> tuple[Rows, Floats, Ints]:
    """Images (N, D), texts (K, D) and labels (N,) as CLIP's lie: images in one cone, texts in another.

    The cosine of an image to its text is about 0.3, to another image of its class about 0.8.

    into  an array to fill, such as a map of a file; float32 otherwise
    """
    rng = np.random.default_rng(seed)
    cone, other_cone = unit(rng.normal(size=(2, d)))
    plane = np.linalg.qr(rng.normal(size=(d, MEANING)))[0].T.astype(np.float32)
    centres = unit(rng.normal(size=(k, MEANING))) @ plane
    texts = unit(other_cone + 0.5 * (centres + 0.6 * unit(rng.normal(size=(k, MEANING))) @ plane))
    labels = rng.integers(0, k, n)
    images: npt.NDArray[np.floating] = np.empty((n, d), np.float32) if into is None else into
    for start in range(0, n, HEIGHT):
        rows = slice(start, min(start + HEIGHT, n))
        count = rows.stop - start
        near = rng.standard_normal((count, MEANING), np.float32) @ plane * np.float32(0.45 / MEANING**0.5)
        near += rng.standard_normal((count, d), np.float32) * np.float32(0.25 / d**0.5)
        images[rows] = unit(cone + 0.75 * centres[labels[rows]] + near)
    return images, texts, labels


def workspace(folder: Path, images: Rows, texts: Floats, *, logit_scale: float = 100.0) -> Path:
    """A workspace of embeddings and texts without paths: all that `cluster` and `refine` read."""
    place = Workspace(folder / "artifacts")
    model = {"name": IMPORTED, "path": None, "digest": "", "dimensions": images.shape[1], "logit_scale": logit_scale}
    place.publish(Plan("embed", 1, {"source": IMPORTED}), EmbeddingRows(images, model), ran_on={})  # type: ignore[arg-type]
    names = {f"class {k}": list[str]() for k in range(len(texts))}
    inputs = place.digests("embed", "embeddings.npy")
    place.publish(Plan("text", 1, {"source": IMPORTED}, inputs), Texts(texts, names, IMPORTED), ran_on={})
    return place.root
