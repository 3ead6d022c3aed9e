"""The stages, a file each: what a step of the pipeline is, and which steps there are.

A stage is a value that knows itself: its name, the record that it makes, its version, what it comes after, how it is
planned and how it is made. `Context.make` is the one sentence that all stages are: make what comes first, plan, skip
where the plan is what the disk already holds, else make the record and publish it. `status` plans with the same code.

A file of this folder that has a `STAGE` adds a stage; nothing else needs to know of it. The file's first line, "name:
what it makes", is the help of its command (annotate/cli/staged.py).
"""

from __future__ import annotations

import os
import pkgutil
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

from annotate.progress import Progress, Silent
from annotate.records.declared import Record
from annotate.settings.config import Config
from annotate.workspace import Workspace
from annotate.workspace.opening import news_of_the_disk
from annotate.workspace.plan import Plan, State

R = TypeVar("R", bound=Record)


class Stage(Generic[R]):
    """A step of the pipeline.

    name      of the stage, of its folder and of its command
    record    what it makes
    version   of its method; raise it when the same inputs would give other bytes
    after     stages whose artifacts it reads
    asks      what somebody can ask of it beside settings, by name
    sections  of the settings that reach it, its own first
    packages  those that decide its bytes, beside annotate and numpy
    runs      whether `annotate run` includes it; others run where a stage needs them
    """

    name: str
    record: type[R]
    version: int = 1
    after: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    runs: bool = True

    def first(self, context: Context, **asked: Any) -> Iterator[tuple[Context, AnyStage, dict[str, Any]]]:
        """What must be fresh before this can be planned: where, which stage, and what is asked of it."""
        yield from ()

    def holding(self, context: Context, **asked: Any) -> AbstractContextManager[None]:
        """What nobody else may touch while this stage runs, beside the workspace."""
        return nullcontext()

    def take_in(self, context: Context, **asked: Any) -> None:
        """Keep what somebody gives with the command, such as answers, before it is planned."""

    def plan(self, context: Context, *, force: bool = False, **asked: Any) -> Plan:
        """What the stage would do now; `Plan.found` carries what `make` needs of it. Nothing is written.

        raises  AnnotateError where the command would fail
        """
        raise NotImplementedError

    def state(self, context: Context, plan: Plan) -> State:
        """Whether the plan is what the disk already holds."""
        return context.workspace.state(plan)

    def make(self, context: Context, plan: Plan, folder: Path) -> R:
        """The record. What is large it writes into the folder itself, which is empty."""
        raise NotImplementedError

    def settled(self, plan: Plan, record: R) -> Plan:
        """The plan as it turned out, where the digests of inputs are known only once they have been read."""
        return plan

    def ran_on(self, plan: Plan) -> dict[str, Any]:
        """What the manifest says of the machine, beyond Python and the packages."""
        return {}

    def finished(self, context: Context, plan: Plan, record: R) -> R:
        """What is left to do when the record is there, made now or before."""
        return record

    def asked_before(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """What was asked of the stage when it last ran."""
        request = manifest.get("request", {})
        return {name: request[name] for name in self.asks if name in request}


AnyStage = Stage[Any]


@dataclass(frozen=True)
class Context:
    """Where stages run: the workspace, what somebody asked for, and who watches."""

    workspace: Workspace
    config: Config = field(default_factory=Config)
    progress: Progress = field(default_factory=Silent)
    others: dict[str, Workspace] = field(default_factory=dict)

    def beside(self, place: str | Path) -> Workspace:
        """The workspace of another model, the same each time: its lock is held by one."""
        return self.others.setdefault(os.path.realpath(place), Workspace(place))

    def make(self, stage: Stage[R], *, force: bool = False, **asked: Any) -> R:
        """The record of a stage: read where it is fresh, else made and published."""
        with self.workspace.lock(), stage.holding(self, **asked):
            for place, earlier, theirs in stage.first(self, **asked):
                place.make(earlier, **theirs)
            stage.take_in(self, **asked)
            plan = stage.plan(self, force=force, **asked)
            state = stage.state(self, plan)
            if state.fresh and not force:
                self.progress.fresh(stage.name)
                self.workspace.touch(plan)
                record = self.workspace.read(stage.record)
            else:
                self.workspace.check_ours(stage.name)
                self.progress.started(stage.name, reason(state, plan, force=force))
                with self.workspace.making(stage.name) as folder:
                    record = stage.make(self, plan, folder)
                    plan = stage.settled(plan, record)
                    ran_on = {**this_machine(stage.packages), **stage.ran_on(plan)}
                    self.workspace.publish(plan, record, ran_on=ran_on, made=folder)
                tell_news_of_the_disk(self.progress)
            return stage.finished(self, plan, record)


def stages() -> list[AnyStage]:
    """Every stage, each after those whose artifacts it reads."""
    found = {stage.name: stage for stage in map(stage_in, file_names()) if stage}
    ordered: dict[str, AnyStage] = {}

    def add(stage: AnyStage) -> None:
        for earlier in stage.after:
            if earlier in found:
                add(found[earlier])
        ordered.setdefault(stage.name, stage)

    for stage in found.values():
        add(stage)
    return list(ordered.values())


def stage_named(name: str) -> AnyStage:
    return next(stage for stage in stages() if stage.name == name)


def file_names() -> list[str]:
    """The files of this folder, without looking into them; the pipeline's own order first."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return sorted(names, key=lambda name: (PIPELINE.index(name) if name in PIPELINE else len(PIPELINE), name))


PIPELINE = ("embed", "text", "cluster", "refine", "duplicates", "organize", "report")


@lru_cache
def stage_in(file: str) -> AnyStage | None:
    stage: AnyStage | None = getattr(import_module(f"{__name__}.{file}"), "STAGE", None)
    return stage


def tell_news_of_the_disk(progress: Progress) -> None:
    for news in news_of_the_disk():
        progress.note({"message": news, "hint": ""})


def reason(state: State, plan: Plan, *, force: bool = False) -> str:
    """Why a stage runs, for the user."""
    if state.name == "missing":
        return "first run"
    if force or state.fresh:
        return "forced"
    return plan.why or f"{state.name}: {state.why}"


def as_asked(source: Path | None) -> str | None:
    """A file or folder that a command was given, wherever the next one starts; a word such as `folders` as it is."""
    return os.path.abspath(source) if source and source.exists() else str(source) if source else None


def this_machine(packages: Iterable[str] = ()) -> dict[str, Any]:
    """What a stage ran on: Python, the system, and the versions that decide the bytes.

    packages  those that the stage uses beside annotate and numpy
    """
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": versions(["annotate-images", "numpy", *packages]),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of those that are installed. What is loaded is asked itself: to look a package up takes longer than to label."""
    found = {}
    for package in packages:
        module = sys.modules.get(package.removesuffix("-images"))
        version = getattr(module, "__version__", None) or installed(package)
        if version:
            found[package] = str(version)
    return found


def installed(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
