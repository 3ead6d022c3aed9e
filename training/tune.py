"""Fit the head of `tiny`, on what features.py keeps of every picture.

An embedding is z = normalize(A sqrt(f + 0.01) + b + what the look at the map adds), with f the backbone's 1,280
averages. At first A is closed-form: the 384 directions in which pictures and ImageNet's 1,000 classifier rows vary
most; each row becomes a unit vector, an anchor. Every concept has a base vector, a mixture of the anchors
(knowledge.py), and concepts with pictures learn a residual:

    L = CE(s z W_set) + 0.3 CE(s z W_all) + 3 (1 - cos(z, z0)) + KL(ImageNet's probabilities, those of the anchors)
        + 0.05 |residuals|^2

z0 is the embedding before any training. The third and fourth terms are for photos alone: they hold on to what the
backbone knows, also of things that no set shows.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from features import Altered, Features
from lessons import Lessons, cross_entropy
from torch import Tensor, nn
from torch.nn import functional

from annotate.encoders.head import FLOOR, Head

DIMENSIONS = 384
STROKES, PLACED = 40, 256  # channels of the look at where things are
WHITENING = 0.25  # exponent of the variances by which directions are shortened
SCALE = 18.0  # logit scale while training
ANCHOR_SCALE = 25.0  # logit scale of the anchors
FAR, KEEP, ANCHORED, MOVED = 0.3, 3.0, 1.0, 0.05  # weights of the losses
WHAT_RATE, SIGHT_RATE, RESIDUAL_RATE = 1e-3, 1e-3, 3e-3  # highest learning rates
SEED = 7
CHECKPOINT = 50  # steps
# Of a batch.
SHARES = {
    "groceries": 40, "clothing": 36, "scenes": 28, "vehicles": 26, "trashnet": 20, "sign-language-digits": 16,
    "mnist": 28, "emoji": 12, "drawn simple": 20, "drawn simple again": 24, "drawn coloured shapes": 6,
    "drawn colours of things": 6, "cifar10": 20, "tiny-imagenet": 8,
}  # fmt: skip
READ = (
    "mnist",
    "drawn simple",
    "drawn simple again",
    "drawn coloured shapes",
    "drawn colours of things",
)  # no mirror keeps their class
PHOTOS = ("groceries", "clothing", "scenes", "vehicles", "trashnet", "cifar10", "tiny-imagenet")


def root(averages: Tensor) -> Tensor:
    return (averages + FLOOR).sqrt()


def closed_form(
    averages: Tensor, rows: Tensor, altered: Altered | None = None, channels: int = 112
) -> tuple[Head, Tensor]:
    """The head and the anchors before any training.

    averages  (N, F) of photos
    rows      (1000, F) of ImageNet's classifier
    altered   the same pictures as they were, coarsened and grey: the embedding forgets how these differ on average
    returns   the head, and anchors (1000, D), unit rows
    """
    roots = root(averages)
    mean = roots.mean(dim=0)
    centred = roots - mean
    slope = (centred * (averages - averages.mean(dim=0))).mean(dim=0) / centred.square().mean(dim=0).clamp(min=1e-6)
    bent = (rows - rows.mean(dim=0)) * slope  # a row that reads the roots as the classifier reads the averages
    spread = centred.T @ centred / len(centred)
    wanted = bent.T @ bent / len(bent)
    both = spread / spread.trace() + wanted / wanted.trace()
    axes = torch.linalg.eigh(both)[1][:, -DIMENSIONS:].flip(1)  # (F, D)
    variance = (axes * (spread @ axes)).sum(dim=0)
    shorter = (variance + 0.05 * variance.mean()) ** -WHITENING  # (D,)
    weight = (axes * shorter).T.contiguous()
    directions = bent @ axes / shorter
    if altered is not None:
        shifts = torch.stack([(root(a) - root(altered.plain)).mean(dim=0) for a in (altered.coarse, altered.grey)])
        across = torch.linalg.qr((shifts @ weight.T).T)[0]  # (D, 2)
        weight = weight - across @ (across.T @ weight)
        directions = directions - directions @ across @ across.T
    anchors = functional.normalize(directions, dim=1)
    rng = torch.Generator().manual_seed(SEED)
    strokes = torch.randn(STROKES, channels, 1, 1, generator=rng) * (2 / channels) ** 0.5 / 3
    where = torch.randn(PLACED, STROKES * 100, generator=rng) * (2 / (STROKES * 100)) ** 0.5
    state = {
        "what": weight, "what.bias": -(weight @ mean), "strokes": strokes, "strokes.bias": torch.zeros(STROKES),
        "where": where, "where.bias": torch.zeros(PLACED), "adds": torch.zeros(DIMENSIONS, PLACED),
    }  # fmt: skip
    return Head(state), anchors


@dataclass
class Pictures:
    """Training rows of every set, and the batch of a step.

    sets    their names
    labels  for each set the concept of each row, -1 where it has none
    rows    for each set the rows to train on
    """

    sets: list[str]
    found: list[Features]
    labels: list[Tensor]
    rows: list[Tensor]

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Averages (B, F), maps (B, C, H, W), concepts (B,), sets (B,) of a step; maps are mirrored by chance."""
        averages, maps, labels, sets = [], [], [], []
        rng = np.random.default_rng([SEED, step])
        for i, name in enumerate(self.sets):
            rows = np.sort(rng.choice(self.rows[i].numpy(), min(SHARES[name], len(self.rows[i])), replace=False))
            averages.append(torch.from_numpy(np.asarray(self.found[i].pooled[rows])).float())
            these = torch.from_numpy(np.asarray(self.found[i].early[rows]))
            if name not in READ:
                turned = torch.from_numpy(rng.random(len(rows)) < 0.5)
                these[turned] = these[turned].flip(2)
            maps.append(these)
            labels.append(self.labels[i][rows])
            sets.append(torch.full((len(rows),), i))
        return torch.cat(averages), torch.cat(maps).permute(0, 3, 1, 2).float(), torch.cat(labels), torch.cat(sets)


@dataclass
class Knowledge:
    """What stays as it is while the image side learns.

    anchors     (1000, D) unit rows
    base        (C, D) unit rows of the concepts
    rows, bias  of ImageNet's classifier
    what, what_bias   of the closed-form head
    """

    anchors: Tensor
    base: Tensor
    rows: Tensor
    bias: Tensor
    what: Tensor
    what_bias: Tensor

    def before(self, averages: Tensor) -> Tensor:
        """The embeddings before any training, not yet of unit length."""
        return functional.linear(root(averages), self.what, self.what_bias)


def tune(
    head: Head, pictures: Pictures, lessons: Lessons, known: Knowledge, *, steps: int, checkpoint: Path, resume: bool
) -> Tensor:
    """Teach the head, and a residual of every concept's vector; returns the targets (C, D)."""
    photo = torch.tensor([name in PHOTOS for name in pictures.sets])
    residual = nn.Parameter(torch.zeros_like(known.base))
    # What no picture shows stays where the words put it: pushed away from all pictures, it would be ruined.
    free = lessons.taught.float().unsqueeze(1)  # (C, 1)
    sight = [head.strokes, head.strokes_bias, head.where, head.where_bias, head.adds]
    groups = [
        {"params": [head.what, head.what_bias], "peak": WHAT_RATE},
        {"params": sight, "peak": SIGHT_RATE, "weight_decay": 0.05},
        {"params": [residual], "peak": RESIDUAL_RATE},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.0, betas=(0.9, 0.98), lr=0.0)
    first = 0
    if resume and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        head.load_state_dict(saved["head"])
        residual.data.copy_(saved["residual"])
        optimiser.load_state_dict(saved["optimiser"])
        first = saved["step"]
    shown, began = torch.zeros(6), time.time()
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * min((step + 1) / 30, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        averages, maps, labels, sets = pictures.batch(step)
        rng = torch.Generator().manual_seed(SEED * 1_000_003 + step)
        photos = photo[sets]
        z = functional.normalize(head(averages, maps), dim=1)
        with torch.no_grad():
            z0 = functional.normalize(known.before(averages[photos]), dim=1)
            chances = (averages[photos] @ known.rows.T + known.bias).softmax(dim=1)
        targets = functional.normalize(known.base + residual * free, dim=1)
        named = labels >= 0
        wanted, within, among = lessons.of(labels[named], sets[named], rng)
        logits = SCALE * z[named] @ targets.T
        near = cross_entropy(logits, wanted, within).mean()
        far = cross_entropy(logits, wanted, among).mean()
        right = (logits.detach().masked_fill(~within, -torch.inf).argmax(1) == wanted).float().mean()
        keep = (1 - (z[photos] * z0).sum(dim=1)).mean()
        told = (ANCHOR_SCALE * z[photos] @ known.anchors.T).log_softmax(dim=1)
        anchored = functional.kl_div(told, chances, reduction="batchmean")
        moved = residual[wanted.unique()].square().sum(dim=1).mean()
        loss = near + FAR * far + KEEP * keep + ANCHORED * anchored + MOVED * moved
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for group in optimiser.param_groups:
            nn.utils.clip_grad_norm_(group["params"], 1.0)
        optimiser.step()
        shown += torch.stack([*(x.detach() for x in (near, far, right, keep, anchored)), torch.ones(())])
        if (step + 1) % CHECKPOINT == 0 or step + 1 == steps:
            mean, shown = shown / shown[5], torch.zeros(6)
            losses = "  ".join(
                f"{name} {value:.3f}"
                for name, value in zip(("near", "far", "right", "keep", "anchors"), mean.tolist(), strict=False)
            )
            print(f"step {step + 1}/{steps}  {losses}  {time.time() - began:.0f} s", flush=True)
            state = {"head": head.state_dict(), "residual": residual.data, "optimiser": optimiser.state_dict()}
            torch.save(state | {"step": step + 1}, checkpoint)
    return functional.normalize(known.base + residual * free, dim=1).detach()
