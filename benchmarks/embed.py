"""Images per second of `embed` on a CPU, beside the plain loop, a DataLoader, and the model alone.

    plain loop   one process as the original pipeline: Pillow decodes all of an image, makes it RGB and resizes it;
                 batches of 32 are decoded, then encoded in float32 with PyTorch's own number of threads
    DataLoader   as clip-retrieval: the same decoding in a worker process per core, whose crops the main process
                 encodes in our precision with PyTorch's own number of threads
    ours         annotate.embedding, from files to rows
    model alone  on random crops in our precision and as many single-threaded sessions as ours: no way is faster
    one session  the same with all threads in one batch at a time, for comparison
    command      `annotate embed` on all images, once, from its start to its end

A machine's speed drifts: the images are cut into chunks, and on each chunk all take their turn, the model alone before
and after ours. A ratio to the model alone is that of ours to the mean of its neighbours, the median of the chunks;
other figures are images by seconds over all chunks. The files lie in the page cache. A ViT-B/32 has random weights:
its speed is that of the published one. Our precision is the one that is fastest on this processor, which is named.

    python -m benchmarks.embed [--images 2000] [--size 500x375] [--model ViT-B/32] [--rounds 1]

prints a table for ViT-B/32 and one for the built-in model, unless one of them is named.

    python -m benchmarks.embed --images 300 --size 4000x3000 --model tiny
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from annotate import encoders
from annotate.embedding.decoding import Decoding
from annotate.embedding.known import KnownImages
from annotate.embedding.ledger import Shards
from annotate.embedding.pipeline import Pipeline
from annotate.encoders import Encoder, cores, one_thread, openai, threads_kept
from annotate.engines.embedding import CPU_BATCH as BATCH
from annotate.kernels.vectors import Floats
from annotate.settings.declared import EmbedSettings
from annotate.sources.folders import find_images
from benchmarks import plain
from benchmarks.machine import described, processor, speed_of_half

WAYS = ("plain loop", "DataLoader", "ours", "model alone", "one session", "command")
MODELS = ("ViT-B/32", "tiny")
LARGE = 2000  # pixels of a long side; then decoding takes the time, else the model

Rows = dict[str, Floats]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--size", default="500x375", help="WIDTHxHEIGHT, or several with commas between them")
    parser.add_argument("--model", choices=MODELS, help="both unless given")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--plain", type=int, default=256, help="images for the plain loop, the first of each chunk")
    options = parser.parse_args()
    sizes = [(int(width), int(height)) for width, height in (size.split("x") for size in options.size.split(","))]
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder), options.images, sizes)
        paths = [str(path) for path in find_images(Path(folder)).images]
        megabytes = sum(Path(path).stat().st_size for path in paths) / 1e6
        print(f"{options.images:,} JPEG files of {options.size}, {megabytes:.0f} MB; batches of {BATCH}")
        print(described())
        print(f"half precision is {speed_of_half():.2f} times as fast as float32 here")
        for model in [options.model] if options.model else MODELS:
            race = Race(variant(model, "float32"), variant(model, "auto"))
            race.warm_up(paths[:BATCH])
            chunks = chunked(paths, options.chunks)
            for _ in range(options.rounds):
                for chunk in chunks:
                    race.run(chunk, chunk[: -(-options.plain // len(chunks))])
            race.command(Path(folder), len(paths))
            print(f"\n{model}")
            race.show(bars(model, large=min(max(size) for size in sizes) >= LARGE))


def bars(model: str, *, large: bool) -> dict[str, float]:
    """The least ratios of ours, and of the whole command, that we hold ourselves to on this processor."""
    if large:
        return {"plain loop": 4.0} if model == "tiny" else {}
    if model == "tiny":
        return {}
    return {"model alone": 0.85, "command": 3.0 if "AMX" in processor() else 1.5}


class Race:
    """All ways in turn.

    spent  images and seconds of each way, an entry for each chunk
    """

    def __init__(self, exact: Encoder, encoder: Encoder) -> None:
        self.exact, self.encoder = exact, encoder
        self.sessions = [encoder] * cores()  # as `load_sessions` has it
        self.decoding = Decoding(encoder.resolution, EmbedSettings().max_megapixels, KnownImages())
        self.pipeline = Pipeline(self.sessions, batch_size=BATCH, dtype="float32")
        self.spent: dict[str, list[tuple[int, float]]] = {way: [] for way in WAYS}
        self.cosines: list[float] = []

    def warm_up(self, paths: Sequence[str]) -> None:
        """What is loaded or compiled at the first use is not measured."""
        self.plain_loop(paths)
        self.data_loader(paths)
        self.ours(paths)
        self.model_alone(len(self.sessions), 1)
        self.one_session(1)

    def run(self, paths: Sequence[str], few: Sequence[str]) -> None:
        batches = -(-len(paths) // BATCH)
        self.timed("model alone", batches * BATCH, lambda: self.model_alone(batches, len(self.sessions)))
        rows: Rows = self.timed("ours", len(paths), lambda: self.ours(paths))
        self.timed("model alone", batches * BATCH, lambda: self.model_alone(batches, len(self.sessions)))
        expected: Rows = self.timed("plain loop", len(few), lambda: self.plain_loop(few))
        self.timed("DataLoader", len(paths), lambda: self.data_loader(paths))
        fewer = max(1, batches // 4)
        self.timed("one session", fewer * BATCH, lambda: self.one_session(fewer))
        self.cosines += [float(rows[path] @ expected[path]) for path in few]

    def timed(self, way: str, count: int, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        made = work()
        self.spent[way].append((count, time.perf_counter() - start))
        return made

    def ours(self, paths: Sequence[str]) -> Rows:
        rows: Rows = {}
        for _, seen in self.pipeline.run(self.decoding.ahead(Shards(paths)), lambda count: None):
            rows.update(zip(seen.paths, seen.rows, strict=True))
        return rows

    def plain_loop(self, paths: Sequence[str]) -> Rows:
        rows: Rows = {}
        for batch in in_batches(paths):
            crops = plain.read_files(batch, self.exact.resolution)
            rows.update(zip(batch, self.exact.encode_images(crops), strict=True))
        return rows

    def data_loader(self, paths: Sequence[str]) -> None:
        from torch.utils.data import DataLoader

        photos: Any = Photos(paths, self.encoder.resolution)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a process with threads forks; every training loop does
            for batch in DataLoader(photos, batch_size=BATCH, num_workers=cores()):
                self.encoder.encode_images(batch.numpy())

    def model_alone(self, batches: int, sessions: int) -> None:
        batch = random_batch(self.encoder.resolution)
        with threads_kept(), ThreadPoolExecutor(sessions, initializer=one_thread) as pool:
            list(pool.map(lambda _: self.encoder.encode_images(batch), range(batches)))

    def one_session(self, batches: int) -> None:
        batch = random_batch(self.encoder.resolution)
        for _ in range(batches):
            self.encoder.encode_images(batch)

    def command(self, photos: Path, count: int) -> None:
        """The whole command, in a process of its own as a person starts it."""
        with tempfile.TemporaryDirectory() as place:
            model = self.encoder.name
            if isinstance(self.encoder, openai.OpenAIClip) and model != "tiny":
                import torch

                model = f"{place}/random.pt"
                torch.save(self.encoder.model.state_dict(), model)
            asked = ["embed", str(photos), "--model", model, "--device", "cpu", "--workspace", f"{place}/artifacts"]
            run = [sys.executable, "-m", "annotate", *asked]
            self.timed("command", count, lambda: subprocess.run(run, check=True, capture_output=True))

    def show(self, bars: Mapping[str, float]) -> None:
        for way in WAYS:
            each = [count / seconds for count, seconds in self.spent[way]]
            precision = (self.exact if way == "plain loop" else self.encoder).precision
            images = sum(count for count, _ in self.spent[way])
            print(
                f"{way:12} {precision:9} {self.rate(way):9.1f} images/s   of {images:,};"
                f" {min(each):.1f} to {max(each):.1f} by turns"
            )
        shares = self.shares()
        ratios = {way: self.rate("ours") / self.rate(way) for way in ("plain loop", "DataLoader")}
        ratios["model alone"] = statistics.median(shares)
        ratios["command"] = self.rate("command") / self.rate("plain loop")
        for way, ratio in ratios.items():
            bar = f"   bar {bars[way]:g}: {'met' if ratio >= bars[way] else 'MISSED'}" if way in bars else ""
            print(f"{'command / plain loop' if way == 'command' else f'ours / {way}':20} {ratio:6.2f}{bar}")
        print(f"shares of the model alone, by chunk: {', '.join(f'{share:.2f}' for share in shares)}")
        print(
            f"cosine of ours ({self.encoder.precision}) to the plain loop's rows (float32): "
            f"median {statistics.median(self.cosines):.5f}, least {min(self.cosines):.5f} of {len(self.cosines):,}"
        )

    def rate(self, way: str) -> float:
        return sum(count for count, _ in self.spent[way]) / sum(seconds for _, seconds in self.spent[way])

    def shares(self) -> list[float]:
        """Speed of ours on each chunk, over that of the model alone just before and after."""
        alone = [count / seconds for count, seconds in self.spent["model alone"]]
        ours = [count / seconds for count, seconds in self.spent["ours"]]
        return [rate / statistics.mean(alone[2 * i : 2 * i + 2]) for i, rate in enumerate(ours)]


class Photos:
    """A dataset as clip-retrieval's: item i is image i as a crop, (R, R, 3) bytes."""

    def __init__(self, paths: Sequence[str], resolution: int) -> None:
        self.paths, self.resolution = paths, resolution

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        import torch

        return torch.from_numpy(plain.read(Path(self.paths[index]).read_bytes(), self.resolution).copy())


def random_batch(resolution: int) -> plain.Pixels:
    return np.random.default_rng(0).integers(0, 256, (BATCH, resolution, resolution, 3), np.uint8)


def in_batches(paths: Sequence[str]) -> Iterable[Sequence[str]]:
    return (paths[start : start + BATCH] for start in range(0, len(paths), BATCH))


def chunked(paths: Sequence[str], count: int) -> list[Sequence[str]]:
    """About as many chunks, all but the last of whole batches, a multiple of the cores: each has an end to wait for."""
    turn = BATCH * cores()
    size = max(1, -(-len(paths) // (turn * count))) * turn
    return [paths[start : start + size] for start in range(0, len(paths), size)]


def write_photos(folder: Path, count: int, sizes: Sequence[tuple[int, int]]) -> None:
    """Smooth colours with noise: they compress and decode about as photos do.

    sizes  (width, height), taken in turn
    """
    grain = {
        (width, height): np.random.default_rng(1).normal(0, 6, (height, width, 1)).astype(np.float32)
        for width, height in sizes
    }

    def write(i: int) -> None:
        rng, (width, height) = np.random.default_rng(i), sizes[i % len(sizes)]
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        noise = np.roll(grain[width, height], rng.integers(0, height), axis=0)
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) + noise
        Image.fromarray(np.clip(smooth, 0, 255).astype(np.uint8)).save(folder / f"{i:05}.jpg", quality=85)

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(write, range(count)))


def variant(name: str, precision: str) -> Encoder:
    if name == "tiny":
        return encoders.load(encoders.find_weights("tiny"), device="cpu", precision=precision)
    import torch

    torch.manual_seed(0)
    model = openai.clip_file("model").CLIP(512, 224, 12, 768, 32, 77, 49408, 512, 8, 12)
    chosen = encoders.choose_precision(precision, "cpu")
    return openai.OpenAIClip(model, name=name, digest="", device="cpu", precision=chosen)


if __name__ == "__main__":
    main()
