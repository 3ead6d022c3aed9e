"""import: start from embeddings made elsewhere, of images or of anything else."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.classes.common import common_names as own_common_names
from annotate.classes.names import clean_class_names
from annotate.errors import Hint, InputError, printable
from annotate.kernels.blocks import BLOCK, slices
from annotate.kernels.density import cluster_centroids
from annotate.kernels.vectors import Floats, Rows, unit
from annotate.progress import Progress, Silent
from annotate.records import IMPORTED, Clusters, Embeddings, ImageFacts, Model, Texts
from annotate.sources import lists
from annotate.stages import Context, R, Stage
from annotate.workspace import jsonfile
from annotate.workspace.artifacts import read_or_map
from annotate.workspace.digests import content_digest, file_digest
from annotate.workspace.plan import Plan

VERSION = 1
CLIP_LOGIT_SCALE = 100.0
CLUSTER_FILES = ("micro_assignments", "meta_assignments", "micro_centroids", "meta_centroids")


class Imported(Stage[R]):
    """A record that was made elsewhere, in the place of a stage's own."""

    version = VERSION

    def __init__(self, made: Callable[[], R], record: type[R], config: dict[str, Any], inputs: dict[str, str]) -> None:
        self.name, self.record = record.stage, record
        self.made, self.config, self.inputs = made, {"source": IMPORTED, **config}, inputs

    def plan(self, context: Context, *, force: bool = False, **asked: Any) -> Plan:
        return Plan(self.name, self.version, self.config, self.inputs)

    def make(self, context: Context, plan: Plan, folder: Path) -> R:
        return self.made()


def import_embeddings(
    context: Context,
    *,
    embeddings: Path,
    image_paths: Path,
    text_embeddings: Path | None = None,
    classes: Sequence[str] = (),
    common: Path | None = None,
    common_names: Sequence[str] = (),
    cluster_files: Mapping[str, Path] | None = None,
    logit_scale: float = CLIP_LOGIT_SCALE,
    force: bool = False,
) -> Embeddings:
    """Publish the embed stage, and text and cluster where given, from files of another program.

    embeddings       .npy (N, D), any float type; rows are normalised
    image_paths      a list as `embed` takes it, or JSON: a list, or an object that holds one
    text_embeddings  .npy (K, D), a row per class name
    common           .npy (W, D), a row per common name, by which images are found that fit none of the classes
    common_names     W; annotate's own list (annotate/classes/common.txt) unless given
    cluster_files    micro_assignments, meta_assignments (N,) and micro_centroids, meta_centroids (C, D)
    logit_scale      of the model that made them; 100 for CLIP
    raises           InputError that names file and row
    """
    workspace, progress = context.workspace, context.progress
    if not 0 < logit_scale < math.inf:
        raise InputError(f"logit scale {logit_scale} is not a number above 0", hint="100 is that of CLIP")
    if (text_embeddings is None) != (not classes):
        lacking = "--classes" if text_embeddings else "--text-embeddings"
        raise InputError(
            f"text embeddings and class names belong together: {lacking} is missing",
            hint=Hint("give both", f"add {lacking}"),
        )

    paths = [located(path, image_paths.parent) for path in read_paths(image_paths)]
    rows = read_rows(embeddings, progress, workspace.root)
    if len(paths) != len(rows):
        raise InputError(
            f"{printable(embeddings)} has {len(rows):,} rows, {printable(image_paths)} {len(paths):,} paths",
            hint="give one path for each row, in the same order; blank lines and those that begin with # name nothing",
        )
    if "" in paths:
        raise InputError(
            f"{printable(image_paths)}: line {paths.index('') + 1} is empty", hint="give one path for each row"
        )
    duplicate = first_duplicate(paths)
    if duplicate is not None:
        raise InputError(
            f"{printable(image_paths)}: {printable(duplicate)} is listed twice", hint="give each image once"
        )
    if common is not None and text_embeddings is None:
        raise InputError(
            "common names are compared with the classes: --text-embeddings is missing",
            hint=Hint("give embeddings of the classes, too", "add --text-embeddings"),
        )
    texts = imported_texts(text_embeddings, classes, rows.shape[1], progress) if text_embeddings else None
    if texts and common:
        texts = with_common_names(texts, common, common_names, progress)
    clusters = imported_clusters(cluster_files or {}, rows)

    digest = file_digest(embeddings)
    model: Model = {
        "name": IMPORTED,
        "path": None,
        "digest": digest,
        "dimensions": rows.shape[1],
        "logit_scale": logit_scale,
    }
    with workspace.lock():

        def images() -> Embeddings:
            facts = [known_facts(path) for path in paths]
            return Embeddings(embeddings=rows, model=model, image_paths=paths, images=facts, skipped=[])

        read = {"embeddings": digest, "image paths": content_digest(paths)}
        record = context.make(Imported(images, Embeddings, {"logit_scale": logit_scale}, read), force=force)
        of_these = workspace.digests("embed", "embeddings.npy")
        if text_embeddings and (made := texts):
            inputs = {**of_these, "text embeddings": file_digest(text_embeddings)}
            config: dict[str, Any] = {"classes": list(made.prompts)}
            if common:
                inputs["common embeddings"] = file_digest(common)
                config["common names"] = content_digest(made.common_names)
            context.make(Imported(lambda: made, Texts, config, inputs), force=force)
        if cluster_files and (grouped := clusters):
            inputs = of_these | {name: file_digest(path) for name, path in sorted(cluster_files.items())}
            context.make(Imported(lambda: grouped, Clusters, {}, inputs), force=force)
        return record


def read_array(path: Path, dimensions: int) -> npt.NDArray[Any]:
    shown = printable(path)
    if not path.is_file():
        raise InputError(f"no file {shown}", hint="check the path")
    try:
        array: npt.NDArray[Any] = read_or_map(path)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{shown}: not a .npy array of numbers", hint="write it with numpy.save") from error
    if not isinstance(array, np.ndarray) or array.ndim != dimensions or array.dtype.kind not in "fiu":
        found = getattr(array, "shape", type(array).__name__)
        shape = {1: "(N,)", 2: "(N, D)"}[dimensions]
        raise InputError(f"{shown}: expected numbers of shape {shape}, found {found}", hint="write it with numpy.save")
    return array


def read_rows(path: Path, progress: Progress, folder: Path | None = None) -> Rows:
    """Rows of a .npy file, checked and normalised, (N, D).

    Small files become float32.

    folder  where to keep the normalised rows of a large file for the moment; with it, a large float16 file stays
            float16, and a large file of unit rows is mapped as it is
    """
    array = read_array(path, 2)
    shown = printable(path)
    if not array.size:
        raise InputError(f"{shown}: no rows", hint="an embedding per image is needed")
    blocks = slices(len(array), BLOCK)
    lengths = np.concatenate([row_lengths(array[rows]) for rows in blocks])
    for bad, what in ((~np.isfinite(lengths), "is not finite"), (lengths == 0, "is all zeros")):
        if bad.any():
            raise InputError(
                f"{shown}: row {np.flatnonzero(bad)[0]} {what} ({bad.sum():,} such rows)",
                hint="embed those images again, or leave them out",
            )
    off = np.abs(lengths - 1) > 1e-3
    if off.any():
        progress.note({"message": f"{shown}: {off.sum():,} rows were not of length one; normalised", "hint": ""})
    if folder is None or not isinstance(array, np.memmap):
        return np.concatenate([normalised(array[rows]) for rows in blocks])
    if not off.any() and array.dtype in (np.float16, np.float32):
        return array
    dtype = np.float16 if array.dtype == np.float16 else np.float32
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as nameless:
        unit_rows: Rows = np.memmap(nameless, dtype, "w+", shape=array.shape)
    for rows in blocks:
        unit_rows[rows] = normalised(array[rows])
    return unit_rows


def row_lengths(rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Length of each row, (n,), without overflow; not finite where a number is not."""
    wide = rows.astype(np.float64)
    largest = np.abs(wide).max(axis=1)
    with np.errstate(invalid="ignore"):
        scaled = wide / np.where(largest > 0, largest, 1)[:, None]
        return np.asarray(np.linalg.norm(scaled, axis=1) * largest)


def normalised(rows: npt.NDArray[Any]) -> Floats:
    wide = rows.astype(np.float64)
    return unit(wide / np.abs(wide).max(axis=1, keepdims=True))


def read_paths(path: Path) -> list[str]:
    """The paths of a list, read as `embed` reads its lists, or of a JSON file."""
    shown = printable(path)
    if not path.is_file():
        raise InputError(f"no file {shown}", hint="check the path")
    hint = "give a JSON list of paths, or a text with one path a line"
    if path.suffix.lower() == ".json":
        paths = json_paths(path, hint)
    else:
        paths = [entry for _, entry in lists.read_entries(str(path))]
    impossible = [entry for entry in paths if "\0" in entry or not can_be_a_path(entry)]
    if impossible:
        raise InputError(f"{shown}: {impossible[0]!a} cannot be a path", hint=hint)
    return paths


def json_paths(path: Path, hint: str) -> list[str]:
    shown = printable(path)
    try:
        content = jsonfile.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{shown}: not readable: {error}", hint=hint) from error
    if isinstance(content, dict):
        content = next((value for value in content.values() if isinstance(value, list)), [*content.values()])
    if not isinstance(content, list) or not all(isinstance(entry, str) for entry in content):
        raise InputError(f"{shown}: expected a list of paths", hint=hint)
    return content


def can_be_a_path(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def located(path: str, folder: Path) -> str:
    """The path from the root of the disk where it is a file here, seen from this folder or from that of the list."""
    places = (top / spelling for spelling in lists.spellings(path) for top in (Path(), folder))
    found = next((place for place in places if os.path.isfile(place)), None)
    return os.path.abspath(found) if found else path


def first_duplicate(paths: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            return path
        seen.add(path)
    return None


def known_facts(path: str) -> ImageFacts | None:
    """What is known of a file without decoding it; None where it is not on this machine.

    raises  OSError where it is, and this machine fails to read it
    """
    if not os.path.isfile(path):
        return None
    status = os.stat(path)
    return {"size": status.st_size, "modified_ns": status.st_mtime_ns, "digest": file_digest(Path(path))}


def imported_texts(path: Path, classes: Sequence[str], d: int, progress: Progress) -> Texts:
    names = clean_class_names(classes)
    rows = read_rows(path, progress)
    if rows.shape[1] != d:
        raise InputError(
            f"{printable(path)} has {rows.shape[1]} dimensions, the embeddings have {d}",
            hint="embed images and texts with the same model",
        )
    if len(rows) != len(names):
        raise InputError(
            f"{printable(path)} has {len(rows)} rows for {len(names)} classes",
            hint="give one row for each class, in order",
        )
    return Texts(rows, {name: [] for name in names}, IMPORTED)


def with_common_names(texts: Texts, path: Path, names: Sequence[str], progress: Progress) -> Texts:
    """The texts with common names, whose embeddings are in a file."""
    named = list(names) or own_common_names()
    rows, d = read_rows(path, progress), texts.text_embeddings.shape[1]
    if rows.shape != (len(named), d):
        raise InputError(
            f"{printable(path)} has shape {rows.shape}, {len(named):,} common names need ({len(named)}, {d})",
            hint="give one row for each of the common names, in order: the names that you gave, or annotate's own list",
        )
    return replace(texts, common_embeddings=rows.astype(np.float32), common_names=named)


def imported_clusters(files: Mapping[str, Path], rows: Floats) -> Clusters | None:
    """Clusters from assignments; centroids are computed where they are not given."""
    if not files:
        return None
    if "micro_assignments" not in files:
        raise InputError(
            "clusters need --micro-assignments",
            hint=Hint(
                "give the micro-assignments, or let annotate find clusters",
                "add it, or let `annotate cluster` find them",
            ),
        )
    micro = read_assignments(files["micro_assignments"], len(rows))
    meta = read_assignments(files["meta_assignments"], len(rows)) if "meta_assignments" in files else micro
    centroids = []
    for name, assignments in (("micro_centroids", micro), ("meta_centroids", meta)):
        computed = cluster_centroids(rows, assignments)
        nowhere = np.flatnonzero(~computed.any(axis=1))
        if len(nowhere):
            raise InputError(
                f"the images of cluster {nowhere[0]} cancel out: it has no centroid",
                hint=Hint("let annotate find clusters", "let `annotate cluster` find them"),
            )
        if name in files:
            given = read_rows(files[name], Silent())
            if given.shape != computed.shape:
                raise InputError(
                    f"{printable(files[name])} has shape {given.shape}, the assignments need {computed.shape}",
                    hint="give one centroid for each cluster 0, 1, 2 …",
                )
            computed = given
        centroids.append(computed)
    return Clusters(micro, meta, centroids[0], centroids[1], (micro >= 0).astype(np.float32), {})


def read_assignments(path: Path, n: int) -> npt.NDArray[np.int64]:
    array = read_array(path, 1)
    shown = printable(path)
    if array.dtype.kind == "f" or len(array) != n or array.min(initial=0) < -1:
        raise InputError(
            f"{shown}: expected {n:,} whole numbers from -1 up, found {array.dtype} {array.shape}", hint="-1 is noise"
        )
    used = np.unique(array[array >= 0])
    if len(used) and used[-1] != len(used) - 1:
        raise InputError(f"{shown}: cluster numbers have gaps", hint="number clusters 0, 1, 2 … without gaps")
    return array.astype(np.int64)
