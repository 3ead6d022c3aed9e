"""The demo's digits: scikit-learn's handwritten ones as PNG files."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

from annotate.sources.demo import Shown

FULL = 16  # scikit-learn's digits count ink in 4x4 blocks of a bitmap: 0 to 16


def handwritten_digits() -> dict[str, Shown]:
    """1,797 images of 8x8 pixels, grey.

    source  E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI 1998 (CC BY 4.0)
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return {
        f"digit-{number:04d}.png": Shown(str(digit), partial(as_png, ink))
        for number, (ink, digit) in enumerate(zip(bunch.images, bunch.target, strict=True))
    }


def as_png(ink: Any) -> bytes:
    """(8, 8) of ink as the bytes of a file."""
    from PIL import Image

    picture = io.BytesIO()
    Image.fromarray((ink * 255 / FULL).round().astype("uint8")).save(picture, "PNG")
    return picture.getvalue()
