"""text: class names become unit vectors. Part of embed and refine; encodes only what it has not seen.

The unit of the cache is a class with all its prompts: one forward pass whose result depends on nothing
else, so that a class has the same embedding whatever was encoded before it or beside it.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from annotate import encoders
from annotate.config import Config, clean_class_names
from annotate.digests import content_digest
from annotate.errors import InputError, MissingArtifact, printable
from annotate.kernels.vectors import Floats, unit
from annotate.progress import Progress, Silent
from annotate.prompts import SETS, automatic, prompts_for
from annotate.records import IMPORTED, Model, Texts
from annotate.stages import run_stage
from annotate.workspace import Plan, Workspace

VERSION = 1


def embed_text(
    workspace: Workspace,
    model: Model,
    config: Config,
    *,
    classes: Sequence[str] = (),
    force: bool = False,
    progress: Progress | None = None,
) -> Texts:
    """Embed the classes' prompts with the model that embedded the images.

    classes  names; without them those of the config file, then those of the workspace
    raises   InputError for names that do not make sense, or where imported embeddings cannot take new ones
    """
    progress = progress or Silent()
    manifest = workspace.manifest("text")
    imported = manifest is not None and manifest["facts"]["prompt_set"] == IMPORTED
    before = workspace.read(Texts) if manifest and (imported or not (classes or config.classes)) else None
    asked = classes or config.classes
    if not asked and before is None:
        raise MissingArtifact(
            "no classes", hint="name them: `--classes dog,cat`, or `--classes-file FILE` with one a line"
        )
    names = clean_class_names(asked) if asked else before.class_names if before else []
    if model["name"] == IMPORTED:
        return imported_texts(before, names)

    choice = config.resolve().text.prompts
    prompts = prompts_for(names, choice)
    plan = Plan(
        "text",
        VERSION,
        {"model": model["name"], "weights": model["digest"], "classes": content_digest(list(prompts.items()))},
    )

    def make() -> Texts:
        rows = known_rows(workspace, model, prompts, progress)
        chosen = automatic(names) if choice == "auto" else choice
        return Texts(rows, prompts, chosen if chosen in SETS else "file")

    return run_stage(workspace, plan, Texts, make, force=force, progress=progress)


def imported_texts(before: Texts | None, names: Sequence[str]) -> Texts:
    if before is None or list(names) != before.class_names:
        raise InputError(
            "these embeddings were imported: annotate does not know the model that could embed other class names",
            hint="run `annotate import` again with --text-embeddings and --classes",
        )
    return before


def known_rows(workspace: Workspace, model: Model, prompts: Mapping[str, Sequence[str]], progress: Progress) -> Floats:
    """The classes' embeddings (K, D), encoding those that the cache does not hold."""
    cache = workspace.root / ".cache" / f"text-{model['digest'][:16]}.npz"
    known = read_cache(cache)
    keys = {name: content_digest(list(wording)) for name, wording in prompts.items()}
    new = [name for name, key in keys.items() if key not in known]
    if new:
        source = encoders.find(model["path"] or model["name"])
        if source.digest != model["digest"]:
            raise InputError(
                f"{printable(model['path'])} is not the checkpoint that embedded the images",
                hint="run `annotate embed` again with it, or put the earlier file back",
            )
        with progress.bytes(f"weights of {source.name}") as report:
            # Text always runs where its bytes are the same: on the CPU, in float32.
            encoder = encoders.load(source, device="cpu", precision="float32", progress=report)
        with progress.steps("embedding class names", len(new), "classes") as advance:
            for name in new:
                known[keys[name]] = mean_of_prompts(encoder.encode_text(list(prompts[name])))
                advance(1)
        write_cache(cache, known)
    return np.stack([known[key] for key in keys.values()])


def mean_of_prompts(rows: Floats) -> Floats:
    """Each prompt normalised, averaged, normalised again: (P, D) to (D,)."""
    return unit(unit(rows).mean(axis=0, dtype=np.float64))


def read_cache(path: Path) -> dict[str, Floats]:
    """Class embeddings by the digest of their prompts; a cache that cannot be read is an empty one."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(zip(stored["keys"].tolist(), stored["rows"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}


def write_cache(path: Path, known: Mapping[str, Floats]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    with open(part, "wb") as file:
        np.savez(file, keys=np.array(list(known)), rows=np.stack(list(known.values())))
    os.replace(part, path)
