"""How often refinement's signs are given where they should be and where they should not, on cases of known truth.

    python -m benchmarks.signs --data DIR [--seeds 3] [--write] [FILE.npz ...]

DIR holds the files that cases.py cuts; a FILE.npz holds image_embeddings, text_embeddings, labels and logit_scale, and
the first word of its name says of which set it is. The draws are none of those on which the signs' thresholds were
chosen; the sources are the same. --write puts the tables into docs/refinement.md.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from annotate.kernels.blocks import one_thread_per_product
from annotate.kernels.reach import STRANGERS, reach
from annotate.kernels.transduction import FEW, class_size
from annotate.kernels.unfit import unfit_groups
from annotate.kernels.vectors import Floats, unit
from benchmarks.cases import Case, bank, disturbed, further, published, read
from benchmarks.confidence import transduced
from benchmarks.refinement import DOCS, mean
from benchmarks.tables import show

PUBLISHED, FURTHER = 5, 2  # draws of these cases that chose constants; the next ones are taken
IMAGENET = 1_000  # names, the first of the bank; breeds among them
FARTHEST = 1_200  # other names of the bank, of which those of other things are drawn
WHOLE = 400  # images; a file with as many, and all its names present, also lends strange images
SIZES = (0.0, FEW, 2 * FEW, np.inf)  # images of a class in use

NAMED, POOR = "every kind is named", "every kind is named, words wrong half the time"
FILES = "every kind is named, files"


@dataclass(frozen=True)
class Group:
    """What a told group is of, in images: all, those that no name is for, those whose label is right."""

    images: int
    nameless: int
    right: int


@dataclass(frozen=True)
class Outcome:
    nameless: int  # images of the case that no name is for
    groups: list[Group]
    class_size: float  # images of a class in use
    moved: float  # percent of the labels
    gained: float  # points of accuracy over zero-shot


def outcome(case: Case) -> Outcome:
    """What refinement does with a case, and which groups it tells. A truth of -1 is an image that no name is for."""
    graph, first, last = transduced(case)
    n = len(case.images)
    before, labels = first.labels, last.labels
    groups = [
        Group(len(g.rows), int((case.truth[g.rows] < 0).sum()), int((case.truth[g.rows] == labels[g.rows]).sum()))
        for g in unfit_groups(case.images, case.texts, labels, graph, logit_scale=case.logit_scale)
    ]
    gained = float((labels == case.truth).mean() - (before == case.truth).mean())
    moved = float((labels != before).mean())
    return Outcome(int((case.truth < 0).sum()), groups, class_size(last.counts / n, n), 100 * moved, 100 * gained)


def strangers(case: Case, other: Case, images: int, kinds: int, rng: np.random.Generator) -> Case:
    """The case with so many images, of so many kinds, that none of its names is for."""
    of = [np.flatnonzero(other.truth == k) for k in range(len(other.texts))]
    enough = [k for k, rows in enumerate(of) if len(rows) >= images // kinds]
    chosen = rng.choice(enough, kinds, replace=False)
    strange = np.concatenate([rng.choice(of[k], images // kinds, replace=False) for k in chosen])
    truth = np.concatenate([case.truth, np.full(len(strange), -1)])
    return replace(case, images=np.concatenate([case.images, other.images[strange]]), truth=truth)


def unnamed(case: Case, count: int, rng: np.random.Generator) -> Case:
    """The same without so many of the names."""
    kept = np.sort(rng.permutation(len(case.texts))[count:])
    place = np.full(len(case.texts), -1)
    place[kept] = np.arange(len(kept))
    return replace(case, texts=case.texts[kept], truth=place[case.truth])


def sample(case: Case, count: int, rng: np.random.Generator) -> Case:
    rows = rng.choice(len(case.images), count, replace=False)
    return replace(case, images=case.images[rows], truth=case.truth[rows])


def named(data: Path, seeds: int, files: Sequence[Case]) -> Iterator[Case]:
    """Cases of which every image has its name among the names."""
    for case in published(data, PUBLISHED + seeds):
        if case.seed >= PUBLISHED or case.name in ("pets 25", "Caltech 66"):
            yield replace(case, name=POOR if "% text" in case.name else NAMED)
    for case in further(data, FURTHER + seeds):
        if case.seed >= FURTHER:
            yield replace(case, name=POOR if "% text" in case.name else NAMED)
    for case in files:
        yield replace(case, name=FILES)


def with_nameless(data: Path, seeds: int, files: Sequence[Case]) -> Iterator[Case]:
    """Cases of which some images have no name."""
    pets, caltech = wholes(data)
    words = bank(data)
    for seed in range(seeds):
        rng = np.random.default_rng(70_000 + seed)
        for case, other in ((pets, caltech), (caltech, pets)):
            for kinds in (1, 3, 10):
                made = strangers(case, other, 60, kinds, rng)
                yield replace(made, name="60 strange images among 3,000")
            for among, images, kinds in ((400, 60, 1), (150, 30, 3), (50, 10, 1)):
                made = strangers(sample(case, among, rng), other, images, kinds, rng)
                yield replace(made, name="10 to 60 strange images among 50 to 400")
            made = strangers(disturbed(case, 0.60, words, rng), other, 60, 3, rng)
            yield replace(made, name="60 strange images among 3,000, words right 60 % of the time")
            for count, title in ((1, "one"), (3, "three"), (10, "ten")):
                yield replace(unnamed(case, count, rng), name=f"{title} of 25 breeds, 66 things not named")
            for among in (150, 500):
                made = unnamed(sample(case, among, rng), 3, rng)
                yield replace(made, name="three not named, 150 and 500 images")
    whole = [case for case in files if len(case.images) >= WHOLE and len(np.unique(case.truth)) == len(case.texts)]
    for number, case in enumerate(whole):
        rng = np.random.default_rng(80_000 + number)
        for kinds in (1, 1, 3):
            made = strangers(case, least_alike(case, whole), 60, kinds, rng)
            yield replace(made, name="60 strange images, files")
        for count in (1, 3):
            if len(case.texts) >= count + 3:
                yield replace(unnamed(case, count, rng), name="one or three not named, files")


def least_alike(case: Case, others: Sequence[Case]) -> Case:
    """The case of another set whose names are least like any of this one's."""
    apart = [o for o in others if o.name.split()[0] != case.name.split()[0] and o.texts.shape[1] == case.texts.shape[1]]
    return min(apart, key=lambda other: float((other.texts @ case.texts.T).max()))


def wholes(data: Path) -> tuple[Case, Case]:
    return read(data / "clip-vitb32-oxford-pets-25.npz"), read(data / "clip-vitb32-caltech101-sub.npz")


def wordings(case: Case, words: Floats, rng: np.random.Generator) -> Iterator[tuple[str, Floats]]:
    """Words that do not match the images of a case, and its own."""
    (k, d), t = case.texts.shape, case.texts
    yield "own", t
    yield "own, mixed up among themselves", t[rng.permutation(k)]
    for _ in range(2):
        yield "random vectors", unit(rng.standard_normal((k, d)))
    yield "own, turned into another space", unit(t @ np.linalg.qr(rng.standard_normal((d, d)))[0])
    if d == words.shape[1]:
        imagenet, rest = words[:IMAGENET], words[IMAGENET:]
        unlike = np.argsort((rest @ t.T).max(axis=1))[: max(FARTHEST, k)]
        for _ in range(2):
            yield "real words of other things", rest[rng.choice(unlike, k, replace=False)]
            yield "names of ImageNet, breeds among them", imagenet[rng.choice(IMAGENET, k, replace=False)]


def odds(data: Path, cases: Sequence[Case]) -> str:
    """How often words and images are said to be at odds, by kind of words."""
    words, rng = bank(data), np.random.default_rng(90_000)
    found: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        if case.name == POOR:
            found["own, wrong half of the time"].append(reach(case.images, case.texts)[1])
        else:
            for kind, texts in wordings(case, words, rng):
                found[kind].append(reach(case.images, texts)[1])
    for case in wholes(data):
        for accuracy in (0.60, 0.35):
            for _ in range(10):
                poor = disturbed(sample(case, 1_000, rng), accuracy, words, rng)
                z = reach(poor.images, poor.texts)[1]
                found[f"own, pushed until right {100 * accuracy:.0f} % of the time"].append(z)
    lines = ["| words | cases | warned of, % | z least | median | most |", "|---" * 6 + "|"]
    for kind, runs in found.items():
        told = 100 * mean(z < STRANGERS for z in runs)
        lines.append(
            f"| {kind} | {len(runs)} | {told:.0f} | {min(runs):.1f} | {np.median(runs):.1f} | {max(runs):.1f} |"
        )
    return "\n".join(lines)


def scarcity(outcomes: Sequence[Outcome]) -> str:
    """What refinement does where classes are small."""
    lines = [
        "| images of a class in use | cases | labels moved, % | most | accuracy gained | least |",
        "|---" * 6 + "|",
    ]
    for low, high in pairwise(SIZES):
        here = [o for o in outcomes if low <= o.class_size < high]
        if here:
            moved, gained = [o.moved for o in here], [o.gained for o in here]
            title = f"{low:.0f} to {high:.0f}" if high < np.inf else f"{low:.0f} and more"
            lines.append(
                f"| {title} | {len(here)} | {mean(moved):.1f} | {max(moved):.1f} | {mean(gained):+.1f} "
                f"| {min(gained):+.1f} |"
            )
    return "\n".join(lines)


def nameless(found: dict[str, list[Outcome]]) -> str:
    """What is found of images that fit no name, and what else is told, by kind of case."""
    lines = [
        "| | cases | found, % | of those noticed, nameless, % | cases with a false group | of images labelled right |",
        "|---" * 6 + "|",
    ]
    for kind, runs in found.items():
        of = [o for o in runs if o.nameless]
        told = sum(g.images for o in of for g in o.groups)
        hits = sum(g.nameless for o in of for g in o.groups)
        share = f"{100 * mean(2 * sum(g.nameless for g in o.groups) >= o.nameless for o in of):.0f}" if of else ""
        precision = f"{100 * hits / told:.0f}" if told else ""
        false = sum(any(2 * g.nameless < g.images for g in o.groups) for o in runs)
        blamed = sum(any(2 * g.right > g.images for g in o.groups) for o in runs)
        lines.append(f"| {kind} | {len(runs)} | {share} | {precision} | {false} | {blamed} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="FILE.npz of embeddings, names and labels")
    parser.add_argument("--data", type=Path, required=True, help="folder of the files that the cases are cut from")
    parser.add_argument("--seeds", type=int, default=3, help="draws of each kind of case")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/refinement.md")
    args = parser.parse_args()
    with one_thread_per_product():
        files = [read(file) for file in args.files]
        cases = list(named(args.data, args.seeds, files))
        found: dict[str, list[Outcome]] = {NAMED: [], FILES: [], POOR: []}
        for case in [*cases, *with_nameless(args.data, args.seeds, files)]:
            found.setdefault(case.name, []).append(outcome(case))
            print(f"{case.name} {case.seed}: {found[case.name][-1]}", flush=True)
        parts = {
            "words at odds": odds(args.data, cases),
            "few images": scarcity([o for kind in (NAMED, FILES) for o in found[kind]]),
            "images that fit no name": nameless({kind: runs for kind, runs in found.items() if runs}),
        }
    show(parts, DOCS if args.write else None)


if __name__ == "__main__":
    main()
