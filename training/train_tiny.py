"""Train `tiny`, the embedded CLIP model, on folders of labelled pictures.

    python training/train_tiny.py --data DIR --cache DIR --out annotate/encoders/tiny/weights.safetensors

1. Images. Every concept (a class, a broader word, a name in the bank of CLIP text embeddings) has a target
   vector W_c = normalize(base_c + residual_c): base_c is CLIP's own text embedding of the name, centred and
   projected; the residual is learned, and its length is penalised. The image side learns to meet its
   target among the classes of its own set, and among all concepts that are not compatible with it:

       L = CE(s * z @ W_set.T) + 0.5 * CE(s * z @ W_all.T)

   Now and then the target is a broader word: a Labrador retriever is a dog. Weights are averaged over
   time (EMA). The stages (STAGES) make three cycles of the rate, up and down to nothing (Loshchilov and Hutter,
   "SGDR", 2017); targets move only at the lower resolution.
2. Words. The text side learns to send every prompt of a concept to its target, trained or only in the bank.
3. Scale. The logit scale is fitted on training images kept aside, so that confidence means something.

Fixed steps, seeded; each step draws from its own generator, so `--resume` goes on as if it had never stopped.
"""

import argparse
import bisect
import copy
import itertools
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import augment
import numpy as np
import torch
from concepts import BROADER, NUMBER_WORDS, SECOND_MEANINGS, Concepts, canonical
from data import HELD_IN, RESOLUTION, SETS, TRAIN, ImageSet, load, text_bank
from muon import Muon
from torch import Tensor, nn
from torch.nn import functional
from words import COLOURS

from annotate.encoders.openai import MEAN, STD, Tokenizer, clip_file

ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 256,
    "vision_layers": (1, 2, 3, 2),
    "vision_width": 32,
    "vision_patch_size": None,
    "context_length": 32,  # tokens
    "vocab_size": 512 + 4000 + 2,  # bytes, CLIP's first 4,000 merges, start and end of text
    "transformer_width": 192,
    "transformer_heads": 3,
    "transformer_layers": 2,
}
SEED = 7
BATCH = 256  # images; the shares of the sets add up to it
CONVOLUTIONS = 2.5  # times the rate: Muon's, for the convolutions
WARMUP = 0.04  # share of the steps of a cycle
DECAY = 0.05  # weight decay of matrices
SMOOTHING = 0.05  # label smoothing
SCALE = 16.0  # logit scale while training
BROAD = 0.25  # share of images with a broader word that are taught it
RESIDUAL = 0.02  # weight of the squared residual of a concept's target
AVERAGE = 0.998  # EMA per step
TEXT_BATCH = 256  # prompts
TEXT_RATE = 2e-3  # peak learning rate
CHECKPOINT = 500  # steps between checkpoints
FEW = 100_000  # weights; smaller tensors are not worth rounding to int8


@dataclass(frozen=True)
class Stage:
    """Steps at one resolution, with one mixture of the sets.

    side   pixels
    peak   of AdamW's learning rate, where a cycle begins; None goes on with the cycle before
    """

    steps: int
    side: int
    peak: float | None


STAGES = (
    Stage(3000, 64, 2e-3),
    Stage(460, RESOLUTION, None),
    Stage(300, RESOLUTION, 6e-4),
    Stage(2600, 64, 1.4e-3),
    Stage(900, RESOLUTION, None),
)


class Schedule:
    """Which stage a step belongs to, and its learning rate."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = stages
        self.ends = list(itertools.accumulate(stage.steps for stage in stages))
        self.last = self.ends[-1]

    def at(self, step: int) -> tuple[int, int]:
        """The stage of a step, and how many steps of it lie behind."""
        number = bisect.bisect_right(self.ends, step)
        return number, step - (self.ends[number] - self.stages[number].steps)

    def rate(self, step: int) -> float:
        """Up in a straight line from the start of the cycle, then down to nothing at its end in another."""
        number, behind = self.at(step)
        while (peak := self.stages[number].peak) is None:
            number -= 1
            behind += self.stages[number].steps
        cycle = self.stages[number].steps
        for stage in itertools.takewhile(lambda stage: stage.peak is None, self.stages[number + 1 :]):
            cycle += stage.steps
        return peak * min((behind + 1) / (WARMUP * cycle), (cycle - behind) / ((1 - WARMUP) * cycle))


class Pictures:
    """The training images of every set in memory, and the batch that belongs to a step."""

    def __init__(self, data: Path, cache: Path, sets: Sequence[ImageSet]) -> None:
        self.sets = sets
        self.pixels: list[Tensor] = []
        self.classes: list[list[str]] = []
        self.splits: list[np.ndarray] = []
        for image_set in sets:
            pixels, names, splits = load(data, cache, image_set)
            self.pixels.append(torch.from_numpy(pixels))
            self.classes.append([concept_name(image_set.name, name) for name in names])
            self.splits.append(splits)

    def class_names(self) -> list[str]:
        """Every class of every set but the pictograms, which only illustrate what the others name."""
        own = [names for s, names in zip(self.sets, self.classes, strict=True) if s.name != "emoji"]
        return [name for names in own for name in sorted(set(names))]

    def number(self, concepts: Concepts) -> None:
        """Turn class names into concepts; pictograms of things that are no concept are left out."""
        self.labels = [torch.tensor([concepts.index.get(name, -1) for name in names]) for names in self.classes]
        self.rows = [
            torch.from_numpy(np.flatnonzero((splits == TRAIN) & (labels.numpy() >= 0)))
            for splits, labels in zip(self.splits, self.labels, strict=True)
        ]

    def batch(self, stage: int, behind: int, side: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, 3, R, R) normalised, concepts (B,), sets (B,) of a step of a stage.

        behind   steps of the stage so far
        side     R, pixels
        """
        images, labels, sets = [], [], []
        for i, image_set in enumerate(self.sets):
            seed = SEED + 1000 * i + 100 * stage
            rows = self.rows[i][draw(len(self.rows[i]), image_set.shares[stage], behind, seed)]
            pixels = self.pixels[i][rows]
            if image_set.name == "mnist":
                images.append(augment.digits(pixels, side, rng))
            else:
                views = augment.crop if image_set.draw else augment.photos
                images.append(views(pixels, side, mirror=image_set.mirror, smallest=image_set.smallest, rng=rng))
            labels.append(self.labels[i][rows])
            sets.append(torch.full((len(rows),), i))
        return normalised(torch.cat(images)), torch.cat(labels), torch.cat(sets)


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


def permissive(sets: Sequence[ImageSet]) -> list[ImageSet]:
    """The sets under licences that allow any use, their shares enlarged to fill the batch."""
    kept = [s for s in sets if s.permissive]
    stages = zip(*(s.shares for s in kept), strict=True)
    filled = zip(*(fill_batch(shares) for shares in stages), strict=True)
    return [replace(s, shares=shares) for s, shares in zip(kept, filled, strict=True)]


def fill_batch(shares: Sequence[int]) -> list[int]:
    """Whole numbers in these proportions that add up to BATCH."""
    ends = [round(end * BATCH / sum(shares)) for end in itertools.accumulate(shares)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def draw(n: int, count: int, step: int, seed: int) -> Tensor:
    """The `count` rows of a step when n rows are dealt in a new random order every epoch."""
    start = step * count
    dealt = []
    for epoch in range(start // n, (start + count - 1) // n + 1):
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed * 100_003 + epoch))
        dealt.append(order[max(start - epoch * n, 0) : max(start + count - epoch * n, 0)])
    return torch.cat(dealt)


def normalised(images: Tensor) -> Tensor:
    """CLIP's mean and deviation, (B, 3, R, R) in [0, 1] to channels last."""
    mean, std = (torch.from_numpy(v).view(3, 1, 1) for v in (MEAN, STD))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def starting_targets(concepts: Concepts) -> Tensor:
    """(C, D) unit rows: CLIP's projected text embedding of each concept, a random direction if unknown."""
    base = torch.from_numpy(concepts.base)
    unknown = (base.norm(dim=1, keepdim=True) == 0).float()
    return base + functional.normalize(torch.randn(base.shape), dim=1) * unknown


class Lessons:
    """Which concepts an image may be told apart from: within its set, and among all."""

    def __init__(self, concepts: Concepts, pictures: Pictures) -> None:
        c = len(concepts)
        self.within = torch.zeros(len(pictures.sets) + 1, c, dtype=torch.bool)
        self.loose = torch.zeros(len(pictures.sets) + 1, dtype=torch.bool)  # pictograms and broader words
        self.loose[-1] = True
        for i, image_set in enumerate(pictures.sets):
            if image_set.name == "emoji":
                self.within[i] = self.loose[i] = True
            else:
                self.within[i, pictures.labels[i][pictures.labels[i] >= 0].unique()] = True
            if image_set.name == "cifar10":
                self.within[-1] |= self.within[i]
        self.within[-1, [concepts.index[name] for name in BROADER]] = True
        self.negative = torch.from_numpy(~(concepts.related | concepts.alike))
        self.unrelated = torch.from_numpy(~concepts.related)
        taught = torch.cat(pictures.labels).unique()
        # The fewer taught concepts a word covers, the more often it is taught.
        covered = concepts.covers[:, taught[taught >= 0]].sum(axis=1).clip(min=1)
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


def cross_entropy(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Label-smoothed cross entropy over the columns that the mask allows."""
    log_p = logits.masked_fill(~mask, -torch.inf).log_softmax(dim=1)
    hit = log_p.gather(1, targets.unsqueeze(1)).squeeze(1)
    spread = log_p.masked_fill(~mask, 0).sum(dim=1) / mask.sum(dim=1)
    return -((1 - SMOOTHING) * hit + SMOOTHING * spread).mean()


class Optimisers:
    """Muon for convolutions, AdamW for the rest; vectors, and what is named free, do not decay."""

    def __init__(self, modules: list[nn.Module], free: Iterable[nn.Parameter] = ()) -> None:
        parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim in (2, 3)], "weight_decay": DECAY},
            {"params": [*(p for p in parameters if p.ndim == 1), *free], "weight_decay": 0.0},
        ]
        self.adam = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)  # step sets the rate
        convolutions = [p for p in parameters if p.ndim == 4]
        self.muon = Muon(convolutions, lr=0.0, weight_decay=DECAY) if convolutions else None

    def step(self, loss: Tensor, rate: float) -> None:
        """One step down the gradient of the loss, clipped to length 1 where AdamW takes it."""
        parts = [self.adam] if self.muon is None else [self.adam, self.muon]
        for part, times in zip(parts, (1.0, CONVOLUTIONS), strict=False):
            part.zero_grad(set_to_none=True)
            for group in part.param_groups:
                group["lr"] = times * rate
        loss.backward()
        nn.utils.clip_grad_norm_([p for group in self.adam.param_groups for p in group["params"]], 1.0)
        for part in parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"adam": self.adam.state_dict(), "muon": self.muon.state_dict() if self.muon else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.adam.load_state_dict(state["adam"])
        if self.muon:
            self.muon.load_state_dict(state["muon"])


def blend(average: nn.Module, current: nn.Module, keep: float) -> None:
    """Move the average toward the current weights, batch norm's statistics included."""
    theirs = current.state_dict()
    with torch.no_grad():
        for name, mine in average.state_dict().items():
            if mine.is_floating_point():
                mine.lerp_(theirs[name], 1 - keep)


def resize(visual: Any, side: int) -> None:
    """Let the image side take images of another side: its k x k positions become (side / 32) x (side / 32)."""
    if side == visual.input_resolution:
        return
    pool, cells = visual.attnpool, side // 32
    table = pool.positional_embedding.detach()  # (1 + k * k, E), the mean's position first
    k = round((len(table) - 1) ** 0.5)
    grid = table[1:].T.reshape(1, -1, k, k)
    grid = functional.interpolate(grid, size=(cells, cells), mode="bilinear", align_corners=True)
    pool.positional_embedding = nn.Parameter(torch.cat([table[:1], grid.flatten(2)[0].T]))
    visual.input_resolution = side


def train_images(
    visual: Any, base: Tensor, pictures: Pictures, lessons: Lessons, schedule: Schedule, args: argparse.Namespace
) -> tuple[Any, Tensor]:
    """Teach the image side; returns its averaged weights and the targets (C, D)."""
    residual = nn.Embedding.from_pretrained(torch.zeros_like(base), freeze=False)  # (C, D)
    both = nn.ModuleList([visual, residual])
    average = copy.deepcopy(both)
    counts = "-".join(str(stage.steps) for stage in schedule.stages)
    checkpoint = args.cache / f"checkpoint-{counts}{'-permissive' if args.permissive else ''}.pt"
    first, kept = 0, None
    if args.resume and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        first, kept = saved["step"], saved["optimiser"]
        for part in (visual, average[0]):
            resize(part, schedule.stages[schedule.at(first - 1)[0]].side)
        both.load_state_dict(saved["both"])
        average.load_state_dict(saved["average"])
    both.to(memory_format=torch.channels_last)
    forward = torch.compile(visual, dynamic=False) if args.compile else visual
    began, shown = time.time(), torch.zeros(4)
    for step in range(first, schedule.last):
        number, behind = schedule.at(step)
        side = schedule.stages[number].side
        if step == first or not behind:
            moving = side < RESOLUTION  # at full resolution targets stay, only the image side goes on
            residual.weight.requires_grad_(moving)
            for part in (visual, average[0]):
                resize(part, side)
            optimiser = Optimisers([visual], free=[residual.weight] if moving else [])
            if kept and behind:
                optimiser.load_state_dict(kept)
        rng = torch.Generator().manual_seed(SEED * 1_000_003 + step)
        images, labels, sets = pictures.batch(number, behind, side, rng)
        wanted, within, among = lessons.of(labels, sets, rng)
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = forward(images)
        targets = functional.normalize(base + residual.weight, dim=1)
        logits = SCALE * functional.normalize(embeddings.float(), dim=1) @ targets.T  # (B, C)
        near, far = cross_entropy(logits, wanted, within), cross_entropy(logits, wanted, among)
        loss = near + 0.5 * far + RESIDUAL * residual.weight[labels.unique()].square().sum(dim=1).mean()
        optimiser.step(loss, schedule.rate(step))
        blend(average, both, min(AVERAGE, (behind + 1) / (behind + 10)))
        with torch.no_grad():
            right = (logits.masked_fill(~within, -torch.inf).argmax(1) == wanted).float().mean()
            shown += torch.stack([near.detach(), far.detach(), right, torch.ones(())])
        if (step + 1) % 100 == 0:
            mean, shown = shown / shown[3], torch.zeros(4)
            pace = (step + 1 - first) * BATCH / (time.time() - began)
            losses = f"within {mean[0]:.3f}  among {mean[1]:.3f}  right {mean[2]:.3f}"
            print(f"step {step + 1}/{schedule.last}  {losses}  {pace:.0f} images/s", flush=True)
        if (step + 1) % CHECKPOINT == 0 or step + 1 in schedule.ends:
            state = {"both": both.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
            torch.save(state | {"step": step + 1}, checkpoint.with_suffix(".partial"))
            checkpoint.with_suffix(".partial").replace(checkpoint)
    visual, residual = average
    resize(visual, RESOLUTION)
    return visual, functional.normalize(base + residual.weight, dim=1).detach()


def encode_text(model: Any, tokens: Tensor) -> Tensor:
    """clip.model's encode_text for tokens (P, L) cut to the longest prompt; attention is causal."""
    length = tokens.shape[1]
    mask = model.build_attention_mask()[:length, :length]
    x = (model.token_embedding(tokens) + model.positional_embedding[:length]).permute(1, 0, 2)
    for block in model.transformer.resblocks:
        block.attn_mask = mask
        x = block(x)
    x = model.ln_final(x.permute(1, 0, 2))
    return x[torch.arange(len(x)), tokens.argmax(dim=1)].float() @ model.text_projection


def with_second_meanings(goals: Tensor, concepts: Concepts) -> Tensor:
    """The goals of the text side: a word with two meanings lies between them, nearer to the first."""
    goals = goals.clone()
    for word, other in SECOND_MEANINGS.items():
        if word in concepts.index and other in concepts.index:
            first, second = concepts.index[word], concepts.index[other]
            goals[first] = functional.normalize(goals[first] + 0.6 * goals[second], dim=0)
    return goals


def train_text(model: Any, goals: Tensor, concepts: Concepts, taught: Tensor, steps: int) -> None:
    """Teach the text side to send every prompt of concept c to goals[c]; half of them have images.

    goals    (C, D) float32 unit rows
    taught   (T,) the concepts that have images
    """
    tokenizer = Tokenizer(model.vocab_size)
    prompts = [concepts.prompts(c) for c in range(len(concepts))]
    tokens = [torch.from_numpy(tokenizer(p, model.context_length)) for p in prompts]
    parts = [model.transformer, model.token_embedding, model.ln_final]
    optimiser = Optimisers(parts, free=[model.text_projection, model.positional_embedding])
    known = (goals.norm(dim=1) > 0).nonzero().flatten()
    schedule = Schedule([Stage(steps, 0, TEXT_RATE)])
    began, shown = time.time(), torch.zeros(2)
    for step in range(steps):
        rng = torch.Generator().manual_seed(SEED * 2_000_003 + step)
        half = TEXT_BATCH // 2
        rows = torch.cat([pool[torch.randint(len(pool), (half,), generator=rng)] for pool in (taught, known)])
        drawn = [tokens[c] for c in rows.tolist()]
        texts = torch.stack([t[int(torch.randint(len(t), (), generator=rng))] for t in drawn])  # (P, L)
        texts = texts[:, : int(texts.argmax(dim=1).max()) + 1]
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = encode_text(model, texts)
        embeddings = functional.normalize(embeddings.float(), dim=1)
        cosine = (embeddings * goals[rows]).sum(dim=1).mean()
        loss = functional.cross_entropy(SCALE * embeddings @ goals.T, rows) + 4 * (1 - cosine)
        optimiser.step(loss, schedule.rate(step))
        shown += torch.stack([cosine.detach(), torch.ones(())])
        if (step + 1) % 200 == 0:
            mean, shown = shown / shown[1], torch.zeros(2)
            print(f"text {step + 1}/{steps}  cosine {mean[0]:.4f}  {time.time() - began:.0f} s", flush=True)


def fit_scale(model: Any, pictures: Pictures, concepts: Concepts) -> float:
    """The logit scale with the least cross entropy on the photos and digits kept aside, every set counting alike."""
    tokenizer = Tokenizer(model.vocab_size)
    similarities, answers = [], []
    for i, image_set in enumerate(pictures.sets):
        rows = torch.from_numpy(np.flatnonzero(pictures.splits[i] == HELD_IN))
        if image_set.name == "emoji" or image_set.draw or not len(rows):
            continue
        classes = pictures.labels[i][pictures.labels[i] >= 0].unique()
        words = torch.stack([mean_prompt(model, tokenizer, concepts.prompts(int(c))[:4]) for c in classes])
        pixels = pictures.pixels[i][rows].permute(0, 3, 1, 2).float() / 255
        square = (RESOLUTION, RESOLUTION)
        pixels = functional.interpolate(pixels, size=square, mode="bicubic", antialias=True).clamp(0, 1)
        embeddings = torch.cat([model.encode_image(p) for p in normalised(pixels).split(256)])
        similarities.append(functional.normalize(embeddings, dim=1) @ words.T)
        answers.append(torch.searchsorted(classes, pictures.labels[i][rows]))
        right = (similarities[-1].argmax(1) == answers[-1]).float().mean()
        print(f"kept aside  {image_set.name:22s} {len(rows):5d} images  {right:.3f}", flush=True)
    scales = torch.exp(torch.linspace(math.log(5), math.log(100), 200))
    held = list(zip(similarities, answers, strict=True))
    losses = [sum(float(functional.cross_entropy(scale * x, y)) for x, y in held) for scale in scales]
    return float(scales[int(np.argmin(losses))])


def mean_prompt(model: Any, tokenizer: Tokenizer, prompts: list[str]) -> Tensor:
    """One unit vector for a class from its prompts."""
    embeddings = model.encode_text(torch.from_numpy(tokenizer(prompts, model.context_length)))
    return functional.normalize(functional.normalize(embeddings, dim=1).mean(dim=0), dim=0)


def save(model: nn.Module, out: Path, *, small: bool) -> None:
    """The state dict of clip.model.CLIP, without the counters that build_model does not need.

    small   matrices as int8 with one scale per row, the rest as float16; else all as float32. Shortcuts
            (downsample) stay float16: rounded, they did two thirds of the harm to embeddings of training images
    """
    from safetensors.torch import save_file

    out.parent.mkdir(parents=True, exist_ok=True)
    kept = {n: t.contiguous() for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    state = {}
    for name, weight in kept.items():
        if small and weight.ndim > 1 and weight.numel() > FEW and "downsample" not in name:
            state[name], state[f"{name}.scale"] = quantised(weight)
        else:
            state[name] = weight.half() if small else weight
    partial = out.with_suffix(".partial")
    save_file(state, partial)
    partial.chmod(0o644)  # safetensors leaves it readable to its owner alone
    partial.replace(out)
    print(f"{out}: {out.stat().st_size:,} bytes", flush=True)


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """int8 of the shape of the weight, and the float32 scale of each row; of 24 scales the one that errs least."""
    rows = weight.flatten(1)
    peak = rows.abs().amax(dim=1).clamp(min=1e-12) / 127
    tried = [peak * share for share in torch.linspace(0.55, 1, 24).tolist()]
    rounded = [(rows / scale[:, None]).round().clamp(-127, 127) for scale in tried]
    errors = [(r * scale[:, None] - rows).square().sum(dim=1) for r, scale in zip(rounded, tried, strict=True)]
    best = torch.stack(errors).argmin(dim=0)
    chosen = best, torch.arange(len(best))
    return torch.stack(rounded)[chosen].to(torch.int8).view_as(weight), torch.stack(tried)[chosen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the zip files and the text bank")
    parser.add_argument("--cache", type=Path, required=True, help="folder for decoded images and checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="weights.safetensors to write")
    default = [stage.steps for stage in STAGES]
    parser.add_argument(
        "--steps", type=int, nargs=len(STAGES), default=default, help="steps of each stage, 256 images each"
    )
    parser.add_argument("--text-steps", type=int, default=1000, help="steps of the text side, 256 prompts each")
    parser.add_argument("--permissive", action="store_true", help="train on the permissively licensed sets alone")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the cache")
    parser.add_argument("--compile", action="store_true", help="compile the image side; needs a C++ compiler")
    args = parser.parse_args()

    torch.manual_seed(SEED)
    sets = permissive(SETS) if args.permissive else SETS
    pictures = Pictures(args.data, args.cache, sets)
    bank = text_bank(args.data)
    concepts = Concepts(pictures.class_names(), bank, dimensions=ARCHITECTURE["embed_dim"])
    pictures.number(concepts)
    stages = [replace(stage, steps=steps) for stage, steps in zip(STAGES, args.steps, strict=True)]
    model: Any = clip_file("model").CLIP(**ARCHITECTURE, image_resolution=stages[0].side)
    model.visual.to(memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(concepts)} concepts", flush=True)
    print("  ".join(f"{s.name} {len(rows)}" for s, rows in zip(sets, pictures.rows, strict=True)), flush=True)

    lessons = Lessons(concepts, pictures)
    visual, goals = train_images(model.visual, starting_targets(concepts), pictures, lessons, Schedule(stages), args)
    model.visual = visual
    taught = torch.cat([labels[labels >= 0].unique() for labels in pictures.labels]).unique()
    train_text(model, with_second_meanings(goals, concepts), concepts, taught, args.text_steps)
    model.eval()
    for block in model.transformer.resblocks:
        block.attn_mask = model.build_attention_mask()
    with torch.no_grad():
        scale = fit_scale(model, pictures, concepts)
    model.logit_scale.data.fill_(math.log(scale))
    print(f"logit scale {scale:.2f}", flush=True)
    save(model, args.cache / "float32.safetensors", small=False)
    save(model, args.out, small=True)


if __name__ == "__main__":
    main()
