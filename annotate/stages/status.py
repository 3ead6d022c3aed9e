"""status and check: what the workspace holds, and whether it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotate import encoders
from annotate.config import Config
from annotate.datasets import stale
from annotate.embedding.known import Known
from annotate.embedding.survey import survey
from annotate.engines.embedding import key_of, last_run
from annotate.errors import AnnotateError, InputError, printable
from annotate.records import IMPORTED, Embeddings
from annotate.sources import listing
from annotate.stages.cluster import VERSION as CLUSTER_VERSION
from annotate.stages.embed import VERSION as EMBED_VERSION
from annotate.stages.embed import plan_for
from annotate.stages.ensemble import inputs_now
from annotate.stages.import_ import VERSION as IMPORT_VERSION
from annotate.stages.organize import VERSION as ORGANIZE_VERSION
from annotate.stages.refine import VERSION as REFINE_VERSION
from annotate.stages.report import VERSION as REPORT_VERSION
from annotate.stages.text import VERSION as TEXT_VERSION
from annotate.stages.text import plan_for as plan_for_text
from annotate.stages.text import wording
from annotate.workspace import STAGES, Plan, State, Workspace

VERSIONS = {
    "embed": EMBED_VERSION,
    "text": TEXT_VERSION,
    "cluster": CLUSTER_VERSION,
    "refine": REFINE_VERSION,
    "organize": ORGANIZE_VERSION,
    "report": REPORT_VERSION,
}


def status(workspace: Workspace, config: Config) -> dict[str, State]:
    """Each stage: fresh, stale and why, damaged and where, or missing.

    A stage is judged by the settings that it ran with, where the config file says nothing else.
    """
    states: dict[str, State] = {}
    for stage in STAGES:
        states[stage] = state_of(workspace, stage, config)
        if states[stage].fresh:
            manifest = workspace.manifest(stage) or {}
            used = dict.fromkeys(key.replace("/", " ").split()[0] for key in manifest["inputs"])
            unsound = [name for name in used if name in states and states[name].name in ("stale", "damaged")]
            if unsound:
                states[stage] = State("stale", f"{unsound[0]} is {states[unsound[0]].name}")
    return states


def state_of(workspace: Workspace, stage: str, config: Config) -> State:
    try:
        manifest = workspace.manifest(stage)
        if manifest is None:
            return State("missing")
        plan = expected_plan(workspace, stage, manifest, config)
    except AnnotateError as error:
        return State("damaged" if error.exit_code == 3 else "stale", str(error))
    state = workspace.state(plan)
    if stage == "organize" and state.fresh:
        output = Path(manifest["facts"]["output"])
        why = stale(plan, output)
        if why:
            name, _, reason = why.partition(": ")
            return State(name, f"{printable(output)}{': ' + reason if reason else ' is gone'}")
    return state


def expected_plan(workspace: Workspace, stage: str, manifest: Mapping[str, Any], config: Config) -> Plan:
    """The plan that this stage would make now, with the settings it had where none are said."""
    said = {
        key.partition(".")[2]: list(value) if isinstance(value, tuple) else value
        for key, value in config.values.items()
        if key.startswith(f"{stage}.")
    }
    if stage == "text" and manifest["facts"]["prompt_set"] != IMPORTED:
        return text_plan(workspace, config)
    then = manifest["config"]
    settings = {**then, **{key: value for key, value in said.items() if key in then and value != "auto"}}
    if stage == "embed" and then.get("source") != IMPORTED:
        return embed_plan(workspace, manifest, settings)
    now: dict[str, str] = {}
    for earlier in STAGES[: STAGES.index(stage)]:
        now |= workspace.digests(earlier)
    now |= inputs_now(workspace, then.get("also", []), manifest["inputs"])
    inputs = {key: now.get(key, "gone") if belongs_here(key) else digest for key, digest in manifest["inputs"].items()}
    version = IMPORT_VERSION if then.get("source") == IMPORTED else VERSIONS[stage]
    return Plan(stage, version, settings, inputs)


def text_plan(workspace: Workspace, config: Config) -> Plan:
    """The classes and prompts of the config file where it names any, else those that are there."""
    prompts, _ = wording(workspace, config.classes, config)
    return plan_for_text(workspace.read(Embeddings).model, prompts)


def belongs_here(key: str) -> bool:
    """Whether an input is an artifact of this workspace, or of one that refines with it, not a file from outside."""
    return key.partition("/")[0] in STAGES or key.removesuffix(" facts") in STAGES or key.startswith("also ")


def embed_plan(workspace: Workspace, manifest: Mapping[str, Any], settings: Mapping[str, Any]) -> Plan:
    folder = manifest["facts"]["folder"]
    try:
        images = listing(folder, leave_out=workspace.root)
    except InputError:
        raise InputError(f"the images are gone: {printable(folder)}", hint="") from None
    model = manifest["facts"]["model"]
    configured = dict(settings)
    if settings["model"] not in (model["name"], manifest["config"]["model"]):  # the user's, not only the manifest's
        source = encoders.find(settings["model"])
        configured |= {"model": source.name, "weights": source.digest}
    last = last_run(workspace, key_of(EMBED_VERSION, configured))
    return plan_for(workspace, configured, images, survey(images, Known([last] if last else [])))


def check(workspace: Workspace) -> dict[str, str]:
    """Read every byte of every stage: what is wrong with each, or nothing."""
    return {stage: workspace.check(stage) for stage in STAGES if workspace.folder(stage).exists()}
