"""The stages, one file per command: records in, one record out.

Every stage is the same sentence: say what it is about to do (a Plan), skip where that is what the disk
already holds, else make one record and publish it.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from annotate.progress import Progress
from annotate.records.declared import Record
from annotate.workspace import Workspace
from annotate.workspace.opening import news_of_the_disk
from annotate.workspace.plan import Plan, State

R = TypeVar("R", bound=Record)


def run_stage(
    workspace: Workspace,
    plan: Plan,
    kind: type[R],
    make: Callable[[Path], R],
    *,
    force: bool,
    progress: Progress,
    why: str = "",
    packages: Iterable[str] = (),
    ran_on: Mapping[str, Any] | None = None,
    settle: Callable[[R], Plan] | None = None,
) -> R:
    """Skip where the stage is fresh, else make its record and publish it.

    make      the record, given an empty folder for the files that it writes itself: what is large, pages and figures
    why       a reason to run although nothing has changed
    packages  those that decide its bytes, beside annotate and numpy
    ran_on    what the manifest says beyond Python and the packages; read after `make`, which may fill it
    settle    the plan as it turned out, where the digests of inputs are known only once they have been read
    """
    with workspace.lock():
        workspace.planned(plan)
        state = workspace.state(plan)
        if state.fresh and not (force or why):
            progress.fresh(plan.stage)
            workspace.touch(plan)
            return workspace.read(kind)
        workspace.check_ours(plan.stage)
        progress.started(plan.stage, why or reason(state, force=force))
        with workspace.making(plan.stage) as made:
            record = make(made)
            plan = settle(record) if settle else plan
            workspace.publish(plan, record, ran_on={**this_machine(packages), **(ran_on or {})}, made=made)
        tell_news_of_the_disk(progress)
        return record


def tell_news_of_the_disk(progress: Progress) -> None:
    for news in news_of_the_disk():
        progress.note({"message": news, "hint": ""})


def reason(state: State, *, force: bool = False) -> str:
    """Why a stage runs, for the user."""
    if state.name == "missing":
        return "first run"
    if force or state.fresh:
        return "forced"
    return f"{state.name}: {state.why}"


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
