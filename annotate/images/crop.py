"""The square that CLIP looks at: bicubic to the short side, centre crop (Radford et al. 2021)."""

from __future__ import annotations

import numpy as np

from annotate.images.orientation import Pixels, upright

ROUND_UP = 1e-6  # of a pixel, so that a size which is divided and multiplied again is not one less
MAX_ASPECT = 16  # beyond this the long side is cut before resizing: the crop shows its middle alone


def square(pixels: Pixels, resolution: int, *, whole: tuple[int, int] | None = None, orientation: int = 1) -> Pixels:
    """CLIP's crop: bicubic to the short side, then the centre. (H, W, 3) to (R, R, 3) uint8.

    Resized by PyTorch's antialiased kernel for bytes, which follows Pillow's to a few levels of 255 at worst and is
    four times as fast; rounding and cropping are torchvision's.

    whole        height and width of the image where `pixels` are a reduced decode of it, by eighths
    orientation  EXIF's, to be applied
    """
    import torch

    height, width, _ = pixels.shape
    full_h, full_w = whole or (height, width)
    # What is left of the last row and column of a reduced decode counts: 206.25 rows come as 207.
    true_h, true_w = full_h * eighths(height, full_h) / 8, full_w * eighths(width, full_w) / 8
    short = min(width, height)
    if max(width, height) > MAX_ASPECT * short:
        keep_w, keep_h = min(width, MAX_ASPECT * short), min(height, MAX_ASPECT * short)
        left, top = (width - keep_w) // 2, (height - keep_h) // 2
        pixels = np.ascontiguousarray(pixels[top : top + keep_h, left : left + keep_w])
        full_h, full_w = height, width = keep_h, keep_w
        true_h, true_w = float(keep_h), float(keep_w)
    if full_w <= full_h:
        new_h, new_w = int(resolution * full_h / full_w), resolution
    else:
        new_h, new_w = resolution, int(resolution * full_w / full_h)
    if (new_h, new_w) != (height, width):
        planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]  # (1, 3, H, W), channels last
        scale = (new_h + ROUND_UP) / true_h, (new_w + ROUND_UP) / true_w
        resized = torch.nn.functional.interpolate(
            planes, scale_factor=scale, recompute_scale_factor=False, mode="bicubic", antialias=True
        )
        pixels = resized[0].permute(1, 2, 0).numpy()
    pixels = upright(pixels, orientation)
    height, width, _ = pixels.shape
    left, top = round((width - resolution) / 2), round((height - resolution) / 2)
    return pixels[top : top + resolution, left : left + resolution]


def eighths(reduced: int, full: int) -> int:
    """At how many eighths of its side an image was decoded; what is left over was rounded up."""
    return 8 if reduced >= full else 8 * reduced // full
