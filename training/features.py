"""What the frozen backbone makes of every picture, kept in a cache, so that training takes minutes.

Of each picture two things are kept: the map in front of the last stages (10x10, `early`), from which these are
tuned, and the 1,280 averages behind the head (`pooled`). A set is written in chunks, so a run that was stopped
goes on where it was.
"""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import augment
import numpy as np
import render
import torch
from data import HELD_IN, HELD_OUT, RESOLUTION, TRAIN, ImageSet, decode, fit, members
from PIL import Image
from torch import Tensor
from torch.nn import functional

from annotate.encoders.lite import MIDDLE, REACH, Lite

CHUNK = 128  # pictures
ALTERED = 192  # pictures of each set
SEED = 7


@dataclass(frozen=True)
class Features:
    """A set as the backbone sees it; row i of each is picture i.

    early    (N, H, W, C) float16, the map in front of the stages that are tuned
    pooled   (N, F) float16, the averages behind the head
    names    class names as the set has them
    splits   TRAIN, HELD_IN or HELD_OUT
    plain    whether it is annotate's own crop, or else a random view
    """

    early: np.ndarray
    pooled: np.ndarray
    names: list[str]
    splits: np.ndarray
    plain: np.ndarray


def extract(network: Lite, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Maps and averages of images (B, 3, R, R) in [0, 255]."""
    batch = ((images - MIDDLE) / REACH).bfloat16().contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        early = network.early(batch)
        pooled = network.late(early)
    return early.permute(0, 2, 3, 1).half().numpy(), pooled.half().numpy()


def features(network: Lite, data: Path, cache: Path, image_set: ImageSet) -> Features:
    """The features of a set, made where the cache does not hold them."""
    names, splits, view = rows_of(data, image_set)
    plain = np.array([v == 0 for v in view])
    n = len(names)
    done_file = cache / f"{image_set.file}.json"
    done = json.loads(done_file.read_text()) if done_file.exists() else 0
    shapes = {"early": (n, 10, 10, 112), "pooled": (n, 1280)}
    kept = {
        part: np.lib.format.open_memmap(
            cache / f"{image_set.file}-{part}.npy",
            mode="r+" if done else "w+",
            dtype=np.float16,
            shape=None if done else shape,
        )
        for part, shape in shapes.items()
    }
    if done < n:
        picture = pictures(data, cache, image_set)
        chunks = [range(start, min(start + CHUNK, n)) for start in range(done, n, CHUNK)]

        def make(rows: range) -> tuple[range, tuple[np.ndarray, np.ndarray]]:
            return rows, extract(network, picture(rows))

        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for rows, (early, pooled) in pool.map(make, chunks):
                kept["early"][rows.start : rows.stop], kept["pooled"][rows.start : rows.stop] = early, pooled
                done_file.write_text(str(rows.stop))
    return Features(kept["early"], kept["pooled"], names, splits, plain)


@dataclass(frozen=True)
class Altered:
    """Averages (N, F) of photos as they are, of 32 pixels enlarged, and without colour."""

    plain: Tensor
    coarse: Tensor
    grey: Tensor


def altered(network: Lite, data: Path, cache: Path, image_sets: Sequence[ImageSet]) -> Altered:
    """What becomes of some photos of each set when they are coarsened and when they lose their colours."""
    file = cache / "altered.npz"
    if not file.exists():
        found: dict[str, list[np.ndarray]] = {"plain": [], "coarse": [], "grey": []}
        for image_set in image_sets:
            rows = [row for row in members(data, image_set.name) if row[2] == TRAIN]
            rows = rows[:: max(1, len(rows) // ALTERED)][:ALTERED]
            pixels = decode(data, image_set.name, [path for path, _, _ in rows], RESOLUTION)
            images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
            small = functional.interpolate(images, size=32, mode="bicubic", antialias=True)
            coarse = functional.interpolate(small, size=RESOLUTION, mode="bicubic", antialias=True).clamp(0, 255)
            luma = (images * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
            for name, view in (("plain", images), ("coarse", coarse), ("grey", luma.expand_as(images))):
                found[name].append(extract(network, view)[1])
        joined = {name: np.concatenate(parts) for name, parts in found.items()}
        np.savez(file, plain=joined["plain"], coarse=joined["coarse"], grey=joined["grey"])
    with np.load(file) as kept:
        return Altered(*(torch.from_numpy(kept[name]).float() for name in ("plain", "coarse", "grey")))


def rows_of(data: Path, image_set: ImageSet) -> tuple[list[str], np.ndarray, list[int]]:
    """Class name, split, and number of the view (0 for the crop itself) of each row."""
    if image_set.draw:
        names = [name for name in render.class_names(image_set.kind) for _ in range(image_set.draw)]
        splits = np.where(np.arange(len(names)) % 50 == 1, HELD_IN, TRAIN)
        return names, splits, [0] * len(names)
    found = listed(data, image_set)
    extra = [(row, view) for view in range(1, image_set.views + 1) for row in found if row[2] == TRAIN]
    rows = [*((row, 0) for row in found), *extra]
    return [r[1] for r, _ in rows], np.array([r[2] for r, _ in rows]), [view for _, view in rows]


def listed(data: Path, image_set: ImageSet) -> list[tuple[str, str, int]]:
    """The files of a set that are not held out; of the largest only every so many."""
    found = members(data, image_set.name)
    if image_set.whole:
        return [(path, name, TRAIN) for path, name, _ in found if "_tone" not in name]
    return [row for row in found if row[2] != HELD_OUT][:: image_set.every]


def pictures(data: Path, cache: Path, image_set: ImageSet) -> Callable[[range], Tensor]:
    """A function from rows to images (B, 3, R, R) in [0, 255]."""
    if image_set.draw:
        drawn, _ = render.draw_all(image_set.draw, render.font_files(), image_set.seed, image_set.kind)
        return lambda rows: as_seen([Image.fromarray(drawn[row]) for row in rows])
    found = listed(data, image_set)
    trained = [row for row in found if row[2] == TRAIN]

    def seen(rows: range) -> Tensor:
        whole = [found[row] for row in rows if row < len(found)]
        views = [trained[(row - len(found)) % len(trained)] for row in rows if row >= len(found)]
        parts = []
        if whole:
            pixels = decode(data, image_set.name, [path for path, _, _ in whole], RESOLUTION)
            parts.append(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
        if views:
            side = image_set.side
            pixels = torch.from_numpy(decode(data, image_set.name, [path for path, _, _ in views], side))
            rng = torch.Generator().manual_seed(SEED * 1_000_003 + rows.start)
            if image_set.name == "mnist":
                changed = augment.digits(pixels, RESOLUTION, rng)
            else:
                changed = augment.photos(
                    pixels, RESOLUTION, mirror=image_set.mirror, smallest=image_set.smallest, rng=rng
                )
            parts.append(changed * 255)
        return torch.cat(parts)

    return seen


def as_seen(images: Sequence[Image.Image]) -> Tensor:
    """annotate's own crops of pictures, as (B, 3, R, R) in [0, 255]."""
    return torch.from_numpy(np.stack([fit(image, RESOLUTION) for image in images])).permute(0, 3, 1, 2).float()
