"""Which model: the one that a workspace has, or the one that `auto` takes for a workspace that has none.

    auto    1. the model that embedded the images of this workspace, or began to
            2. ViT-B/32, where its weights are on this machine
            3. ViT-B/32, where somebody sits at the terminal and agrees to fetch it
            4. the built-in model

A model that is named is that model, or the stage fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from annotate import encoders
from annotate.encoders import Source
from annotate.encoders.weights import WeightStore
from annotate.errors import ComponentMissing, DamagedArtifact, Hint, InputError, StaleArtifact, printable
from annotate.progress import Progress
from annotate.records import IMPORTED, Model
from annotate.settings.config import Config
from annotate.workspace import Workspace

AUTO = "auto"
BETTER, BUILT_IN = "ViT-B/32", "tiny"
SIZE = "350 MB"  # of the better one


def kept_model(workspace: Workspace, config: Config) -> Source | None:
    """The model that embedded the images of a workspace; None where they are to be embedded for the first time.

    raises  StaleArtifact where it is a checkpoint that is not there any more
    """
    try:
        manifest = workspace.manifest("embed")
    except DamagedArtifact:  # about to be made anew
        return None
    model: Model | None = manifest["facts"].get("model") if manifest else None
    if model is None or model["name"] == IMPORTED:
        return None
    if model["path"] is None and model["name"] in encoders.PUBLISHED:
        return encoders.find_weights(model["name"])  # also where annotate's own has changed with its version
    return source_of(workspace, model, config)


def automatic_model(progress: Progress, begun: Callable[[Source], bool], *, sliced: bool) -> Source:
    """The model for images that none has embedded yet.

    begun   whether some of them are embedded with this one already, by a run that was interrupted, or by slices
    sliced  on several machines, where each would choose by what lies there
    raises  InputError where slices do not say which model they take
    """
    better, built_in = encoders.find_weights(BETTER), encoders.find_weights(BUILT_IN)
    for source in (better, built_in):
        if begun(source):
            return source
    if sliced:
        raise InputError(
            "slices on several machines must be of one model, and none is named",
            hint=Hint(
                f"name it in all of them: {BETTER} or {BUILT_IN}",
                f"name it in all of them: `--model {BETTER}` or `--model {BUILT_IN}`",
            ),
        )
    store = WeightStore()
    if store.has(BETTER):
        return better
    why = fetched_if_agreed(progress, store)
    if not why:
        return better
    message = f"the built-in model `{BUILT_IN}` is used, since {BETTER} {why}"
    progress.note({"message": f"{message}; `--model {BETTER}` labels better, and fetches {SIZE} once", "hint": ""})
    return built_in


def fetched_if_agreed(progress: Progress, store: WeightStore) -> str:
    """Fetch the better model where somebody who sits at the terminal agrees; why it is not there, or nothing."""
    absent = "is not on this machine"
    if not progress.someone_answers():
        return absent
    unreachable = store.unreachable(BETTER)
    if unreachable:
        return f"cannot be fetched: {unreachable}"
    question = f"{BETTER} {absent}. It labels better than the built-in model. Fetch it, {SIZE}, once?"
    if not progress.agrees(question):
        return absent
    try:
        with progress.bytes(f"weights of {BETTER}") as report:
            store.fetch(BETTER, report)
    except ComponentMissing as error:
        return str(error).removeprefix(f"the weights of {BETTER} ")
    return ""


def source_of(workspace: Workspace, model: Model, config: Config) -> Source:
    """The model that embedded the images, which has to read the class names, too.

    A manifest says where a checkpoint lies, and a workspace may come from anybody. That place counts only where its
    file has the digest that the manifest records, and lies outside the workspace, where a sender cannot put files.
    A model that the user names now counts wherever it lies.

    raises  StaleArtifact, which asks for the model, where it is not there
    """
    named = config.values.get("embed.model", AUTO)
    if named != AUTO:
        source = encoders.find_weights(str(named))
        if source.digest == model["digest"]:
            return source
    if model["path"] is None:
        if model["name"] in encoders.PUBLISHED:
            source = encoders.find_weights(model["name"])
            if source.digest == model["digest"]:
                return source
        if model["name"] == BUILT_IN:
            raise StaleArtifact(
                f"the embeddings were made by the `{BUILT_IN}` of another version of annotate, which was another model",
                hint=Hint(
                    "embed the images again", f"embed the images again: `annotate embed IMAGES --model {BUILT_IN}`"
                ),
            )
        shown, reason = printable(model["name"]), "is not the model that embedded the images any more"
    else:
        shown, path = printable(model["path"]), Path(model["path"])
        inside = Path(os.path.realpath(workspace.root)) in Path(os.path.realpath(path)).parents
        if inside or not path.is_absolute():
            reason = "is a model that the workspace itself names, not you"
        elif not path.is_file():
            reason = "is the model that embedded the images, and it is not there any more"
        else:
            source = encoders.find_weights(str(path))
            if source.digest == model["digest"]:
                return source
            reason = "is not the model that embedded the images any more"
    raise StaleArtifact(
        f"{shown} {reason}",
        hint=Hint(
            "name the model that did, or embed the images again with another",
            "name the model that did: `annotate refine --set embed.model=MODEL`, "
            "or start again with another: `annotate embed IMAGES --model MODEL`",
        ),
    )
