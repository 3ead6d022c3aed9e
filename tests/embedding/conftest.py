"""Encoders that are small, real or counted."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image


class Means:
    """An encoder that is arithmetic: the mean colour of three bands of the crop, as a unit row."""

    name, digest, device, precision = "means", "0" * 64, "cpu", "float32"
    dimensions, resolution, logit_scale = 9, 8, 100.0

    def __init__(self) -> None:
        self.batches: list[int] = []

    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.batches.append(len(pixels))
        bands = pixels[:, :6].reshape(len(pixels), 3, -1, 3).mean(axis=2).reshape(len(pixels), 9) + 1
        rows: npt.NDArray[np.float32] = (bands / np.linalg.norm(bands, axis=1, keepdims=True)).astype(np.float32)
        return rows

    def encode_text(self, prompts: Sequence[str]) -> npt.NDArray[np.float32]:
        raise NotImplementedError

    def cut(self, prompts: Sequence[str]) -> dict[str, str]:
        raise NotImplementedError


@pytest.fixture
def means() -> Means:
    return Means()


@pytest.fixture
def many(tmp_path: Path) -> list[str]:
    """Fifty images of as many colours, in the order of their paths."""
    (tmp_path / "many").mkdir()
    shades = itertools.product(range(20, 250, 46), range(20, 250, 46), (40, 200))
    for i, colour in enumerate(shades):
        Image.new("RGB", (12, 10), colour).save(tmp_path / "many" / f"{i:02}.png")
    return sorted(str(path) for path in (tmp_path / "many").iterdir())
