"""Write metadata.json and report.txt of a dataset: what is in it, image by image, and how it was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from annotate.errors import first_few, printable
from annotate.exports.layout import APART, NO_SPLIT, Layout
from annotate.kernels.blocks import BLOCK, products, single, slices
from annotate.kernels.splits import SPLITS
from annotate.kernels.statistics import statistics
from annotate.records import Embeddings, Refinement, Texts

TOP_SIMILARITIES = 20  # classes listed with an image; all of a thousand would take some 30 KB an image


def describe(
    images: Embeddings, texts: Texts, labels: Refinement, layout: Layout, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """The dataset as JSON: totals, then an entry for every image, then where it all came from."""
    names = texts.class_names
    counts = list(layout.counts.values())
    organized: dict[str, list[str]] = {name: [] for name in names}
    apart: dict[str, list[str]] = {}
    for place, folder in zip(layout.places, layout.chosen.tolist(), strict=True):
        if folder < len(names):
            organized[names[folder]].append(place)
        else:
            apart.setdefault(layout.folders[folder], []).append(place)
    return {
        "method": labels.method,
        "class_names": names,
        "class_folders": dict(zip(names, layout.folders, strict=False)),
        "class_to_idx": layout.in_loaders,
        "missing_in_splits": layout.missing_in_splits(names),
        "num_images": len(images.image_paths),
        "class_distribution": dict(zip(names, counts[: len(names)], strict=True)),
        "splits": layout.split_counts,
        "statistics": confidence_statistics(labels),
        "organized_paths": organized,
        **apart,
        **({"strangers": strangers_of(labels)} if labels.strange.any() else {}),
        **({"given": given_places(labels, layout)} if labels.answered.any() else {}),
        "images": list(image_rows(images, texts, labels, layout)),
        "provenance": dict(provenance),
    }


def strangers_of(labels: Refinement) -> list[dict[str, Any]]:
    """The groups of images that fit none of the names: how many images, and what they look like, in common names."""
    assert labels.strangers is not None
    counts = np.bincount(labels.strangers[labels.strange]).tolist()
    looks = labels.looks_like or [[] for _ in counts]
    return [{"images": count, "looks_like": names} for count, names in zip(counts, looks, strict=True)]


def fit_of(labels: Refinement, row: int) -> dict[str, Any]:
    """How well the names explain an image, and whether it fits none of them; nothing where nobody looked."""
    found: dict[str, Any] = {}
    if labels.fit is not None:
        found["fit"] = round(float(labels.fit[row]), 6)
    if labels.strangers is not None:
        found["stranger"] = bool(labels.strangers[row] >= 0)
    return found


def confidence_statistics(labels: Refinement) -> dict[str, float | None]:
    """Confidence over the images whose class nobody gave, as in the report."""
    found = statistics(labels.confidences[~labels.answered])
    return {f"{name}_confidence": found[name] for name in ("mean", "median", "std", "min", "max")}


def given_places(labels: Refinement, layout: Layout) -> list[str]:
    """Where the images are whose class somebody gave."""
    return [layout.places[i] for i in np.flatnonzero(labels.answered).tolist()]


def image_rows(images: Embeddings, texts: Texts, labels: Refinement, layout: Layout) -> Iterator[dict[str, Any]]:
    """One entry per image: where it was, where it is, its class, and its cosines to the likeliest prototypes."""
    names, in_loaders = texts.class_names, layout.in_loaders
    for block in slices(len(images.embeddings), BLOCK):
        similarity = products(single(images.embeddings[block]), labels.class_prototypes)
        best, _ = labels.likeliest(block, TOP_SIMILARITIES)
        shown = np.take_along_axis(similarity, best, axis=1)
        rows, paths, facts = range(block.start, block.stop), images.image_paths[block], images.images[block]
        for i, path, fact, classes, cosines in zip(rows, paths, facts, best.tolist(), shown.tolist(), strict=True):
            label = int(labels.labels[i])
            yield {
                "original_path": path,
                "organized_path": layout.places[i],
                "split": None if layout.splits[i] == NO_SPLIT else SPLITS[layout.splits[i]],
                "class_index": label,
                "class_name": names[label],
                "loader_index": None if layout.splits[i] == NO_SPLIT else in_loaders[layout.folders[layout.chosen[i]]],
                "confidence": round(float(labels.confidences[i]), 6),
                **without_answer(labels, i, names),
                **fit_of(labels, i),
                "similarities": {names[k]: round(cosine, 6) for k, cosine in zip(classes, cosines, strict=True)},
                "sha256": fact["digest"] if fact else None,
            }


def without_answer(labels: Refinement, row: int, names: Sequence[str]) -> dict[str, Any]:
    """For an image whose class somebody gave: what annotate would have labelled it; nothing for all others."""
    called, sure = labels.labels_without_answer, labels.confidences_without_answer
    if called is None or sure is None or not labels.answered[row]:
        return {}
    return {
        "given": True,
        "without_answer": {"class_name": names[called[row]], "confidence": round(float(sure[row]), 6)},
    }


def dataset_report(metadata: Mapping[str, Any]) -> str:
    """The text of report.txt: what the dataset is, for whoever opens its folder."""
    total = metadata["num_images"]
    model, splits, stats = metadata["provenance"]["model"], metadata["splits"], metadata["statistics"]
    apart = {folder: len(metadata[folder]) for folder in APART if folder in metadata}
    given = len(metadata.get("given", []))
    sure = (
        "not measured: the class of every image was given"
        if stats["mean_confidence"] is None
        else f"mean {stats['mean_confidence']:.3f}, median {stats['median_confidence']:.3f}, "
        f"lowest {stats['min_confidence']:.3f}"
    )
    shown = metadata["class_distribution"] | {f"{folder}/": count for folder, count in apart.items()}
    width = min(40, max(len(printable(name)) for name in shown))
    lines = [
        f"{total:,} images in {len(metadata['class_names'])} classes",
        "",
        f"made by     annotate {metadata['provenance']['packages'].get('annotate-images', '')}, "
        f"method {metadata['method']}, model {model['name']}",
        f"splits      {', '.join(f'{name} {count:,}' for name, count in splits.items())}",
        f"confidence  {sure}",
        *(
            [f"given       the class of {given:,} image{'s' * (given != 1)}, not counted in the line above"]
            if given
            else []
        ),
        "",
        *(
            f"{printable(name)[:width]:<{width}}  {count:>8,}  {100 * count / total:5.1f} %"
            for name, count in shown.items()
        ),
        "",
        "metadata.json lists every image, with its original path and its similarity to the classes.",
        "results.csv has a row for each image. Fill in its column `answer`, and give it to `annotate label`.",
        *(f"Images in {folder}/ {APART[folder]}; they are in no split." for folder in apart),
        "splits/ holds the same images again, sorted into train, val and test. On most disks they take no more space.",
        "Point a loader at splits/train, splits/val and splits/test, not at this folder: splits/ is not a class.",
        *(
            f"splits/{split} has no image of {first_few([printable(name) for name in names])}."
            for split, names in metadata["missing_in_splits"].items()
        ),
    ]
    return "\n".join(lines) + "\n"
