"""status and check: what the workspace holds, and whether it can be trusted."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from annotate import sources
from annotate.errors import AnnotateError, DamagedArtifact, InputError, printable
from annotate.exports.dataset import GONE, why_stale
from annotate.exports.dataset import find_damage as damage_of_dataset
from annotate.records import IMPORTED, Embeddings, Organized
from annotate.settings.config import SECTIONS, Config
from annotate.stages import answers, cache
from annotate.stages.cluster import cluster
from annotate.stages.embed import embed, interrupted
from annotate.stages.ensemble import inputs_now
from annotate.stages.import_ import VERSION as IMPORT_VERSION
from annotate.stages.organize import organize
from annotate.stages.refine import VERSION as REFINE_VERSION
from annotate.stages.refine import refine
from annotate.stages.report import report
from annotate.stages.text import embed_text
from annotate.workspace import Workspace
from annotate.workspace.manifest import MANIFEST
from annotate.workspace.plan import CACHE, STAGES, Plan, State


def status(workspace: Workspace, config: Config) -> dict[str, State]:
    """Each stage: fresh, stale and why, damaged and where, or missing.

    A stage is fresh where the command that last asked for it, in the same words, would skip it now.
    """
    states: dict[str, State] = {}
    for stage in STAGES:
        try:
            manifest = workspace.manifest(stage)
        except DamagedArtifact as error:
            states[stage] = State("damaged", str(error))
            continue
        if manifest is None:
            states[stage] = State("missing", kept_so_far(workspace) if stage == "embed" else "")
            continue
        used = dict.fromkeys(key.replace("/", " ").split()[0] for key in manifest["inputs"])
        unsound = [name for name in used if name in states and states[name].name in ("stale", "damaged")]
        because = State("stale", f"{unsound[0]} is {states[unsound[0]].name}") if unsound else None
        try:
            states[stage] = state_of(workspace, stage, manifest, config)
        except AnnotateError as error:
            name = "damaged" if isinstance(error, DamagedArtifact) else "stale"
            states[stage] = because or State(name, str(error))
        except (KeyError, TypeError, ValueError, AttributeError):  # a request is whatever the manifest says it is
            states[stage] = State("damaged", f"{MANIFEST}: its settings are not those of annotate")
        if stage == "embed" and states[stage].name == "stale" and (kept := kept_so_far(workspace)):
            states[stage] = State("stale", f"{states[stage].why}; {kept}")
        if because and (states[stage].fresh or states[stage].why.startswith(f"{unsound[0]} would be made anew")):
            states[stage] = because
    return states


def kept_so_far(workspace: Workspace) -> str:
    """What an embedding that was interrupted has kept; empty where none was."""
    found = interrupted(workspace)
    return f"interrupted, {found[0]:,} of {found[1]:,} embedded" if found else ""


def state_of(workspace: Workspace, stage: str, manifest: Mapping[str, Any], config: Config) -> State:
    plan = plan_again(workspace, stage, manifest, config)
    state = workspace.state(plan)
    if plan.stage != stage:
        return State("stale", f"{plan.stage} would be made anew{f': {state.why}' if state.why else ''}")
    if stage == "organize" and state.fresh:
        output = Path(workspace.read(Organized).output)
        why = why_stale(plan, output)
        if why:
            name, _, reason = why.partition(": ")
            return State(name, f"{printable(output)}{': ' + reason if reason else ' is gone'}")
    return state


# -- planning again ------------------------------------------------------------------------------------


class Planned(Exception):
    """What a stage was about to do, and in which workspace."""

    def __init__(self, plan: Plan, root: Path) -> None:
        super().__init__(plan.stage)
        self.plan, self.root = plan, root


class LookingAt(Workspace):
    """A workspace in which a stage comes as far as its plan: nothing is locked, made or written.

    stage  the one that is asked for; others that it would run before are passed by where they are fresh
    """

    def __init__(self, root: str | Path | None = None, stage: str = "") -> None:
        super().__init__(root)
        self.stage = stage

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        yield

    def touch(self, plan: Plan) -> None:
        """Looking is not asking."""

    def planned(self, plan: Plan) -> None:
        if plan.stage == self.stage or not self.state(plan).fresh:
            raise Planned(plan, self.root)


def plan_again(workspace: Workspace, stage: str, manifest: Mapping[str, Any], config: Config) -> Plan:
    """The plan that the stage itself would make now, were it asked again for what its manifest says it was asked.

    raises  AnnotateError where it would fail
    """
    if (manifest["facts"]["prompt_set"] if stage == "text" else manifest["config"].get("source")) == IMPORTED:
        return as_recorded(workspace, stage, manifest, IMPORT_VERSION)
    request = manifest.get("request") or of_older(manifest)
    chosen = config.asked(request["settings"], request["preset"]) if "settings" in request else config
    looking, facts = LookingAt(workspace.root, stage), manifest["facts"]
    classes, truth = request.get("classes"), request.get("truth")
    commands: dict[str, Callable[[], object]] = {
        "embed": lambda: embed(looking, facts["folder"], chosen),
        "text": lambda: embed_text(looking, looking.read(Embeddings).model, chosen, classes=classes or ()),
        "cluster": lambda: cluster(looking, chosen),
        "refine": lambda: refine(looking, chosen, classes=classes or (), also=request.get("also", ())),
        "organize": lambda: organize(looking, Path(facts["output"]), chosen),
        "report": lambda: report(looking, chosen, truth=Path(truth) if truth else None),
    }
    try:
        commands[stage]()
    except Planned as planned:
        if planned.root != looking.root:  # the words of another model: they would be made again as they were
            return as_recorded(workspace, stage, manifest, REFINE_VERSION)
        return planned.plan
    except InputError as error:
        if stage == "embed" and sources.is_local(facts["folder"]) and not os.path.exists(facts["folder"]):
            raise InputError(f"the images are gone: {printable(facts['folder'])}") from error
        raise
    raise DamagedArtifact(f"{MANIFEST}: not what annotate wrote for this stage")


def of_older(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The request of a stage whose manifest keeps none, as annotate 0.1.0 wrote them: the settings that it ran with."""
    stage, then = manifest["stage"], manifest["config"]
    knobs = [knob.name for knob in dataclasses.fields(SECTIONS[stage])] if stage != "text" else []
    settings = {f"{stage}.{name}": then[name] for name in knobs if then.get(name) is not None}
    if stage == "embed":
        settings["embed.model"] = manifest["facts"]["model"]["path"] or then["model"]
    return {"settings": settings, "preset": None, "also": then.get("also", [])}


def as_recorded(workspace: Workspace, stage: str, manifest: Mapping[str, Any], version: int) -> Plan:
    """The plan of the manifest itself, with the artifacts that are here now."""
    then = manifest["config"]
    now: dict[str, str] = {}
    for earlier in STAGES[: STAGES.index(stage)]:
        now |= workspace.digests(earlier)
    now |= inputs_now(workspace, then.get("also", []), manifest["inputs"])
    given = answers.inputs_of(workspace) if stage == "refine" else {}
    inputs = {
        key: {**now, **given}.get(key, "gone") if belongs_here(key) else digest
        for key, digest in {**manifest["inputs"], **given}.items()
    }
    return Plan(stage, version, then, inputs)


def belongs_here(key: str) -> bool:
    """Whether an input is an artifact of this workspace, or of one that refines with it, not a file from outside."""
    return (
        key.partition("/")[0] in STAGES
        or key.removesuffix(" facts") in STAGES
        or key.startswith(("also ", answers.INPUT))
    )


def check(workspace: Workspace) -> dict[str, str]:
    """Read every byte of every stage, of the answers, the last dataset and what is kept to save time: what is wrong.

    returns  a row per stage that has run, then "answers", "dataset" and "cache" where there are such; empty where whole
    """
    found = {stage: workspace.check(stage) for stage in STAGES if workspace.folder(stage).exists()}
    output = place_of_dataset(workspace)
    if output:
        problem = damage_of_dataset(output)
        found["dataset"] = problem and f"{printable(output)}{' ' if problem == GONE else '/'}{problem}"
    if (workspace.root / answers.FILE).exists():
        found["answers"] = answers.damage(workspace)
    if (workspace.root / CACHE).is_dir():
        found["cache"] = cache.damage(workspace.root / CACHE)
    return found


def place_of_dataset(workspace: Workspace) -> Path | None:
    """Where the last dataset went; None where there is none, or nobody can tell."""
    try:
        manifest = workspace.manifest("organize")
        return Path(manifest["facts"]["output"]) if manifest else None
    except (AnnotateError, KeyError, TypeError):
        return None
