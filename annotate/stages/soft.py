"""soft: soft labels for a file of the benchmark, under a budget of votes, and what became of them as files.

It is no stage of the pipeline: what it writes goes to a folder of the user's, and the workspace is only read.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annotate.classes.prompts import prompts_for
from annotate.classes.spelling import matcher
from annotate.errors import Hint, InputError, MissingArtifact, first_few, printable
from annotate.kernels.projection import project, sample
from annotate.kernels.vectors import Floats
from annotate.records import EmbeddingRows, Embeddings, Texts
from annotate.records.people import SoftLabels
from annotate.stages import Context
from annotate.stages.text import imported, known_rows
from annotate.votes import files
from annotate.votes.oracle import Oracle, read_votes
from annotate.votes.recipes import RECIPES, follow
from annotate.votes.spending import Material, Step, posterior
from annotate.workspace.opening import own_folder, replacing_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS = "posterior"
METHODS = (OURS, *RECIPES)
MAPPED = 4000  # images on the maps
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet takes a cell for a formula


@dataclass(frozen=True)
class Request:
    """What somebody asks for.

    file        of the benchmark, or with `fold` the name of a data set in data_root
    votes       annotations.json, or the file in which all labels are known; beside the file unless given
    budget      votes an image, on average
    method      one of METHODS
    output      folder
    spare_test  whether images of the split `test` are never asked about; the budget is an image of the others then
    """

    file: str | Path
    votes: str | Path | None = None
    budget: float = 1.0
    method: str = OURS
    output: str | Path = "soft"
    fold: int | None = None
    data_root: str | Path | None = None
    spare_test: bool = False
    seed: int = 0

    @property
    def place(self) -> Path:
        if self.fold is None:
            return Path(self.file)
        return files.find(str(self.file), self.fold, files.data_root(self.data_root))


def soft_labels(context: Context, request: Request) -> SoftLabels:
    """Spend the budget, and write labels, maps, histogram and curve.

    raises  InputError for a file, a budget or a method that makes no sense; MissingArtifact without embeddings
    """
    if request.method not in METHODS:
        raise InputError(f"no method '{printable(request.method)}'", hint=f"use one of {', '.join(METHODS)}")
    if not 0 <= request.budget < 1e4:
        raise InputError(
            f"--budget {request.budget:g}: votes an image, 0 or more",
            hint=Hint("for example 1", "for example --budget 1"),
        )
    place = request.place
    cut = files.read(place)
    oracle_shares = read_votes(Path(request.votes or place.parent / "annotations.json"), cut)
    embeddings = embeddings_of(context, cut)
    asked = np.flatnonzero([not (request.spare_test and split == "test") for split in cut.splits])
    if not len(asked):
        raise InputError(
            f"{printable(place)}: every image is in the split test",
            hint=Hint("let images of the split test be asked about", "leave out --spare-test"),
        )
    texts, scale = texts_of(context, cut)
    material = Material(embeddings, texts, scale, len(cut.content.classes), asked, request.seed)
    count = round(request.budget * len(asked))
    oracle = Oracle(oracle_shares, count)
    curve: list[dict[str, float]] = []
    with context.progress.steps("asking", count, "votes") as advance:
        for step in steps(request.method, material, oracle, count):
            advance(oracle.budget - int(curve[-1]["votes"] if curve else 0))
            each = oracle.budget / len(asked)
            curve.append({"votes": oracle.budget, "votes_per_image": each, **oracle.score(step.shares)})
    known = {split: np.flatnonzero(np.array(cut.splits) == split) for split in ("train", "val", "test")}
    scores = {"all": oracle.score(step.shares)}
    scores |= {split: oracle.score(step.shares, rows) for split, rows in known.items() if len(rows)}
    content = files.labelled(
        cut, step.shares, budget=oracle.budget / len(asked), weighted_budget=oracle.weighted_budget / len(asked)
    )
    path = files.output_path(own_folder(Path(request.output)), content, request.method, request.budget)
    files.write(path, content)
    write_table(path.parent / "labels.csv", cut, step)
    write_curve(path.parent / "curve.csv", curve)
    write_figures(path.parent, embeddings, step, cut.content.classes, curve)
    return SoftLabels(path, step.shares, step.votes, curve, scores)


def steps(method: str, material: Material, oracle: Oracle, count: int) -> Iterator[Step]:
    if method == OURS:
        return posterior(material, oracle, count)
    return follow(RECIPES[method], material, oracle, count)


def embeddings_of(context: Context, cut: files.Slice) -> Floats:
    """The embedding of each image of the file, by the names of the images.

    raises  MissingArtifact where the workspace lacks some of them
    """
    images = context.workspace.read(Embeddings)
    row_of = {files.name_of(path): row for row, path in enumerate(images.image_paths)}
    missing = [name for name in cut.names if name not in row_of]
    if missing:
        raise MissingArtifact(
            f"{len(missing):,} of {len(cut.names):,} images are not embedded: "
            f"{first_few([printable(name) for name in missing])}",
            hint=Hint(
                "embed the folder of the data set, or import embeddings of it",
                "run `annotate embed FOLDER` with the folder of the data set, or `annotate import`",
            ),
        )
    rows = np.array([row_of[name] for name in cut.names])
    return np.asarray(images.embeddings[rows], np.float32)


def texts_of(context: Context, cut: files.Slice) -> tuple[Floats | None, float]:
    """The class names as the model reads them, (K, D), and its scale; None where no model here can read them."""
    workspace, names = context.workspace, cut.content.classes
    model = workspace.read(EmbeddingRows).model
    if not imported(workspace):
        choice = context.config.resolve().text.prompts
        wording = prompts_for(names, choice)
        return known_rows(workspace, model, wording, context.config, context.progress), model["logit_scale"]
    if workspace.has("text") and workspace.of_these_embeddings("text"):
        texts = workspace.read(Texts)
        class_of = matcher(texts.class_names)
        places = [class_of(name) for name in names]
        if None not in places:
            return texts.text_embeddings[np.array(places)], model["logit_scale"]
    message = "no class names are embedded for this file: pictures and votes alone are used"
    context.progress.note({"message": message, "hint": "import texts with --text-embeddings and --classes"})
    return None, model["logit_scale"]


# -- files ---------------------------------------------------------------------------------------------


def write_table(path: Path, cut: files.Slice, step: Step) -> None:
    """labels.csv: an image a row, with its split, votes, label, confidence and the share of each class."""
    rows: list[list[object]] = [["path", "split", "votes", "label", "confidence", *map(safe, cut.content.classes)]]
    for image, votes, shares in zip(cut.content.images, step.votes.tolist(), step.shares, strict=True):
        best = int(shares.argmax())
        label = safe(cut.content.classes[best])
        rows.append([safe(image.path), image.split, votes, label, f"{shares[best]:.4f}", *(f"{s:.5f}" for s in shares)])
    write_csv(path, rows)


def write_curve(path: Path, curve: list[dict[str, float]]) -> None:
    columns = list(curve[0])
    write_csv(path, [columns, *([f"{row[name]:.6g}" for name in columns] for row in curve)])


def safe(cell: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """A table that a spreadsheet opens as it is: UTF-8 with its mark."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with replacing_file(path) as file:
        file.write(text.getvalue().encode("utf-8-sig"))


def write_figures(
    folder: Path, embeddings: Floats, step: Step, classes: list[str], curve: list[dict[str, float]]
) -> None:
    """The map by label and by confidence, the histogram of confidence, and KL against budget."""
    from annotate.reports import figures, soft
    from annotate.reports.paper import save

    rows = sample(len(embeddings), MAPPED)
    places = project(embeddings[rows])
    sure, labels = step.shares.max(axis=1), step.shares.argmax(axis=1)
    counts = np.histogram(sure, np.linspace(0, 1, 21))[0].tolist()
    drawn: dict[str, Figure] = {
        "map-label": figures.embedding_map(places, labels[rows], classes),
        "map-confidence": soft.confidence_map(places, sure[rows]),
        "histogram": figures.confidence_histogram(counts, mean=float(sure.mean()), median=float(np.median(sure))),
        "kl": soft.divergence_curves({"": curve}),
    }
    for name, figure in drawn.items():
        save(figure, folder / f"{name}.png")
