"""The commands: parse, call, show. Each is one call of the Python API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import annotate
from annotate.cli import bars, display
from annotate.cli.forgotten import ask_back
from annotate.cli.labelling import (
    answers_are,
    asked_back,
    one_thing_to_label,
    readable_answers,
    show_answers,
    show_labelled,
)
from annotate.cli.names import names_from, read_names
from annotate.cli.options import (
    AsJson,
    Asked,
    Classes,
    ClassWords,
    ConfigFile,
    Force,
    Given,
    Images,
    Output,
    Place,
    Several,
    Truth,
    Verbose,
    argument,
    config_file,
    option,
)
from annotate.cli.parsing import app, command
from annotate.cli.show import (
    print_json,
    show_dataset,
    show_labels,
    show_organized,
    show_skipped,
    workspace_folder,
)
from annotate.errors import InputError, printable


@command("embed", "text", "cluster", "refine", "organize", "report", "engine", "answers")
def run(
    images: Images,
    output: Output,
    *,
    class_names: ClassWords = None,
    classes: Classes,
    given: Given = None,
    truth: Truth = None,
    asked: Asked,
) -> None:
    """Do everything: embed, refine, organize, report.

    What is fresh is not done again.

    Example: annotate run photos dataset cat dog
    """
    words = names_from(class_names or [], None)
    if words and not classes:
        ask_back(images, output, words)
    made = annotate.run(images, output, [*words, *classes], truth=truth, given=given, **asked)
    show_dataset(made, output, asked["workspace"])


@command("embed", "text", "engine")
def embed(
    images: Images,
    *,
    classes: Classes,
    retry_skipped: Annotated[bool, option("Try those again that could not be read.", "--retry-skipped")] = False,
    shard: Annotated[
        str | None,
        option(
            "Compute one of N slices, here or on another machine that sees the images and the ledger.",
            metavar="I/N",
        ),
    ] = None,
    merge: Annotated[bool, option("Put together what the slices have computed.", "--merge")] = False,
    asked: Asked,
) -> None:
    """Turn images into embeddings: the expensive step.

    Interrupted, it goes on where it was; images that it knows, here or under another name, are not embedded again.

    Example: annotate embed photos --classes cat,dog
    """
    if shard:
        if asked.pop("force") or merge or retry_skipped:
            raise InputError(
                "a slice computes what is missing", hint="leave out --shard, or --merge, --force and --retry-skipped"
            )
        number, of = slice_from(shard)
        count = annotate.embed_slice(images, number, of, **asked)
        display.show(f"slice {number} of {of} is done: {count:,} images; `annotate embed IMAGES --merge` when all are")
        return
    made = annotate.embed(images, classes=classes, retry_skipped=retry_skipped, merge=merge, **asked)
    n, d = made.embeddings.shape
    display.show(f"{n:,} images, {d} dimensions, model {made.model['name']}")
    show_skipped(made.skipped)


def slice_from(text: str) -> tuple[int, int]:
    """3/8 as (3, 8)."""
    number, _, of = text.partition("/")
    try:
        return int(number), int(of)
    except ValueError:
        raise InputError(f"--shard {printable(text)}: expected I/N", hint="for example --shard 3/8") from None


FILES = {
    "text_embeddings": "(K, D): a row for each class name",
    "common_embeddings": "(W, D): a row for each common name",
    "micro_assignments": "(N,), -1 is noise",
    "meta_assignments": "(N,), -1 is noise",
    "micro_centroids": "(C, D)",
    "meta_centroids": "(C, D)",
}
Files = Annotated[
    dict[str, Path | None],
    Several(
        lambda sections: {
            **{name: Annotated[Path | None, option(f".npy file, {holds}.")] for name, holds in FILES.items()},
            "common_names": Annotated[
                Path | None, option("Common names, one a line; those of annotate's own list unless given.")
            ],
        },
        dict,
    ),
]


@command(name="import")
def import_(
    *,
    embeddings: Annotated[Path, option(".npy file, (N, D).")],
    image_paths: Annotated[Path, option("Paths, one a line, or a JSON list.")],
    files: Files,
    classes: Classes,
    logit_scale: Annotated[float, typer.Option(help="Of the model that made them; 100 is CLIP's.")] = 100.0,
    workspace: Place = None,
    force: Force = False,
) -> None:
    """Start from embeddings made elsewhere.

    Example: annotate import --embeddings e.npy --image-paths paths.txt --text-embeddings t.npy --classes cat,dog
    """
    common_names = files.pop("common_names", None)
    made = annotate.import_embeddings(
        embeddings,
        image_paths,
        classes=classes,
        common_names=read_names(common_names) if common_names else [],
        logit_scale=logit_scale,
        workspace=workspace,
        force=force,
        progress=bars.Terminal(),
        **files,
    )
    n, d = made.embeddings.shape
    display.show(f"{n:,} embeddings, {d} dimensions, imported")


@command("cluster")
def cluster(asked: Asked) -> None:
    """Find groups of images that look alike.

    Example: annotate cluster --set cluster.min_cluster_size=20
    """
    made = annotate.cluster(**asked)
    noise = int((made.micro_assignments < 0).sum())
    display.show(
        f"{len(made.micro_centroids):,} micro-clusters in {len(made.meta_centroids):,} meta-clusters, "
        f"{noise:,} of {len(made.micro_assignments):,} images are noise"
    )


@command("refine", "text", "cluster", "engine", "answers")
def refine(
    *,
    classes: Classes,
    also: Annotated[
        list[Path] | None,
        option(
            "Workspace of the same images by another model, which then counts as well; can be repeated.",
            metavar="DIR",
        ),
    ] = None,
    given: Given = None,
    add_classes: Annotated[
        bool,
        option("Take over what images look like that fit none of the classes, as further classes.", "--add-classes"),
    ] = False,
    asked: Asked,
) -> None:
    """Label every image; prototypes learn from the images.

    Example: annotate refine --classes cat,dog --method dynamic
    """
    made = annotate.refine(classes, also=also or [], given=given, add_classes=add_classes, **asked)
    show_labels(made, asked["workspace"])


@command("organize", "answers")
def organize(
    output: Output,
    *,
    dry_run: Annotated[bool, option("Print the plan and touch nothing.", "--dry-run")] = False,
    asked: Asked,
) -> None:
    """Write the dataset: class folders, splits, metadata.

    Example: annotate organize dataset --link hardlink --splits 80,10,10
    """
    made = annotate.organize(output, dry_run=dry_run, **asked)
    show_organized(made, output, asked["workspace"], dry_run=dry_run)


@command("answers")
def label(
    source: Annotated[
        str | None,
        argument(
            "FILE",
            "Table of images and classes (CSV, TSV, XLSX, JSON lines), the dataset in which you moved images, or boxes "
            "(COCO, YOLO, Pascal VOC, CVAT, Label Studio, CSV).",
        ),
    ] = None,
    *,
    yes: Annotated[bool, option("Write without asking.", "--yes", "-y")] = False,
    new_classes: Annotated[bool, option("Make classes of names that are none yet.", "--new-classes")] = False,
    undo: Annotated[bool, option("Take back the answers that were given last.", "--undo")] = False,
    export: Annotated[
        Path | None, option("Write all that was ever said, as JSON lines that `label` reads back.", metavar="FILE")
    ] = None,
    rename: Annotated[str | None, option("Call a class otherwise; its answers stay.", metavar="OLD=NEW")] = None,
    asked: Asked,
) -> None:
    """Keep what people say of the images.

    Every later `refine` uses it, and nothing is ever measured on it.

    Example: annotate label known.csv
    """
    asked.pop("force")
    one_thing_to_label(source, undo=undo, export=export, rename=rename)
    if undo:
        count = annotate.undo_label(**asked)
        display.show(f"{answers_are(count)} taken back" if count else "there are no answers to take back")
    elif export:
        display.show(f"{answers_are(annotate.export_answers(export, **asked))} in {printable(export)}")
    elif rename:
        old, _, new = rename.partition("=")
        annotate.rename_class(old, new, **asked)
        display.show(f"the class '{printable(old)}' is called '{printable(new)}' now; `annotate refine` asks for it")
    elif source:
        confirm = None if yes else asked_back(new_classes=new_classes)
        show_labelled(
            annotate.label(source, new_classes=new_classes, confirm=confirm, **asked), asked_first=bool(confirm)
        )


@command("report")
def report(*, truth: Truth = None, as_json: AsJson = False, asked: Asked) -> None:
    """Write the report; with the truth, say how right it is.

    Example: annotate report --truth labels.csv
    """
    made = annotate.report(truth=truth, **asked)
    if as_json:
        print_json(made.summary)
        return
    folder = workspace_folder(asked["workspace"])
    display.show((folder / "report" / "report.txt").read_text("utf-8").rstrip("\n"))
    display.say(f"see {printable(folder)}/report/report.html")


@command()
def status(workspace: Place = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Say which stages are fresh, stale, damaged, missing.

    Example: annotate status --json
    """
    project = annotate.Project.with_settings(workspace, config_file(config))
    states, answers = project.status(), readable_answers(project)
    if as_json:
        stages = {stage: {"state": state.name, "why": state.why} for stage, state in states.items()}
        print_json(stages | ({"answers": answers} if answers else {}))
    else:
        display.show_states(states)
        show_answers(answers)


@command()
def check(workspace: Place = None, as_json: AsJson = False) -> None:
    """Read every byte and compare it with what was written.

    Ends with exit code 3 where an artifact is damaged.

    Example: annotate check
    """
    damages = annotate.check(workspace=workspace)
    if as_json:
        print_json({stage: {"whole": not problem, "problem": problem} for stage, problem in damages.items()})
    else:
        for stage, problem in damages.items():
            display.show(f"{stage}: {problem or 'whole'}")
        if not damages:
            display.say(f"nothing in {printable(workspace_folder(workspace))}/ yet")
    damaged = [stage for stage, problem in damages.items() if problem]
    if damaged:
        display.say(f"hint: {annotate.Project(workspace).remedy(damaged[0])}")
        raise typer.Exit(3)


@command()
def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where the demo's images, artifacts and dataset go.")
    ] = Path("demo"),
    digits: Annotated[bool, option("Sort 1,797 handwritten digits instead.", "--digits")] = False,
    force: Force = False,
    verbose: Verbose = False,
) -> None:
    """Run everything on 240 photos of everyday things, offline.

    Example: annotate demo
    """
    made = annotate.demo(folder, digits=digits, force=force, progress=bars.Terminal(verbose=verbose))
    show_dataset(made, folder / "dataset", folder / "artifacts")


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        display.show(f"annotate {annotate.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        display.show(context.get_help())
