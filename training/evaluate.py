"""Measure `tiny` on images held out from training, and write the table of its model card.

    python training/evaluate.py --data DIR [--write] [--permissive FILE] [--float32 FILE]

Zero-shot with the prompts and the encoder as shipped, then refined by two of the methods of `annotate refine`.
Colours, shapes and letters are drawn anew by render.py, the letters in fonts never trained on. --write puts the
table into MODEL_CARD.md; without it the table is printed only.
"""

import argparse
import hashlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import render
import torch
from data import HELD_OUT, SETS, decode, fit, members
from PIL import Image

import annotate
from annotate.classes.prompts import NUMBER_WORDS, prompts_for
from annotate.encoders.openai import OpenAIClip, build, read_checkpoint
from annotate.kernels.blocks import products
from annotate.kernels.calibration import reliability
from annotate.kernels.zeroshot import probabilities
from annotate.stages.text import mean_of_prompts

TINY = Path(__file__).parents[1] / "annotate/encoders/tiny"
PERMISSIVE = Path(__file__).parent / "permissive.safetensors"
BEGIN, END = "<!-- table: make bench-tiny -->", "<!-- end of table -->"
DRAWN_SEED, DRAWN_COUNT = 7, 40
BARS = {
    "scikit-learn digits": 0.90,
    "mnist": 0.97,
    "sign-language-digits": 0.93,
    "cifar10": 0.82,
    "tiny-imagenet": 0.38,
    "vehicles": 0.88,
    "groceries": 0.60,
    "trashnet": 0.70,
    "clothing": 0.60,
    "scenes": 0.75,
    "drawn": 0.90,
}


@dataclass(frozen=True)
class HeldOut:
    """Images nobody trained on.

    pixels   (N, R, R, 3) uint8, R of the encoder
    truth    (N,) index into classes
    """

    name: str
    pixels: np.ndarray
    classes: list[str]
    truth: np.ndarray


def held_out_sets(data: Path, side: int) -> list[HeldOut]:
    """scikit-learn's digits, every set's test part or held-out fifth, and drawings; pictograms are too few."""
    sets = [scikit_digits(side)]
    for image_set in SETS:
        if image_set.name == "emoji" or image_set.draw:
            continue
        rows = [row for row in members(data, image_set.name) if row[2] == HELD_OUT]
        classes = sorted({name for _, name, _ in rows})
        truth = np.array([classes.index(name) for _, name, _ in rows])
        if image_set.name == "sign-language-digits":
            classes = [NUMBER_WORDS[int(name)] for name in classes]
        pixels = decode(data, image_set.name, [path for path, _, _ in rows], side)
        sets.append(HeldOut(image_set.name, pixels, classes, truth))
    return [*sorted(sets, key=lambda each: list(BARS).index(each.name)), drawings(side)]


def scikit_digits(side: int) -> HeldOut:
    """The 1,797 digits of 8x8 pixels, white on black, never trained on."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.clip(digits.images * 16, 0, 255).astype(np.uint8)
    pixels = np.stack([fit(Image.fromarray(image), side) for image in grey])
    return HeldOut("scikit-learn digits", pixels, [str(d) for d in range(10)], digits.target)


def drawings(side: int) -> HeldOut:
    """Letters in fonts never trained on, shapes and colours from another seed, named as a user names them."""
    pixels, names = render.held_out(render.font_files(), DRAWN_SEED, DRAWN_COUNT)
    kept = [row for row, name in enumerate(names) if not name.startswith("digit ")]
    words = [names[row].removeprefix("letter ") for row in kept]
    classes = list(dict.fromkeys(words))
    resized = np.stack([fit(Image.fromarray(pixels[row]), side) for row in kept])
    return HeldOut("drawn", resized, classes, np.array([classes.index(word) for word in words]))


def class_embeddings(encoder: OpenAIClip, classes: list[str], prompts: str) -> np.ndarray:
    """(K, D) unit rows: the mean of each class's prompt embeddings, normalised again."""
    return np.stack([mean_of_prompts(encoder.encode_text(p)) for p in prompts_for(classes, prompts).values()])


def embed(encoder: OpenAIClip, pixels: np.ndarray) -> np.ndarray:
    """(N, D) unit rows, 256 images at a time."""
    return np.concatenate([encoder.encode_images(pixels[i : i + 256]) for i in range(0, len(pixels), 256)])


@dataclass(frozen=True)
class Score:
    """How labels and confidences agree with the truth."""

    accuracy: float
    confidence: float
    error: float  # expected calibration error, 15 bins


def score_of(confidences: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> Score:
    right = labels == truth
    return Score(float(right.mean()), float(confidences.mean()), reliability(confidences, right).error)


def zero_shot(encoder: OpenAIClip, held_out: HeldOut, embeddings: np.ndarray, prompts: str = "auto") -> Score:
    """The nearest prompt, with the probability that the logit scale gives it."""
    similarity = products(embeddings, class_embeddings(encoder, held_out.classes, prompts))
    chances = probabilities(similarity, 1 / encoder.logit_scale)
    return score_of(chances.max(axis=1), chances.argmax(axis=1), held_out.truth)


def refined(encoder: OpenAIClip, held_out: HeldOut, embeddings: np.ndarray, method: str) -> Score:
    """What `annotate refine` makes of the same embeddings."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        np.save(place / "images.npy", embeddings)
        np.save(place / "texts.npy", class_embeddings(encoder, held_out.classes, "auto"))
        (place / "paths.txt").write_text("".join(f"{i}\n" for i in range(len(embeddings))))
        annotate.import_embeddings(
            place / "images.npy",
            place / "paths.txt",
            text_embeddings=place / "texts.npy",
            classes=held_out.classes,
            logit_scale=encoder.logit_scale,
            workspace=place / "artifacts",
        )
        made = annotate.refine(workspace=place / "artifacts", method=method)
    return score_of(made.confidences, made.labels, held_out.truth)


def load_encoder(weights: Path, precision: str = "float32") -> OpenAIClip:
    model: Any = build(read_checkpoint(weights))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return OpenAIClip(model, name="tiny", digest=digest, device="cpu", precision=precision)


def table(data: Path, weights: Path, permissive: Path | None, float32: Path | None) -> str:
    """The Markdown table, a row for every set."""
    encoder, rounded = load_encoder(weights), load_encoder(weights, "bfloat16")
    exact, free = (load_encoder(path) if path else None for path in (float32, permissive))
    lines = [
        "| set | images | classes | bar | zero-shot | | dynamic | transductive | mean confidence | ECE | ECE dynamic "
        "| ECE transductive | clip7 prompts | bfloat16 | permissive sets alone |",
        "|---" * 15 + "|",
    ]
    for held_out in held_out_sets(data, encoder.resolution):
        embeddings = embed(encoder, held_out.pixels)
        plain = zero_shot(encoder, held_out, embeddings)
        dynamic, joint = (refined(encoder, held_out, embeddings, method) for method in ("dynamic", "transductive"))
        clip7 = zero_shot(encoder, held_out, embeddings, "clip7").accuracy
        fast = zero_shot(rounded, held_out, embed(rounded, held_out.pixels)).accuracy
        other = f"{zero_shot(free, held_out, embed(free, held_out.pixels)).accuracy:.3f}" if free else "-"
        bar = BARS[held_out.name]
        lines.append(
            f"| {held_out.name} | {len(held_out.truth):,} | {len(held_out.classes)} | {bar:.2f} "
            f"| **{plain.accuracy:.3f}** | {'met' if plain.accuracy >= bar else 'not met'} | {dynamic.accuracy:.3f} "
            f"| {joint.accuracy:.3f} | {plain.confidence:.3f} | {plain.error:.3f} | {dynamic.error:.3f} "
            f"| {joint.error:.3f} | {clip7:.3f} | {fast:.3f} "
            f"| {other} |"
        )
        print(lines[-1], flush=True)
        if exact:
            unrounded = zero_shot(exact, held_out, embed(exact, held_out.pixels)).accuracy
            print(f"    with float32 weights {unrounded:.4f}, as shipped {plain.accuracy:.4f}", flush=True)
    return "\n".join(lines)


def pace(encoder: OpenAIClip) -> str:
    pixels = np.zeros((1024, encoder.resolution, encoder.resolution, 3), np.uint8)
    embed(encoder, pixels)
    began = time.perf_counter()
    embed(encoder, pixels)
    rate = len(pixels) / (time.perf_counter() - began)
    return f"{encoder.precision}: {rate:.0f} images/s, {torch.get_num_threads()} threads, decoding not counted"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the zip files")
    parser.add_argument("--weights", type=Path, default=TINY / "weights.safetensors")
    parser.add_argument("--permissive", type=Path, default=PERMISSIVE, help="weights trained with --permissive")
    parser.add_argument("--float32", type=Path, help="float32 weights to compare with, from the cache of the training")
    parser.add_argument("--write", action="store_true", help="put the table into MODEL_CARD.md")
    args = parser.parse_args()
    if not (args.data / "cifar10.zip").is_file():
        parser.exit(2, f"error: no image sets in {args.data}\nhint: give the folder of the zip files: --data DIR\n")

    card = TINY / "MODEL_CARD.md"
    if args.write and args.weights != TINY / "weights.safetensors":
        parser.exit(2, "error: --write is for the shipped weights\nhint: leave out --weights, or --write\n")
    before, table_there, rest = card.read_text("utf-8").partition(BEGIN)
    if args.write and not (table_there and END in rest):
        parser.exit(2, f"error: no place for the table in {card}\nhint: it goes between {BEGIN} and {END}\n")

    encoder = load_encoder(args.weights)
    parameters = sum(p.numel() for p in encoder.model.parameters())
    print(f"{args.weights.stat().st_size:,} bytes, {parameters:,} parameters, logit scale {encoder.logit_scale:.2f}\n")
    made = table(args.data, args.weights, args.permissive if args.permissive.is_file() else None, args.float32)
    if args.write:
        partial = card.with_suffix(".partial")
        partial.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
        partial.replace(card)
    print("\n".join(["", *(pace(load_encoder(args.weights, each)) for each in ("float32", "bfloat16"))]))


if __name__ == "__main__":
    main()
