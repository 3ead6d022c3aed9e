"""Accuracy, calibration error and time of every method, and what the defaults are worth.

    python -m benchmarks.methods [FILE.npz ...]

A file holds image_embeddings (N, D), text_embeddings (K, D) and labels (N,) of any CLIP model. Without one the
demo's digits are embedded with `tiny` and measured.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import annotate
from annotate.kernels.calibration import reliability
from annotate.kernels.vectors import Floats, Ints, unit

VARIANTS: dict[str, dict[str, Any]] = {
    "direct": {"method": "direct"},
    "dynamic": {"method": "dynamic"},
    "dynamic, temperature 0.05": {"method": "dynamic", "temperature": 0.05},
    "transductive": {"method": "transductive"},
    "soft": {"method": "soft"},
    "soft, clusters by size": {"method": "soft", "cluster_weights": "size"},
}


def main() -> None:
    files = [Path(name) for name in sys.argv[1:]]
    for name, images, texts, labels, scale in [read(path) for path in files] or [digits()]:
        print(f"{name}: N = {len(images):,}, K = {len(texts)}")
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            np.save(place / "images.npy", images)
            np.save(place / "texts.npy", texts)
            (place / "paths.txt").write_text("".join(f"{i}\n" for i in range(len(images))))
            annotate.import_embeddings(
                place / "images.npy",
                place / "paths.txt",
                text_embeddings=place / "texts.npy",
                classes=[f"class {k}" for k in range(len(texts))],
                logit_scale=scale,
                workspace=place / "artifacts",
            )
            for variant, knobs in VARIANTS.items():
                start = time.perf_counter()
                made = annotate.refine(workspace=place / "artifacts", force=True, **knobs)
                seconds = time.perf_counter() - start
                right = made.labels == labels
                error = reliability(made.confidences, right).error
                print(
                    f"  {variant:26} accuracy {100 * right.mean():5.1f} %   ECE {100 * error:5.1f} %   {seconds:5.2f} s"
                )


def read(path: Path) -> tuple[str, Floats, Floats, Ints, float]:
    with np.load(path, allow_pickle=False) as stored:
        images, texts = unit(stored["image_embeddings"]), unit(stored["text_embeddings"])
        return path.stem, images, texts, stored["labels"].astype(np.int64), 100.0


def digits() -> tuple[str, Floats, Floats, Ints, float]:
    with tempfile.TemporaryDirectory() as folder:
        made = annotate.demo(folder)
        with open(Path(folder) / "truth.csv") as rows:
            truth = np.array([int(row["class"]) for row in csv.DictReader(rows)])
        scale = made.embeddings.model["logit_scale"]
        return "digits", made.embeddings.embeddings, made.texts.text_embeddings, truth, scale


if __name__ == "__main__":
    main()
