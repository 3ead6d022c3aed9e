"""Measure `tiny` on pictures held out from training, and write the table of its model card.

    python training/evaluate.py --data DIR [--write] [--keep DIR] [--permissive FILE] [--sets NAME ...]

Zero-shot with the prompts and the encoder as shipped, then after `annotate refine`. What the image side sees is
kept in --keep, since heads share it: another head or text side is measured in seconds. --write puts the table into
MODEL_CARD.md.
"""

import argparse
import hashlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from held_out import BROADER, HeldOut, held_out_sets

import annotate
from annotate.classes.prompts import prompts_for
from annotate.encoders import checkpoints, openai
from annotate.encoders.builtin import Builtin, build
from annotate.encoders.lite import normalised
from annotate.encoders.openai import unit_rows
from annotate.kernels.blocks import products
from annotate.kernels.calibration import reliability
from annotate.kernels.zeroshot import probabilities
from annotate.stages.text import mean_of_prompts

TINY = Path(__file__).parents[1] / "annotate/encoders/tiny"
PERMISSIVE = Path(__file__).parent / "permissive.safetensors"
BEGIN, END = "<!-- table: make bench-tiny -->", "<!-- end of table -->"
BATCH = 128
TURNS = 6
FEW, DRAWS = 5, 20  # pictures a class, random choices of them
BARS = {
    "strange: everyday": 0.75,
    "strange: sports": 0.34,
    "strange: satellite": 0.32,
    "strange: textures": 0.22,
    "strange: cartoons": 0.42,
    "strange: flowers": 0.36,
    "groceries": 0.72,
    "clothing": 0.72,
    "scenes": 0.84,
    "vehicles": 0.92,
    "trashnet": 0.78,
    BROADER: 0.85,
    "cifar10": 0.78,
    "mnist": 0.97,
    "scikit-learn digits": 0.88,
    "sign-language-digits": 0.93,
    "drawn": 0.88,
}
FEW_BARS = {"strange: sports": 0.55, "strange: cartoons": 0.68}
REFINED_BARS = {"strange: everyday": 0.85}
MOST_LOST = 0.005  # by refinement, on any set


@dataclass(frozen=True)
class Score:
    """How labels and confidences agree with the truth."""

    accuracy: float
    confidence: float
    error: float  # expected calibration error, 15 bins


def load_encoder(weights: Path, precision: str) -> Builtin:
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    tensors = checkpoints.read_tensors(weights)
    return build(tensors, name="tiny", digest=digest, device="cpu", precision=precision, shown=str(weights))


def image_digest(encoder: Builtin) -> str:
    """Names the weights of the image side and the precision in which they are used."""
    seen = hashlib.sha256(encoder.precision.encode())
    for name, weight in sorted(encoder.image.state_dict().items()):
        seen.update(name.encode() + weight.float().numpy().tobytes())
    return seen.hexdigest()[:12]


def looked_at(encoder: Builtin, held_out: HeldOut, keep: Path) -> tuple[np.ndarray, np.ndarray]:
    """Averages (N, F) and maps (N, C, H, W) of a set, float16, from `keep` or made and kept there."""
    file = keep / f"{held_out.name.replace(': ', '-').replace(' ', '-')}-{image_digest(encoder)}.npz"
    if not file.exists():
        averages, maps = [], []
        for start in range(0, len(held_out.truth), BATCH):
            rows = range(start, min(start + BATCH, len(held_out.truth)))
            pixels = torch.from_numpy(held_out.pictures(rows))
            with torch.inference_mode():
                average, seen = encoder.image(normalised(pixels).to(encoder._half))
            averages.append(average.half().numpy())
            maps.append(seen.half().numpy())
        keep.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial.npz")
        np.savez(partial, averages=np.concatenate(averages), maps=np.concatenate(maps))
        partial.replace(file)
    with np.load(file) as kept:
        return kept["averages"], kept["maps"]


def embed(encoder: Builtin, averages: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """(N, D) unit rows."""
    made = []
    with torch.inference_mode():
        for start in range(0, len(averages), BATCH):
            stop = start + BATCH
            given = torch.from_numpy(averages[start:stop]).float(), torch.from_numpy(maps[start:stop]).float()
            made.append(unit_rows(encoder.head(*given)))
    return np.concatenate(made)


def class_embeddings(encoder: Builtin, classes: list[str], prompts: str = "auto") -> np.ndarray:
    """(K, D) unit rows: the mean of each class's prompt embeddings, normalised again."""
    return np.stack([mean_of_prompts(encoder.encode_text(p)) for p in prompts_for(classes, prompts).values()])


def score_of(confidences: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> Score:
    right = labels == truth
    return Score(float(right.mean()), float(confidences.mean()), reliability(confidences, right).error)


def zero_shot(encoder: Builtin, held_out: HeldOut, embeddings: np.ndarray, prompts: str = "auto") -> Score:
    """The nearest prompt, with the probability that the logit scale gives it."""
    similarity = products(embeddings, class_embeddings(encoder, held_out.classes, prompts))
    chances = probabilities(similarity, 1 / encoder.logit_scale)
    return score_of(chances.max(axis=1), chances.argmax(axis=1), held_out.truth)


def refined(encoder: Builtin, held_out: HeldOut, embeddings: np.ndarray) -> Score:
    """What `annotate refine` makes of the same embeddings."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        np.save(place / "images.npy", embeddings)
        np.save(place / "texts.npy", class_embeddings(encoder, held_out.classes))
        (place / "paths.txt").write_text("".join(f"{i}\n" for i in range(len(embeddings))))
        annotate.import_embeddings(
            place / "images.npy",
            place / "paths.txt",
            text_embeddings=place / "texts.npy",
            classes=held_out.classes,
            logit_scale=encoder.logit_scale,
            workspace=place / "artifacts",
        )
        made = annotate.refine(workspace=place / "artifacts")
    return score_of(made.confidences, made.labels, held_out.truth)


def nearest_mean(held_out: HeldOut, embeddings: np.ndarray) -> float:
    """Accuracy on the rest when every class is the mean of five of its pictures, over twenty random choices."""
    found = []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        chosen = [rng.permutation(np.flatnonzero(held_out.truth == k))[:FEW] for k in range(len(held_out.classes))]
        means = np.stack([embeddings[rows].mean(axis=0) for rows in chosen])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        rest = np.setdiff1d(np.arange(len(embeddings)), np.concatenate(chosen))
        found.append(((embeddings[rest] @ means.T).argmax(axis=1) == held_out.truth[rest]).mean())
    return float(np.mean(found))


def verdict(value: float, bar: float | None) -> str:
    """A number beside what was asked of it."""
    return f"{value:.3f}" if bar is None else f"**{value:.3f}** {'(met)' if value >= bar else '(not met)'}"


def table(data: Path, encoder: Builtin, free: Builtin | None, keep: Path, only: list[str]) -> str:
    """The Markdown table, a row for every set."""
    lines = [
        "| set | images | classes | bar | zero-shot | refined | 5 pictures a class | mean confidence | ECE "
        "| ECE refined | clip7 prompts | permissive sets alone |",
        "|---" * 12 + "|",
    ]
    for held_out in sorted(held_out_sets(data, encoder.resolution), key=lambda each: list(BARS).index(each.name)):
        if only and held_out.name not in only:
            continue
        seen = looked_at(encoder, held_out, keep)
        embeddings = embed(encoder, *seen)
        plain, joint = zero_shot(encoder, held_out, embeddings), refined(encoder, held_out, embeddings)
        clip7 = zero_shot(encoder, held_out, embeddings, "clip7").accuracy
        other = f"{zero_shot(free, held_out, embed(free, *seen)).accuracy:.3f}" if free else "-"
        bar = BARS[held_out.name]
        least = max(REFINED_BARS.get(held_out.name, 0.0), plain.accuracy - MOST_LOST)
        few = verdict(nearest_mean(held_out, embeddings), FEW_BARS.get(held_out.name))
        lines.append(
            f"| {held_out.name} | {len(held_out.truth):,} | {len(held_out.classes)} | {bar:.2f} "
            f"| {verdict(plain.accuracy, bar)} | {verdict(joint.accuracy, least)} | {few} "
            f"| {plain.confidence:.3f} | {plain.error:.3f} | {joint.error:.3f} | {clip7:.3f} | {other} |"
        )
        print(lines[-1], flush=True)
    return "\n".join(lines)


def pace(weights: Path, precision: str) -> str:
    """Images a second of one core, beside a ViT-B/32 of random weights, in turns, by the processor's time."""
    model = openai.clip_file("model").CLIP(512, 224, 12, 768, 32, 77, 49408, 512, 8, 12)
    large = openai.OpenAIClip(model, name="ViT-B/32", digest="", device="cpu", precision=precision)
    ours = load_encoder(weights, precision)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    spent: dict[str, list[float]] = {}
    for _ in range(TURNS + 1):  # the first is to warm up
        for encoder in (ours, large):
            pixels = np.zeros((16, encoder.resolution, encoder.resolution, 3), np.uint8)
            began = time.process_time()
            encoder.encode_images(pixels)
            spent.setdefault(encoder.name, []).append(time.process_time() - began)
    torch.set_num_threads(before)
    rates = {name: 16 / min(seconds[1:]) for name, seconds in spent.items()}
    times = rates["tiny"] / rates["ViT-B/32"]
    return (
        f"{precision}: {rates['tiny']:.0f} images/s a core, ViT-B/32 {rates['ViT-B/32']:.1f}: {times:.1f} times as fast"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the zip files")
    parser.add_argument("--weights", type=Path, default=TINY / "weights.safetensors")
    parser.add_argument("--permissive", type=Path, default=PERMISSIVE, help="weights trained with --permissive")
    parser.add_argument("--precision", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--keep", type=Path, help="folder for what the image side sees; a temporary one unless given")
    parser.add_argument("--sets", nargs="*", default=[], help="these alone, as the table names them")
    parser.add_argument("--write", action="store_true", help="put the table into MODEL_CARD.md")
    args = parser.parse_args()
    if not (args.data / "cifar10.zip").is_file():
        parser.exit(2, f"error: no image sets in {args.data}\nhint: give the folder of the zip files: --data DIR\n")

    card = TINY / "MODEL_CARD.md"
    if args.write and (args.weights != TINY / "weights.safetensors" or args.sets):
        parser.exit(2, "error: --write is for the shipped weights and all sets\nhint: leave out --weights and --sets\n")
    before, table_there, rest = card.read_text("utf-8").partition(BEGIN)
    if args.write and not (table_there and END in rest):
        parser.exit(2, f"error: no place for the table in {card}\nhint: it goes between {BEGIN} and {END}\n")

    encoder = load_encoder(args.weights, args.precision)
    free = load_encoder(args.permissive, args.precision) if args.permissive.is_file() else None
    print(f"{args.weights.stat().st_size:,} bytes, logit scale {encoder.logit_scale:.2f}\n")
    with tempfile.TemporaryDirectory() as folder:
        made = table(args.data, encoder, free, args.keep or Path(folder), args.sets)
    if args.write:
        partial = card.with_suffix(".partial")
        partial.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
        partial.replace(card)
    print("\n".join(["", *(pace(args.weights, each) for each in ("float32", "bfloat16"))]))


if __name__ == "__main__":
    main()
