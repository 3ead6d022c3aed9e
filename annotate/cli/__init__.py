"""The commands: parse, call, show. Each is one call of the Python API."""

from __future__ import annotations

import gc
import io
import os
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, ClassVar, NoReturn

import typer

import annotate
from annotate.cli import bars, display
from annotate.errors import (
    AnnotateError,
    InputError,
    folder_is_gone,
    machine_error,
    printable,
    working_folder_exists,
)

# Arguments and options that are paths, and words that stand for something else there.
PATHS = """
    images output folder workspace config classes_file given truth also ledger embeddings image_paths text_embeddings
    micro_assignments meta_assignments micro_centroids meta_centroids
"""
WORDS = ("folders", "none")

app = typer.Typer(
    name="annotate",
    help="Turn a folder of images and a list of class names into a dataset, ready to train on.\n\n"
    "Example: annotate run photos dataset cat dog --model tiny",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # a help page drawn by Rich takes longer than all the rest of starting
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Interrupted(Exception):
    """Somebody pressed Ctrl-C."""


class Command(typer.core.TyperCommand):
    """A command that also runs where the folder that it was started in is gone, if no path depends on it.

    workspace  that of the command that runs, for whoever interrupts it
    """

    workspace: ClassVar[str | Path | None] = None

    def invoke(self, context: Any) -> Any:
        if not working_folder_exists():
            given = {name: context.params.get(name) for name in PATHS.split() if name in context.params}
            if "workspace" in given:
                given["workspace"] = given["workspace"] or os.environ.get("ANNOTATE_WORKSPACE") or "artifacts"
            for value in given.values():
                for path in value if isinstance(value, list) else [value]:
                    text = str(path or "/")
                    if not os.path.isabs(text) and "://" not in text and text not in WORDS:
                        raise folder_is_gone()
            os.chdir(os.sep)  # some libraries do not load where there is no folder
        folder, place = (context.params.get(name) for name in ("folder", "workspace"))
        Command.workspace = Path(folder, "artifacts") if folder else place  # the demo has a folder
        try:
            return super().invoke(context)
        except KeyboardInterrupt as error:  # of which Typer would make an exit code, without a word
            raise Interrupted from error


# Flags that recur, declared once.
Images = Annotated[
    str,
    typer.Argument(
        metavar="IMAGES",
        help="Folder of images, searched with all folders below; a .txt, .csv or .parquet that lists paths or "
        "addresses; a .zip or .tar, 'shards/*.tar'; or an address.",
        show_default=False,
    ),
]
Output = Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder for the dataset.", show_default=False)]
Place = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        "-w",
        help="Folder of artifacts (default: artifacts, or $ANNOTATE_WORKSPACE).",
        show_default=False,
    ),
]
Classes = Annotated[
    list[str] | None,
    typer.Option("--classes", "-c", help="Class names, separated by commas; can be repeated.", show_default=False),
]
ClassesFile = Annotated[
    Path | None,
    typer.Option(help="File of class names: one a line, or a JSON or YAML list.", show_default=False),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Settings in YAML (default: annotate.yaml where it exists).", show_default=False),
]
Preset = Annotated[
    str | None, typer.Option(help="small, medium, large, or auto by the number of images.", show_default=False)
]
Assign = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any setting, as SECTION.KEY=VALUE; can be repeated.",
        metavar="SECTION.KEY=VALUE",
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Run again even where nothing changed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[
    str | None,
    typer.Option(
        help="ViT-B/32 (the default) or another of OpenAI's, tiny, or a checkpoint's path.", show_default=False
    ),
]
Device = Annotated[str | None, typer.Option(help="auto, cuda, mps or cpu.", show_default=False)]
Precision = Annotated[str | None, typer.Option(help="auto or float32.", show_default=False)]
BatchSize = Annotated[
    int | None, typer.Option(help="Images per forward pass (default: 32, on a GPU 256).", show_default=False)
]
Prompts = Annotated[
    str | None,
    typer.Option(help="auto, digits, sign-language, photo, clip7, or a YAML file.", show_default=False),
]
Method = Annotated[str | None, typer.Option(help="auto, direct, dynamic, soft or transductive.", show_default=False)]
Temperature = Annotated[
    float | None,
    typer.Option(
        help="Divides similarities before softmax (default: fitted to the model's own scale).", show_default=False
    ),
]
Iterations = Annotated[
    int | None,
    typer.Option(
        help="Passes over all images (default: 10 for dynamic, 5 for soft, at most 15 for transductive).",
        show_default=False,
    ),
]
TextWeightStart = Annotated[
    float | None, typer.Option(help="Weight of the words at the start, 0 to 1 (default: 0.95).", show_default=False)
]
TextWeightEnd = Annotated[
    float | None, typer.Option(help="Weight of the words toward the end, 0 to 1 (default: 0.60).", show_default=False)
]
Balanced = Annotated[
    bool, typer.Option("--balanced", help="Classes are known to have about as many images each (transductive).")
]
Given = Annotated[
    Path | None,
    typer.Option(
        help="Classes that you know of some images, as for the truth of `report`: confidence is fitted to them. They "
        "are remembered; `none` forgets them.",
        show_default=False,
    ),
]
Unknown = Annotated[bool, typer.Option("--unknown", help="Images that fit none of the names go to a folder `unknown`.")]
Engine = Annotated[
    str | None, typer.Option(help="local (the default), or ray; the bytes are the same.", show_default=False)
]
Address = Annotated[
    str | None, typer.Option(help="HOST:PORT of a Ray cluster (default: one on this machine).", show_default=False)
]
Link = Annotated[
    str | None,
    typer.Option(help="copy (the default), hardlink, symlink, or auto: the cheapest that works.", show_default=False),
]
Splits = Annotated[
    str | None, typer.Option(help="Percent of train, val and test (default: 70,15,15).", show_default=False)
]
Seed = Annotated[
    int | None, typer.Option(help="Decides which image goes to which split (default: 42).", show_default=False)
]
Truth = Annotated[
    Path | None,
    typer.Option(
        help="The right classes: a CSV of path,class, a folder per class, `folders` (taken without asking where every "
        "folder of images bears a class's name), or `none`.",
        show_default=False,
    ),
]


@app.command(cls=Command)
def run(
    images: Images,
    output: Output,
    class_names: Annotated[
        list[str] | None, typer.Argument(metavar="CLASS...", help="Class names.", show_default=False)
    ] = None,
    classes: Classes = None,
    classes_file: ClassesFile = None,
    model: Model = None,
    method: Method = None,
    temperature: Temperature = None,
    iterations: Iterations = None,
    text_weight_start: TextWeightStart = None,
    text_weight_end: TextWeightEnd = None,
    balanced: Balanced = False,
    given: Given = None,
    prompts: Prompts = None,
    link: Link = None,
    splits: Splits = None,
    seed: Seed = None,
    unknown: Unknown = False,
    truth: Truth = None,
    device: Device = None,
    precision: Precision = None,
    batch_size: BatchSize = None,
    workspace: Place = None,
    config: ConfigFile = None,
    preset: Preset = None,
    assign: Assign = None,
    force: Force = False,
) -> None:
    """Do everything: embed, refine, organize, report.

    What is fresh is not done again.

    Example: annotate run photos dataset cat dog --model tiny
    """
    if class_names and not (classes or classes_file):
        ask_back(images, output, names_from(class_names, None))
    made = annotate.run(
        images,
        output,
        names_from([*(class_names or []), *(classes or [])], classes_file),
        truth=truth,
        given=given,
        workspace=workspace,
        config=config,
        preset=preset,
        force=force,
        progress=bars.Terminal(),
        settings=settings_from(
            assign,
            {
                "embed.model": model,
                "embed.device": device,
                "embed.precision": precision,
                "embed.batch_size": batch_size,
                "text.prompts": prompts,
                "refine.method": method,
                "refine.temperature": temperature,
                "refine.iterations": iterations,
                "refine.text_weight_start": text_weight_start,
                "refine.text_weight_end": text_weight_end,
                "refine.class_sizes": "balanced" if balanced else None,
                "organize.link": link,
                "organize.splits": splits,
                "organize.seed": seed,
                "organize.unknown": "apart" if unknown else None,
            },
        ),
    )
    show_dataset(made, output, workspace)


@app.command(cls=Command)
def embed(
    images: Images,
    model: Model = None,
    classes: Classes = None,
    classes_file: ClassesFile = None,
    prompts: Prompts = None,
    device: Device = None,
    precision: Precision = None,
    batch_size: BatchSize = None,
    retry_skipped: Annotated[
        bool, typer.Option("--retry-skipped", help="Try those again that could not be read.")
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Compute one of N slices, here or on another machine that sees the images and the ledger.",
            show_default=False,
        ),
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Put together what the slices have computed.")] = False,
    ledger: Annotated[
        str | None,
        typer.Option(
            help="Folder or address (s3://bucket/folder) for what is computed so far (default: in the workspace).",
            show_default=False,
        ),
    ] = None,
    engine: Engine = None,
    address: Address = None,
    workspace: Place = None,
    config: ConfigFile = None,
    preset: Preset = None,
    assign: Assign = None,
    force: Force = False,
) -> None:
    """Turn images into embeddings: the expensive step.

    Interrupted, it goes on where it was; images that it knows, here or under another name, are not embedded again.

    Example: annotate embed photos --model tiny --classes cat,dog
    """
    settings = settings_from(
        assign,
        {
            "embed.model": model,
            "embed.device": device,
            "embed.precision": precision,
            "embed.batch_size": batch_size,
            "embed.ledger": ledger,
            "engine.name": engine,
            "engine.address": address,
            "text.prompts": prompts,
        },
    )
    if shard and (merge or force or retry_skipped):
        raise InputError(
            "a slice computes what is missing", hint="leave out --shard, or --merge, --force and --retry-skipped"
        )
    if shard:
        number, of = slice_from(shard)
        count = annotate.embed_slice(
            images, number, of, workspace=workspace, config=config, preset=preset, progress=bars.Terminal(),
            settings=settings,
        )  # fmt: skip
        display.show(f"slice {number} of {of} is done: {count:,} images; `annotate embed IMAGES --merge` when all are")
        return
    names = names_from(classes or [], classes_file)
    made = annotate.embed(
        images,
        workspace=workspace,
        config=config,
        preset=preset,
        force=force,
        retry_skipped=retry_skipped,
        merge=merge,
        progress=bars.Terminal(),
        settings=settings,
        classes=names,
    )
    n, d = made.embeddings.shape
    display.show(f"{n:,} images, {d} dimensions, model {made.model['name']}")
    show_skipped(made.skipped)


@app.command("import", cls=Command)
def import_(
    embeddings: Annotated[Path, typer.Option(help=".npy file, (N, D).", show_default=False)],
    image_paths: Annotated[Path, typer.Option(help="Paths, one a line, or a JSON list.", show_default=False)],
    text_embeddings: Annotated[
        Path | None, typer.Option(help=".npy file, (K, D): a row for each class name.", show_default=False)
    ] = None,
    classes: Classes = None,
    classes_file: ClassesFile = None,
    micro_assignments: Annotated[
        Path | None, typer.Option(help=".npy file, (N,), -1 is noise.", show_default=False)
    ] = None,
    meta_assignments: Annotated[
        Path | None, typer.Option(help=".npy file, (N,), -1 is noise.", show_default=False)
    ] = None,
    micro_centroids: Annotated[Path | None, typer.Option(help=".npy file, (C, D).", show_default=False)] = None,
    meta_centroids: Annotated[Path | None, typer.Option(help=".npy file, (C, D).", show_default=False)] = None,
    logit_scale: Annotated[float, typer.Option(help="Of the model that made them; 100 is CLIP's.")] = 100.0,
    workspace: Place = None,
    force: Force = False,
) -> None:
    """Start from embeddings made elsewhere.

    Example: annotate import --embeddings e.npy --image-paths paths.txt --text-embeddings t.npy --classes cat,dog
    """
    made = annotate.import_embeddings(
        embeddings,
        image_paths,
        text_embeddings=text_embeddings,
        classes=names_from(classes or [], classes_file),
        micro_assignments=micro_assignments,
        meta_assignments=meta_assignments,
        micro_centroids=micro_centroids,
        meta_centroids=meta_centroids,
        logit_scale=logit_scale,
        workspace=workspace,
        force=force,
        progress=bars.Terminal(),
    )
    n, d = made.embeddings.shape
    display.show(f"{n:,} embeddings, {d} dimensions, imported")


@app.command(cls=Command)
def cluster(
    workspace: Place = None,
    config: ConfigFile = None,
    preset: Preset = None,
    assign: Assign = None,
    force: Force = False,
) -> None:
    """Find groups of images that look alike.

    Example: annotate cluster --set cluster.min_cluster_size=20
    """
    made = annotate.cluster(
        workspace=workspace,
        config=config,
        preset=preset,
        force=force,
        progress=bars.Terminal(),
        settings=settings_from(assign, {}),
    )
    noise = int((made.micro_assignments < 0).sum())
    display.show(
        f"{len(made.micro_centroids):,} micro-clusters in {len(made.meta_centroids):,} meta-clusters, "
        f"{noise:,} of {len(made.micro_assignments):,} images are noise"
    )


@app.command(cls=Command)
def refine(
    classes: Classes = None,
    classes_file: ClassesFile = None,
    method: Method = None,
    temperature: Temperature = None,
    iterations: Iterations = None,
    text_weight_start: TextWeightStart = None,
    text_weight_end: TextWeightEnd = None,
    balanced: Balanced = False,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Workspace of the same images by another model, which then counts as well; can be repeated.",
            show_default=False,
        ),
    ] = None,
    prompts: Prompts = None,
    given: Given = None,
    engine: Engine = None,
    address: Address = None,
    workspace: Place = None,
    config: ConfigFile = None,
    preset: Preset = None,
    assign: Assign = None,
    force: Force = False,
) -> None:
    """Label every image; prototypes learn from the images.

    Example: annotate refine --classes cat,dog --method dynamic
    """
    made = annotate.refine(
        names_from(classes or [], classes_file),
        also=also or [],
        given=given,
        workspace=workspace,
        config=config,
        preset=preset,
        force=force,
        progress=bars.Terminal(),
        settings=settings_from(
            assign,
            {
                "text.prompts": prompts,
                "refine.method": method,
                "refine.temperature": temperature,
                "refine.iterations": iterations,
                "refine.text_weight_start": text_weight_start,
                "refine.text_weight_end": text_weight_end,
                "refine.class_sizes": "balanced" if balanced else None,
                "engine.name": engine,
                "engine.address": address,
            },
        ),
    )
    answered, mean = int(made.answered.sum()), made.mean_confidence
    display.show(
        f"{len(made.labels):,} images labelled by '{made.method}'"
        + (f", {answered:,} of them as given" if answered else "")
        + ("" if mean is None else f", mean confidence {100 * mean:.1f} %" + " of the others" * bool(answered))
    )


@app.command(cls=Command)
def organize(
    output: Output,
    link: Link = None,
    splits: Splits = None,
    seed: Seed = None,
    unknown: Unknown = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and touch nothing.")] = False,
    workspace: Place = None,
    config: ConfigFile = None,
    preset: Preset = None,
    assign: Assign = None,
    force: Force = False,
) -> None:
    """Write the dataset: class folders, splits, metadata.

    Example: annotate organize dataset --link hardlink --splits 80,10,10
    """
    made = annotate.organize(
        output,
        dry_run=dry_run,
        workspace=workspace,
        config=config,
        preset=preset,
        force=force,
        progress=bars.Terminal(),
        settings=settings_from(
            assign,
            {
                "organize.link": link,
                "organize.splits": splits,
                "organize.seed": seed,
                "organize.unknown": "apart" if unknown else None,
            },
        ),
    )
    display.show_counts("folder", made.folders)
    splits_made = ", ".join(f"{name} {count:,}" for name, count in made.splits.items())
    verb = "would be written" if dry_run else "are"
    display.show(f"{made.images:,} images {verb} in {printable(output)}/ ({made.link}); {splits_made}")


@app.command(cls=Command)
def report(
    truth: Truth = None,
    as_json: AsJson = False,
    workspace: Place = None,
    config: ConfigFile = None,
    preset: Preset = None,
    assign: Assign = None,
    force: Force = False,
) -> None:
    """Write the report; with the truth, say how right it is.

    Example: annotate report --truth labels.csv
    """
    made = annotate.report(
        truth=truth,
        workspace=workspace,
        config=config,
        preset=preset,
        force=force,
        progress=bars.Terminal(),
        settings=settings_from(assign, {}),
    )
    if as_json:
        print_json(made.summary)
        return
    folder = workspace_folder(workspace)
    display.show((folder / "report" / "report.txt").read_text("utf-8").rstrip("\n"))
    display.say(f"see {printable(folder)}/report/report.html")


@app.command(cls=Command)
def status(workspace: Place = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Say which stages are fresh, stale, damaged, missing.

    Example: annotate status --json
    """
    states = annotate.status(workspace=workspace, config=config)
    if as_json:
        print_json({stage: {"state": state.name, "why": state.why} for stage, state in states.items()})
    else:
        display.show_states(states)


@app.command(cls=Command)
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
        from annotate.stages.checks import remedy

        display.say(f"hint: {remedy(damaged[0])}")
        raise typer.Exit(3)


@app.command(cls=Command)
def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where the demo's images, artifacts and dataset go.")
    ] = Path("demo"),
    force: Force = False,
) -> None:
    """Run everything on 1,797 handwritten digits, offline.

    Example: annotate demo
    """
    made = annotate.demo(folder, force=force, progress=bars.Terminal())
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


# -- parsing and showing -------------------------------------------------------------------------------


def ask_back(images: str, output: Path, names: Sequence[str]) -> None:
    """Whether OUTPUT is a folder for the dataset, where it looks like the first of the classes.

    raises  InputError with the line that was probably meant
    """
    from annotate.cli.forgotten import is_doubtful, output_was_forgotten

    place, words = str(output), sys.argv[1:]
    if place not in words:  # ./cat, say
        return
    forgotten = output_was_forgotten(images, place, names)
    someone_answers = sys.stdin is not None and sys.stdin.isatty() and display.on_terminal(stderr=True)
    if not forgotten and not (someone_answers and len(names) > 1 and is_doubtful(place, names)):
        return
    classes = f"the classes are only {in_words(names)}" if len(names) > 1 else f"the only class is {in_words(names)}"
    said = f"'{printable(place)}' stands where the dataset's folder is named, so {classes}"
    if someone_answers and not forgotten:
        display.say(f"{said}.")
        if typer.confirm("Is that right?", err=True):
            return
    at = words.index(place)
    meant = printable(shlex.join(["annotate", *words[:at], "dataset", *words[at:]]))
    raise InputError(said, hint=f"did you mean `{meant}`? If the folder is to be called {place}, write ./{place}")


def in_words(names: Sequence[str]) -> str:
    """dog, bird and fish"""
    shown = [printable(name) for name in names]
    return ", ".join(shown[:-1]) + (" and " if shown[:-1] else "") + shown[-1]


def names_from(arguments: Sequence[str], file: Path | None) -> list[str]:
    """Class names of flags and arguments, split at commas (`\\,` is a comma in a name), and of a file, as they are."""
    names = [name.replace("\\,", ",") for argument in arguments for name in re.split(r"(?<!\\),", argument)]
    return names + (read_names(file) if file else [])


def read_names(path: Path) -> list[str]:
    shown = printable(path)
    try:
        content = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"no file {shown}", hint="check the path") from None
    except IsADirectoryError:
        raise InputError(
            f"{shown}: a folder, not a file of class names", hint="give a file with one name a line"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{shown}: not UTF-8 text", hint="save it as UTF-8, one class name a line") from None
    if path.suffix.lower() in (".json", ".yaml", ".yml"):
        from annotate.settings import config, yamlfile
        from annotate.workspace import jsonfile

        reader = jsonfile if path.suffix.lower() == ".json" else yamlfile
        names = config.as_names(reader.parse(content, shown=shown, hint="give a list of names"), shown=shown)
    else:
        names = [line for line in content.splitlines() if line.strip()]
    if not names:
        raise InputError(f"{shown}: no class names in it", hint="write one name a line")
    return names


def settings_from(assignments: Sequence[str] | None, flags: dict[str, Any]) -> dict[str, Any]:
    """What --set and the flags say; flags beat --set."""
    from annotate.settings.config import parse_assignment

    said = dict(parse_assignment(assignment) for assignment in assignments or [])
    return {**said, **{key: value for key, value in flags.items() if value is not None}}


def workspace_folder(workspace: Path | None) -> Path:
    from annotate.workspace import Workspace

    return Workspace(workspace).root


def print_json(content: Any) -> None:
    import json

    display.show(json.dumps(content, indent=1))


def slice_from(text: str) -> tuple[int, int]:
    """3/8 as (3, 8)."""
    number, _, of = text.partition("/")
    try:
        return int(number), int(of)
    except ValueError:
        raise InputError(f"--shard {printable(text)}: expected I/N", hint="for example --shard 3/8") from None


def show_skipped(skipped: Sequence[Any]) -> None:
    if skipped:
        first = skipped[0]
        display.say(
            f"{len(skipped):,} skipped, for example {printable(first['path'])}: {first['reason']}; skipped.json has all"
        )


def show_dataset(made: annotate.Dataset, output: Path, workspace: Path | None) -> None:
    """Where to look, and how good it is where that is known."""
    display.show_counts("class", made.report.summary["class_distribution"])
    show_skipped(made.embeddings.skipped)
    known, mean = made.report.summary["truth"], made.report.summary["confidence"]["mean"]
    if mean is not None:
        display.show(f"mean confidence {100 * mean:.1f} %")
    if known and known["images"]:
        display.show(f"accuracy {100 * known['accuracy']:.1f} % of {known['images']:,} images with a known class")
    elif known:
        display.show("accuracy: nothing to measure, the class of every image with a truth was given")
    display.show(f"dataset  {printable(output)}/")
    display.show(f"report   {printable(workspace_folder(workspace))}/report/report.html (open it in a browser)")


def main() -> NoReturn:
    """Run a command; every failure of the user's world becomes two lines and its exit code."""
    open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a letter shows its escape
            stream.reconfigure(errors="backslashreplace")
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = send_interrupts_again
    try:
        outcome = app(standalone_mode=False)
        sys.stdout.flush()
    except AnnotateError as error:
        display.fail(error)
        sys.exit(error.exit_code)
    except (Interrupted, KeyboardInterrupt, typer.Abort):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second one
        display.say(f"interrupted; {what_is_kept()}; run the same command again to go on")
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(130)  # threads that wait for a server that does not answer would keep us
    except (display.ReaderGone, BrokenPipeError):
        display.silence(sys.stdout)
        sys.exit(0)
    except Exception as error:
        known = machine_error(error)
        if known is not None:
            try:
                sys.stdout.flush()
            except OSError:  # it was the results' own file that is full
                display.silence(sys.stdout)
            display.fail(known)
            sys.exit(known.exit_code)
        if not hasattr(error, "format_message"):  # a usage error of Typer's parser brings its own words
            raise
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "annotate"
        display.fail(InputError(error.format_message().rstrip("."), hint=f"see `{command} --help`"))
        sys.exit(2)
    gc.freeze()  # Python would look once more at all that was ever imported, for a tenth of a second
    sys.exit(outcome if isinstance(outcome, int) else 0)


def what_is_kept() -> str:
    """What an interrupted command leaves for the next one."""
    try:
        images = annotate.embedded_so_far(workspace=Command.workspace)
    except (AnnotateError, OSError):
        images = None
    if images is None:
        return "the stages that were finished are kept"
    done, total = images
    return (
        f"{done:,} of {total:,} images are embedded and kept" if done else f"none of {total:,} images was embedded yet"
    )


def open_standard_streams() -> None:
    """Where we were started with a standard stream closed, the next file that is opened would take its place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def send_interrupts_again(unraisable: Any) -> None:
    """A Ctrl-C that came while Python was in a destructor or the callback of a weak reference, where it is lost."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    import _thread
    from threading import Timer

    again = Timer(0.02, _thread.interrupt_main)  # seconds; by then Python is out of there
    again.daemon = True
    with suppress(RuntimeError):  # no new threads: Python is about to end anyway
        again.start()
