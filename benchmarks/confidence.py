"""Fit the coefficients of confidence on cases of known truth, and measure it on sources left out.

    python -m benchmarks.confidence --data DIR [--seeds 5] [FILE.npz ...]

DIR holds the files that cases.py cuts; a FILE.npz holds image_embeddings, text_embeddings, labels and logit_scale.
Every kind of case weighs the same within its group, every draw within its kind, every image within its draw. Prints the
coefficients that fit, those shipped, their calibration errors in the sample and with a source or a kind left out, how
often the bounds on accuracy hold there, and what a few given labels make of it, on other images and on all.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from annotate.kernels import confidence
from annotate.kernels.calibration import coverage, reliability
from annotate.kernels.confidence import corrected
from annotate.kernels.naming import names_by_answers
from annotate.kernels.neighbours import nearest_neighbours, neighbour_graph
from annotate.kernels.transduction import NEIGHBOURS, JointPass, transduce
from annotate.kernels.vectors import Ints
from annotate.methods.transductive import TRANSDUCTIVE
from benchmarks.cases import Case, further, published, read

WEIGHTS = {"published": 2.0, "further": 1.5, "files": 0.3}
RIDGE = 1e-3
OTHERS = 10  # images at least, besides the given ones
SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)  # of the images kept, at which bounds are asked for

Wide = npt.NDArray[np.float64]


class Given(NamedTuple):
    """In %, with labels given: calibration error of the other images and of all, the given ones being certain; Brier
    score and accuracy of the others."""

    apart: float
    together: float
    brier: float
    accuracy: float


@dataclass(frozen=True)
class Known:
    """A labelled case.

    group     of WEIGHTS
    evidence  (N, 5)
    labels    (N,)
    truth     (N,)
    """

    group: str
    kind: str
    source: str
    classes: int
    evidence: Wide
    labels: Ints
    truth: Ints

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.labels == self.truth)

    def confidence(self, model: Wide) -> Wide:
        sure = confidence.sigmoid(model[0] + self.evidence @ model[1:])
        return np.maximum(sure, confidence.ABOVE_CHANCE / self.classes)

    def told(self, model: Wide) -> Wide:
        """As `refine` tells it without given labels: in levels."""
        return corrected(self.confidence(model), np.empty(0, np.int64), np.empty(0, np.bool_), self.classes)

    def error(self, model: Wide) -> float:
        return 100 * reliability(self.told(model), self.right).error

    def within_bounds(self, model: Wide) -> list[bool]:
        """Whether the bounds on the accuracy of the most certain images hold, for each of SHARES."""
        sure = self.told(model)
        return [
            bool(kept.low <= self.right[sure >= kept.confidence].mean() <= kept.high) for kept in coverage(sure, SHARES)
        ]

    def given(self, model: Wide, count: int, seed: int) -> Given:
        """What becomes of the case once `count` labels are given."""
        n = len(self.labels)
        given = np.random.default_rng(seed).permutation(n)[:count]
        sure, said = self.confidence(model), self.truth[given]
        expected = float(sure[given].mean()) if count else 1.0
        names, without = names_by_answers(self.labels[given], said, expected, self.classes)
        sure = corrected(sure, given, without == said, self.classes)
        right = names[self.labels] == self.truth
        others = np.setdiff1d(np.arange(n), given)
        apart = reliability(sure[others], right[others]).error
        brier = float(((sure - right)[others] ** 2).mean())
        sure[given], accuracy = 1, float(right[others].mean())
        together = reliability(sure, np.isin(np.arange(n), given) | right).error
        return Given(100 * apart, 100 * together, 100 * brier, 100 * accuracy)


def transduced(case: Case) -> tuple[Any, JointPass, JointPass]:
    """The graph of a case, and the first and the last pass of `transduce` with all images as its sample."""
    graph = neighbour_graph(*nearest_neighbours(case.images, NEIGHBOURS))
    n, iterations = len(case.images), TRANSDUCTIVE.iterations
    scale = case.logit_scale
    first, *_, last = transduce(case.images, case.texts, graph, np.arange(n), logit_scale=scale, iterations=iterations)
    return graph, first, last


def known(group: str, case: Case) -> Known:
    graph, first, last = transduced(case)
    labels = last.labels
    scale = np.float32(case.logit_scale)
    around = confidence.agreement(graph, labels)
    situation = confidence.CaseEvidence.from_passes(first, last, case.texts, logit_scale=case.logit_scale)
    shown = confidence.evidence_for_labels(scale * last.sample, labels, around, situation)
    named = confidence.named_by_words(scale * first.sample, situation)
    how_many = np.tile(confidence.between(labels, named, situation), (len(labels), 1))
    seen = np.concatenate([confidence.within(shown), how_many], axis=1)
    source = "pets" if "breeds" in case.name else case.name.split()[0].strip(",")
    return Known(group, case.name, source, len(case.texts), seen, labels, case.truth)


def logistic(cases: list[Known]) -> Wide:
    """b_0, b and d, (6,), by Newton's method on standardised features."""
    draws = Counter((c.group, c.kind) for c in cases)
    kinds = Counter(group for group, _ in draws)
    weights = np.concatenate(
        [
            np.full(len(c.right), WEIGHTS[c.group] / kinds[c.group] / draws[c.group, c.kind] / len(c.right))
            for c in cases
        ]
    )
    weights /= weights.sum()
    x, y = np.concatenate([c.evidence for c in cases]), np.concatenate([c.right for c in cases]).astype(np.float64)
    mean = weights @ x
    spread = np.sqrt(weights @ (x - mean) ** 2)
    rows = np.concatenate([np.ones((len(x), 1)), (x - mean) / spread], axis=1)
    ridge = np.array([0.0] + [RIDGE] * x.shape[1])
    b = np.zeros(rows.shape[1])
    for _ in range(25):
        p = confidence.sigmoid(rows @ b)
        curve = (rows * (weights * p * (1 - p))[:, None]).T @ rows + np.diag(ridge)
        step = np.linalg.solve(curve, rows.T @ (weights * (y - p)) - ridge * b)
        b += step * min(1.0, 3 / max(float(np.abs(step).max()), 1e-12))
    return np.concatenate([[b[0] - float((b[1:] * mean / spread).sum())], b[1:] / spread])


def summary(errors: dict[tuple[str, str], list[float]], *, lowest: bool = False) -> str:
    groups: dict[str, list[float]] = defaultdict(list)
    for (group, _), values in errors.items():
        groups[group].append(float(np.mean(values)))
    return "  ".join(
        f"{group} {np.mean(v):.2f} worst {min(v) if lowest else max(v):.1f}" for group, v in groups.items()
    )


def cases_of(data: Path, seeds: int, files: list[Path]) -> Iterator[tuple[str, Case]]:
    yield from (("published", case) for case in published(data, seeds))
    yield from (("further", case) for case in further(data, 2))
    yield from (("files", read(file)) for file in files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("files", type=Path, nargs="*")
    args = parser.parse_args()
    cases = [known(group, case) for group, case in cases_of(args.data, args.seeds, args.files)]
    model = logistic(cases)
    print("fitted   ", np.round(model, 3))
    shipped = np.concatenate([[confidence.INTERCEPT], confidence.COEFFICIENTS])
    for name, b in (("fitted", model), ("shipped", shipped)):
        errors = defaultdict(list)
        for case in cases:
            errors[case.group, case.kind].append(case.error(b))
        print(f"{name}, in sample: ", summary(errors))
    for left in ("source", "kind"):
        errors, bounds = defaultdict(list), defaultdict(list)
        for value in sorted({getattr(case, left) for case in cases}):
            b = logistic([case for case in cases if getattr(case, left) != value])
            for case in cases:
                if getattr(case, left) == value:
                    errors[case.group, case.kind].append(case.error(b))
                    bounds[case.group].append(case.within_bounds(b))
        print(f"one {left} left out:", summary(errors))
        for group, held in bounds.items():
            by_share = zip(SHARES, np.mean(held, axis=0), strict=True)
            each = ", ".join(f"{holds:.0%} at {share:.0%}" for share, holds in by_share)
            print(f"  bounds that hold, {group}: {np.mean(held):.0%} ({each} of the images kept)")
    for labels in (0, 10, 20, 40, 100):
        print(f"{labels} labels given, shipped, kinds with {OTHERS} images more")
        show_given(cases, lambda _: shipped, labels)
    left_out = {source: logistic([c for c in cases if c.source != source]) for source in {c.source for c in cases}}
    print("40 labels given, one source left out")
    show_given(cases, lambda case: left_out[case.source], 40)


def show_given(cases: list[Known], model_of: Callable[[Known], Wide], labels: int) -> None:
    found: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for case in cases:
        if len(case.labels) >= labels + OTHERS:
            for seed in range(4):
                for measure, value in case.given(model_of(case), labels, seed)._asdict().items():
                    found[measure][case.group, case.kind].append(value)
    for measure, of in found.items():
        print(f"  {measure:9}", summary(of, lowest=measure == "accuracy"))


if __name__ == "__main__":
    main()
