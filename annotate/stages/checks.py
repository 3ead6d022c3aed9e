"""What a project holds: is it fresh, is it whole, and can a run work at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from annotate import sources
from annotate.classes.names import clean_class_names
from annotate.errors import AnnotateError, DamagedArtifact, Hint, InputError, printable
from annotate.exports.dataset import GONE
from annotate.exports.dataset import find_damage as damage_of_dataset
from annotate.exports.place import check_place
from annotate.exports.replacing import check_replaceable
from annotate.records import IMPORTED, Embeddings, Texts
from annotate.reports.truth import check_truth
from annotate.settings.declared import sections
from annotate.stages import AnyStage, Context, answers, cache, stages
from annotate.stages.corrections import kept_as_answers
from annotate.stages.embed import interrupted
from annotate.stages.ensemble import inputs_now
from annotate.stages.import_ import VERSION as IMPORT_VERSION
from annotate.stages.refine import check_settings
from annotate.workspace import Workspace
from annotate.workspace.manifest import MANIFEST
from annotate.workspace.plan import CACHE, Plan, State
from annotate.workspace.repair import repair


def check_before_running(
    context: Context,
    *,
    images: str | Path,
    output: str | Path,
    classes: Sequence[str],
    truth: Path | None,
    given: Path | None,
) -> None:
    """raises  AnnotateError for what would stop a run at the end, before the expensive part"""
    workspace, config, output = context.workspace, context.config, Path(output)
    asked = classes or config.classes
    if asked or not workspace.has("text"):
        clean_class_names(asked)
    else:
        names = ", ".join(printable(name) for name in workspace.read(Texts).class_names)
        context.progress.note({"message": f"the classes are those of the workspace: {names}", "hint": ""})
    check_place(output, str(images), workspace.root)
    check_replaceable(output, excused=lambda: kept_as_answers(output, workspace.read(Embeddings), context))
    for source in (truth, given):
        check_truth(Path(source) if source else None)
    few, many = config.resolve(1), config.resolve(1 << 30)
    if few.refine.method == many.refine.method:  # it does not depend on how many images there will be
        check_settings(few.refine, few.engine)


def status(context: Context) -> dict[str, State]:
    """Each stage: fresh, stale and why, damaged and where, or missing.

    A stage is fresh where the command that last asked for it, in the same words, would skip it now.
    """
    workspace, states = context.workspace, dict[str, State]()
    for stage in stages():
        kept = kept_so_far(workspace) if stage.name == "embed" else ""
        try:
            manifest = workspace.manifest(stage.name)
        except DamagedArtifact as error:
            states[stage.name] = State("damaged", str(error))
            continue
        if manifest is None:
            states[stage.name] = State("missing", kept)
            continue
        used = dict.fromkeys(key.replace("/", " ").split()[0] for key in manifest["inputs"])
        unsound = [name for name in used if name in states and states[name].name in ("stale", "damaged")]
        because = State("stale", f"{unsound[0]} is {states[unsound[0]].name}") if unsound else None
        try:
            state = state_now(context, stage, manifest)
        except AnnotateError as error:
            name = "damaged" if isinstance(error, DamagedArtifact) else "stale"
            state = because or State(name, str(error))
        except (KeyError, TypeError, ValueError, AttributeError):  # a request is whatever the manifest says it is
            state = State("damaged", f"{MANIFEST}: its settings are not those of annotate")
        if kept and state.name == "stale":
            state = State("stale", f"{state.why}; {kept}")
        if because and (state.fresh or state.why.startswith(f"{unsound[0]} would be made anew")):
            state = because
        states[stage.name] = state
    return states


def kept_so_far(workspace: Workspace) -> str:
    """What an embedding that was interrupted has kept; empty where none was."""
    found = interrupted(workspace)
    return f"interrupted, {found[0]:,} of {found[1]:,} embedded" if found else ""


def state_now(context: Context, stage: AnyStage, manifest: Mapping[str, Any]) -> State:
    """What the stage's own command would find now, were it asked again for what its manifest says it was asked.

    raises  AnnotateError where it would fail
    """
    if is_imported(stage, manifest):
        return context.workspace.state(as_recorded(context.workspace, stage, manifest, IMPORT_VERSION))
    request = manifest.get("request") or request_of_older(manifest)
    if "settings" in request:
        context = replace(context, config=context.config.asked(request["settings"], request["preset"]))
    asked = stage.asked_before({**manifest, "request": request})
    try:
        for place, earlier, theirs in stage.first(context, **asked):
            state = earlier.state(place, earlier.plan(place, **theirs))
            if state.fresh:
                continue
            if place.workspace is not context.workspace:  # the words of another model would be made as they were
                recorded = as_recorded(context.workspace, stage, manifest, stage.version)
                return context.workspace.state(recorded)
            return State("stale", f"{earlier.name} would be made anew{f': {state.why}' if state.why else ''}")
        return stage.state(context, stage.plan(context, **asked))
    except InputError as error:
        folder = str(asked.get("images", ""))
        if folder and sources.is_local(folder) and not os.path.exists(folder):
            raise InputError(f"the images are gone: {printable(folder)}") from error
        raise


def is_imported(stage: AnyStage, manifest: Mapping[str, Any]) -> bool:
    """Whether a stage's record was made elsewhere."""
    source = manifest["facts"]["prompt_set"] if stage.name == "text" else manifest["config"].get("source")
    return bool(source == IMPORTED)


def request_of_older(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The request of a stage whose manifest keeps none, as annotate 0.1.0 wrote them: the settings that it ran with."""
    stage, then = manifest["stage"], manifest["config"]
    own = sections().get(stage, {}).values() if stage != "text" else ()
    settings = {setting.key: then[setting.name] for setting in own if then.get(setting.name) is not None}
    if stage == "embed":
        settings["embed.model"] = manifest["facts"]["model"]["path"] or then["model"]
    return {"settings": settings, "preset": None, "also": then.get("also", [])}


def as_recorded(workspace: Workspace, stage: AnyStage, manifest: Mapping[str, Any], version: int) -> Plan:
    """The plan of the manifest itself, with the artifacts that are here now."""
    then = manifest["config"]
    now: dict[str, str] = {}
    for earlier in stages():
        if earlier.name == stage.name:
            break
        now |= workspace.digests(earlier.name)
    now |= inputs_now(workspace, then.get("also", []), manifest["inputs"])
    given = answers.answer_inputs(Context(workspace)) if stage.name == "refine" else {}
    inputs = {
        key: {**now, **given}.get(key, "gone") if belongs_here(key) else digest
        for key, digest in {**manifest["inputs"], **given}.items()
    }
    return Plan(stage.name, version, then, inputs)


def belongs_here(key: str) -> bool:
    """Whether an input is an artifact of this workspace, or of one that refines with it, not a file from outside."""
    names = [stage.name for stage in stages()]
    return (
        key.partition("/")[0] in names
        or key.removesuffix(" facts") in names
        or key.startswith(("also ", answers.INPUT))
    )


def check(workspace: Workspace) -> dict[str, str]:
    """Read every byte of every stage, of the answers, the last dataset and what is kept to save time: what is wrong.

    returns  a row per stage that has run, then "answers", "dataset" and "cache" where there are such; empty where whole
    """
    names = [stage.name for stage in stages()]
    found = {stage: workspace.check(stage) for stage in names if workspace.folder(stage).exists()}
    output = place_of_dataset(workspace)
    if output:
        problem = damage_of_dataset(output)
        found["dataset"] = problem and f"{printable(output)}{' ' if problem == GONE else '/'}{problem}"
    if answers.are_here(workspace):
        found["answers"] = answers.damage(workspace)
    if (workspace.root / CACHE).is_dir():
        found["cache"] = cache.damage(workspace.root / CACHE)
    return found


def remedy(row: str) -> Hint:
    """What to do about a row of `check`."""
    others = {
        "answers": Hint("put back a copy of the file; or move it away, then give the answers again"),
        "dataset": Hint(
            "move what is left of the dataset away, then write it again",
            "move what is left of the dataset away, then run `annotate organize OUTPUT`",
        ),
        "cache": Hint(f"delete the folder {CACHE} of the workspace: what it holds is made again when it is needed"),
    }
    return others.get(row) or repair(row)


def place_of_dataset(workspace: Workspace) -> Path | None:
    """Where the last dataset went; None where there is none, or nobody can tell."""
    try:
        manifest = workspace.manifest("organize")
        return Path(manifest["facts"]["output"]) if manifest else None
    except (AnnotateError, KeyError, TypeError):
        return None
