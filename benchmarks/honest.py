"""Honest on strange ground: images that fit none of the names, and few photos with many names.

    python -m benchmarks.honest --data DIR [--seeds 5] [--only strangers|few] [--write]

DIR holds the files that cases.py cuts. --write puts the tables into docs/strangers.md. Each table is one entry of
TABLES: a function of the data and the number of draws, and the place in the page.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import annotate
from annotate.classes.common import beside
from annotate.kernels.blocks import one_thread_per_product
from annotate.kernels.strangers import explained, other_than, strange_rows
from annotate.kernels.vectors import Floats
from benchmarks.cases import SCALE, bank, few, read
from benchmarks.refinement import brought, mean, row, score
from benchmarks.tables import show

DOCS = Path(__file__).parents[1] / "docs/strangers.md"
SOURCES = {"pets": "oxford-pets-25", "Caltech": "caltech101-sub"}
PARTS = (0.25, 0.5, 0.75)  # of a source's classes that are asked for
OWN = 400  # images of these classes, at most
SHARES = (0.1, 0.3, 0.6)  # of the images that are strangers

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Mixed:
    """Images of which some fit none of the names.

    source   whose classes are asked for
    others   "none", "of the set" or "of another set": where strangers are from
    share    of the images
    images   (N, D)
    texts    (K, D) the names that are asked for
    names    K
    strange  (N,) which images are strangers
    right    (N,) which have the right label by the words alone
    """

    source: str
    others: str
    share: float
    images: Floats
    texts: Floats
    names: list[str]
    strange: Bools
    right: Bools


@dataclass(frozen=True)
class Found:
    """What the rule makes of one mix; precision is nan where nothing is flagged."""

    precision: float
    recall: float
    flagged_right: float
    auroc: float


def mixes(data: Path, seeds: int) -> Iterator[Mixed]:
    """Sets whose images all fit, and the same with strangers of the set's other classes or of another set."""
    files = {name: data / f"clip-vitb32-{file}.npz" for name, file in SOURCES.items()}
    sets = {name: read(file) for name, file in files.items()}
    spoken = {name: np.load(file)["class_names"].tolist() for name, file in files.items()}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        for source, other in (("pets", "Caltech"), ("Caltech", "pets")):
            whole, k = sets[source], len(sets[source].texts)
            for part in PARTS:
                asked = np.sort(rng.choice(k, int(part * k), replace=False))
                texts, names = whole.texts[asked], [str(spoken[source][c]) for c in asked]
                own = rng.permutation(np.flatnonzero(np.isin(whole.truth, asked)))[:OWN]
                rest = np.flatnonzero(~np.isin(whole.truth, asked))
                right = asked[(whole.images[own] @ texts.T).argmax(axis=1)] == whole.truth[own]
                kept = np.zeros(len(own), np.bool_)
                yield Mixed(source, "none", 0.0, whole.images[own], texts, names, kept, right)
                for share in SHARES:
                    for others, pool in (("of the set", whole.images[rest]), ("of another set", sets[other].images)):
                        wanted = round(len(own) * share / (1 - share))
                        count = min(wanted, len(pool))
                        fits = own[: round(len(own) * count / wanted)]
                        strangers = pool[rng.choice(len(pool), count, replace=False)]
                        images = np.concatenate([whole.images[fits], strangers])
                        strange = np.repeat([False, True], [len(fits), count])
                        told = np.concatenate([right[: len(fits)], np.zeros(count, np.bool_)])
                        yield Mixed(source, others, share, images, texts, names, strange, told)


def found_in(mix: Mixed, common: Floats, common_names: list[str]) -> Found:
    """As refine finds them, the names of the bank for the list that annotate brings."""
    found = beside(common_names, mix.names)
    own = np.concatenate([mix.texts, common[np.flatnonzero(found.kinds)]])
    rows = common[np.flatnonzero(found.other)]
    margins = explained(mix.images, own, rows[other_than(rows, own)], logit_scale=SCALE).margins
    flagged = np.zeros(len(margins), np.bool_)
    flagged[strange_rows(margins)] = True
    return Found(
        float(mix.strange[flagged].mean()) if flagged.any() else np.nan,
        float(flagged[mix.strange].mean()) if mix.strange.any() else np.nan,
        float(flagged[mix.right].mean()),
        auroc(margins, mix.strange) if mix.strange.any() else np.nan,
    )


def auroc(scores: Floats, positive: Bools) -> float:
    """How often a stranger's score is above that of an image that fits."""
    ranks = np.argsort(np.argsort(scores)) + 1
    p = int(positive.sum())
    return float((ranks[positive].sum() - p * (p + 1) / 2) / (p * (len(scores) - p)))


def strangers(data: Path, seeds: int) -> str:
    """Precision, recall, right images flagged and AUROC by source, share and origin of the strangers."""
    with np.load(data / "clip-vitb32-text-bank.npz") as stored:
        names = [str(name) for part in ("imagenet", "lvis", "oid") for name in stored[f"{part}_names"]]
    common, kinds = bank(data), defaultdict[tuple[str, float, str], list[Found]](list)
    for mix in mixes(data, seeds):
        kinds[mix.others, mix.share, mix.source].append(found_in(mix, common, names))
    lines = [
        "| strangers | share | names of | precision | recall | least recall | right images flagged, % | most | AUROC |",
        "|---" * 9 + "|",
    ]
    for (others, share, source), found in sorted(kinds.items(), key=lambda kind: (kind[0][0], kind[0][1])):
        flagged = [100 * one.flagged_right for one in found]
        cells = [f"{others}", f"{share:.0%}" if share else "", source]
        if share:
            recalls = [one.recall for one in found]
            precision = np.nanmean([one.precision for one in found])
            cells += [f"{value:.2f}" for value in (precision, mean(recalls), min(recalls))]
        else:
            cells += [""] * 3
        cells += [f"{mean(flagged):.1f}", f"{max(flagged):.1f}"]
        cells.append(f"{mean(one.auroc for one in found):.3f}" if share else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def few_photos(data: Path, seeds: int) -> str:
    """Accuracy and calibration error of zero-shot and of the default, a row for every kind of case, draws averaged."""
    kinds: dict[str, list[list[float]]] = defaultdict(list)
    for case in few(data, seeds):
        with tempfile.TemporaryDirectory() as folder:
            place = brought(case, Path(folder))
            made = [annotate.refine(workspace=place, force=True, method=method) for method in ("direct", "auto")]
        scores = [score(one.confidences, one.labels == case.truth, 0) for one in made]
        kinds[case.name].append([*(one.accuracy for one in scores), *(one.error for one in scores)])
    rows = {kind: np.mean(found, axis=0).tolist() for kind, found in kinds.items()}
    lines = ["| few photos, many names | zero-shot, % | auto, % | ECE, % | ECE of auto, % |", "|---" * 5 + "|"]
    lines += [row(kind, values) for kind, values in rows.items()]
    lines.append(row("**mean**", np.mean(list(rows.values()), axis=0).tolist(), 2))
    lines.append(row("**worst against zero-shot**", [0.0, min(values[1] - values[0] for values in rows.values())]))
    return "\n".join([*lines[:-1], lines[-1] + " | |"])


TABLES: dict[str, tuple[Callable[[Path, int], str], str]] = {
    "strangers": (strangers, "strangers by source and share"),
    "few": (few_photos, "few photos, many names"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the files that the cases are cut from")
    parser.add_argument("--seeds", type=int, default=5, help="draws of each case")
    parser.add_argument("--only", choices=TABLES, help="one table alone")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/strangers.md")
    args = parser.parse_args()
    with one_thread_per_product():
        parts = {
            place: table(args.data, args.seeds) for name, (table, place) in TABLES.items() if args.only in (None, name)
        }
    show(parts, DOCS if args.write else None)


if __name__ == "__main__":
    main()
