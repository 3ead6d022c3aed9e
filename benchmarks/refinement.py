"""Accuracy, calibration error and time of every method of refinement and of published peers, case by case.

    python -m benchmarks.refinement --data DIR [--seeds 5] [--write]
    python -m benchmarks.refinement --data DIR --sensitivity
    python -m benchmarks.refinement FILE.npz ...

DIR holds the files that cases.py cuts; --write puts the tables into docs/refinement.md. --sensitivity halves and
doubles each constant of `transductive`. A FILE.npz holds image_embeddings (N, D), text_embeddings (K, D) and labels
(N,) of any CLIP model. Without either the demo's digits are embedded with `tiny` and measured.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import annotate
from annotate.kernels import proof, transduction
from annotate.kernels.blocks import one_thread_per_product
from annotate.kernels.calibration import reliability
from annotate.kernels.neighbours import nearest_neighbours, neighbour_graph
from annotate.kernels.vectors import Floats
from annotate.methods.transductive import TRANSDUCTIVE
from benchmarks.cases import Case, few, further, published, read
from benchmarks.peers import stata, transclip, zlap
from benchmarks.tables import show

DOCS = Path(__file__).parents[1] / "docs/refinement.md"
OURS: dict[str, dict[str, Any]] = {
    "direct": {"method": "direct"},
    "dynamic": {"method": "dynamic"},
    "soft": {"method": "soft"},
    "auto": {"method": "auto"},
}
PEERS: dict[str, Callable[[Case], Any]] = {
    "TransCLIP": lambda case: transclip(case.images, case.texts, logit_scale=case.logit_scale),
    "StatA": lambda case: stata(case.images, case.texts, logit_scale=case.logit_scale),
    "ZLaP": lambda case: zlap(case.images, case.texts),
}
CONSTANTS = (
    *("SHARPNESS", "AGREEMENT", "ABSENT", "DOUBT", "ANCHOR", "FEW", "DISCOUNT", "BIASED", "HUBS_FIRST"),
    *("NEIGHBOURS", "ODDS", "PROVES"),
)


@dataclass(frozen=True)
class Score:
    accuracy: float  # percent
    error: float  # expected calibration error in percent, 15 bins
    seconds: float


def measured(case: Case) -> dict[str, Score]:
    """Every method on one case; ours as the whole stage, from artifacts to artifacts."""
    scores = {}
    with tempfile.TemporaryDirectory() as folder:
        place = brought(case, Path(folder))
        for name, knobs in OURS.items():
            start = time.perf_counter()
            made = annotate.refine(workspace=place, force=True, **knobs)
            scores[name] = score(made.confidences, made.labels == case.truth, time.perf_counter() - start)
    for name, method in PEERS.items():
        start = time.perf_counter()
        chances = method(case)
        seconds = time.perf_counter() - start
        scores[name] = score(chances.max(axis=1), chances.argmax(axis=1) == case.truth, seconds)
    return scores


def score(confidences: Floats, right: Any, seconds: float) -> Score:
    return Score(100 * float(right.mean()), 100 * reliability(confidences, right).error, seconds)


def brought(case: Case, folder: Path) -> Path:
    """A workspace of the case, as `annotate import` makes it."""
    np.save(folder / "images.npy", case.images)
    np.save(folder / "texts.npy", case.texts)
    (folder / "paths.txt").write_text("".join(f"{i}\n" for i in range(len(case.images))))
    annotate.import_embeddings(
        folder / "images.npy",
        folder / "paths.txt",
        text_embeddings=folder / "texts.npy",
        classes=[f"class {k}" for k in range(len(case.texts))],
        logit_scale=case.logit_scale,
        workspace=folder / "artifacts",
    )
    return folder / "artifacts"


def tables(cases: Iterable[Case]) -> str:
    """Accuracy, calibration error and time as Markdown, a row for every kind of case, seeds averaged."""
    found: dict[str, list[dict[str, Score]]] = defaultdict(list)
    for case in cases:
        found[case.name].append(measured(case))
        shown = "  ".join(f"{name} {s.accuracy:.1f}" for name, s in found[case.name][-1].items())
        print(f"{case.name} {case.seed}: {shown}", flush=True)
    names = [*OURS, *PEERS]
    means = {
        field: {kind: {m: mean(getattr(s[m], field) for s in runs) for m in names} for kind, runs in found.items()}
        for field in ("accuracy", "error", "seconds")
    }
    lines = []
    for field, title in (("accuracy", "accuracy, %"), ("error", "ECE, %"), ("seconds", "seconds")):
        rows = means[field]
        lines += ["", f"| {title} | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        if field != "seconds":
            lines += [row(kind, [rows[kind][m] for m in names]) for kind in rows]
        lines += [row("**mean**", [mean(rows[kind][m] for kind in rows) for m in names], 2)]
        if field == "accuracy":
            gains = {m: [rows[kind][m] - rows[kind]["direct"] for kind in rows] for m in names}
            lines += [row("**worst against direct**", [min(gains[m]) for m in names])]
        else:
            lines += [row("**worst**", [max(rows[kind][m] for kind in rows) for m in names])]
    return "\n".join(lines).strip()


def mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def row(name: str, values: list[float], digits: int = 1) -> str:
    return f"| {name} | " + " | ".join(f"{value:.{digits}f}" for value in values) + " |"


def sensitivity(groups: dict[str, list[Case]]) -> str:
    """The mean accuracy of `transductive` with each constant halved and doubled, against the mean as shipped."""
    most = 2 * transduction.NEIGHBOURS
    found = {id(case): nearest_neighbours(case.images, most) for cases in groups.values() for case in cases}

    def accuracy(cases: list[Case]) -> float:
        kinds = defaultdict(list)
        for case in cases:
            near = np.s_[:, : transduction.NEIGHBOURS]
            nearest, cosines = found[id(case)]
            *_, last = transduction.transduce(
                case.images,
                case.texts,
                neighbour_graph(nearest[near], cosines[near]),
                np.arange(len(case.images)),
                logit_scale=case.logit_scale,
                iterations=TRANSDUCTIVE.iterations,
            )
            kinds[case.name].append(100 * float((last.labels == case.truth).mean()))
        return mean(mean(values) for values in kinds.values())

    shipped = {group: accuracy(cases) for group, cases in groups.items()}
    titles = [f"{group}, {times}" for group in groups for times in ("halved", "doubled")]
    as_shipped = [f"{shipped[group]:.2f}" for group in groups for _ in (0.5, 2.0)]
    lines = [
        "| constant | value | " + " | ".join(titles) + " |",
        "|---" * (2 + len(titles)) + "|",
        "| as shipped | | " + " | ".join(as_shipped) + " |",
    ]
    for name in CONSTANTS:
        holder = proof if hasattr(proof, name) else transduction
        value = getattr(holder, name)
        moved = []
        for group, cases in groups.items():
            for times in (0.5, 2.0):
                setattr(holder, name, type(value)(round(value * times, 3)))
                moved.append(f"{accuracy(cases) - shipped[group]:+.2f}")
                setattr(holder, name, value)
        lines.append(f"| {name} | {value} | " + " | ".join(moved) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def digits() -> Case:
    """The demo's digits as `tiny` sees them."""
    with tempfile.TemporaryDirectory() as folder:
        made = annotate.demo(folder, digits=True)
        with open(Path(folder) / "digits.csv") as rows:
            truth = np.array([int(line["class"]) for line in csv.DictReader(rows)])
        images, texts = made.embeddings, made.texts
        return Case("digits", 0, images.embeddings, texts.text_embeddings, truth, images.model["logit_scale"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="FILE.npz of embeddings, names and labels")
    parser.add_argument("--data", type=Path, help="folder of the files that the cases are cut from")
    parser.add_argument("--seeds", type=int, default=5, help="draws of each case; two at most of each further one")
    parser.add_argument("--balanced", action="store_true", help="`auto --balanced` as well")
    parser.add_argument("--sensitivity", action="store_true", help="halve and double each constant")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/refinement.md")
    args = parser.parse_args()
    if args.balanced:
        OURS["auto, balanced"] = {"method": "auto", "class_sizes": "balanced"}
    if args.data is None:
        print(tables([read(file) for file in args.files] or [digits()]))
        return
    if args.sensitivity:
        cases = {
            "published": list(published(args.data, args.seeds)),
            "further": list(further(args.data, min(args.seeds, 2))),
            "few photos": list(few(args.data, min(args.seeds, 2))),
        }
        with one_thread_per_product():
            parts = {"sensitivity": sensitivity(cases)}
    else:
        parts = {
            "published cases": tables(published(args.data, args.seeds)),
            "further cases": tables(further(args.data, min(args.seeds, 2))),
        }
    show(parts, DOCS if args.write else None)


if __name__ == "__main__":
    main()
