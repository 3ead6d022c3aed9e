"""What an image teaches: its class among those of its own set, and among all concepts that it cannot be too."""

from collections.abc import Sequence

import augment
import torch
from concepts import BROADER, NUMBER_WORDS, Concepts, canonical
from torch import Tensor
from torch.nn import functional
from words import COLOURS

BROAD = 0.25  # share of images with a broader word that are taught it
SMOOTHING = 0.05  # label smoothing
LOOSE = ("emoji", "tiny-imagenet")  # what these show is not told apart within the set: it overlaps


def concept_name(set_name: str, name: str) -> str:
    """The concept that a folder of a set stands for."""
    if set_name == "mnist":
        return f"digit {name}"
    if set_name == "sign-language-digits":
        return f"sign {NUMBER_WORDS[int(name)]}"
    if set_name == "emoji":
        return canonical(name).removesuffix(" face")
    if set_name.startswith("drawn "):
        return next((concept for concept, spoken in COLOURS.items() if spoken[0] == name), name)
    return canonical(name)


class Lessons:
    """Which concepts an image may be told apart from: within its set, and among all."""

    def __init__(self, concepts: Concepts, set_names: Sequence[str], labels: Sequence[Tensor]) -> None:
        """labels  for each set the concept of each image, -1 where it has none"""
        c = len(concepts)
        self.within = torch.zeros(len(set_names) + 1, c, dtype=torch.bool)
        self.loose = torch.zeros(len(set_names) + 1, dtype=torch.bool)  # pictograms and broader words
        self.loose[-1] = True
        for i, name in enumerate(set_names):
            if name in LOOSE:
                self.within[i] = self.loose[i] = True
            else:
                self.within[i, labels[i][labels[i] >= 0].unique()] = True
            if name == "cifar10":
                self.within[-1] |= self.within[i]
        self.within[-1, [concepts.index[name] for name in BROADER]] = True
        self.negative = torch.from_numpy(~(concepts.related | concepts.alike))
        self.unrelated = torch.from_numpy(~concepts.related)
        taught = named(labels)
        # Pictograms and small pictures move to the words, and not the words to them: photos have to fit the words, too.
        firm = named([own for name, own in zip(set_names, labels, strict=True) if name not in LOOSE])
        self.taught = torch.from_numpy(concepts.covers[:, firm].any(axis=1))  # pictures of it, or of what it covers
        # The fewer taught concepts a word covers, the more often it is taught.
        covered = concepts.covers[:, taught].sum(axis=1).clip(min=1)
        self.broader = [concepts.broader(i) for i in range(c)]
        self.weights = [torch.from_numpy(covered[words] ** -0.5) for words in self.broader]

    def of(self, labels: Tensor, sets: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Targets (B,), and the masks (B, C) of what each is compared with in its set and among all."""
        targets, rooms = labels.clone(), sets.clone()
        for i in augment.chance(len(labels), BROAD, rng).nonzero().flatten().tolist():
            words = self.broader[int(labels[i])]
            if words:
                targets[i] = words[int(torch.multinomial(self.weights[int(labels[i])], 1, generator=rng))]
                rooms[i] = len(self.within) - 1
        own = functional.one_hot(targets, self.negative.shape[0]).bool()
        within = self.within[rooms]
        within = torch.where(self.loose[rooms].unsqueeze(1), within & self.unrelated[labels], within)
        return targets, within | own, self.negative[labels] | own


def named(labels: Sequence[Tensor]) -> Tensor:
    """The concepts that these sets show."""
    shown = torch.cat(list(labels)).unique()
    return shown[shown >= 0]


def cross_entropy(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Label-smoothed cross entropy over the columns that the mask allows, one number for each image."""
    log_p = logits.masked_fill(~mask, -torch.inf).log_softmax(dim=1)
    hit = log_p.gather(1, targets.unsqueeze(1)).squeeze(1)
    spread = log_p.masked_fill(~mask, 0).sum(dim=1) / mask.sum(dim=1)
    return -((1 - SMOOTHING) * hit + SMOOTHING * spread)
