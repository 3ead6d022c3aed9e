"""report: what the labels look like, for a terminal, a browser and a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annotate.exports.results import RESULTS, write_results
from annotate.kernels.projection import project, sample
from annotate.kernels.scores import confusion
from annotate.progress import Progress
from annotate.records import Clusters, Embeddings, Refinement, Reported, Texts
from annotate.reports import figures, paper
from annotate.reports.galleries import make_galleries
from annotate.reports.page import page
from annotate.reports.plaintext import text_report
from annotate.reports.summary import judged_by, summarize
from annotate.reports.truth import NO_TRUTH, Truth, implied_truth, read_truth
from annotate.settings.declared import Settings
from annotate.stages import Context, Stage, as_asked
from annotate.stages.refine import read_labelled
from annotate.workspace import Workspace
from annotate.workspace.artifacts import write_bytes
from annotate.workspace.digests import content_digest
from annotate.workspace.plan import Plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNAVAILABLE = "images_unavailable"  # in the manifest, beside what the report was made on


@dataclass(frozen=True)
class Material:
    """What a report tells of.

    estimated  whether confidences are estimates of accuracy
    ran_on     how many images could not be read just now, known when the report is made
    """

    images: Embeddings
    texts: Texts
    refinement: Refinement
    clusters: Clusters | None
    truth: Truth | None
    settings: Settings
    estimated: bool
    ran_on: dict[str, Any] = field(default_factory=dict)


class Report(Stage[Reported]):
    """report.txt, report.html, report.json and the figures.

    Asked with `truth`, a CSV of path,class, a folder-per-class tree, or the word `folders`, it has accuracy and the
    like, of the images whose class nobody gave to `refine`. Unless named, the images' own folders are the truth where
    each bears the name of a class; `none` is for neither.
    """

    name, record, version, after = "report", Reported, 7, ("embed", "text", "cluster", "refine")
    asks, sections, packages = ("truth",), ("report",), ("pillow",)

    def plan(self, context: Context, *, force: bool = False, truth: Path | None = None, **asked: Any) -> Plan:
        """raises  StaleArtifact where labels and images are not of one run, InputError for a truth that says nothing"""
        workspace = context.workspace
        images, texts, refinement = read_labelled(workspace)
        truth = Path(truth) if truth else None
        if truth is None:
            known = implied_truth(images.image_paths, texts.class_names)
        elif str(truth) == NO_TRUTH:
            known = None
        else:
            known = read_truth(truth, images.image_paths, texts.class_names, folder=images.folder, images=images.images)
        settings = context.config.resolve(len(images.embeddings))
        estimated = confidence_is_estimate(workspace, refinement)
        material = Material(images, texts, refinement, read_clusters(workspace), known, settings, estimated)
        request = context.config.request("report", n=len(images.embeddings), truth=as_asked(truth))
        return replace(plan_for(self, workspace, material), request=request, found=material, why=lacks(workspace))

    def make(self, context: Context, plan: Plan, folder: Path) -> Reported:
        material: Material = plan.found
        settings, progress = material.settings, context.progress
        images, texts, refinement, truth = material.images, material.texts, material.refinement, material.truth
        summary = summarize(
            images,
            texts,
            refinement,
            material.clusters,
            truth,
            least_certain=settings.report.least_certain,
            estimated=material.estimated,
        )
        drawn = draw_figures(folder / "figures", summary, material, progress)
        galleries = make_galleries(
            images,
            texts,
            refinement,
            truth,
            per_class=settings.report.thumbnails,
            least_certain=settings.report.least_certain,
            max_megapixels=settings.embed.max_megapixels,
            progress=progress,
        )
        if galleries.unavailable:
            material.ran_on[UNAVAILABLE] = galleries.unavailable
            progress.note(
                {
                    "message": f"images that could not be read just now have no picture in the report: "
                    f"{galleries.unavailable:,}",
                    "hint": "the next `annotate report` tries them again",
                }
            )
        write_text(folder / "report.txt", text_report(summary))
        write_results(folder / RESULTS, images, texts.class_names, refinement)
        write_text(folder / "report.html", page(summary, galleries, folder / "figures", drawn))
        return Reported(summary, drawn)

    def ran_on(self, plan: Plan) -> dict[str, Any]:
        ran_on: dict[str, Any] = plan.found.ran_on
        return ran_on


def lacks(workspace: Workspace) -> str:
    """Why a report that is as it should be is made again: the machine could not read some of its images."""
    unavailable = (workspace.manifest("report") or {}).get("ran_on", {}).get(UNAVAILABLE, 0)
    return f"images that could not be read are tried again ({unavailable:,})" if unavailable else ""


def plan_for(stage: Report, workspace: Workspace, material: Material) -> Plan:
    settings, clusters, truth, estimated = material.settings, material.clusters, material.truth, material.estimated
    inputs = {**workspace.digests("embed"), **workspace.digests("text"), **workspace.digests("refine")}
    if clusters:
        inputs |= workspace.digests("cluster")
    if truth:
        left_out = [dict(truth.outside), truth.unknown, truth.unused, truth.disputed]
        inputs["truth"] = content_digest([truth.labels.tolist(), *left_out])
    chosen = {
        "thumbnails": settings.report.thumbnails,
        "least_certain": settings.report.least_certain,
        "map_points": settings.report.map_points,
        "truth": truth.source if truth else None,
        "confidence_is_estimate": estimated,
    }
    return Plan(stage.name, stage.version, chosen, inputs)


def read_clusters(workspace: Workspace) -> Clusters | None:
    """The workspace's clusters, where they are of these images."""
    return workspace.read(Clusters) if workspace.of_these_embeddings("cluster") else None


def confidence_is_estimate(workspace: Workspace, refinement: Refinement) -> bool:
    """Whether refinement estimated how likely each label is right: `transductive` does, unless given a temperature."""
    knobs = (workspace.manifest("refine") or {"config": {}})["config"]
    return refinement.method == "transductive" and knobs.get("temperature") is None


def draw_figures(folder: Path, summary: Mapping[str, Any], material: Material, progress: Progress) -> list[str]:
    """Draw what there is to draw; returns the file names."""
    images, refinement, truth = material.images, material.refinement, material.truth
    names, labels = material.texts.class_names, refinement.labels
    confidence = summary["confidence"]
    rows = sample(len(labels), material.settings.report.map_points)
    drawings: dict[str, Callable[[], Figure]] = {
        "distribution.png": lambda: figures.distribution(np.bincount(labels, minlength=len(names)), names),
        "map.png": lambda: figures.embedding_map(project(images.embeddings[rows]), labels[rows], names),
    }
    if summary["counted"]:
        drawings |= {
            "confidence.png": lambda: figures.confidence_histogram(
                confidence["histogram"], mean=confidence["mean"], median=confidence["median"]
            ),
            "coverage.png": lambda: figures.coverage(
                summary["coverage"], of=summary["counted"], estimated=summary["confidence_is_estimate"]
            ),
            "confidence_per_class.png": lambda: figures.confidence_ranges(summary["confidence_per_class"]),
        }
    if len(refinement.history) > 1:
        drawings["convergence.png"] = lambda: figures.convergence(refinement.history)
    if truth and summary["truth"]["images"]:
        judged = judged_by(truth, refinement)
        counts = confusion(truth.labels[judged], labels[judged], len(names))
        scores = summary["truth"]
        drawings["confusion.png"] = lambda: figures.confusion_matrix(counts, names)
        drawings["calibration.png"] = lambda: figures.calibration(scores["calibration"], error=scores["ece"])
    folder.mkdir(parents=True)
    with progress.steps("figures", len(drawings), "figures") as advance:
        for name, draw in drawings.items():
            paper.save(draw(), folder / name)
            advance(1)
    return list(drawings)


def write_text(path: Path, text: str) -> None:
    """UTF-8; file names that are not text show their bytes as escapes."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


STAGE = Report()
