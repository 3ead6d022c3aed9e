"""query: which images to ask people about, and the papers to ask with.

It is no stage of the pipeline: what it writes goes to a folder of the user's. The workspace remembers which images
were drawn at random, and their labels then (`questions.json`): once these are answered, they say how right labels are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from annotate.errors import DamagedArtifact, Hint, InputError, printable
from annotate.kernels.asking import AUTO, STRATEGIES, Batch, Pool, centred, choose, share_right
from annotate.records import Embeddings, Refinement, Texts
from annotate.records.people import Question, Questions
from annotate.reports import asking
from annotate.stages import Context
from annotate.stages.refine import read_labelled
from annotate.stages.soft import safe, write_csv
from annotate.workspace import Workspace, jsonfile
from annotate.workspace.opening import own_folder, replacing_file

FILE = "questions.json"
MOST = 2000  # questions of a batch; the page holds a picture of each
COLUMNS = ("number", "path", "label", "confidence", "second", "second_confidence", "chosen", "answer")


@dataclass(frozen=True)
class Request:
    """What somebody asks for.

    budget    images to ask about
    strategy  one of STRATEGIES
    output    folder
    """

    budget: int
    strategy: str = AUTO
    output: str | Path = "questions"
    seed: int = 0


def ask(context: Context, request: Request) -> Questions:
    """Choose the images, and write queries.csv, sheet.html, sheet.png and ask.html.

    raises  InputError for a budget or a strategy that makes no sense, MissingArtifact without labels
    """
    if request.strategy not in STRATEGIES:
        raise InputError(f"no strategy '{printable(request.strategy)}'", hint=f"use one of {', '.join(STRATEGIES)}")
    if not 1 <= request.budget <= MOST:
        raise InputError(
            f"--budget {request.budget}: 1 to {MOST:,} images", hint=Hint("for example 50", "for example --budget 50")
        )
    with context.workspace.lock():
        images, texts, refinement = read_labelled(context.workspace)
        if refinement.answered.all():
            raise InputError("every image has an answer already", hint="add images, or look at the report")
        known = answered_since(context.workspace, images, texts, refinement)
        with context.progress.doing("choosing the images") as said:
            batch = choose(pool_of(images, refinement), request.strategy, request.budget, request.seed)
            said(f"{len(batch.rows):,} images")
        questions = questions_of(batch, images, texts, refinement)
        folder = own_folder(Path(request.output))
        pictures = asking.pictures_of(
            images, batch.rows, context.config.resolve().embed.max_megapixels, context.progress
        )
        write_csv(folder / "queries.csv", [COLUMNS, *(row_of(*one) for one in enumerate(questions, 1))])
        put(folder / "sheet.html", asking.sheet(questions, pictures).encode())
        put(folder / "sheet.png", asking.drawn_sheet(questions, pictures))
        likeliest = refinement.likeliest(batch.rows, 9)[0]
        put(folder / "ask.html", asking.page(questions, pictures, texts.class_names, likeliest).encode())
        remember(context.workspace, questions, refinement, batch, images)
    right, of = known
    return Questions(folder, questions, (of, right), share_right(right, of))


def pool_of(images: Embeddings, refinement: Refinement) -> Pool:
    """What the strategies see: the refined probabilities, for answered images without their own answers."""
    chances = np.asarray(refinement.probabilities, np.float64)
    largest = -np.partition(-chances, min(1, chances.shape[1] - 1), axis=1)[:, :2]
    second = largest[:, 1] if chances.shape[1] > 1 else np.zeros(len(chances))
    spread = -(chances * np.log(np.maximum(chances, 1e-30))).sum(axis=1)
    x = centred(images.embeddings)
    return Pool(x, refinement.labels, largest[:, 0], second, spread, refinement.answered)


def questions_of(batch: Batch, images: Embeddings, texts: Texts, refinement: Refinement) -> list[Question]:
    names, (classes, chances) = texts.class_names, refinement.likeliest(batch.rows, 2)
    questions = []
    for place, row in enumerate(batch.rows.tolist()):
        second = int(classes[place, 1]) if classes.shape[1] > 1 else int(classes[place, 0])
        questions.append(
            Question(
                path=images.image_paths[row],
                label=names[int(refinement.labels[row])],
                confidence=float(refinement.confidences[row]),
                second=names[second],
                second_confidence=float(chances[place, 1]) if classes.shape[1] > 1 else 0.0,
                random=bool(batch.random[place]),
            )
        )
    return questions


def row_of(number: int, question: Question) -> list[object]:
    """A line of queries.csv; a person fills the last cell."""
    chosen = "at random" if question.random else "strategy"
    sure = [f"{question.confidence:.4f}", f"{question.second_confidence:.4f}"]
    names = safe(question.path), safe(question.label), safe(question.second)
    return [number, names[0], names[1], sure[0], names[2], sure[1], chosen, ""]


def put(path: Path, content: bytes) -> None:
    with replacing_file(path) as file:
        file.write(content)


# -- how right labels are, by those that were drawn at random -------------------------------------------


def remember(
    workspace: Workspace, questions: list[Question], refinement: Refinement, batch: Batch, images: Embeddings
) -> None:
    """Keep the label that each image drawn at random has now, unless it was asked about before."""
    before = remembered(workspace)
    for row, question in zip(batch.rows.tolist(), questions, strict=True):
        if question.random:
            before.setdefault(key_of(images, row), question.label)
    put(workspace.root / FILE, json.dumps({"drawn": before}, ensure_ascii=False, indent=1).encode("utf-8", "replace"))


def remembered(workspace: Workspace) -> dict[str, str]:
    """The label of each image that was drawn at random, when it was asked about first."""
    path = workspace.root / FILE
    try:
        content: Any = jsonfile.loads(path.read_bytes())
        return {str(key): str(label) for key, label in content["drawn"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedArtifact(
            f"{printable(path)}: not the questions that were written",
            hint="delete the file: it says how right labels were",
        ) from error


def key_of(images: Embeddings, row: int) -> str:
    fact = images.images[row]
    return fact["digest"] if fact else images.image_paths[row]


def answered_since(workspace: Workspace, images: Embeddings, texts: Texts, refinement: Refinement) -> tuple[int, int]:
    """Of the images drawn at random that are answered now: how many had the right label, and how many there are."""
    drawn = remembered(workspace)
    if not drawn or refinement.answers is None:
        return 0, 0
    right = of = 0
    for row in np.flatnonzero(refinement.answered).tolist():
        label = drawn.get(key_of(images, row))
        if label is not None:
            of += 1
            right += label == texts.class_names[int(refinement.answers[row])]
    return right, of
