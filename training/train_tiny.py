"""Train `tiny`, the embedded CLIP model, on folders of labelled pictures.

    python training/train_tiny.py --data DIR --cache DIR --out annotate/encoders/tiny/weights.safetensors

1. Images. Every concept (a class, a broader word, a name in the bank of CLIP text embeddings) has a target
   vector W_c = normalize(base_c + residual_c): base_c is CLIP's own text embedding of the name, centred and
   projected; the residual is learned, and its length is penalised. The image side learns to meet its
   target among the classes of its own set, and among all concepts that are not compatible with it:

       L = CE(s * z @ W_set.T) + 0.5 * CE(s * z @ W_all.T)

   Now and then the target is a broader word: a Labrador retriever is a dog. Weights and targets are averaged
   over time (EMA). The last steps have more of the small sets and of digits, at fixed targets.
2. Words. The text side learns to send every prompt of a concept to its target, trained or only in the bank.
3. Scale. The logit scale is fitted on training images kept aside, so that confidence means something.

Fixed steps, seeded; each step draws from its own generator, so `--resume` goes on as if it had never stopped.
"""

import argparse
import copy
import math
import time
from pathlib import Path
from typing import Any

import augment
import numpy as np
import torch
from concepts import BROADER, NUMBER_WORDS, Concepts, canonical
from data import HELD_IN, RESOLUTION, SETS, TRAIN, load, text_bank
from torch import Tensor, nn
from torch.nn import functional

from annotate.encoders.openai import MEAN, STD, Tokenizer, clip_file

ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 256,
    "image_resolution": RESOLUTION,
    "vision_layers": (2, 2, 3, 2),
    "vision_width": 24,
    "vision_patch_size": None,
    "context_length": 32,  # tokens
    "vocab_size": 512 + 4000 + 2,  # bytes, CLIP's first 4,000 merges, start and end of text
    "transformer_width": 192,
    "transformer_heads": 3,
    "transformer_layers": 2,
}
SEED = 7
BATCH = 256  # images; the shares of the sets add up to it
RATE = 2e-3  # peak learning rate of AdamW
FINISH_RATE = 6e-4  # the same in the finishing steps
WARMUP = 0.08  # share of the steps
DECAY = 0.05  # weight decay of matrices
SMOOTHING = 0.05  # label smoothing
SCALE = 16.0  # logit scale while training
BROAD = 0.25  # share of images with a broader word that are taught it
RESIDUAL = 0.02  # weight of the squared residual of a concept's target
AVERAGE = 0.998  # EMA per step
TEXT_BATCH = 256  # prompts
CHECKPOINT = 500  # steps between checkpoints


class Pictures:
    """The training images of every set in memory, and the batch that belongs to a step."""

    def __init__(self, data: Path, cache: Path) -> None:
        self.pixels: list[Tensor] = []
        self.classes: list[list[str]] = []
        self.splits: list[np.ndarray] = []
        for image_set in SETS:
            pixels, names, splits = load(data, cache, image_set)
            self.pixels.append(torch.from_numpy(pixels))
            self.classes.append([concept_name(image_set.name, name) for name in names])
            self.splits.append(splits)

    def class_names(self) -> list[str]:
        """Every class of every set but the pictograms, which only illustrate what the others name."""
        own = [names for s, names in zip(SETS, self.classes, strict=True) if s.name != "emoji"]
        return [name for names in own for name in sorted(set(names))]

    def number(self, concepts: Concepts) -> None:
        """Turn class names into concepts; pictograms of things that are no concept are left out."""
        self.labels = [torch.tensor([concepts.index.get(name, -1) for name in names]) for names in self.classes]
        self.rows = [
            torch.from_numpy(np.flatnonzero((splits == TRAIN) & (labels.numpy() >= 0)))
            for splits, labels in zip(self.splits, self.labels, strict=True)
        ]

    def batch(self, step: int, steps: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, 3, 64, 64) normalised, concepts (B,), sets (B,) of a step; from `steps` on, of a finishing one."""
        images, labels, sets = [], [], []
        for i, image_set in enumerate(SETS):
            count, turn, seed = image_set.share, step, SEED + 1000 * i
            if step >= steps:
                count, turn, seed = image_set.finish, step - steps, seed + 500
            rows = self.rows[i][draw(len(self.rows[i]), count, turn, seed)]
            pixels = self.pixels[i][rows]
            if image_set.name == "mnist":
                images.append(augment.digits(pixels, rng))
            else:
                views = augment.photos(pixels, mirror=image_set.mirror, smallest=image_set.smallest, rng=rng)
                images.append(views)
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
    return canonical(name)


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

    def __init__(self, concepts: Concepts, labels: list[Tensor]) -> None:
        c = len(concepts)
        self.within = torch.zeros(len(SETS) + 1, c, dtype=torch.bool)
        for i, image_set in enumerate(SETS):
            if image_set.name == "emoji":
                self.within[i] = True
            else:
                self.within[i, labels[i].unique()] = True
        broad = [concepts.index[name] for name in BROADER]
        cifar = next(i for i, s in enumerate(SETS) if s.name == "cifar10")
        self.within[-1] = self.within[cifar]
        self.within[-1, broad] = True
        self.negative = torch.from_numpy(~(concepts.related | concepts.alike))
        self.unrelated = torch.from_numpy(~concepts.related)
        self.broader = [concepts.broader(i) for i in range(c)]

    def of(self, labels: Tensor, sets: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Targets (B,), and the masks (B, C) of what each is compared with in its set and among all."""
        targets, rooms = labels.clone(), sets.clone()
        for i in augment.chance(len(labels), BROAD, rng).nonzero().flatten().tolist():
            words = self.broader[int(labels[i])]
            if words:
                targets[i] = words[int(torch.randint(len(words), (), generator=rng))]
                rooms[i] = len(self.within) - 1
        own = functional.one_hot(targets, self.negative.shape[0]).bool()
        within = self.within[rooms]
        loose = (rooms == len(self.within) - 1) | (rooms == len(SETS) - 1)  # broader words and pictograms
        within = torch.where(loose.unsqueeze(1), within & self.unrelated[labels], within)
        return targets, within | own, self.negative[labels] | own


def cross_entropy(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Label-smoothed cross entropy over the columns that the mask allows."""
    log_p = logits.masked_fill(~mask, -torch.inf).log_softmax(dim=1)
    hit = log_p.gather(1, targets.unsqueeze(1)).squeeze(1)
    spread = log_p.masked_fill(~mask, 0).sum(dim=1) / mask.sum(dim=1)
    return -((1 - SMOOTHING) * hit + SMOOTHING * spread).mean()


def rate_at(step: int, steps: int, peak: float = RATE) -> float:
    """Linear warm-up, then a cosine down to nothing."""
    warmup = WARMUP * steps
    if step < warmup:
        return peak * step / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def optimiser(modules: list[nn.Module]) -> torch.optim.AdamW:
    parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), fused=True)


def blend(average: nn.Module, current: nn.Module, keep: float) -> None:
    """Move the average toward the current weights, batch norm's statistics included."""
    theirs = current.state_dict()
    with torch.no_grad():
        for name, mine in average.state_dict().items():
            if mine.is_floating_point():
                mine.lerp_(theirs[name], 1 - keep)


def train_images(
    visual: Any, base: Tensor, pictures: Pictures, lessons: Lessons, args: argparse.Namespace
) -> tuple[Any, Tensor]:
    """Teach the image side; returns its averaged weights and the averaged targets (C, D)."""
    residual = nn.Embedding.from_pretrained(torch.zeros_like(base), freeze=False)  # (C, D)
    both = nn.ModuleList([visual, residual])
    average = copy.deepcopy(both)
    adam = optimiser([visual])
    adam.add_param_group({"params": [residual.weight], "weight_decay": 0.0})
    first, last = 0, args.steps + args.finish_steps
    checkpoint = args.cache / f"checkpoint-{args.steps}.pt"
    if args.resume and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        both.load_state_dict(saved["both"])
        average.load_state_dict(saved["average"])
        first = saved["step"]
        if first > args.steps:
            adam = optimiser([visual])
        if first != args.steps:
            adam.load_state_dict(saved["adam"])
        both.to(memory_format=torch.channels_last)
    forward = torch.compile(visual) if args.compile else visual
    began, shown = time.time(), torch.zeros(4)
    for step in range(first, last):
        finishing = step - args.steps  # 0 and more: targets stay, only the image side goes on
        residual.weight.requires_grad_(finishing < 0)
        if finishing == 0:
            adam = optimiser([visual])
        rng = torch.Generator().manual_seed(SEED * 1_000_003 + step)
        images, labels, sets = pictures.batch(step, args.steps, rng)
        wanted, within, among = lessons.of(labels, sets, rng)
        for group in adam.param_groups:
            group["lr"] = (
                rate_at(step, args.steps) if finishing < 0 else rate_at(finishing, args.finish_steps, FINISH_RATE)
            )
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = forward(images)
        targets = functional.normalize(base + residual.weight, dim=1)
        logits = SCALE * functional.normalize(embeddings.float(), dim=1) @ targets.T  # (B, C)
        near, far = cross_entropy(logits, wanted, within), cross_entropy(logits, wanted, among)
        loss = near + 0.5 * far + RESIDUAL * residual.weight[labels.unique()].square().sum(dim=1).mean()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        adam.step()
        behind = step if finishing < 0 else finishing  # steps in the average so far
        blend(average, both, min(AVERAGE, (behind + 1) / (behind + 10)))
        with torch.no_grad():
            right = (logits.masked_fill(~within, -torch.inf).argmax(1) == wanted).float().mean()
            shown += torch.stack([near.detach(), far.detach(), right, torch.ones(())])
        if (step + 1) % 100 == 0:
            mean, shown = shown / shown[3], torch.zeros(4)
            pace = (step + 1 - first) * BATCH / (time.time() - began)
            losses = f"within {mean[0]:.3f}  among {mean[1]:.3f}  right {mean[2]:.3f}"
            print(f"step {step + 1}/{last}  {losses}  {pace:.0f} images/s", flush=True)
        if (step + 1) % CHECKPOINT == 0 or step + 1 in (args.steps, last):
            state = {"both": both.state_dict(), "average": average.state_dict(), "adam": adam.state_dict()}
            torch.save(state | {"step": step + 1}, checkpoint.with_suffix(".partial"))
            checkpoint.with_suffix(".partial").replace(checkpoint)
    visual, residual = average
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


def train_text(model: Any, goals: Tensor, concepts: Concepts, taught: Tensor, steps: int) -> None:
    """Teach the text side to send every prompt of concept c to goals[c]; half of them have images.

    goals    (C, D) float32 unit rows
    taught   (T,) the concepts that have images
    """
    tokenizer = Tokenizer(model.vocab_size)
    prompts = [concepts.prompts(c) for c in range(len(concepts))]
    tokens = [torch.from_numpy(tokenizer(p, model.context_length)) for p in prompts]
    parts = [model.transformer, model.token_embedding, model.ln_final]
    adam = optimiser(parts)
    adam.add_param_group({"params": [model.text_projection, model.positional_embedding], "weight_decay": 0.0})
    known = (goals.norm(dim=1) > 0).nonzero().flatten()
    began, shown = time.time(), torch.zeros(2)
    for step in range(steps):
        rng = torch.Generator().manual_seed(SEED * 2_000_003 + step)
        half = TEXT_BATCH // 2
        rows = torch.cat([pool[torch.randint(len(pool), (half,), generator=rng)] for pool in (taught, known)])
        drawn = [tokens[c] for c in rows.tolist()]
        texts = torch.stack([t[int(torch.randint(len(t), (), generator=rng))] for t in drawn])  # (P, L)
        texts = texts[:, : int(texts.argmax(dim=1).max()) + 1]
        for group in adam.param_groups:
            group["lr"] = rate_at(step, steps)
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = encode_text(model, texts)
        embeddings = functional.normalize(embeddings.float(), dim=1)
        cosine = (embeddings * goals[rows]).sum(dim=1).mean()
        loss = functional.cross_entropy(SCALE * embeddings @ goals.T, rows) + 4 * (1 - cosine)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        shown += torch.stack([cosine.detach(), torch.ones(())])
        if (step + 1) % 200 == 0:
            mean, shown = shown / shown[1], torch.zeros(2)
            print(f"text {step + 1}/{steps}  cosine {mean[0]:.4f}  {time.time() - began:.0f} s", flush=True)


def fit_scale(model: Any, pictures: Pictures, concepts: Concepts) -> float:
    """The logit scale with the least cross entropy on the images kept aside, every set counting alike."""
    tokenizer = Tokenizer(model.vocab_size)
    similarities, answers = [], []
    for i, image_set in enumerate(SETS):
        rows = torch.from_numpy(np.flatnonzero(pictures.splits[i] == HELD_IN))
        if image_set.name == "emoji" or not len(rows):
            continue
        classes = pictures.labels[i].unique()
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


def save(model: nn.Module, out: Path, dtype: torch.dtype) -> None:
    """The state dict of clip.model.CLIP, without the counters that build_model does not need."""
    from safetensors.torch import save_file

    out.parent.mkdir(parents=True, exist_ok=True)
    kept = {n: t for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    state = {n: t.to(dtype).contiguous() for n, t in kept.items()}
    partial = out.with_suffix(".partial")
    save_file(state, partial)
    partial.chmod(0o644)  # safetensors leaves it readable to its owner alone
    partial.replace(out)
    print(f"{out}: {out.stat().st_size:,} bytes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the zip files and the text bank")
    parser.add_argument("--cache", type=Path, required=True, help="folder for decoded images and checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="weights.safetensors to write")
    parser.add_argument("--steps", type=int, default=2200, help="steps of the image side, 256 images each")
    parser.add_argument("--finish-steps", type=int, default=400, help="steps after those, with more of the small sets")
    parser.add_argument("--text-steps", type=int, default=800, help="steps of the text side, 256 prompts each")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the cache")
    parser.add_argument("--compile", action="store_true", help="compile the image side; needs a C++ compiler")
    args = parser.parse_args()

    torch.manual_seed(SEED)
    pictures = Pictures(args.data, args.cache)
    bank = text_bank(args.data)
    concepts = Concepts(pictures.class_names(), bank, dimensions=ARCHITECTURE["embed_dim"])
    pictures.number(concepts)
    model: Any = clip_file("model").CLIP(**ARCHITECTURE)
    model.visual.to(memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(concepts)} concepts", flush=True)
    print("  ".join(f"{s.name} {len(rows)}" for s, rows in zip(SETS, pictures.rows, strict=True)), flush=True)

    lessons = Lessons(concepts, pictures.labels)
    visual, goals = train_images(model.visual, starting_targets(concepts), pictures, lessons, args)
    model.visual.load_state_dict(visual.state_dict())
    taught = torch.cat([labels[labels >= 0].unique() for labels in pictures.labels]).unique()
    train_text(model, goals, concepts, taught, args.text_steps)
    model.eval()
    for block in model.transformer.resblocks:
        block.attn_mask = model.build_attention_mask()
    with torch.no_grad():
        scale = fit_scale(model, pictures, concepts)
    model.logit_scale.data.fill_(math.log(scale))
    print(f"logit scale {scale:.2f}", flush=True)
    save(model, args.cache / "float32.safetensors", torch.float32)
    save(model, args.out, torch.float16)


if __name__ == "__main__":
    main()
