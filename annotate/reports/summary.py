"""The numbers of a report: what report.json holds, and what the pages and figures are drawn from.

Everything here is plain JSON: names and numbers, null for what does not exist. Class names are keys in the
order in which they were given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.errors import first_few
from annotate.kernels.calibration import coverage, reliability
from annotate.kernels.scores import confusion, precision_recall
from annotate.kernels.statistics import percentiles, statistics
from annotate.kernels.vectors import Floats, Ints
from annotate.records import Clusters, Embeddings, Note, Refinement, Texts
from annotate.reports.strangers import strangers_of
from annotate.reports.truth import UNKNOWN, Truth

SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)  # of the images, kept by confidence
MOST_CONFUSED = 20  # pairs


def summarize(
    images: Embeddings,
    texts: Texts,
    refinement: Refinement,
    clusters: Clusters | None = None,
    truth: Truth | None = None,
    *,
    least_certain: int = 0,
    estimated: bool = False,
) -> dict[str, Any]:
    """All numbers of a report on a labelled set of images.

    Images whose class somebody gave are listed, and count in neither confidence nor coverage nor accuracy:
    `counted` is how many others there are.

    least_certain  how many images to list, least certain first
    estimated      whether confidences are estimates of accuracy, not a softmax at a temperature that was given
    """
    names = texts.class_names
    labels, counted = refinement.labels, ~refinement.answered
    confidences = refinement.confidences[counted]
    counts = np.bincount(labels, minlength=len(names))
    ranges = dict(zip(names, map(percentiles, by_class(confidences, labels[counted], len(names))), strict=True))
    doubtful = np.flatnonzero(counted)[np.argsort(confidences, kind="stable")[:least_certain]]
    return {
        "images": len(labels),
        "classes": len(names),
        "class_distribution": dict(zip(names, counts.tolist(), strict=True)),
        "counted": len(confidences),
        "given": images_with_answers(images, refinement, names),
        "confidence": statistics(confidences),
        "confidence_per_class": ranges,
        "confidence_is_estimate": estimated,
        "coverage": coverage_rows(refinement, truth),
        "method": refinement.method,
        "temperature": refinement.temperature,
        "model": images.model["name"],
        "prompts": texts.prompt_set,
        "folder": images.folder,
        "history": refinement.history,
        "clusters": cluster_counts(clusters) if clusters else None,
        "skipped": images.skipped,
        "warnings": report_warnings(refinement, counts, names),
        "strangers": strangers_of(images, refinement, names, least_fitting=least_certain),
        "least_certain": doubts(images, texts, refinement, doubtful),
        "truth": truth_scores(refinement, truth, names) if truth else None,
    }


def by_class(confidences: Floats, labels: Ints, k: int) -> list[Floats]:
    """The confidences of each class's images."""
    ends = np.cumsum(np.bincount(labels, minlength=k))[:-1]
    return np.split(confidences[np.argsort(labels, kind="stable")], ends)


def images_with_answers(images: Embeddings, refinement: Refinement, names: Sequence[str]) -> dict[str, Any] | None:
    """The images whose class somebody gave, with what they would be called without that; null where there are none."""
    answers, labels, confidences = (
        refinement.answers, refinement.labels_without_answer, refinement.confidences_without_answer,
    )  # fmt: skip
    if answers is None or labels is None or confidences is None:
        return None
    rows = np.flatnonzero(refinement.answered)
    return {
        "images": len(rows),
        "otherwise": int((labels[rows] != answers[rows]).sum()),
        "list": [
            {
                "path": images.image_paths[i],
                "class": names[answers[i]] if answers[i] >= 0 else "none of these",
                "label_without_answer": names[labels[i]],
                "confidence_without_answer": float(confidences[i]),
            }
            for i in rows.tolist()
        ],
    }


def coverage_rows(refinement: Refinement, truth: Truth | None) -> list[dict[str, float | None]]:
    """Accuracy expected of the most certain images, share by share; with the true accuracy where it is known."""
    confidences, counted = refinement.confidences, ~refinement.answered
    rows: list[dict[str, float | None]] = []
    for kept in coverage(confidences[counted], SHARES) if counted.any() else ():
        rows.append({**asdict(kept), "accuracy": None})
        if truth:
            judged = counted & (truth.labels != UNKNOWN) & (confidences >= np.float32(kept.confidence))
            if judged.any():
                rows[-1]["accuracy"] = float((truth.labels == refinement.labels)[judged].mean())
    return rows


def cluster_counts(clusters: Clusters) -> dict[str, int]:
    return {
        "micro": len(clusters.micro_centroids),
        "meta": len(clusters.meta_centroids),
        "noise": int((clusters.micro_assignments < 0).sum()),
    }


def report_warnings(refinement: Refinement, counts: Ints, names: Sequence[str]) -> list[Note]:
    """What refinement noticed, and classes that no image got."""
    empty = [f"'{name}'" for name, count in zip(names, counts, strict=True) if not count]
    if not empty or refinement.method == "transductive":  # which has warned of them itself
        return refinement.notes
    return [
        *refinement.notes,
        {
            "message": f"no image is labelled {first_few(empty)}",
            "hint": "if the images show it, reword the class or give prompts: --prompts FILE.yaml",
        },
    ]


def doubts(images: Embeddings, texts: Texts, refinement: Refinement, rows: Ints) -> list[dict[str, Any]]:
    """The given images with their label and the class that came second."""
    names = texts.class_names
    second, probabilities = runners_up(refinement, rows)
    return [
        {
            "path": images.image_paths[i],
            "label": names[refinement.labels[i]],
            "confidence": float(refinement.confidences[i]),
            "runner_up": names[k],
            "runner_up_probability": p,
        }
        for i, k, p in zip(rows.tolist(), second.tolist(), probabilities.tolist(), strict=True)
    ]


def runners_up(refinement: Refinement, rows: Ints) -> tuple[Ints, Floats]:
    """The most probable class but the label, for the given images, and its probability."""
    classes, probabilities = refinement.likeliest(rows, 2)
    return classes[:, 1], probabilities[:, 1]


# -- against the truth ---------------------------------------------------------------------------------


def judged_by(truth: Truth, refinement: Refinement) -> npt.NDArray[np.bool_]:
    """(N,) whether an image tells how right labels are: its true class is one of the classes, and nobody gave it."""
    judged: npt.NDArray[np.bool_] = (truth.labels != UNKNOWN) & ~refinement.answered
    return judged


def truth_scores(refinement: Refinement, truth: Truth, names: Sequence[str]) -> dict[str, Any]:
    """How right the labels are, over the images of `judged_by`; null where there is no such image."""
    judged = judged_by(truth, refinement)
    true, labels, confidences = truth.labels[judged], refinement.labels[judged], refinement.confidences[judged]
    right = true == labels
    curve = reliability(confidences.astype(np.float64), right)
    counts = confusion(true, labels, len(names))
    return {
        "source": truth.source,
        "images": len(right),
        "left_out": {
            "given": int((refinement.answered & (truth.labels != UNKNOWN)).sum()),
            "outside_the_classes": sum(truth.outside.values()),
            "outside_names": dict(truth.outside),
            "unknown": truth.unknown,
            "unused_entries": truth.unused,
            "disputed": truth.disputed,
        },
        "accuracy": float(right.mean()) if len(right) else None,
        "mean_confidence": float(confidences.mean(dtype=np.float64)) if len(right) else None,
        "per_class": per_class(counts, names),
        "confusion": sparse(counts, names),
        "most_confused": most_confused(counts, names),
        "calibration": [
            {"confidence": float(c), "accuracy": float(a), "share": float(s)}
            for c, a, s in zip(curve.confidence, curve.accuracy, curve.share, strict=True)
        ],
        "ece": curve.error if len(right) else None,
    }


def per_class(counts: npt.NDArray[np.int64], names: Sequence[str]) -> dict[str, dict[str, float | None]]:
    precision, recall = precision_recall(counts)
    return {
        name: {
            "images": int(counts[k].sum()),
            "labelled": int(counts[:, k].sum()),
            "precision": or_null(precision[k]),
            "recall": or_null(recall[k]),
        }
        for k, name in enumerate(names)
    }


def or_null(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def sparse(counts: npt.NDArray[np.int64], names: Sequence[str]) -> dict[str, dict[str, int]]:
    """True class to label to images; what never happened is left out."""
    return {
        name: {names[j]: int(row[j]) for j in np.flatnonzero(row).tolist()}
        for name, row in zip(names, counts, strict=True)
        if row.any()
    }


def most_confused(counts: npt.NDArray[np.int64], names: Sequence[str]) -> list[dict[str, Any]]:
    """Pairs of true class and wrong label, most images first."""
    wrong = counts - np.diag(np.diag(counts))
    true, label = np.nonzero(wrong)
    order = np.argsort(-wrong[true, label], kind="stable")[:MOST_CONFUSED]
    return [
        {"truth": names[t], "label": names[j], "images": int(wrong[t, j])}
        for t, j in zip(true[order].tolist(), label[order].tolist(), strict=True)
    ]
