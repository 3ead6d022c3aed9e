"""text: class names become unit vectors. Part of embed and refine; encodes only what it has not seen.

The unit of the cache is a class with all its prompts: one forward pass whose result depends on nothing
else, so that a class has the same embedding whatever was encoded before it or beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from annotate import encoders
from annotate.config import Config, clean_class_names
from annotate.digests import content_digest
from annotate.errors import InputError, MissingArtifact, StaleArtifact, printable
from annotate.kernels.vectors import Floats, unit
from annotate.progress import Progress, Silent
from annotate.prompts import SETS, automatic, prompts_for
from annotate.records import IMPORTED, Model, Texts
from annotate.stages import cache, run_stage
from annotate.workspace import Plan, Workspace

VERSION = 1
PACKAGES = ("torch", "openai-clip")  # that decide the bytes


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
    asked = classes or config.classes
    if model["name"] == IMPORTED:
        return as_imported(workspace, clean_class_names(asked) if asked else [])
    prompts, prompt_set = wording(workspace, asked, config)
    request = config.request("text", classes=list(classes))
    return embed_prompts(workspace, model, prompts, prompt_set, request=request, force=force, progress=progress)


def embed_prompts(
    workspace: Workspace,
    model: Model,
    prompts: dict[str, list[str]],
    prompt_set: str,
    *,
    request: Mapping[str, Any] | None = None,
    force: bool = False,
    progress: Progress,
) -> Texts:
    """Embed classes that are worded already."""
    plan = replace(plan_for(model, prompts), request=request or {})

    def make(_: Path) -> Texts:
        return Texts(known_rows(workspace, model, prompts, progress), prompts, prompt_set)

    return run_stage(workspace, plan, Texts, make, force=force, progress=progress, packages=PACKAGES)


def plan_for(model: Model, prompts: Mapping[str, Sequence[str]]) -> Plan:
    settings = {
        "model": model["name"],
        "weights": model["digest"],
        "classes": list(prompts),
        "prompts": content_digest(list(prompts.values())),
    }
    return Plan("text", VERSION, settings)


def wording(workspace: Workspace, asked: Sequence[str], config: Config) -> tuple[dict[str, list[str]], str]:
    """Prompts by class name, and the set they are of.

    Without names those of the workspace count, worded as they were unless other prompts are asked for.
    """
    if asked:
        names = clean_class_names(asked)
    elif workspace.has("text"):
        before = workspace.read(Texts)
        if "text.prompts" not in config.values and before.prompt_set != IMPORTED:
            return before.prompts, before.prompt_set
        names = before.class_names
    else:
        raise MissingArtifact(
            "no classes", hint="name them: `--classes dog,cat`, or `--classes-file FILE` with one a line"
        )
    choice = config.resolve().text.prompts
    chosen = automatic(names) if choice == "auto" else choice
    return prompts_for(names, choice), chosen if chosen in SETS else "file"


def as_imported(workspace: Workspace, names: Sequence[str]) -> Texts:
    """The texts that came with imported embeddings; annotate has no model for others.

    raises  InputError where none came with these embeddings, or where other names are asked for
    """
    if workspace.of_these_embeddings("text"):
        texts = workspace.read(Texts)
        if not names or list(names) == texts.class_names:
            return texts
    raise InputError(
        "these embeddings were imported: annotate does not know the model that could embed class names for them",
        hint="run `annotate import` again with --text-embeddings and --classes",
    )


def known_rows(workspace: Workspace, model: Model, prompts: Mapping[str, Sequence[str]], progress: Progress) -> Floats:
    """The classes' embeddings (K, D), encoding those that the cache does not hold."""
    kept = workspace.root / ".cache" / f"text-{model['digest'][:16]}.npz"
    known = read_cache(kept)
    keys = {name: content_digest(list(wording)) for name, wording in prompts.items()}
    new = [name for name, key in keys.items() if key not in known]
    if new:
        source = encoders.find(model["path"] or model["name"])
        if source.digest != model["digest"]:
            raise StaleArtifact(
                f"{printable(model['path'] or model['name'])} is not the model that embedded the images any more",
                hint=f"run `annotate embed IMAGES --model {printable(model['path'] or model['name'])}`",
            )
        with progress.bytes(f"weights of {source.name}") as report:
            # Text always runs where its bytes are the same: on the CPU, in float32.
            encoder = encoders.load(source, device="cpu", precision="float32", progress=report)
        with progress.steps("embedding class names", len(new), "classes") as advance:
            for name in new:
                known[keys[name]] = mean_of_prompts(encoder.encode_text(list(prompts[name])))
                advance(1)
        cache.write(kept, {"keys": np.array(list(known)), "rows": np.stack(list(known.values()))})
    return np.stack([known[key] for key in keys.values()])


def mean_of_prompts(rows: Floats) -> Floats:
    """Each prompt normalised, averaged, normalised again: (P, D) to (D,)."""
    return unit(unit(rows).mean(axis=0, dtype=np.float64))


def read_cache(path: Path) -> dict[str, Floats]:
    """Class embeddings by the digest of their prompts."""
    stored = cache.read(path)
    if not {"keys", "rows"} <= stored.keys() or len(stored["keys"]) != len(stored["rows"]):
        return {}
    return dict(zip(stored["keys"].tolist(), stored["rows"], strict=True))
