"""Images per second and agreement of `tiny` and a ViT-B/32, in float32 and in the precision that `auto` takes.

The ViT-B/32 has random weights: its speed is that of the published one. All variants run in turn in one
process, on the same JPEG files, decoding included; the median of the rounds is shown.

    python -m benchmarks.embed [--images 256] [--size 640x480] [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from annotate import encoders
from annotate.config import EmbedSettings
from annotate.encoders import Encoder, openai
from annotate.images import find_images
from annotate.kernels.vectors import Floats
from annotate.progress import Silent
from annotate.stages.embed import embed_all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder), options.images, width, height)
        paths, _ = find_images(Path(folder))
        variants = {
            (name, precision): variant(name, precision)
            for name in ("tiny", "ViT-B/32")
            for precision in ("float32", "auto")
        }
        rates: dict[tuple[str, str], list[float]] = {key: [] for key in variants}
        rows: dict[tuple[str, str], Floats] = {}
        for _ in range(options.rounds):
            for key, encoder in variants.items():
                start = time.perf_counter()
                rows[key], *_ = embed_all(paths, encoder, EmbedSettings(), Silent())
                rates[key].append(len(paths) / (time.perf_counter() - start))
        print(f"{options.images} JPEG files of {options.size}, batches of 32, median of {options.rounds}")
        for key, encoder in variants.items():
            name, _ = key
            cosine = float((rows[key] * rows[name, "float32"]).sum(axis=1).min())
            rate = statistics.median(rates[key])
            print(f"{name:9} {encoder.precision:9} {rate:8.1f} images/s   least cosine to float32 {cosine:.5f}")
        base = statistics.median(rates["ViT-B/32", "auto"])
        print(f"tiny is {statistics.median(rates['tiny', 'auto']) / base:.1f} times as fast as ViT-B/32 (both auto)")


def write_photos(folder: Path, count: int, width: int, height: int) -> None:
    """Smooth colours with noise: they compress and decode about as photos do."""
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        noise = rng.normal(0, 6, (height, width, 1))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) + noise
        Image.fromarray(np.clip(smooth, 0, 255).astype(np.uint8)).save(folder / f"{i:05}.jpg", quality=85)


def variant(name: str, precision: str) -> Encoder:
    if name == "tiny":
        return encoders.load(encoders.find("tiny"), device="cpu", precision=precision)
    import torch

    torch.manual_seed(0)
    model = openai.clip_file("model").CLIP(512, 224, 12, 768, 32, 77, 49408, 512, 8, 12)
    chosen = encoders.choose_precision(precision, "cpu")
    return openai.OpenAIClip(model, name=name, digest="", device="cpu", precision=chosen)


if __name__ == "__main__":
    main()
