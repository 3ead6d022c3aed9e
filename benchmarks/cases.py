"""Real CLIP embeddings as users would bring them: few images, uneven or absent classes, words that fit badly.

Cut from `clip-vitb32-oxford-pets-25.npz`, `clip-vitb32-caltech101-sub.npz` (image_embeddings, text_embeddings, labels)
and `clip-vitb32-text-bank.npz` (embeddings of other names: imagenet_feats, lvis_feats, oid_feats).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.kernels.vectors import Floats, Ints, unit

SCALE = 100.0  # the logit scale of OpenAI's models


@dataclass(frozen=True)
class Case:
    """Images, names and the truth.

    name    what is hard about it; the same for all its seeds
    images  (N, D) float32 unit rows
    texts   (K, D) float32 unit rows; K may exceed the classes present
    truth   (N,) rows of texts
    """

    name: str
    seed: int
    images: Floats
    texts: Floats
    truth: Ints
    logit_scale: float = SCALE


def read(file: Path) -> Case:
    """A case as stored: image_embeddings (N, D), text_embeddings (K, D), labels (N,); logit_scale, or OpenAI's."""
    with np.load(file, allow_pickle=False) as stored:
        images, texts = (unit(stored[name].astype(np.float32)) for name in ("image_embeddings", "text_embeddings"))
        scale: Any = stored.get("logit_scale", SCALE)
        return Case(file.stem, 0, images, texts, stored["labels"].astype(np.int64), float(scale))


def bank(data: Path) -> Floats:
    """(W, D) unit embeddings of names: ImageNet's, LVIS's, Open Images'."""
    with np.load(data / "clip-vitb32-text-bank.npz") as stored:
        return unit(
            np.concatenate([stored[f"{part}_feats"] for part in ("imagenet", "lvis", "oid")]).astype(np.float32)
        )


def disturbed(case: Case, accuracy: float, words: Floats, rng: np.random.Generator) -> Case:
    """The same with texts pushed toward unrelated words until zero-shot is as accurate as that."""
    x, t, y = case.images, case.texts, case.truth
    away = unit(words[rng.choice(len(words), len(t), replace=False)] - words.mean(axis=0))
    low, high = 0.0, 3.0
    for _ in range(20):
        push = (low + high) / 2
        right = ((x @ unit(t + push * away).T).argmax(axis=1) == y).mean()
        low, high = (push, high) if right > accuracy else (low, push)
    return Case(case.name, case.seed, x, unit(t + push * away), y)


def long_tail(classes: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """1, 1/2, 1/3 ... in random order: how many images each class has, relative to the largest."""
    share = 1 / np.arange(1, classes + 1)
    rng.shuffle(share)
    return share


def published(data: Path, seeds: int) -> Iterator[Case]:
    """Eleven kinds of cases, on which the methods were developed."""
    pets, caltech = read(data / "clip-vitb32-oxford-pets-25.npz"), read(data / "clip-vitb32-caltech101-sub.npz")
    x, t, y = pets.images, pets.texts, pets.truth
    of = [np.flatnonzero(y == k) for k in range(len(t))]
    words = bank(data)[1000:]  # all but ImageNet's
    yield Case("pets 25", 0, x, t, y)
    yield Case("Caltech 66", 0, caltech.images, caltech.texts, caltech.truth)
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        i = rng.choice(len(x), 50, replace=False)
        yield Case("pets N=50", seed, x[i], t, y[i])
        share = long_tail(len(t), rng)
        tail = [rows[: max(2, int(100 * s / share.max()))] for rows, s in zip(of, share, strict=True)]
        i = np.concatenate(tail)
        yield Case("pets, long tail", seed, x[i], t, y[i])
        k = int(rng.integers(len(t)))
        i = np.concatenate([of[k], rng.choice(np.flatnonzero(y != k), 50, replace=False)])
        yield Case("pets, one class 70 %", seed, x[i], t, y[i])
        yield Case("pets, 1 of 25 present", seed, x[of[k]], t, y[of[k]])
        i = np.flatnonzero(np.isin(y, rng.choice(len(t), 5, replace=False)))
        yield Case("pets, 5 of 25 present", seed, x[i], t, y[i])
        for accuracy in (0.60, 0.35):
            yield disturbed(Case(f"pets, {accuracy:.0%} text", seed, x, t, y), accuracy, words, rng)
        whole = Case("Caltech, 60% text", seed, caltech.images, caltech.texts, caltech.truth)
        yield disturbed(whole, 0.60, words, rng)
        seven = np.sort(rng.choice(len(t), 7, replace=False))
        i = rng.choice(np.flatnonzero(np.isin(y, seven)), 413, replace=False)
        breeds = Case("7 breeds N=413, 50% text", seed, x[i], t[seven], np.searchsorted(seven, y[i]))
        yield disturbed(breeds, 0.50, words, rng)


def further(data: Path, seeds: int) -> Iterator[Case]:
    """Cases of our own: 5 to 1,000 names asked for, few to all of them present, 100 to 3,000 images."""
    words = bank(data)
    for seed in range(seeds):
        rng = np.random.default_rng(500 + seed)
        for name, file in (("pets", "oxford-pets-25"), ("Caltech", "caltech101-sub")):
            yield from kinds(read(data / f"clip-vitb32-{file}.npz"), name, seed, words, rng)


FEW = {  # names asked for, names that the images show, images of each
    "pets": ((25, 5, 10), (25, 10, 7), (100, 5, 10), (100, 10, 7), (300, 10, 10), (1000, 10, 10), (1000, 25, 10)),
    "Caltech": ((66, 5, 10), (66, 25, 5), (100, 10, 7), (300, 10, 10), (300, 25, 10), (1000, 10, 10), (1000, 25, 7)),
}


def few(data: Path, seeds: int) -> Iterator[Case]:
    """Few photos, many names: 5 to 10 images of a class, 1 to 40 % of 25 to 1,000 names present."""
    words = bank(data)
    for seed in range(seeds):
        rng = np.random.default_rng(900 + seed)
        for name, file in (("pets", "oxford-pets-25"), ("Caltech", "caltech101-sub")):
            whole = read(data / f"clip-vitb32-{file}.npz")
            x, t, y = whole.images, whole.texts, whole.truth
            for asked, present, each in FEW[name]:
                chosen = rng.choice(len(t), present, replace=False)
                rows = np.concatenate([rng.choice(np.flatnonzero(y == k), each, replace=False) for k in chosen])
                texts = among(t, words, asked, rng, nearest=0.85)
                yield Case(f"{name}, {present} of {asked} names, {each} images each", seed, x[rows], texts, y[rows])


def among(texts: Floats, words: Floats, count: int, rng: np.random.Generator, nearest: float = 0.9) -> Floats:
    """The names, and others whose cosine to each of them is below `nearest`, `count` in all."""
    free = np.flatnonzero((words @ texts.T).max(axis=1) < nearest)
    return np.concatenate([texts, words[rng.choice(free, count - len(texts), replace=False)]])


def kinds(whole: Case, name: str, seed: int, words: Floats, rng: np.random.Generator) -> Iterator[Case]:
    x, t, y = whole.images, whole.texts, whole.truth
    of = [np.flatnonzero(y == k) for k in range(len(t))]

    def case(kind: str, rows: Ints, texts: Floats = t) -> Case:
        return Case(f"{name}, {kind}", seed, x[rows], texts, y[rows])

    def present(count: int) -> Ints:
        return np.flatnonzero(np.isin(y, rng.choice(len(t), count, replace=False)))

    def sample(count: int) -> Ints:
        return np.asarray(rng.choice(len(x), count, replace=False))

    def uneven(share: npt.NDArray[np.float64], fewest: int) -> Ints:
        return np.concatenate([r[: max(fewest, int(len(r) * s / share.max()))] for r, s in zip(of, share, strict=True)])

    everything = np.arange(len(x))
    for count in (2, 5, 10):
        yield case(f"{count} of {len(t)} present", present(count))
    for count in (200, 1000):
        yield case(f"{count} names", everything, among(t, words, count, rng))
    yield case("10 of 1000 names present", present(10), among(t, words, 1000, rng))
    yield case("20 of 300 names present", present(20), among(t, words, 300, rng))
    five = np.sort(rng.choice(len(t), 5, replace=False))
    rows = np.flatnonzero(np.isin(y, five))
    yield Case(f"{name}, 5 names, all present", seed, x[rows], t[five], np.searchsorted(five, y[rows]))
    for count in (100, 200, 500):
        yield case(f"N={count}", sample(count))
    yield case("N=120, 300 names", sample(120), among(t, words, 300, rng))
    yield case("uneven classes", uneven(rng.dirichlet(np.full(len(t), 0.7)), 1))
    twelve = np.concatenate([rows[:12] for rows in of])
    yield disturbed(case("12 images a class, 60% text", twelve), 0.60, words, rng)
    yield disturbed(case("10 present, 60% text", present(10)), 0.60, words, rng)
    tail = uneven(long_tail(len(t), rng), 2)
    yield disturbed(case("long tail, 50% text", tail), 0.50, words, rng)
