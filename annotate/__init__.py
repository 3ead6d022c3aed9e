"""annotate: a folder of images and a list of class names become a dataset.

    import annotate

    annotate.run("photos", "dataset", ["cat", "dog"], model="tiny")

or stage by stage, on artifacts that stay on disk:

    annotate.embed("photos", model="tiny")
    annotate.refine(["cat", "dog"], method="dynamic")
    annotate.organize("dataset", splits=(80, 10, 10))
    annotate.report()

Every function takes `workspace` (the folder of artifacts), `config` (a YAML file), `preset`, `force`,
`progress`, and the settings that its command takes by name; each returns the record that it published. `settings`
takes those of any stage, as {"section.name": value}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from annotate.errors import (
    AnnotateError,
    ArtifactError,
    ComponentMissing,
    ConfigError,
    DamagedArtifact,
    InputError,
    MissingArtifact,
    StaleArtifact,
    StorageError,
    WorkspaceBusy,
)

if TYPE_CHECKING:
    from annotate.progress import Progress
    from annotate.records import Clusters, Embeddings, Organized, Refinement, Reported, Texts
    from annotate.settings.config import Config
    from annotate.workspace.plan import State


__all__ = [
    "AnnotateError",
    "ArtifactError",
    "ComponentMissing",
    "ConfigError",
    "DamagedArtifact",
    "Dataset",
    "InputError",
    "MissingArtifact",
    "StaleArtifact",
    "StorageError",
    "WorkspaceBusy",
    "check",
    "cluster",
    "demo",
    "embed",
    "embed_slice",
    "embed_text",
    "embedded_so_far",
    "import_embeddings",
    "organize",
    "refine",
    "report",
    "run",
    "status",
]

StrPath = str | Path
P = ParamSpec("P")
R = TypeVar("R")

__version__ = "0.1.0"


@dataclass(frozen=True)
class Dataset:
    """What `run` made: a record per stage."""

    embeddings: Embeddings
    texts: Texts
    refinement: Refinement
    organized: Organized
    report: Reported


def takes(*sections: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function that takes the settings of some sections by their bare names; they reach it as "section.name".

    A name that is neither an argument nor a setting is refused, with what was probably meant.
    """

    def of(function: Callable[P, R]) -> Callable[P, R]:
        code = function.__code__
        arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

        @wraps(function)
        def asked(*given: P.args, **named: P.kwargs) -> R:
            strange = {name: value for name, value in named.items() if name not in arguments}
            if strange:
                from annotate.settings.config import by_section

                for name in strange:
                    del named[name]
                named.update(by_section(function.__name__, strange, sections, arguments))
            return function(*given, **named)

        return asked

    return of


@takes("embed", "text", "engine")
def embed(
    images: StrPath,
    *,
    classes: Iterable[str] = (),
    workspace: StrPath | None = None,
    config: StrPath | None = None,
    preset: str | None = None,
    force: bool = False,
    retry_skipped: bool = False,
    merge: bool = False,
    progress: Progress | None = None,
    settings: Mapping[str, Any] | None = None,
    **knobs: Any,
) -> Embeddings:
    """Embed every image of a folder, list, archive or address, and the class names where they are given.

    Row i of every later artifact is image i of this one.

    retry_skipped  try those again that could not be read
    merge          only put together what `embed_slice` has computed
    """
    from annotate.classes.names import as_class_names, clean_class_names
    from annotate.stages.embed import embed as stage
    from annotate.stages.text import embed_text as text_stage
    from annotate.workspace import Workspace

    place = Workspace(workspace)
    chosen = load_config(config, preset, settings, knobs)
    names = as_class_names(classes)
    if names:
        clean_class_names(names)
    made = stage(place, images, chosen, force=force, retry_skipped=retry_skipped, merge=merge, progress=progress)
    if names or chosen.classes:
        text_stage(place, made.model, chosen, classes=names, force=force, progress=progress)
    return made


@takes("embed", "engine")
def embed_slice(
    images: StrPath,
    number: int,
    of: int,
    *,
    workspace: StrPath | None = None,
    config: StrPath | None = None,
    preset: str | None = None,
    progress: Progress | None = None,
    settings: Mapping[str, Any] | None = None,
    **knobs: Any,
) -> int:
    """Compute slice `number` of `of` (1 to `of`) of an embedding, here or on another machine; how many images that is.

    `embed(images, merge=True)` puts the slices together when all are done.
    """
    from annotate.stages.embed import embed_slice as stage
    from annotate.workspace import Workspace

    chosen = load_config(config, preset, settings, knobs)
    return stage(Workspace(workspace), images, chosen, number=number, of=of, progress=progress)


@takes("text")
def embed_text(
    classes: Iterable[str] = (),
    *,
    workspace: StrPath | None = None,
    config: StrPath | None = None,
    preset: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    settings: Mapping[str, Any] | None = None,
    **knobs: Any,
) -> Texts:
    """Embed the class names with the model that embedded the images."""
    from annotate.classes.names import as_class_names
    from annotate.records import Embeddings as Images
    from annotate.stages.text import embed_text as stage
    from annotate.workspace import Workspace

    place = Workspace(workspace)
    chosen = load_config(config, preset, settings, knobs)
    return stage(
        place, place.read(Images).model, chosen, classes=as_class_names(classes), force=force, progress=progress
    )


@takes()
def import_embeddings(
    embeddings: StrPath,
    image_paths: StrPath,
    *,
    text_embeddings: StrPath | None = None,
    classes: Iterable[str] = (),
    micro_assignments: StrPath | None = None,
    meta_assignments: StrPath | None = None,
    micro_centroids: StrPath | None = None,
    meta_centroids: StrPath | None = None,
    logit_scale: float = 100.0,
    workspace: StrPath | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Embeddings:
    """Start from embeddings made elsewhere: of images, sounds, texts. Rows are checked and normalised."""
    from annotate.classes.names import as_class_names
    from annotate.stages.import_ import import_embeddings as stage
    from annotate.workspace import Workspace

    files = {
        "micro_assignments": micro_assignments,
        "meta_assignments": meta_assignments,
        "micro_centroids": micro_centroids,
        "meta_centroids": meta_centroids,
    }
    return stage(
        Workspace(workspace),
        embeddings=Path(embeddings),
        image_paths=Path(image_paths),
        text_embeddings=Path(text_embeddings) if text_embeddings else None,
        classes=as_class_names(classes),
        cluster_files={name: Path(path) for name, path in files.items() if path},
        logit_scale=logit_scale,
        force=force,
        progress=progress,
    )


@takes("cluster")
def cluster(
    *,
    workspace: StrPath | None = None,
    config: StrPath | None = None,
    preset: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    settings: Mapping[str, Any] | None = None,
    **knobs: Any,
) -> Clusters:
    """Find groups of images that look alike."""
    from annotate.stages.cluster import cluster as stage
    from annotate.workspace import Workspace

    return stage(Workspace(workspace), load_config(config, preset, settings, knobs), force=force, progress=progress)


@takes("refine", "text", "cluster", "engine")
def refine(
    classes: Iterable[str] = (),
    *,
    also: Iterable[StrPath] | StrPath = (),
    given: StrPath | None = None,
    workspace: StrPath | None = None,
    config: StrPath | None = None,
    preset: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    settings: Mapping[str, Any] | None = None,
    **knobs: Any,
) -> Refinement:
    """Label every image with one of the classes (those of the workspace unless given).

    also   workspaces of the same images by other models; the mean of all models' logits counts
    given  classes that you know of some images, a CSV of path,class: those bear them, confidence is fitted to them;
           the workspace remembers them, "none" forgets them
    """
    from annotate.classes.names import as_class_names
    from annotate.stages.refine import refine as stage
    from annotate.workspace import Workspace

    chosen = load_config(config, preset, settings, knobs)
    others = [also] if isinstance(also, (str, Path)) else [*also]
    return stage(
        Workspace(workspace),
        chosen,
        classes=as_class_names(classes),
        also=others,
        given=Path(given) if given else None,
        force=force,
        progress=progress,
    )


@takes("organize")
def organize(
    output: StrPath,
    *,
    dry_run: bool = False,
    workspace: StrPath | None = None,
    config: StrPath | None = None,
    preset: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    settings: Mapping[str, Any] | None = None,
    **knobs: Any,
) -> Organized:
    """Write the dataset: a folder per class, splits, metadata."""
    from annotate.stages.organize import organize as stage
    from annotate.workspace import Workspace

    chosen = load_config(config, preset, settings, knobs)
    return stage(Workspace(workspace), Path(output), chosen, dry_run=dry_run, force=force, progress=progress)


@takes("report")
def report(
    *,
    truth: StrPath | None = None,
    workspace: StrPath | None = None,
    config: StrPath | None = None,
    preset: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    settings: Mapping[str, Any] | None = None,
    **knobs: Any,
) -> Reported:
    """Write report.txt, report.html, report.json and the figures; with `truth`, how right the labels are."""
    from annotate.stages.report import report as stage
    from annotate.workspace import Workspace

    chosen = load_config(config, preset, settings, knobs)
    known = Path(truth) if truth else None
    return stage(Workspace(workspace), chosen, truth=known, force=force, progress=progress)


@takes("embed", "text", "cluster", "refine", "organize", "report", "engine")
def run(
    images: StrPath,
    output: StrPath,
    classes: Iterable[str] = (),
    *,
    truth: StrPath | None = None,
    given: StrPath | None = None,
    workspace: StrPath | None = None,
    config: StrPath | None = None,
    preset: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    settings: Mapping[str, Any] | None = None,
    **knobs: Any,
) -> Dataset:
    """Everything: embed, refine, organize, report. What is fresh is not done again.

    truth  the right classes, which the report compares with
    given  classes that you know of some images, as for `refine`
    knobs  settings of any stage, such as model="tiny", method="direct", splits=(80, 10, 10)
    """
    from annotate.classes.names import as_class_names
    from annotate.stages.run import run as stages
    from annotate.workspace import Workspace

    chosen = load_config(config, preset, settings, knobs)
    made = stages(
        Workspace(workspace),
        images,
        Path(output),
        chosen,
        classes=as_class_names(classes),
        truth=Path(truth) if truth else None,
        given=Path(given) if given else None,
        force=force,
        progress=progress,
    )
    return Dataset(*made)


@takes()
def demo(folder: StrPath = "demo", *, force: bool = False, progress: Progress | None = None) -> Dataset:
    """The whole pipeline on scikit-learn's 1,797 handwritten digits, with `tiny`, offline."""
    from annotate.progress import Silent
    from annotate.sources.digits import write_digits

    place, progress = Path(folder), progress or Silent()
    with progress.doing("writing the images of 1,797 digits"):
        images, truth = write_digits(place)
    return run(
        images,
        place / "dataset",
        [str(digit) for digit in range(10)],
        truth=truth,
        workspace=place / "artifacts",
        model="tiny",
        force=force,
        progress=progress,
    )


@takes()
def status(*, workspace: StrPath | None = None, config: StrPath | None = None) -> dict[str, State]:
    """Each stage's state: fresh, stale and why, damaged and where, or missing."""
    from annotate.stages.status import status as states
    from annotate.workspace import Workspace

    return states(Workspace(workspace), load_config(config))


@takes()
def embedded_so_far(*, workspace: StrPath | None = None) -> tuple[int, int] | None:
    """Of an embedding that was interrupted: how many images are done and kept, and of how many; None where none was."""
    from annotate.stages.embed import interrupted
    from annotate.workspace import Workspace

    return interrupted(Workspace(workspace))


@takes()
def check(*, workspace: StrPath | None = None) -> dict[str, str]:
    """Read every byte of every stage, of the last dataset and of caches: what is wrong with each, or an empty text."""
    from annotate.stages.status import check as damages
    from annotate.workspace import Workspace

    return damages(Workspace(workspace))


def load_config(
    file: StrPath | None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    knobs: Mapping[str, Any] | None = None,
) -> Config:
    """The config file with settings laid over it, "section.name" to value; those by bare name last."""
    from annotate.settings.config import Config

    return Config.load(file, preset=preset, overrides={**(settings or {}), **(knobs or {})})
