"""run: every stage in order, each skipped where it is fresh."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from annotate.classes.names import clean_class_names
from annotate.errors import printable
from annotate.exports.replacing import check_replaceable
from annotate.progress import Progress
from annotate.records import Embeddings, Organized, Refinement, Reported, Texts
from annotate.reports.truth import check_truth
from annotate.settings.config import Config
from annotate.stages.embed import embed
from annotate.stages.organize import check_place, organize
from annotate.stages.refine import check_settings, refine
from annotate.stages.report import report
from annotate.workspace import Workspace


def run(
    workspace: Workspace,
    images: str | Path,
    output: Path,
    config: Config,
    *,
    classes: Sequence[str] = (),
    truth: Path | None = None,
    given: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> tuple[Embeddings, Texts, Refinement, Organized, Reported]:
    """Embed, refine, organize and report. What would stop it at the end is found before the expensive part."""
    asked = classes or config.classes
    if asked or not workspace.has("text"):
        clean_class_names(asked)
    elif progress:
        names = ", ".join(printable(name) for name in workspace.read(Texts).class_names)
        progress.note({"message": f"the classes are those of the workspace: {names}", "hint": ""})
    check_place(output, str(images), workspace)
    check_replaceable(output)
    check_truth(truth)
    check_truth(given)
    few, many = config.resolve(1), config.resolve(1 << 30)
    if few.refine.method == many.refine.method:  # it does not depend on how many images there will be
        check_settings(few.refine, few.engine)
    with workspace.lock():
        embeddings = embed(workspace, images, config, force=force, progress=progress)
        refinement = refine(workspace, config, classes=classes, given=given, force=force, progress=progress)
        organized = organize(workspace, output, config, force=force, progress=progress)
        reported = report(workspace, config, truth=truth, force=force, progress=progress)
        return embeddings, workspace.read(Texts), refinement, organized, reported
