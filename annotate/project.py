"""Project: the one door to a folder of artifacts, for the command line, for Python and for whatever comes.

    project = Project("artifacts")
    project.embed("photos")
    project.refine(["cat", "dog"], method="dynamic")
    project.organize("dataset", splits=(80, 10, 10))

A method per stage, which takes the settings of its stage by name and returns the record that it published.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotate.progress import Progress, Silent, Stoppable
from annotate.settings.config import Config, by_section

if TYPE_CHECKING:
    from annotate.errors import Hint
    from annotate.records import Clusters, Embeddings, Organized, Refinement, Reported, Texts
    from annotate.records.exported import Exported
    from annotate.records.leaks import CheckedDataset
    from annotate.records.people import Questions, SoftLabels
    from annotate.stages import AnyStage, Context
    from annotate.stages.labelling import Confirm, Labelled
    from annotate.workspace.plan import State

StrPath = str | Path


@dataclass(frozen=True)
class Dataset:
    """What `run` made: a record per stage."""

    embeddings: Embeddings
    texts: Texts
    refinement: Refinement
    organized: Organized
    report: Reported


class Project:
    """A folder of artifacts, the settings for it, and who watches.

    folder    `artifacts`, or $ANNOTATE_WORKSPACE, unless given
    config    settings that hold for all its stages
    progress  told what happens, and asked whether to stop; nobody unless given
    """

    def __init__(
        self, folder: StrPath | None = None, *, config: Config | None = None, progress: Progress | None = None
    ) -> None:
        self.folder = folder
        self.config = config or Config()
        self.progress = progress or Silent()

    @classmethod
    def with_settings(
        cls,
        folder: StrPath | None,
        file: StrPath | None,
        *,
        preset: str | None = None,
        settings: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Project:
        """A project whose settings are those of a YAML file, of a preset, and `settings` ("section.name" to value)."""
        return cls(folder, config=Config.load(file, preset=preset, overrides=settings), progress=progress)

    @cached_property
    def context(self) -> Context:
        """Where its stages run; what they need is loaded with the first of them."""
        from annotate.stages import Context
        from annotate.workspace import Workspace

        return Context(Workspace(self.folder), self.config, Stoppable(self.progress))

    @staticmethod
    def stages() -> list[AnyStage]:
        """Every stage there is, each after those whose artifacts it reads."""
        from annotate.stages import stages

        return stages()

    # -- the stages ------------------------------------------------------------------------------------

    def make(self, name: str, *, force: bool = False, settings: Mapping[str, Any] | None = None, **asked: Any) -> Any:
        """The record of a stage by its name, made where it is not fresh.

        settings  of its sections, by their bare names
        asked     what the stage asks for, such as `images`
        """
        from annotate.stages import stage_named

        stage = stage_named(name)
        return self._with(stage, settings or {}, name).make(stage, force=force, **asked)

    def embed(
        self,
        images: StrPath,
        *,
        classes: Iterable[str] = (),
        retry_skipped: bool = False,
        merge: bool = False,
        force: bool = False,
        **settings: Any,
    ) -> Embeddings:
        """Embed every image of a folder, list, archive or address, and the class names where they are given.

        Row i of every later artifact is image i of this one.

        retry_skipped  try those again that could not be read
        merge          only put together what `embed_slice` has computed
        """
        from annotate.classes.names import as_class_names, clean_class_names
        from annotate.stages.embed import STAGE
        from annotate.stages.text import texts_for

        context, names = self._with(STAGE, settings, "embed", "text"), as_class_names(classes)
        if names:
            clean_class_names(names)
        made = context.make(STAGE, force=force, images=images, retry_skipped=retry_skipped, merge=merge)
        if names or context.config.classes:
            texts_for(context, names, force=force)
        return made

    def embed_slice(self, images: StrPath, number: int, of: int, **settings: Any) -> int:
        """Compute slice `number` of `of` (1 to `of`) of an embedding, here or on another machine; how many images.

        `embed(images, merge=True)` puts the slices together when all are done.
        """
        from annotate.stages.embed import STAGE, embed_slice

        return embed_slice(self._with(STAGE, settings, "embed_slice"), images, number=number, of=of)

    def embed_text(self, classes: Iterable[str] = (), *, force: bool = False, **settings: Any) -> Texts:
        """Embed the class names with the model that embedded the images."""
        from annotate.classes.names import as_class_names
        from annotate.stages.text import STAGE, texts_for

        return texts_for(self._with(STAGE, settings, "embed_text"), as_class_names(classes), force=force)

    def import_embeddings(
        self,
        embeddings: StrPath,
        image_paths: StrPath,
        *,
        text_embeddings: StrPath | None = None,
        classes: Iterable[str] = (),
        common_embeddings: StrPath | None = None,
        common_names: Iterable[str] = (),
        logit_scale: float = 100.0,
        force: bool = False,
        **cluster_files: StrPath | None,
    ) -> Embeddings:
        """Start from embeddings made elsewhere: of images, sounds, texts. Rows are checked and normalised.

        common_embeddings  of common names: images that these explain better fit none of the classes
        common_names       those of annotate's own list unless given
        cluster_files      micro_assignments, meta_assignments, micro_centroids, meta_centroids
        """
        from annotate.classes.names import as_class_names
        from annotate.stages.import_ import CLUSTER_FILES, import_embeddings

        unknown = {name: path for name, path in cluster_files.items() if name not in CLUSTER_FILES}
        taken = [*inspect.signature(Project.import_embeddings).parameters, *CLUSTER_FILES]
        refuse("import_embeddings", unknown, taken)
        return import_embeddings(
            self.context,
            embeddings=Path(embeddings),
            image_paths=Path(image_paths),
            text_embeddings=Path(text_embeddings) if text_embeddings else None,
            classes=as_class_names(classes),
            common=Path(common_embeddings) if common_embeddings else None,
            common_names=list(common_names),
            cluster_files={name: Path(path) for name, path in cluster_files.items() if path},
            logit_scale=logit_scale,
            force=force,
        )

    def cluster(self, *, force: bool = False, **settings: Any) -> Clusters:
        """Find groups of images that look alike."""
        from annotate.stages.cluster import STAGE

        return self._with(STAGE, settings, "cluster").make(STAGE, force=force)

    def refine(
        self,
        classes: Iterable[str] = (),
        *,
        also: Iterable[StrPath] | StrPath = (),
        given: StrPath | None = None,
        add_classes: bool = False,
        force: bool = False,
        **settings: Any,
    ) -> Refinement:
        """Label every image with one of the classes (those of the project unless given).

        also   workspaces of the same images by other models; the mean of all models' logits counts
        given  classes that you know of some images, a CSV of path,class: those bear them, confidence is fitted to them;
               they are kept as answers, as by `label`; "none" takes all answers back
        add_classes  what images look like that fit none of the classes become classes as well
        """
        from annotate.classes.names import as_class_names
        from annotate.stages.refine import STAGE, classes_and_looks

        others = [also] if isinstance(also, (str, Path)) else [*also]
        context = self._with(STAGE, settings, "refine")
        names = as_class_names(classes)
        if add_classes:
            names = classes_and_looks(context, names)
        return context.make(STAGE, force=force, classes=names, also=others, given=given)

    def organize(self, output: StrPath, *, dry_run: bool = False, force: bool = False, **settings: Any) -> Organized:
        """Write the dataset: a folder per class, splits, metadata.

        dry_run  only say what would be made
        """
        from annotate.stages.organize import STAGE

        context = self._with(STAGE, settings, "organize")
        return STAGE.rehearse(context, output) if dry_run else context.make(STAGE, force=force, output=output)

    def export(self, output: StrPath, *, force: bool = False, **settings: Any) -> Exported:
        """Write the dataset in the format of another program, such as `coco` or `hf`."""
        from annotate.stages.export import export

        return export(self._with(None, settings, "export", "export", "organize", "answers"), output, force=force)

    def report(self, *, truth: StrPath | None = None, force: bool = False, **settings: Any) -> Reported:
        """Write report.txt, report.html, report.json and the figures; with `truth`, how right the labels are."""
        from annotate.stages.report import STAGE

        return self._with(STAGE, settings, "report").make(STAGE, force=force, truth=truth)

    # -- people ----------------------------------------------------------------------------------------

    def query(
        self, budget: int = 50, *, strategy: str = "auto", output: StrPath = "questions", **settings: Any
    ) -> Questions:
        """Choose the images most worth asking people about, and write the papers to ask with.

        budget    images
        strategy  auto, random, entropy, margin, max-distance, clusters, typical, cover, badge, herding
        output    folder for queries.csv, sheet.html, sheet.png and ask.html
        """
        from annotate.stages.query import Request, ask

        return ask(self._with(None, settings, "query"), Request(budget, strategy, output))

    def soft(
        self,
        file: StrPath,
        *,
        votes: StrPath | None = None,
        budget: float = 1.0,
        method: str = "posterior",
        output: StrPath = "soft",
        **further: Any,
    ) -> SoftLabels:
        """Soft labels for a file of the data-centric labelling benchmark, by votes of a simulated oracle.

        votes    annotations.json, or the JSON with all labels; annotations.json beside the file unless given
        budget   votes an image, on average
        method   posterior, or one to compare with: original and its parts, votes
        further  `fold` and `data_root`, where the file is the name of a data set; `spare_test`, never to ask about the
                 split test; and settings
        """
        from annotate.stages.soft import Request, soft_labels

        asked = {name: further.pop(name) for name in ("fold", "data_root", "spare_test") if name in further}
        request = Request(file, votes, budget, method, output, **asked)
        return soft_labels(self._with(None, further, "soft"), request)

    def label(
        self, source: StrPath, *, new_classes: bool = False, confirm: Confirm | None = None, **settings: Any
    ) -> Labelled:
        """Keep what a table says of the images; `refine` uses it from then on.

        source       a table of images and classes (CSV, TSV, XLSX, JSON lines), or what `export_answers` wrote
        new_classes  whether names that are no class yet become classes
        confirm      asked before anything is written; without it all is
        """
        from annotate.stages import labelling

        context = self._with(None, settings, "label", "answers")
        return labelling.label(context, source, new_classes=new_classes, confirm=confirm)

    def undo_label(self, **settings: Any) -> int:
        """Take back the answers that were given last together; of how many images."""
        from annotate.stages import labelling

        back = labelling.undo(self._with(None, settings, "undo_label", "answers"))
        return len({event.image for event in back})

    def export_answers(self, file: StrPath, **settings: Any) -> int:
        """Write all that was ever said, as JSON lines that `label` reads back; how many answers."""
        from annotate.stages import labelling

        return labelling.export(self._with(None, settings, "export_answers", "answers"), Path(file))

    def rename_class(self, old: str, new: str, **settings: Any) -> None:
        """Call a class otherwise; its answers stay."""
        from annotate.stages import labelling

        labelling.rename(self._with(None, settings, "rename_class", "answers"), old, new)

    def answers(self, **settings: Any) -> dict[str, Any] | None:
        """How many images people answered, by class and by person; None where nobody did."""
        from annotate.stages import answers

        return answers.counts(self._with(None, settings, "answers", "answers"))

    # -- all of them -----------------------------------------------------------------------------------

    def run(
        self, images: StrPath, output: StrPath, classes: Iterable[str] = (), *, force: bool = False, **further: Any
    ) -> Dataset:
        """Everything, each stage skipped where it is fresh. What would stop it at the end is found before it begins.

        further  `truth` and `given`, as for `report` and `refine`, and settings of any stage
        """
        from annotate.classes.names import as_class_names
        from annotate.records import Texts
        from annotate.stages import stages
        from annotate.stages.checks import check_before_running

        asked: dict[str, Any] = {"images": images, "output": output, "classes": as_class_names(classes)}
        asked |= {name: further.pop(name, None) for name in ("truth", "given")}
        context = self._with(None, further, "run")
        check_before_running(context, **asked)
        made: dict[str, Any] = {}
        with context.workspace.lock():
            for stage in stages():
                if stage.runs:
                    wanted = {name: asked[name] for name in stage.asks if name in asked}
                    made[stage.name] = context.make(stage, force=force, **wanted)
            texts = context.workspace.read(Texts)
        return Dataset(made["embed"], texts, made["refine"], made["organize"], made["report"])

    def status(self) -> dict[str, State]:
        """Each stage's state: fresh, stale and why, damaged and where, or missing."""
        from annotate.stages.checks import status

        return status(replace(self.context, progress=Silent()))

    def check(self) -> dict[str, str]:
        """Read every byte of every stage, of answers, of the last dataset and of caches: what is wrong with each."""
        from annotate.stages.checks import check

        return check(self.context.workspace)

    def check_dataset(self, folder: StrPath) -> CheckedDataset:
        """Which pictures of a split dataset, whoever made it, lie in more than one part; nothing is written."""
        from annotate.stages.leaks import check_dataset

        megapixels = self.config.resolve(1).embed.max_megapixels
        return check_dataset(Path(folder), max_megapixels=megapixels, progress=self.progress)

    def remedy(self, row: str) -> Hint:
        """What to do about a row of `check` that is not whole."""
        from annotate.stages.checks import remedy

        return remedy(row)

    def embedded_so_far(self) -> tuple[int, int] | None:
        """Of an embedding that was interrupted: how many images are done, and of how many; None where none was."""
        from annotate.stages.embed import interrupted

        return interrupted(self.context.workspace)

    def _with(self, stage: AnyStage | None, settings: Mapping[str, Any], function: str, *sections: str) -> Context:
        """The context with settings laid over those of the project, by their bare names."""
        from annotate.stages import stages

        every = [] if stage or sections else [name for one in stages() for name in one.sections]
        reaching = stage.sections if stage else [*dict.fromkeys(every)]
        taken = [
            *inspect.signature(getattr(Project, function, Project.make)).parameters,
            "workspace",
            "config",
            "preset",
        ]
        known = by_section(function, settings, (*reaching, *sections), taken)
        return replace(self.context, config=self.config.asked({**self.config.said, **known}, self.config.named))


def refuse(function: str, asked: Mapping[str, Any], taken: Sequence[str]) -> None:
    """raises  ConfigError for an argument that the function does not take, with what was probably meant"""
    by_section(function, asked, (), taken)
