"""`dynamic`, the whole command, beside the plain loop: labels and seconds.

    python -m benchmarks.dynamic [--images 200000] [--classes 100 1000] [--repeats 3] [--write]

The plain loop is the method as one writes it first: float32, one matrix product per pass, a boolean mask per class. It
starts with arrays in memory and ends with labels; the command starts as a process with a workspace on disk, and ends
with labels, probabilities, confidences and history published. Both run in turn, `--repeats` times; the least of each
counts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from annotate.kernels.vectors import Floats, Ints
from benchmarks.planted import planted, workspace
from benchmarks.tables import write

DOCS = Path(__file__).parents[1] / "docs/refinement.md"


def plain(x: Floats, texts: Floats, iterations: int = 10, start: float = 0.95, end: float = 0.60) -> Ints:
    prototypes = texts
    for t in range(iterations):
        labels = (x @ prototypes.T).argmax(axis=1)
        weight = start - (start - end) * t / iterations
        means = texts.copy()
        for k in range(len(texts)):
            mask = labels == k
            if mask.any():
                mean = x[mask].mean(axis=0)
                means[k] = mean / np.linalg.norm(mean)
        prototypes = weight * texts + (1 - weight) * means
        prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    return np.asarray((x @ prototypes.T).argmax(axis=1), np.int64)


def compared(n: int, k: int, repeats: int) -> list[str]:
    """A row of the table: images, classes, seconds of both, their ratio, labels that differ."""
    with tempfile.TemporaryDirectory() as folder:
        x, texts, _ = planted(n, k)
        place = workspace(Path(folder), x, texts)
        ours, theirs = [], []
        command = [sys.executable, "-m", "annotate", "refine", "--method", "dynamic", "--force", "-w", str(place)]
        # Installed code is compiled; a checkout may be where nothing compiled is kept.
        compiled = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": f"{folder}/compiled"}
        subprocess.run(command, check=True, capture_output=True, env=compiled)
        for _ in range(repeats):
            start = time.perf_counter()
            labels = plain(x, texts)
            theirs.append(time.perf_counter() - start)
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=compiled)
            ours.append(time.perf_counter() - start)
        differ = int((np.load(place / "refine/labels.npy") != labels).sum())
    return [
        f"{n:,}",
        f"{k:,}",
        f"{min(theirs):.2f}",
        f"{min(ours):.2f}",
        f"{min(theirs) / min(ours):.1f}",
        f"{differ}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--classes", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the table into docs/refinement.md")
    args = parser.parse_args()
    titles = ("images", "classes", "plain loop, s", "`annotate refine`, s", "ratio", "labels that differ")
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for k in args.classes:
        lines.append("| " + " | ".join(compared(args.images, k, args.repeats)) + " |")
        print(lines[-1], flush=True)
    if args.write:
        write(DOCS, "dynamic", "\n".join(lines))


if __name__ == "__main__":
    main()
