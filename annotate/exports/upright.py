"""Pixels as they are to be seen: a picture whose EXIF says that it lies on its side is encoded once more, upright.

Nearly no program that trains looks at that tag, and boxes are measured in the upright picture. All other images stay
as they are, byte for byte.
"""

from __future__ import annotations

import io

import numpy as np

from annotate.images import Unreadable, decoded_picture

QUALITY = 95  # of a JPEG, in Pillow's measure; colour is kept in full
WHOLE = 1 << 20  # pixels of a side: no picture is decoded at a fraction of its size
MOST_MEGAPIXELS = 1000.0  # what was embedded has passed a smaller limit


def upright_bytes(content: bytes, *, jpeg: bool) -> bytes:
    """The picture turned upright, without the tag; its colour profile stays.

    jpeg    as JPEG; otherwise as PNG, which loses nothing
    raises  Unreadable with the reason
    """
    from PIL import Image

    with decoded_picture(content, side=WHOLE, max_megapixels=MOST_MEGAPIXELS) as whole:
        picture = Image.fromarray(np.ascontiguousarray(whole.upright))
    encoded = io.BytesIO()
    profile = colour_profile(content)
    if jpeg:
        picture.save(encoded, "JPEG", quality=QUALITY, subsampling=0, icc_profile=profile)
    else:
        picture.save(encoded, "PNG", icc_profile=profile)
    return encoded.getvalue()


def colour_profile(content: bytes) -> bytes | None:
    """The ICC profile of an RGB picture; of others it describes colours that are gone by now."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            profile = image.info.get("icc_profile")
            return profile if image.mode in ("RGB", "RGBA") and isinstance(profile, bytes) else None
    except Exception:  # decoders raise whatever they like; the picture itself has been read
        return None


def measured(content: bytes) -> tuple[int | None, int | None, int]:
    """Width, height and EXIF orientation of a picture, upright; None, None and 1 where it is none."""
    try:
        with decoded_picture(content, side=1, max_megapixels=MOST_MEGAPIXELS) as whole:
            return (*whole.upright_size, whole.orientation)
    except Unreadable:
        return None, None, 1
