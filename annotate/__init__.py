"""annotate: a folder of images and a list of class names become a dataset.

    import annotate

    annotate.run("photos", "dataset", ["cat", "dog"], model="tiny")

or stage by stage, on artifacts that stay on disk:

    annotate.embed("photos", model="tiny")
    annotate.refine(["cat", "dog"], method="dynamic")
    annotate.organize("dataset", splits=(80, 10, 10))
    annotate.report()

Every function takes `workspace` (the folder of artifacts), `config` (a YAML file), `preset`, `force`,
`progress`, and the settings of its stage by name; each returns the record that it published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from annotate.config import Config
    from annotate.progress import Progress
    from annotate.records import Clusters, Embeddings, Organized, Refinement, Reported, Texts
    from annotate.workspace import State


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
    "import_embeddings",
    "organize",
    "refine",
    "report",
    "run",
    "status",
]

StrPath = str | Path

__version__ = "0.1.0"


@dataclass(frozen=True)
class Dataset:
    """What `run` made: a record per stage."""

    embeddings: Embeddings
    texts: Texts
    refinement: Refinement
    organized: Organized
    report: Reported


def embed(
    images: StrPath,
    *,
    classes: Sequence[str] = (),
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
    from annotate.config import clean_class_names
    from annotate.stages.embed import embed as stage
    from annotate.stages.text import embed_text as text_stage
    from annotate.workspace import Workspace

    place = Workspace(workspace)
    chosen = load_config(config, preset, settings, embed=knobs)
    names = clean_class_names(classes) if classes else []
    made = stage(place, images, chosen, force=force, retry_skipped=retry_skipped, merge=merge, progress=progress)
    if names or chosen.classes:
        text_stage(place, made.model, chosen, classes=names, force=force, progress=progress)
    return made


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

    chosen = load_config(config, preset, settings, embed=knobs)
    return stage(Workspace(workspace), images, chosen, number=number, of=of, progress=progress)


def embed_text(
    classes: Sequence[str] = (),
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
    from annotate.records import Embeddings as Images
    from annotate.stages.text import embed_text as stage
    from annotate.workspace import Workspace

    place = Workspace(workspace)
    chosen = load_config(config, preset, settings, text=knobs)
    return stage(place, place.read(Images).model, chosen, classes=classes, force=force, progress=progress)


def import_embeddings(
    embeddings: StrPath,
    image_paths: StrPath,
    *,
    text_embeddings: StrPath | None = None,
    classes: Sequence[str] = (),
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
        classes=classes,
        cluster_files={name: Path(path) for name, path in files.items() if path},
        logit_scale=logit_scale,
        force=force,
        progress=progress,
    )


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

    return stage(
        Workspace(workspace), load_config(config, preset, settings, cluster=knobs), force=force, progress=progress
    )


def refine(
    classes: Sequence[str] = (),
    *,
    also: Sequence[StrPath] = (),
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
    given  classes that you know of some images, a CSV of path,class: those bear them, confidence is fitted to them
    """
    from annotate.stages.refine import refine as stage
    from annotate.workspace import Workspace

    chosen = load_config(config, preset, settings, refine=knobs)
    labels = Path(given) if given else None
    return stage(Workspace(workspace), chosen, classes=classes, also=also, given=labels, force=force, progress=progress)


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

    chosen = load_config(config, preset, settings, organize=knobs)
    return stage(Workspace(workspace), Path(output), chosen, dry_run=dry_run, force=force, progress=progress)


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

    chosen = load_config(config, preset, settings, report=knobs)
    known = Path(truth) if truth else None
    return stage(Workspace(workspace), chosen, truth=known, force=force, progress=progress)


def run(
    images: StrPath,
    output: StrPath,
    classes: Sequence[str] = (),
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
    knobs  settings of `embed`, such as model="tiny"; those of other stages go into `settings`,
           such as {"refine.method": "direct"}
    """
    from annotate.stages.run import run as stages
    from annotate.workspace import Workspace

    chosen = load_config(config, preset, settings, embed=knobs)
    made = stages(
        Workspace(workspace),
        images,
        Path(output),
        chosen,
        classes=classes,
        truth=Path(truth) if truth else None,
        given=Path(given) if given else None,
        force=force,
        progress=progress,
    )
    return Dataset(*made)


def demo(folder: StrPath = "demo", *, force: bool = False, progress: Progress | None = None) -> Dataset:
    """The whole pipeline on scikit-learn's 1,797 handwritten digits, with `tiny`, offline."""
    from annotate.digits import write_digits

    place = Path(folder)
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


def status(*, workspace: StrPath | None = None, config: StrPath | None = None) -> dict[str, State]:
    """Each stage's state: fresh, stale and why, damaged and where, or missing."""
    from annotate.stages.status import status as states
    from annotate.workspace import Workspace

    return states(Workspace(workspace), load_config(config, None, None))


def check(*, workspace: StrPath | None = None) -> dict[str, str]:
    """Read every byte of every stage: what is wrong with each, or an empty text."""
    from annotate.stages.status import check as damages
    from annotate.workspace import Workspace

    return damages(Workspace(workspace))


def load_config(
    file: StrPath | None, preset: str | None, settings: Mapping[str, Any] | None, **sections: Mapping[str, Any]
) -> Config:
    """The config file with settings laid over it: "section.key", or the keys of one section."""
    from annotate.config import Config

    by_name = {f"{section}.{key}": value for section, knobs in sections.items() for key, value in knobs.items()}
    return Config.load(file, preset=preset, overrides={**(settings or {}), **by_name})
