"""Measure the shipped `tiny` weights on images held out from training: accuracy, calibration, float16, speed.

    python training/evaluate.py --data DIR

Prompts as shipped (`annotate.prompts`), encoder as shipped (`annotate.encoders.openai`), no refinement.
Prints the Markdown table of MODEL_CARD.md.
"""

import argparse
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import HELD_OUT, RESOLUTION, SETS, decode, fit, members

from annotate.encoders.openai import OpenAIClip, build, read_checkpoint
from annotate.prompts import NUMBER_WORDS, prompts_for

WEIGHTS = Path(__file__).parents[1] / "annotate/encoders/tiny/weights.safetensors"


@dataclass(frozen=True)
class HeldOut:
    """Images nobody trained on.

    pixels   (N, 64, 64, 3) uint8
    truth    (N,) index into classes
    """

    name: str
    pixels: np.ndarray
    classes: list[str]
    truth: np.ndarray


def held_out_sets(data: Path) -> list[HeldOut]:
    """scikit-learn's digits, then every set's test part or held-out fifth; pictograms are too few."""
    sets = [scikit_digits()]
    for image_set in SETS:
        if image_set.name == "emoji":
            continue
        rows = [row for row in members(data, image_set.name) if row[2] == HELD_OUT]
        classes = sorted({name for _, name, _ in rows})
        truth = np.array([classes.index(name) for _, name, _ in rows])
        if image_set.name == "sign-language-digits":
            classes = [NUMBER_WORDS[int(name)] for name in classes]
        pixels = decode(data, image_set.name, [path for path, _, _ in rows], RESOLUTION)
        sets.append(HeldOut(image_set.name, pixels, classes, truth))
    return sets


def scikit_digits() -> HeldOut:
    """The 1,797 digits of 8x8 pixels, white on black, never trained on."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.clip(digits.images * 16, 0, 255).astype(np.uint8)
    pixels = np.stack([np.asarray(fit(Image.fromarray(image), RESOLUTION)) for image in grey])
    return HeldOut("scikit-learn digits", pixels, [str(d) for d in range(10)], digits.target)


def class_embeddings(encoder: OpenAIClip, classes: list[str], prompts: str) -> np.ndarray:
    """(K, D) unit rows: the mean of each class's prompt embeddings, normalised again."""
    means = np.stack([encoder.encode_text(texts).mean(axis=0) for texts in prompts_for(classes, prompts).values()])
    unit: np.ndarray = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit


def embed(encoder: OpenAIClip, pixels: np.ndarray) -> np.ndarray:
    """(N, D) unit rows, 256 images at a time."""
    return np.concatenate([encoder.encode_images(pixels[i : i + 256]) for i in range(0, len(pixels), 256)])


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error over bins of equal width (Guo et al. 2017)."""
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(right[bin_of == b].sum() - confidence[bin_of == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(right))


def score(
    encoder: OpenAIClip, held_out: HeldOut, embeddings: np.ndarray, prompts: str = "auto"
) -> tuple[float, float, float]:
    """Accuracy, mean confidence, calibration error."""
    logits = encoder.logit_scale * embeddings @ class_embeddings(encoder, held_out.classes, prompts).T
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    right, confidence = probabilities.argmax(axis=1) == held_out.truth, probabilities.max(axis=1)
    return float(right.mean()), float(confidence.mean()), calibration_error(confidence, right)


def load_encoder(weights: Path, precision: str = "float32") -> OpenAIClip:
    model: Any = build(read_checkpoint(weights))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return OpenAIClip(model, name="tiny", digest=digest, device="cpu", precision=precision)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the zip files")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--float32", type=Path, help="float32 weights to compare with, from the cache of the training")
    args = parser.parse_args()

    encoder, rounded = load_encoder(args.weights), load_encoder(args.weights, "bfloat16")
    exact = load_encoder(args.float32) if args.float32 else None
    parameters = sum(p.numel() for p in encoder.model.parameters())
    size = args.weights.stat().st_size
    print(f"{size:,} bytes, {parameters:,} parameters, logit scale {encoder.logit_scale:.2f}\n")
    print("| set | images | classes | accuracy | confidence | ECE | clip7 | bfloat16 | float32 weights |")
    print("|---|---|---|---|---|---|---|---|---|")
    for held_out in held_out_sets(args.data):
        embeddings = embed(encoder, held_out.pixels)
        accuracy, confidence, error = score(encoder, held_out, embeddings)
        clip7 = score(encoder, held_out, embeddings, "clip7")[0]
        fast = score(rounded, held_out, embed(rounded, held_out.pixels))[0]
        full = f"{score(exact, held_out, embed(exact, held_out.pixels))[0]:.4f}" if exact else "-"
        print(
            f"| {held_out.name} | {len(held_out.truth):,} | {len(held_out.classes)} | {accuracy:.4f} "
            f"| {confidence:.3f} | {error:.3f} | {clip7:.4f} | {fast:.4f} | {full} |",
            flush=True,
        )
    for name, each in (("float32", encoder), ("bfloat16 autocast", rounded)):
        pixels = np.zeros((1024, RESOLUTION, RESOLUTION, 3), np.uint8)
        embed(each, pixels)
        began = time.perf_counter()
        embed(each, pixels)
        pace = len(pixels) / (time.perf_counter() - began)
        print(f"\n{name}: {pace:.0f} images/s, {torch.get_num_threads()} threads, decoding not counted")


if __name__ == "__main__":
    main()
