"""Ensembles: models that looked at the same images, each into a workspace of its own, label them together.

`annotate refine --workspace A --also B`: every method runs on the joint embeddings (kernels/joint.py), whose logits
are the mean of the models' logits. Images, classes and their wording are those of A, and A keeps the labels.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from annotate.errors import ConfigError, Hint, InputError, MissingArtifact, StaleArtifact, printable
from annotate.kernels.joint import joint_rows
from annotate.kernels.vectors import Ints, unit
from annotate.records import IMPORTED, EmbeddingRows, Embeddings, ImageFacts, Model, Refinement, Texts
from annotate.stages import AnyStage, Context
from annotate.stages.text import STAGE as TEXT
from annotate.workspace import Workspace
from annotate.workspace.digests import content_digest

MATCHED_BY = ("image_paths.txt", "images.json")  # what says which row is which image


@contextmanager
def held(context: Context, also: Sequence[str | Path]) -> Iterator[None]:
    """Lock the workspaces of the other models."""
    with ExitStack() as locks:
        for other in other_workspaces(context, also):
            locks.enter_context(other.lock())
        yield


def other_workspaces(context: Context, also: Sequence[str | Path]) -> list[Workspace]:
    """The workspaces of the other models.

    raises  InputError where two are the same folder, MissingArtifact where one holds no embeddings
    """
    others, taken = [context.beside(place) for place in also], {os.path.realpath(context.workspace.root)}
    for other in others:
        shown, place = printable(other.root), os.path.realpath(other.root)
        if place in taken:
            raise InputError(f"--also {shown}: that workspace is in use already", hint="name that of another model")
        if not other.has("embed"):
            raise MissingArtifact(
                f"no embeddings in {shown}/",
                hint=Hint(f"embed the images in {shown} first", f"run `annotate embed IMAGES -w {shown}` first"),
            )
        taken.add(place)
    return others


def check_method(method: str, engine: str) -> None:
    """raises  ConfigError for what knows the embeddings of one workspace only"""
    if method == "soft":
        raise ConfigError(
            "refine: the method soft works on the clusters of one workspace, --also adds others",
            hint=Hint(
                "choose the method dynamic or transductive, or use one model",
                "add --method dynamic or --method transductive, or leave out --also",
            ),
        )
    if engine != "local":
        raise ConfigError(
            f"engine: several workspaces are refined in one process, not on '{engine}'",
            hint=Hint("use this machine alone, or one model", "leave out --engine or --also"),
        )


def texts_first(context: Context, texts: Texts) -> Iterator[tuple[Context, AnyStage, dict[str, Any]]]:
    """The same classes in the same words, as the model of another workspace reads them, in that workspace.

    raises  StaleArtifact where imported embeddings came with other classes
    """
    other = context.workspace
    if recorded_model(other)["name"] == IMPORTED:
        known = other.read(Texts) if other.of_these_embeddings("text") else None
        if known is None or known.class_names != texts.class_names:
            raise StaleArtifact(
                f"{printable(other.root)}/ was imported without texts of these classes in this order",
                hint=Hint(
                    f"import the embeddings of the class names into {printable(other.root)} as well",
                    f"run `annotate import -w {printable(other.root)}` again with --text-embeddings and --classes",
                ),
            )
    elif texts.prompt_set != IMPORTED:
        yield context, TEXT, {"prompts": texts.prompts, "prompt_set": texts.prompt_set}
    else:
        worded = other.has("text") and other.read(Texts).class_names == texts.class_names
        yield context, TEXT, {"classes": [] if worded else texts.class_names}


# -- joining -------------------------------------------------------------------------------------------


def joint(workspace: Workspace, texts: Texts, others: Sequence[Workspace]) -> tuple[EmbeddingRows, Texts]:
    """All models as one: images in the order of the workspace, and its classes.

    raises  InputError where another model has not seen all of the images
    """
    images = workspace.read(Embeddings)
    seen, read = [images, *(other.read(Embeddings) for other in others)], [texts, *(o.read(Texts) for o in others)]
    n, k = len(images.embeddings), len(texts.prompts)
    orders = [np.arange(n), *(rows_in(other, theirs, images) for other, theirs in zip(others, seen[1:], strict=True))]
    models = [one.model for one in seen]
    scales = [model["logit_scale"] for model in models]
    model: Model = {
        "name": " + ".join(model["name"] for model in models),
        "path": None,
        "digest": content_digest([model["digest"] for model in models]),
        "dimensions": sum(model["dimensions"] for model in models),
        "logit_scale": sum(scales) / len(scales),
    }
    rows = joint_rows([one.embeddings for one in seen], orders, scales)
    words = joint_rows([one.text_embeddings for one in read], [np.arange(k)] * len(read), scales)
    return EmbeddingRows(rows, model), replace(texts, text_embeddings=words)


def rows_in(other: Workspace, theirs: Embeddings, images: Embeddings) -> Ints:
    """Where each image is in the other workspace, (N,); their order may differ, and they may be more.

    raises  InputError where some are not there
    """
    order = matched(images, theirs)
    missing = np.flatnonzero(order < 0)
    if len(missing):
        shown, model = printable(other.root), theirs.model
        name = printable(model["path"] or model["name"])
        asked = printable(shlex.quote(images.folder)) if images.folder else "IMAGES"
        command = f"annotate embed {asked} -w {shown} --model {name}"
        raise InputError(
            f"{len(missing):,} of {len(order):,} images are not in {shown}/, the first "
            f"{printable(images.image_paths[missing[0]])}",
            hint=Hint(
                f"take all of them into {shown}",
                f"run `{command if model['name'] != IMPORTED else f'annotate import -w {shown}'}` with all of them",
            ),
        )
    return order


def matched(images: Embeddings, theirs: Embeddings) -> Ints:
    """The row of `theirs` that is the same image, (N,), -1 where there is none.

    An image is known by the digest of its bytes, by its path where one side has no digest. Of several with the same
    bytes the first path counts, so that their order changes nothing.
    """
    by_path = {path: row for row, path in enumerate(theirs.image_paths)}
    by_digest = {}
    for path in sorted(by_path, reverse=True):
        fact = theirs.images[by_path[path]]
        if fact:
            by_digest[fact["digest"]] = by_path[path]

    def matching_row(path: str, fact: ImageFacts | None) -> int:
        if fact and fact["digest"] in by_digest:
            return by_digest[fact["digest"]]
        row = by_path.get(path, -1)
        return -1 if row >= 0 and fact and theirs.images[row] else row

    return np.array([matching_row(*image) for image in zip(images.image_paths, images.images, strict=True)], np.int64)


def of_first(joint: Refinement, dimensions: int) -> Refinement:
    """The record with the first model's part of the prototypes, (K, D) unit rows, to compare with its embeddings."""
    return replace(joint, class_prototypes=unit(joint.class_prototypes[:, :dimensions]))


# -- freshness -----------------------------------------------------------------------------------------


def joint_knobs(workspace: Workspace, others: Sequence[Workspace]) -> dict[str, object]:
    """What the manifest says of an ensemble: where the others lie, and the names of all models."""
    return {
        "also": [os.path.abspath(other.root) for other in others],
        "models": [recorded_model(place)["name"] for place in (workspace, *others)],
    }


def recorded_model(place: Workspace) -> Model:
    manifest = place.manifest("embed") or {}
    model: Model = manifest["facts"]["model"]
    return model


def joint_inputs(workspace: Workspace, others: Sequence[Workspace]) -> dict[str, str]:
    """Name to digest of what joint embeddings are made from, beyond the inputs of every refinement."""
    inputs = workspace.digests("embed", *MATCHED_BY) if others else {}
    for number, other in enumerate(others, 1):
        theirs = {
            **other.digests("embed", "embeddings.npy", *MATCHED_BY),
            **other.digests("text", "text_embeddings.npy"),
            **({"logit scale": str(recorded_model(other)["logit_scale"])} if other.has("embed") else {}),
        }
        inputs |= {f"also {number} {name}": digest for name, digest in theirs.items()}
    return inputs


def inputs_now(workspace: Workspace, also: Sequence[str], recorded: Mapping[str, str]) -> dict[str, str]:
    """The inputs that refine would find in the other workspaces if it ran again; none of those that are gone.

    Texts that serve other classes by now would be made again as they were.
    """
    others = [Workspace(place) for place in also]
    found = joint_inputs(workspace, others)
    for number, other in enumerate(others, 1):
        key = f"also {number} text/text_embeddings.npy"
        if other.has("embed") and key in recorded and would_be_reworded(workspace, other):
            found[key] = recorded[key]
    return found


def would_be_reworded(workspace: Workspace, other: Workspace) -> bool:
    """Whether refine would replace the other workspace's texts by those of this one's classes and prompts."""
    theirs, mine = other.manifest("text"), workspace.manifest("text")
    if theirs is None or mine is None:
        return theirs is None
    words = [key for key in ("classes", "prompts") if key in mine["config"]]  # imported texts have no prompts
    return theirs["config"].get("source") != IMPORTED and any(
        theirs["config"].get(key) != mine["config"][key] for key in words
    )


def rows_digest(inputs: Mapping[str, str]) -> str:
    """What joint rows are known by: embeddings, which row is which image, and the scales that weigh them."""
    return content_digest({name: inputs[name] for name in inputs if "embed/" in name or name.endswith("logit scale")})
