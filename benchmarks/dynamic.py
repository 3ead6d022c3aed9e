"""`dynamic`, the whole command, beside the plain loop: labels and seconds.

    python -m benchmarks.dynamic [--images 200000] [--classes 100 1000] [--repeats 3] [--write]
    python -m benchmarks.dynamic --script FOLDER

The plain loop is the method as one writes it first: float32, one matrix product per pass, a boolean mask per class. It
starts with arrays in memory and ends with labels; the command starts as a process with a workspace on disk that has no
labels yet, and ends with labels, probabilities, confidences and history published. `--script` is the same loop as a
script of its own: it starts Python, reads the arrays that lie in FOLDER and saves labels and confidences there, by
numpy and nothing else. All three run in turn, `--repeats` times; the least of each counts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.tables import write

if TYPE_CHECKING:
    from annotate.kernels.vectors import Floats

DOCS = Path(__file__).parents[1] / "docs/refinement.md"


def plain(x: Floats, texts: Floats, iterations: int = 10, start: float = 0.95, end: float = 0.60) -> Floats:
    """Similarities to the last prototypes, (N, K)."""
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
    return np.asarray(x @ prototypes.T)


def script(folder: Path, logit_scale: float = 100.0) -> None:
    """Labels and confidences of the arrays in a folder, saved beside them."""
    logits = plain(np.load(folder / "x.npy"), np.load(folder / "texts.npy")) * np.float32(logit_scale)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    np.save(folder / "labels.npy", probabilities.argmax(axis=1))
    np.save(folder / "confidences.npy", probabilities.max(axis=1))


def compared(n: int, k: int, repeats: int) -> list[str]:
    """A row of the table: images, classes, seconds of all three, both ratios, labels that differ."""
    from benchmarks.planted import planted, workspace  # here, for the script must not wait for what it does not use

    with tempfile.TemporaryDirectory() as folder:
        x, texts, _ = planted(n, k)
        place = workspace(Path(folder), x, texts)
        np.save(Path(folder) / "x.npy", x)
        np.save(Path(folder) / "texts.npy", texts)
        python = [sys.executable, "-m"]
        commands = {
            "ours": [*python, "annotate", "refine", "--method", "dynamic", "-w", str(place)],
            "script": [*python, "benchmarks.dynamic", "--script", folder],
        }
        # Installed code is compiled; a checkout may be where nothing compiled is kept.
        compiled = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": f"{folder}/compiled"}
        subprocess.run(commands["ours"], check=True, capture_output=True, env=compiled)
        taken: dict[str, list[float]] = {"loop": [], "script": [], "ours": []}
        for _ in range(repeats):
            start = time.perf_counter()
            labels = plain(x, texts).argmax(axis=1)
            taken["loop"].append(time.perf_counter() - start)
            shutil.rmtree(place / "refine")
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True, env=compiled)
                taken[name].append(time.perf_counter() - start)
        differ = int((np.load(place / "refine/labels.npy") != labels).sum())
    loop, alone, ours = (min(taken[name]) for name in ("loop", "script", "ours"))
    seconds = [f"{loop:.2f}", f"{alone:.2f}", f"{ours:.2f}"]
    return [f"{n:,}", f"{k:,}", *seconds, f"{loop / ours:.1f}", f"{alone / ours:.1f}", f"{differ}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--classes", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the table into docs/refinement.md")
    parser.add_argument("--script", type=Path, metavar="FOLDER", help="run the loop on the arrays in this folder")
    args = parser.parse_args()
    if args.script:
        script(args.script)
        return
    titles = (
        *("images", "classes", "plain loop, s", "the loop as a script, s", "`annotate refine`, s"),
        *("loop / ours", "script / ours", "labels that differ"),
    )
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for k in args.classes:
        lines.append("| " + " | ".join(compared(args.images, k, args.repeats)) + " |")
        print(lines[-1], flush=True)
    if args.write:
        write(DOCS, "dynamic", "\n".join(lines))


if __name__ == "__main__":
    main()
