"""Soft labels under a budget on CIFAR-10H: KL against votes an image, ours beside the original recipe and its parts.

    python -m benchmarks.soft --data DIR --kept DIR [--folds 3] [--methods posterior original ...] [--write]

DIR holds cifar10.zip and cifar10h-counts.npy with cifar10h-files.csv. What is embedded is kept in the other folder. In
each slice the images come in another order, so that the oracle gives other votes. All of them may be asked about.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from annotate.kernels.divergence import kappa
from annotate.kernels.vectors import Doubles, Ints
from annotate.reports.paper import save
from annotate.reports.soft import divergence_curves
from annotate.votes.oracle import Oracle
from annotate.votes.recipes import RECIPES, follow
from annotate.votes.spending import Material, Step, posterior
from benchmarks.sets import CIFAR, embedded
from benchmarks.tables import show

BUDGETS = (0.1, 0.5, 1.0, 3.0)  # votes an image
DOCS = Path(__file__).parents[1] / "docs"
SCORES = {"kl": "KL", "f1": "macro F1", "accuracy": "accuracy", "ece": "ECE"}


def people(data: Path, paths: Sequence[str]) -> Doubles:
    """What people said of each image, (N, K) shares."""
    with open(data / "cifar10h-files.csv", newline="") as file:
        row_of = {line["path"]: int(line["index"]) for line in csv.DictReader(file)}
    counts = np.load(data / "cifar10h-counts.npy").astype(np.float64)[[row_of[path] for path in paths]]
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def run(method: str, material: Material, hidden: Doubles) -> Iterator[tuple[float, Step, Oracle]]:
    """Labels at each of the budgets."""
    n = len(material.embeddings)
    if method == "posterior":
        for budget in BUDGETS:
            oracle = Oracle(hidden, budget * n)
            *_, last = posterior(material, oracle, round(budget * n))
            yield budget, last, oracle
        return
    oracle, waiting = Oracle(hidden, BUDGETS[-1] * n), list(BUDGETS)
    for step in follow(RECIPES[method], material, oracle, round(BUDGETS[-1] * n)):
        if waiting and oracle.budget >= round(waiting[0] * n):
            yield waiting.pop(0), step, oracle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kept", type=Path, required=True, help="folder for what is embedded")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--methods", nargs="+", default=["posterior", *RECIPES])
    parser.add_argument("--write", action="store_true", help="put the table and the figure into docs/")
    args = parser.parse_args()
    case, paths = embedded(CIFAR, args.data, args.kept, args.model)
    hidden = people(args.data, paths)
    curves: dict[str, list[dict[str, float]]] = {}
    found: dict[tuple[str, float], list[dict[str, float]]] = defaultdict(list)
    labels: dict[tuple[str, float], list[Ints]] = defaultdict(list)
    for method in args.methods:
        for fold in range(1, args.folds + 1):
            order = np.random.default_rng(fold).permutation(len(hidden))
            everyone, images = np.arange(len(hidden)), case.images[order]
            material = Material(images, case.texts, case.logit_scale, hidden.shape[1], everyone, fold)
            for budget, step, oracle in run(method, material, hidden[order]):
                found[method, budget].append(oracle.score(step.shares))
                labels[method, budget].append(step.shares.argmax(axis=1)[np.argsort(order)])
                print(method, fold, budget, found[method, budget][-1], flush=True)
        curves[method] = [
            {"votes_per_image": budget, "kl": mean(row["kl"] for row in found[method, budget])} for budget in BUDGETS
        ]
    show({"soft labels": table(found), "soft scores": told(found, labels)}, DOCS / "soft.md" if args.write else None)
    if args.write:
        save(divergence_curves(curves), DOCS / "soft.png")


def mean(values: Iterator[float]) -> float:
    return float(np.mean(list(values)))


def table(found: dict[tuple[str, float], list[dict[str, float]]]) -> str:
    """KL of each method at each budget."""
    lines = [f"| method | {' | '.join(f'{b:g} votes' for b in BUDGETS)} |", "|---" * (len(BUDGETS) + 1) + "|"]
    for method in dict.fromkeys(name for name, _ in found):
        kl = [f"{mean(row['kl'] for row in found[method, b]):.3f}" for b in BUDGETS]
        lines.append(f"| `{method}` | {' | '.join(kl)} |")
    return "\n".join(lines)


def told(found: dict[tuple[str, float], list[dict[str, float]]], labels: dict[tuple[str, float], list[Ints]]) -> str:
    """The other scores of ours and of the original, and how far folds agree."""
    lines = [f"| method | votes | {' | '.join(SCORES.values())} | kappa between folds |", "|---" * 7 + "|"]
    for method in ("posterior", "original"):
        for budget in BUDGETS:
            rows = found.get((method, budget), [])
            if rows:
                pairs = [kappa(a, b, 10) for a, b in combinations(labels[method, budget], 2)]
                scores = [f"{mean(row[name] for row in rows):.3f}" for name in SCORES]
                agreed = f"{mean(iter(pairs)):.3f}" if pairs else ""
                lines.append(f"| `{method}` | {budget:g} | {' | '.join(scores)} | {agreed} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
