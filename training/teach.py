"""Teach the text side where every text belongs: concepts, the nouns of WordNet, and every word piece by itself.

A text is a bag of word pieces, so a prompt is the pieces of its template and those of the name. A name in WordNet
goes to what its commonest visible meaning looks like (knowledge.py), a concept's prompts to the vector that its
pictures settled on. A piece that is no noun goes where MiniLM's embedding of it points, so that no text lands
anywhere.
"""

import math
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from concepts import TEMPLATES, Concepts
from torch import Tensor, nn
from torch.nn import functional
from words import other_number

from annotate.classes.prompts import article_for, prompts_for
from annotate.encoders.bag import Bag, joined
from annotate.encoders.openai import Tokenizer

MERGES = 30_000  # of CLIP's byte-pair encoding
WIDTH, HIDDEN = 192, 1024  # of a piece's vector, of the layer
BATCH = 768  # texts: concepts' prompts, two of three of those with pictures; the rest nouns and pieces
NOUNS, PIECES = 256, 32
RATE, SCALE, SEED = 2e-3, 18.0, 7
USUAL = 0.35  # share of a concept's texts that are worded as annotate itself does
RIDGE = 10.0
SIMPLE = 4.0  # how much likelier nouns of one word are
CHECKPOINT = 100  # steps


def small_words(tokenizer: Tokenizer) -> list[str]:
    """The word pieces as texts."""
    bpe = tokenizer._bpe
    spoken = [bpe.decoder[i].replace("</w>", "") for i in range(tokenizer.start)]
    return [bytes(bpe.byte_decoder[c] for c in piece).decode("utf-8", "ignore") or " " for piece in spoken]


class Words:
    """A tokenizer that remembers the pieces of every word; for the plain lower-case texts that are taught here."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.seen = tokenizer, dict[str, list[int]]()

    def __call__(self, text: str) -> list[int]:
        found: list[int] = []
        for word in re.findall(r"[a-z]+|'s|[0-9]|[^\sa-z0-9]+", text.lower()):
            if word not in self.seen:
                bpe = self.tokenizer._bpe  # without the repair of broken texts, which takes longest
                self.seen[word] = (
                    [bpe.encoder[piece] for piece in bpe.bpe(word).split(" ")]
                    if word.isascii()
                    else self.tokenizer.words(word)
                )
            found += self.seen[word]
        return found


def starting_bag(vectors: np.ndarray, sizes: np.ndarray) -> Bag:
    """A bag in which every piece alone already lies where it should, and layers that start small.

    vectors  (V, D) unit rows, where each piece should lie
    sizes    (V,) how much each says
    """
    rng = torch.Generator().manual_seed(SEED)
    goals = torch.from_numpy(vectors * sizes[:, None]).float()
    axes = torch.linalg.eigh(goals.T @ goals)[1][:, -WIDTH:]  # (D, E)
    dimensions = goals.shape[1]

    def drawn(rows: int, columns: int) -> Tensor:
        return torch.randn(rows, columns, generator=rng) * columns**-0.5

    state = {
        "pieces": torch.cat([goals @ axes, torch.zeros(2, WIDTH)]),
        "wide.weight": drawn(HIDDEN, WIDTH), "wide.bias": torch.zeros(HIDDEN),
        "narrow.weight": drawn(dimensions, HIDDEN) * 0.01, "narrow.bias": torch.zeros(dimensions),
        "straight.weight": axes / WIDTH**0.5,
    }  # fmt: skip
    return Bag(state)


def where_pieces_lie(
    spoken: Sequence[str], pieces: np.ndarray, nouns: Mapping[str, np.ndarray], concepts: Concepts, goals: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(V, D) unit rows and (V,) sizes of the word pieces.

    A concept's name lies where the concept does, a noun where it does; for the rest ridge regression says what MiniLM's
    embeddings mean. The words of templates say next to nothing.

    spoken  the pieces as texts
    pieces  (V, 384) MiniLM's embeddings of them
    """
    row = {
        text: i for i, text in enumerate(spoken)
    }  # of a piece at the end of a word, which comes later, where there are two
    both = [name for name in nouns if name in row]
    x, y = pieces[[row[name] for name in both]], np.stack([nouns[name] for name in both])
    ridge = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1], dtype=np.float32), x.T @ y)
    vectors, sizes = pieces @ ridge, np.full(len(spoken), 0.4, np.float32)
    for name in both:
        vectors[row[name]], sizes[row[name]] = nouns[name], 1.0
    for c, names in enumerate(concepts.names):
        for name in names:
            if name in row and np.any(goals[c]):
                vectors[row[name]], sizes[row[name]] = goals[c], 1.0
    for template in TEMPLATES:
        for word in template.format(a="a", name="").replace(".", " . ").split():
            if word in row:
                sizes[row[word]] = 0.05
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), sizes


def as_asked(concepts: Concepts, c: int) -> list[str]:
    """The prompts of a concept that annotate makes of its names by itself."""
    ways = [p for p in concepts.prompts(c) if p.startswith(("a photo of a ", "a photo of an ")) and not p.endswith(".")]
    first = concepts.names[c][0]
    if first.startswith(("digit ", "sign ")):
        (ways,) = prompts_for([first.partition(" ")[2]]).values()
    return ways or concepts.prompts(c)


class Texts:
    """What is taught: word pieces of texts, and the vectors that they should become.

    goals   (C, D) of the concepts
    nouns   by name, (D,) unit vectors
    pieces  (V, D) where each piece should lie
    """

    def __init__(
        self, words: Words, concepts: Concepts, goals: Tensor, taught: Tensor, nouns: Mapping[str, np.ndarray],
        pieces: Tensor,
    ) -> None:  # fmt: skip
        self.goals, self.taught, self.single = goals, taught, pieces
        self.known = (goals.norm(dim=1) > 0).nonzero().flatten()
        self.prompts = [[words(p) for p in concepts.prompts(c)] for c in range(len(concepts))]
        self.usual = [[words(p) for p in as_asked(concepts, c)] for c in range(len(concepts))]
        self.templates = [words(t.format(a="a", name="")) for t in TEMPLATES]
        names = [name for name in nouns if name not in concepts.index]
        self.names = [self._numbers(words, name) for name in names]
        # Most people type one word; most nouns of WordNet are rare, and have several.
        likely = np.array([SIMPLE if name.isalpha() else 1.0 for name in names])
        self.likely = likely / likely.sum()
        self.vectors = torch.from_numpy(np.stack([nouns[name] for name in names])).float()

    def _numbers(self, words: Words, name: str) -> list[list[int]]:
        """A name with its article, its plural."""
        other = other_number(name)
        spoken = [name, f"{article_for(name)}{name}", *([other] if other else [])]
        return [words(text) for text in spoken]

    def batch(self, step: int) -> tuple[list[Sequence[int]], Tensor, Tensor]:
        """Texts, their vectors (B, D), and which of the first are which concept."""
        rng = np.random.default_rng([SEED, step])
        named = BATCH - NOUNS - PIECES
        pools = (self.taught, 2 * named // 3), (self.known, named - 2 * named // 3)
        concepts = np.concatenate([rng.choice(pool.numpy(), count) for pool, count in pools])
        texts: list[Sequence[int]] = []
        for c in concepts:
            ways = self.usual[c] if rng.random() < USUAL else self.prompts[c]
            texts.append(ways[rng.integers(len(ways))])
        nouns = rng.choice(len(self.names), size=NOUNS, p=self.likely)
        for noun in nouns:
            template = self.templates[rng.integers(len(self.templates))] if rng.random() < 0.6 else []
            texts.append([*template, *self.names[noun][rng.integers(len(self.names[noun]))]])
        pieces = rng.integers(len(self.single), size=PIECES)
        texts += [[int(piece)] for piece in pieces]
        goals = torch.cat([self.goals[concepts], self.vectors[nouns], self.single[pieces]])
        return texts, goals, torch.from_numpy(concepts)


def teach(bag: Bag, texts: Texts, *, steps: int, checkpoint: Path, resume: bool) -> None:
    """Send every text to its vector."""
    optimiser = torch.optim.AdamW(bag.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    first = 0
    if resume and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        bag.load_state_dict(saved["bag"])
        optimiser.load_state_dict(saved["optimiser"])
        first = saved["step"]
    began, shown = time.time(), torch.zeros(4)
    known = functional.normalize(texts.goals[texts.known], dim=1)
    column = torch.full((len(texts.goals),), -1)
    column[texts.known] = torch.arange(len(texts.known))
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min((step + 1) / 50, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        given, goals, concepts = texts.batch(step)
        made = functional.normalize(bag(*joined(given)), dim=1)
        cosine = (made * goals).sum(dim=1)
        c = len(concepts)
        parts = [cosine[:c].mean(), cosine[c : c + NOUNS].mean(), cosine[c + NOUNS :].mean()]
        told = functional.cross_entropy(SCALE * made[:c] @ known.T, column[concepts])
        loss = 0.5 * told + 8 * (1 - parts[0]) + 4 * (1 - parts[1]) + 0.5 * (1 - parts[2])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(bag.parameters(), 1.0)
        optimiser.step()
        shown += torch.stack([*(part.detach() for part in parts), torch.ones(())])
        if (step + 1) % CHECKPOINT == 0 or step + 1 == steps:
            mean, shown = shown / shown[3], torch.zeros(4)
            cosines = "  ".join(
                f"{n} {v:.3f}" for n, v in zip(("concepts", "nouns", "pieces"), mean.tolist(), strict=False)
            )
            print(f"text {step + 1}/{steps}  cosine of {cosines}  {time.time() - began:.0f} s", flush=True)
            torch.save({"bag": bag.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}, checkpoint)
