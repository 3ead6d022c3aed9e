"""What words look like: every name as a mixture of ImageNet's 1,000 classes, also where no picture shows it.

A mixture is a row of 1,000 weights; times the anchors (tune.py) it is a vector of the embedding space. Three
teachers, the surest first:

1. CLIP's own embedding of a name says what it looks like. On classes left out, kernel ridge regression from it finds
   the right one of 200 rows in 91 of 100 cases; from MiniLM's embedding of the bare name in 39, of name and
   explanation in 61.
2. WordNet: what covers several of the classes ("musical instrument") is their mean.
3. MiniLM's embedding of the word and its explanation, and what it is a kind of.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from concepts import canonical
from wordnet import WordNet

CLIP_WIDTH, CLIP_RIDGE = 2.0, 0.15  # of exp(width (cos - 1)), and the ridge, chosen on classes left out
GLOSS_WIDTH, GLOSS_RIDGE, KINDS = 3.0, 0.2, 0.6  # the last: how much kinds count beside the explanation
OWN = 0.7  # what a class's own row counts in the mixture of its name
COVERED = 0.6  # what the mean of the covered classes counts

Teacher = Callable[[Sequence[str]], np.ndarray]


def unit(rows: np.ndarray) -> np.ndarray:
    made: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)
    return made


def mixtures(known: np.ndarray, asked: np.ndarray, width: float, ridge: float) -> np.ndarray:
    """(M, N) weights of kernel ridge regression, from N known unit rows to M asked ones."""
    among = np.exp(width * (known @ known.T - 1)) + ridge * np.eye(len(known), dtype=np.float32)
    inverse = np.linalg.inv(among).astype(np.float32)
    blocks = [np.exp(width * (asked[i : i + 4096] @ known.T - 1)) @ inverse for i in range(0, len(asked), 4096)]
    return np.concatenate(blocks)


def of_bank(data: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Mixtures of the names in the bank of CLIP's embeddings, and the names of ImageNet's classes in order."""
    with np.load(data / "clip-vitb32-text-bank.npz") as bank:
        names = [canonical(str(n)) for source in ("imagenet", "lvis", "oid") for n in bank[f"{source}_names"]]
        clip = unit(
            np.concatenate([bank[f"{source}_feats"] for source in ("imagenet", "lvis", "oid")]).astype(np.float32)
        )
    clip = unit(clip - clip.mean(axis=0))
    mixed = mixtures(clip[:1000], clip, CLIP_WIDTH, CLIP_RIDGE)
    mixed[:1000] = OWN * np.eye(1000) + (1 - OWN) * mixed[:1000]
    gathered: dict[str, list[np.ndarray]] = {}
    for name, row in zip(names, mixed, strict=True):
        gathered.setdefault(name, []).append(row)
    return {name: np.mean(rows, axis=0) for name, rows in gathered.items() if name}, names[:1000]


class Kinds:
    """What a synset is a kind of, as a unit vector: rare kinds and near ones count most."""

    def __init__(self, wordnet: WordNet, classes: Sequence[str]) -> None:
        self.wordnet = wordnet
        counts = Counter(offset for c in classes for offset in wordnet.above(c))
        self.weights = {offset: math.sqrt(math.log(len(classes) / n)) for offset, n in counts.items() if n > 1}
        self.columns = {offset: i for i, offset in enumerate(self.weights)}

    def __call__(self, offsets: Sequence[str]) -> np.ndarray:
        rows = np.zeros((len(offsets), len(self.columns)), np.float32)
        for row, offset in zip(rows, offsets, strict=True):
            for above, steps in self.wordnet.above(offset).items():
                if above in self.columns:
                    row[self.columns[above]] = self.weights[above] * 0.8**steps
        return unit(rows)


def of_wordnet(
    wordnet: WordNet,
    classes: Sequence[str],
    bank: Mapping[str, np.ndarray],
    offsets: Sequence[str],
    glosses: np.ndarray,
) -> np.ndarray:
    """(S, 1000) mixtures of synsets.

    classes  offsets of ImageNet's classes, in order
    bank     mixtures of names that CLIP knows
    offsets  S of them, the classes among these
    glosses  (S, 384) MiniLM's unit rows of their explanations
    """
    row = {offset: i for i, offset in enumerate(offsets)}
    sure = dict(zip(classes, np.eye(1000, dtype=np.float32), strict=True))
    for name, mixture in bank.items():
        meaning = next((offset for offset in wordnet.meanings.get(name, []) if offset in row), None)
        if meaning and meaning not in sure:
            sure[meaning] = mixture
    kinds = Kinds(wordnet, classes)
    described = unit(np.hstack([glosses, KINDS * kinds(offsets)])).astype(np.float32)
    known = [row[offset] for offset in sure]
    mixed = mixtures(described[known], described, GLOSS_WIDTH, GLOSS_RIDGE) @ np.stack(list(sure.values()))
    mixed[known] = 0.8 * np.stack(list(sure.values())) + 0.2 * mixed[known]
    covered: dict[str, list[int]] = {}
    for c, offset in enumerate(classes):
        for above in wordnet.above(offset):
            if above != offset and above in row:
                covered.setdefault(above, []).append(c)
    for above, inside in covered.items():
        if len(inside) > 1:
            mean = np.zeros(1000, np.float32)
            mean[inside] = len(inside) ** -0.5
            before = mixed[row[above]]
            mixed[row[above]] = COVERED * max(float(np.linalg.norm(before)), 0.3) * mean + (1 - COVERED) * before
    return mixed
