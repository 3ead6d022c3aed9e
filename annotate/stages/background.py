"""Common names as the workspace's model reads them: what images are compared with that fit none of the class names.

They are read once per model and machine, and kept in the user's cache folder; those that came with imported embeddings
are in the workspace.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from annotate import encoders
from annotate.classes.common import beside, common_names
from annotate.classes.prompts import prompts_for
from annotate.encoders.precision import cache_folder
from annotate.errors import ComponentMissing, StaleArtifact
from annotate.kernels.vectors import Floats
from annotate.methods.strangers import SEARCHED, Background
from annotate.records import EmbeddingRows, Texts
from annotate.stages import Context, cache
from annotate.stages.models import source_of
from annotate.stages.text import imported, mean_of_prompts
from annotate.workspace import Workspace
from annotate.workspace.digests import content_digest
from annotate.workspace.plan import CACHE

VERSION = 1  # of what is kept; raise it when the same list would be read otherwise
ONLY_ORDERED = ("tiny",)  # models whose fit puts images in order, and does not tell which are strangers
WORDING = "photo"  # the set of prompts


def is_looked_for(context: Context, images: EmbeddingRows) -> bool:
    """Whether strangers are looked for among these images."""
    n = len(images.embeddings)
    return n <= SEARCHED and context.config.resolve(n).refine.strangers == "look"


def list_digest(texts: Texts) -> str:
    """What the common names are known by."""
    return content_digest(texts.common_names or common_names())


def background(context: Context, images: EmbeddingRows, texts: Texts) -> Background | None:
    """Common names beside the class names; None where this model cannot read them here."""
    names = texts.common_names or common_names()
    own = imported(context.workspace)
    rows = texts.common_embeddings if own else known_rows(context, images, names)
    if rows is None:
        return None
    found = beside(names, texts.class_names)
    other, kinds = np.flatnonzero(found.other), np.flatnonzero(found.kinds)
    tells = images.model["name"] not in ONLY_ORDERED
    return Background([names[i] for i in other], rows[other], rows[kinds], tells)


def known_rows(context: Context, images: EmbeddingRows, names: list[str]) -> Floats | None:
    """The names' embeddings (W, D), read by the model where the cache does not hold them."""
    prompts = list(prompts_for(names, WORDING).values())
    kept = kept_at(context.workspace, images.model["digest"], content_digest(prompts))
    stored = cache.read(kept).get("rows")
    if stored is not None and stored.shape == (len(names), images.embeddings.shape[1]):
        return stored.astype(np.float32)
    rows = read_by_model(context, images, prompts)
    if rows is not None:
        cache.write(kept, {"rows": rows})
    return rows


def read_by_model(context: Context, images: EmbeddingRows, prompts: list[list[str]]) -> Floats | None:
    progress = context.progress
    try:
        source = source_of(context.workspace, images.model, context.config)
        with progress.bytes(f"weights of {source.name}") as report:
            encoder = encoders.load(source, device="cpu", precision="float32", progress=report)
    except (ComponentMissing, StaleArtifact) as error:
        progress.note(
            {
                "message": f"images that fit none of the names are not looked for by common names: {error}",
                "hint": "have the model at hand and run `annotate refine --force`, or add --set refine.strangers=skip",
            }
        )
        return None
    with (
        progress.steps("reading common names, once for this model", len(prompts), "names") as advance,
        encoders.threads_kept(),
        ThreadPoolExecutor(encoders.cores(), "common", initializer=encoders.one_thread) as pool,
    ):
        rows = []
        for row in pool.map(lambda wording: mean_of_prompts(encoder.encode_text(wording)), prompts):
            rows.append(row)
            advance(1)
    return np.stack(rows)


def kept_at(workspace: Workspace, model: str, wording: str) -> Path:
    """The file of the user's cache for these weights and this list; in the workspace where there is none."""
    name = f"common-v{VERSION}-{model[:16]}-{wording[:8]}.npz"
    try:
        return cache_folder() / name
    except RuntimeError:  # nobody has a home
        return workspace.root / CACHE / name
