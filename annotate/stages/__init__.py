"""The stages, one file per command: records in, one record out.

Every stage is the same sentence: say what it is about to do (a Plan), skip where that is what the disk
already holds, else make one record and publish it.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from annotate.progress import Progress
from annotate.records import Record
from annotate.workspace import Plan, State, Workspace

R = TypeVar("R", bound=Record)

PACKAGES = {  # and the modules by which they are loaded
    "annotate-images": "annotate",
    "numpy": "numpy",
    "scipy": "scipy",
    "scikit-learn": "sklearn",
    "hdbscan": "hdbscan",
    "faiss-cpu": "faiss",
    "pillow": "PIL",
    "torch": "torch",
    "openai-clip": "clip",
}


def run_stage(
    workspace: Workspace,
    plan: Plan,
    kind: type[R],
    make: Callable[[Path], R],
    *,
    force: bool,
    progress: Progress,
    why: str = "",
    ran_on: Mapping[str, Any] | None = None,
    settle: Callable[[R], Plan] | None = None,
) -> R:
    """Skip where the stage is fresh, else make its record and publish it.

    make    the record, given an empty folder for the files that it writes itself: what is large, pages and figures
    why     a reason to run although nothing has changed
    ran_on  what the manifest says beyond Python and the packages; read after `make`, which may fill it
    settle  the plan as it turned out, where the digests of inputs are known only once they have been read
    """
    with workspace.lock():
        state = workspace.state(plan)
        if state.fresh and not (force or why):
            progress.fresh(plan.stage)
            workspace.touch(plan.stage)
            return workspace.read(kind)
        workspace.check_ours(plan.stage)
        progress.started(plan.stage, why or reason(state))
        with workspace.making(plan.stage) as made:
            record = make(made)
            plan = settle(record) if settle else plan
            workspace.publish(plan, record, ran_on={**this_machine(), **(ran_on or {})}, made=made)
        return record


def reason(state: State) -> str:
    """Why a stage runs, for the user."""
    if state.fresh:
        return "forced"
    if state.name == "missing":
        return "first run"
    return f"{state.name}: {state.why}"


def this_machine() -> dict[str, Any]:
    """What a stage ran on: Python, the system, and the versions that decided the bytes, those of packages in use."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": versions(),
    }


def versions() -> dict[str, str]:
    return {package: version_of(package, module) for package, module in PACKAGES.items() if module in sys.modules}


def version_of(package: str, module: str) -> str:
    """A loaded module's own word, or else its package's: looking that up takes longer than a small refinement."""
    own = getattr(sys.modules[module], "__version__", None)
    if own:
        return str(own)
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:  # installed under another name
        return "unknown"
