"""Two models against each alone: `annotate refine --also` on real CLIP embeddings cut into two halves.

    python -m benchmarks.ensemble FILE.npz ... [--dimensions 256] [--seeds 5]

A FILE.npz holds image_embeddings (N, D), text_embeddings (K, D) and labels (N,). For each seed the dimensions are dealt
to two "models" at random, so many to each, and their rows normalised. `uneven` adds noise to the images of the second,
which makes it a much weaker model than the first.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import annotate
from annotate.kernels.calibration import reliability
from annotate.kernels.vectors import unit
from annotate.records import Refinement
from benchmarks.cases import Case, read
from benchmarks.refinement import brought, mean, row

METHODS = ("direct", "auto")
VIEWS = ("first", "second", "both")


def halves(case: Case, dimensions: int, seed: int, noise: float) -> Iterator[Case]:
    """The case as two models see it, the second through noise of that length beside rows of length one."""
    rng = np.random.default_rng(seed)
    dealt = rng.permutation(case.images.shape[1])
    for part, blur in ((dealt[:dimensions], 0.0), (dealt[dimensions : 2 * dimensions], noise)):
        images = unit(case.images[:, part])
        images = unit(images + blur * unit(rng.normal(size=images.shape)))
        yield Case(case.name, seed, images, unit(case.texts[:, part]), case.truth)


def measured(case: Case, dimensions: int, seed: int, noise: float) -> dict[tuple[str, str], tuple[float, float]]:
    """Accuracy and calibration error in percent, by view and method."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        places = []
        for number, half in enumerate(halves(case, dimensions, seed, noise)):
            (Path(folder) / str(number)).mkdir()
            places.append(brought(half, Path(folder) / str(number)))
        for method in METHODS:
            for view, place, also in zip(VIEWS, (*places, places[0]), ([], [], places[1:]), strict=True):
                made = annotate.refine(workspace=place, also=also, method=method)
                found[view, method] = score(made, case)
    return found


def score(made: Refinement, case: Case) -> tuple[float, float]:
    right = made.labels == case.truth
    return 100 * float(right.mean()), 100 * reliability(made.confidences, right).error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="FILE.npz of embeddings, names and labels")
    parser.add_argument("--dimensions", type=int, default=256, help="of each half")
    parser.add_argument("--seeds", type=int, default=5, help="ways to deal the dimensions")
    args = parser.parse_args()
    columns = [(view, method) for method in METHODS for view in VIEWS]
    print("| accuracy, % (ECE, %) | " + " | ".join(f"{m}, {v}" for v, m in columns) + " |", "|---" * 7 + "|", sep="\n")
    for case in map(read, args.files):
        for name, noise in (("even", 0.0), ("uneven", 1.0)):
            runs = [measured(case, args.dimensions, seed, noise) for seed in range(args.seeds)]
            for field in (0, 1):
                print(row(f"{case.name}, {name}", [mean(run[column][field] for run in runs) for column in columns]))


if __name__ == "__main__":
    main()
