"""annotate: a folder of images and a list of class names become a dataset.

    import annotate

    annotate.run("photos", "dataset", ["cat", "dog"])

or stage by stage, on artifacts that stay on disk:

    project = annotate.Project("artifacts")
    project.embed("photos")
    project.refine(["cat", "dog"], method="dynamic")
    project.organize("dataset", splits=(80, 10, 10))
    project.report()

Each function here is the method of `Project` of its name. Beside that method's arguments it takes `workspace` (the
folder of artifacts), `config` (a YAML file of settings), `preset`, `settings` ("section.name" to value) and `progress`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotate.errors import (
    AnnotateError,
    ArtifactError,
    ComponentMissing,
    ConfigError,
    DamagedArtifact,
    InputError,
    Interrupted,
    MissingArtifact,
    StaleArtifact,
    StorageError,
    WorkspaceBusy,
)

if TYPE_CHECKING:
    from annotate.progress import Progress
    from annotate.project import Dataset, Project
    from annotate.records import Clusters, Embeddings, Organized, Refinement, Reported, Texts
    from annotate.records.exported import Exported
    from annotate.records.leaks import CheckedDataset
    from annotate.records.people import Questions, SoftLabels
    from annotate.stages.labelling import Labelled
    from annotate.workspace.plan import State

__all__ = [
    "AnnotateError",
    "ArtifactError",
    "ComponentMissing",
    "ConfigError",
    "DamagedArtifact",
    "Dataset",
    "InputError",
    "Interrupted",
    "MissingArtifact",
    "Project",
    "StaleArtifact",
    "StorageError",
    "WorkspaceBusy",
    "answers",
    "check",
    "check_dataset",
    "cluster",
    "demo",
    "embed",
    "embed_slice",
    "embed_text",
    "embedded_so_far",
    "export",
    "export_answers",
    "import_embeddings",
    "label",
    "organize",
    "query",
    "refine",
    "rename_class",
    "report",
    "run",
    "soft",
    "status",
    "undo_label",
]

StrPath = str | Path

__version__ = "0.1.0"

WHERE = ("workspace", "config", "preset", "progress", "settings")


def embed(images: StrPath, **asked: Any) -> Embeddings:
    """Embed every image of a folder, list, archive or address: `Project.embed`."""
    return project_of(asked).embed(images, **asked)


def embed_slice(images: StrPath, number: int, of: int, **asked: Any) -> int:
    """Compute slice `number` of `of` (1 to `of`) of an embedding: `Project.embed_slice`."""
    return project_of(asked).embed_slice(images, number, of, **asked)


def embed_text(classes: Iterable[str] = (), **asked: Any) -> Texts:
    """Embed the class names with the model that embedded the images: `Project.embed_text`."""
    return project_of(asked).embed_text(classes, **asked)


def import_embeddings(embeddings: StrPath, image_paths: StrPath, **asked: Any) -> Embeddings:
    """Start from embeddings made elsewhere: `Project.import_embeddings`."""
    return project_of(asked).import_embeddings(embeddings, image_paths, **asked)


def cluster(**asked: Any) -> Clusters:
    """Find groups of images that look alike: `Project.cluster`."""
    return project_of(asked).cluster(**asked)


def refine(classes: Iterable[str] = (), **asked: Any) -> Refinement:
    """Label every image with one of the classes: `Project.refine`."""
    return project_of(asked).refine(classes, **asked)


def organize(output: StrPath, **asked: Any) -> Organized:
    """Write the dataset: `Project.organize`."""
    return project_of(asked).organize(output, **asked)


def export(output: StrPath, **asked: Any) -> Exported:
    """Write the dataset in the format of another program: `Project.export`."""
    return project_of(asked).export(output, **asked)


def report(**asked: Any) -> Reported:
    """Write the report: `Project.report`."""
    return project_of(asked).report(**asked)


def label(source: StrPath, **asked: Any) -> Labelled:
    """Keep what a table says of the images: `Project.label`."""
    return project_of(asked).label(source, **asked)


def undo_label(**asked: Any) -> int:
    """Take back the answers that were given last together: `Project.undo_label`."""
    return project_of(asked).undo_label(**asked)


def export_answers(file: StrPath, **asked: Any) -> int:
    """Write all that was ever said, as JSON lines: `Project.export_answers`."""
    return project_of(asked).export_answers(file, **asked)


def rename_class(old: str, new: str, **asked: Any) -> None:
    """Call a class otherwise; its answers stay: `Project.rename_class`."""
    project_of(asked).rename_class(old, new, **asked)


def answers(**asked: Any) -> dict[str, Any] | None:
    """How many images people answered, by class and by person; None where nobody did: `Project.answers`."""
    return project_of(asked).answers(**asked)


def run(images: StrPath, output: StrPath, classes: Iterable[str] = (), **asked: Any) -> Dataset:
    """Everything, each stage skipped where it is fresh: `Project.run`."""
    return project_of(asked).run(images, output, classes, **asked)


def query(budget: int = 50, **asked: Any) -> Questions:
    """Choose the images most worth asking people about: `Project.query`."""
    return project_of(asked).query(budget, **asked)


def soft(file: StrPath, **asked: Any) -> SoftLabels:
    """Soft labels for a file of the data-centric labelling benchmark: `Project.soft`."""
    return project_of(asked).soft(file, **asked)


def status(**asked: Any) -> dict[str, State]:
    """Each stage's state: fresh, stale and why, damaged and where, or missing."""
    return project_of(asked, "status").status()


def check(**asked: Any) -> dict[str, str]:
    """Read every byte of every stage, of the last dataset and of caches: what is wrong with each, or an empty text."""
    return project_of(asked, "check").check()


def check_dataset(folder: StrPath, **asked: Any) -> CheckedDataset:
    """Which pictures of a split dataset, whoever made it, lie in more than one part: `Project.check_dataset`."""
    return project_of(asked, "check_dataset").check_dataset(folder)


def embedded_so_far(**asked: Any) -> tuple[int, int] | None:
    """Of an embedding that was interrupted: how many images are done and kept, and of how many; None where none was."""
    return project_of(asked, "embedded_so_far").embedded_so_far()


def demo(
    folder: StrPath = "demo",
    *,
    digits: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    **asked: Any,
) -> Dataset:
    """The whole pipeline on 240 photos of twelve everyday things, with `tiny`, offline.

    digits  on scikit-learn's 1,797 handwritten digits instead
    """
    from annotate.progress import Silent
    from annotate.project import refuse
    from annotate.sources.demo import write_images
    from annotate.sources.demo.digits import handwritten_digits
    from annotate.sources.demo.photos import everyday_photos

    refuse("demo", asked, ("folder", "digits", "force", "progress"))
    place, progress = Path(folder), progress or Silent()
    with progress.doing("writing the images of the demo"):
        shown = handwritten_digits() if digits else everyday_photos()
        images, truth = write_images(place, "digits" if digits else "photos", shown)
    return run(
        images,
        place / "dataset",
        sorted({one.class_name for one in shown.values()}),
        truth=truth,
        workspace=place / "artifacts",
        model="tiny",
        force=force,
        progress=progress,
    )


def project_of(asked: dict[str, Any], alone: str = "") -> Project:
    """The project that a function's arguments name; what names it is taken out of them.

    alone  a function that takes nothing else
    """
    from annotate.project import Project, refuse

    folder, file, preset, progress, settings = (asked.pop(name, None) for name in WHERE)
    if alone:
        refuse(alone, asked, WHERE)
    return Project.with_settings(folder, file, preset=preset, settings=settings, progress=progress)


def __getattr__(name: str) -> Any:
    """`Project` and `Dataset`, which are loaded when they are first asked for."""
    if name not in ("Dataset", "Project"):
        raise AttributeError(f"module 'annotate' has no attribute '{name}'")
    from annotate import project

    return getattr(project, name)
