"""The stages, one file per command: records in, one record out.

Every stage is the same sentence: say what it is about to do (a Plan), skip where that is what the disk
already holds, else make one record and publish it.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from annotate.progress import Progress
from annotate.records import Record
from annotate.workspace import Plan, State, Workspace

R = TypeVar("R", bound=Record)

PACKAGES = (
    "annotate-images",
    "numpy",
    "scipy",
    "scikit-learn",
    "hdbscan",
    "faiss-cpu",
    "pillow",
    "torch",
    "openai-clip",
)


def run_stage(
    workspace: Workspace,
    plan: Plan,
    kind: type[R],
    make: Callable[[], R],
    *,
    force: bool,
    progress: Progress,
    why: str = "",
    ran_on: Mapping[str, Any] | None = None,
    settle: Callable[[R], Plan] | None = None,
    extra: Path | None = None,
) -> R:
    """Skip where the stage is fresh, else make its record and publish it.

    why     a reason to run although nothing has changed
    ran_on  what the manifest says beyond Python and the packages; read after `make`, which may fill it
    settle  the plan as it turned out, where the digests of inputs are known only once they have been read
    extra   a folder of further files that belong to the stage, filled by `make`
    """
    with workspace.lock():
        state = workspace.state(plan)
        if state.fresh and not (force or why):
            progress.fresh(plan.stage)
            workspace.touch(plan.stage)
            return workspace.read(kind)
        workspace.check_ours(plan.stage)
        progress.started(plan.stage, why or reason(state))
        record = make()
        workspace.publish(
            settle(record) if settle else plan, record, ran_on={**this_machine(), **(ran_on or {})}, extra=extra
        )
        return record


def reason(state: State) -> str:
    """Why a stage runs, for the user."""
    if state.fresh:
        return "forced"
    if state.name == "missing":
        return "first run"
    return f"{state.name}: {state.why}"


def this_machine() -> dict[str, Any]:
    """What a stage ran on: Python, the system, and the versions that decide the bytes."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": versions(),
    }


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
