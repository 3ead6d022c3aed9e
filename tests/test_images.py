from __future__ import annotations

import base64
import contextlib
import io
import os
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from annotate.images import Unreadable, decoded_picture, own_pixel_budget, read_image, thumbnail
from annotate.images.crop import square
from annotate.sources.folders import find_images


def read(path: Path, resolution: int = 16, budget: float = 100.0) -> np.ndarray:
    with own_pixel_budget():
        return read_image(path.read_bytes(), resolution=resolution, max_megapixels=budget).pixels


def crop(image: Image.Image, resolution: int = 16) -> np.ndarray:
    return square(np.array(image), resolution)


def gradient(width: int = 64, height: int = 48) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=2).astype(np.uint8))


# -- finding -------------------------------------------------------------------------------------------


def test_images_are_found_below_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    names = ["b.JPG", "a.jpeg", "Z.png", "sub/c.GIF", "sub/deeper/d.webp", "é.tif", "e.TIFF", "f.bmp", "g.avif"]
    random.Random(0).shuffle(names)
    for name in [*names, "note.txt", ".hidden.png", ".git/x.png", "noextension"]:
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name).touch()
    walk = find_images(tmp_path / "x")
    relative = [Path(path).relative_to(tmp_path / "x").as_posix() for path in walk.images]
    assert relative == sorted(names, key=os.fsencode)
    assert walk.skipped == []


def test_the_order_does_not_depend_on_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(20):
        (tmp_path / f"{i % 3}").mkdir(exist_ok=True)
        (tmp_path / f"{i % 3}" / f"{i}.png").touch()
    before = find_images(tmp_path)
    listing = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: reversed(list(listing(path))))
    assert find_images(tmp_path) == before


def test_links_are_followed_once_and_circles_end(tmp_path: Path) -> None:
    real = tmp_path / "photos" / "real"
    real.mkdir(parents=True)
    (real / "a.png").touch()
    (tmp_path / "photos" / "again").symlink_to(real)
    (real / "up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "self").symlink_to("self")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.png").touch()
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "elsewhere")
    found = find_images(tmp_path / "photos").images
    assert [Path(path).relative_to(tmp_path / "photos").as_posix() for path in found] == ["linked/b.png", "real/a.png"]


# -- decoding ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    gradient().save(tmp_path / "x.png", exif=exif)
    with Image.open(tmp_path / "x.png") as image:
        expected = crop(ImageOps.exif_transpose(image))
    decoded = read_image((tmp_path / "x.png").read_bytes(), resolution=16, max_megapixels=100)
    assert np.abs(decoded.pixels.astype(int) - expected).max() <= 1  # rounded on another way
    assert decoded.orientation == orientation
    assert (decoded.width, decoded.height) == ((64, 48) if orientation < 5 else (48, 64))


def marked(size: tuple[int, int] = (60, 40)) -> Image.Image:
    """A dark picture with a light band on top, so that up can be told."""
    image = Image.new("RGB", size, (20, 40, 20))
    image.paste((255, 255, 255), (0, 0, size[0], size[1] // 4))
    return image


# What undoes EXIF's orientation: how the upright picture is stored.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
CARRIERS = [
    ("jpeg", {"quality": 95}),
    ("png", {}),
    ("webp", {"quality": 95}),
    ("avif", {"quality": 95}),
    *(("tiff", {"compression": kind}) for kind in (None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg")),
]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "options"), CARRIERS, ids=str)
def test_a_picture_is_turned_upright_once_in_every_format(kind: str, options: dict[str, str], orientation: int) -> None:
    upright = marked()
    stored = STORED[orientation]
    exif, content = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    (upright if stored is None else upright.transpose(stored)).save(content, kind, exif=exif, **options)
    found = read_image(content.getvalue(), resolution=32, max_megapixels=1)
    assert (found.width, found.height, found.orientation) == (60, 40, orientation)
    assert np.abs(found.pixels.astype(int) - crop(upright, 32)).mean() < 6
    small = np.asarray(thumbnail(content.getvalue(), side=60, max_megapixels=1)).astype(int)
    assert np.abs(small - np.asarray(upright)).mean() < 6


def test_a_palette_image_keeps_its_colours(tmp_path: Path) -> None:
    palette = gradient().convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read(tmp_path / "p.png"), crop(palette.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (20, 20), (200, 0, 0, 0))
    if mode == "P":
        black = Image.new("P", (20, 20), 0)
        black.save(tmp_path / "x.png", transparency=0)
    else:
        image.convert(mode).save(tmp_path / "x.png")
    assert read(tmp_path / "x.png").min() == 255


def test_half_transparent_red_is_pink(tmp_path: Path) -> None:
    Image.new("RGBA", (20, 20), (255, 0, 0, 128)).save(tmp_path / "x.png")
    np.testing.assert_allclose(read(tmp_path / "x.png")[0, 0], (255, 127, 127), atol=1)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_become_eight(tmp_path: Path, suffix: str) -> None:
    grey = np.linspace(0, 255, 400).astype(np.uint8).reshape(20, 20)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / f"deep.{suffix}")
    Image.fromarray(grey).save(tmp_path / "flat.png")
    np.testing.assert_array_equal(read(tmp_path / f"deep.{suffix}"), read(tmp_path / "flat.png"))


def test_floats_become_eight_bits(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    Image.fromarray(ramp).save(tmp_path / "f.tif")
    pixels = read(tmp_path / "f.tif", resolution=20)
    np.testing.assert_allclose(pixels[..., 0], ramp * 255, atol=1)


def shades(content: bytes) -> list[int]:
    """The different greys of a picture."""
    pixels = read_image(content, resolution=16, max_megapixels=1).pixels
    assert (pixels == pixels[..., :1]).all()
    return sorted(set(pixels[..., 0].ravel().tolist()))


def grey_tiff(values: np.ndarray, *, white_is_zero: bool = False, deflated: bool = False) -> bytes:
    """A TIFF of one strip, in the byte order of the values."""
    order = ">" if values.dtype.str.startswith(">") else "<"
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    strip = zlib.compress(values.tobytes()) if deflated else values.tobytes()
    tags = [(256, values.shape[1]), (257, values.shape[0]), (258, 8 * values.itemsize), (259, 8 if deflated else 1)]
    tags += [(262, 0 if white_is_zero else 1), (273, 8 + 2 + 10 * 12 + 4), (277, 1), (278, values.shape[0])]
    tags += [(279, len(strip)), (339, kind)]
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return head + entries + bytes(4) + strip


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize(
    ("kind", "quarter"),
    [("u2", 1 << 14), ("i2", 1 << 14), ("u4", 1 << 30), ("i4", 1 << 29), ("f4", 0.25), ("f8", 0.25)],
)
@pytest.mark.parametrize("order", "<>")
def test_greys_of_all_kinds_of_tiff_are_scaled(
    order: str, kind: str, quarter: float, white_is_zero: bool, deflated: bool
) -> None:
    content = grey_tiff(np.full((20, 20), quarter, order + kind), white_is_zero=white_is_zero, deflated=deflated)
    assert shades(content) == [191 if white_is_zero else 64]


@pytest.mark.parametrize("extreme", [np.inf, -np.inf, np.nan, 1e30, -1e30])
def test_one_extreme_value_does_not_change_a_float_picture(extreme: float) -> None:
    values = np.linspace(0, 1, 400, dtype="<f4").reshape(20, 20)
    spoiled = values.copy()
    spoiled[5, 5] = extreme
    with decoded_picture(grey_tiff(values), side=16, max_megapixels=1) as plain:
        pass
    with decoded_picture(grey_tiff(spoiled), side=16, max_megapixels=1) as found:
        pass
    others = np.ones((20, 20), bool)
    others[5, 5] = False
    np.testing.assert_array_equal(found.pixels[others], plain.pixels[others])


@pytest.mark.parametrize(("kind", "extreme"), [("<i4", 2**31 - 1), ("<u4", 2**32 - 1), ("<i2", -(2**15)), ("<i4", -9)])
def test_one_extreme_value_does_not_change_a_picture_of_whole_numbers(kind: str, extreme: int) -> None:
    values = np.full((20, 20), 1 << 14, kind)
    values[5, 5] = extreme
    with decoded_picture(grey_tiff(values), side=16, max_megapixels=1) as found:
        assert found.pixels[10, 10].tolist() == [64, 64, 64]


def test_values_with_a_scale_of_their_own_reach_from_black_to_white() -> None:
    kelvin = np.linspace(280, 310, 400, dtype="<f4").reshape(20, 20)
    with decoded_picture(grey_tiff(kelvin), side=16, max_megapixels=1) as found:
        np.testing.assert_allclose(found.pixels[..., 0], (kelvin - 280) / 30 * 255, atol=2)
    below = grey_tiff(np.linspace(-1000, 3000, 400).reshape(20, 20).astype("<i2"))
    with decoded_picture(below, side=16, max_megapixels=1) as found:
        assert (found.pixels.min(), found.pixels.max()) == (0, 255)


@pytest.mark.parametrize("values", [[np.nan], [np.inf], [7e9], [-3.0]])
def test_a_picture_of_one_odd_value_is_a_picture(values: list[float]) -> None:
    assert len(shades(grey_tiff(np.array([values], "<f8")))) == 1


def png(depth: int, colour: int, pixel: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 32 by 32 pixels of one colour."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    bits = 32 * depth * {0: 1, 2: 3}[colour]
    row = b"\0" + pixel * (bits // 8 // len(pixel))
    header = struct.pack(">IIBBBBB", 32, 32, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(row * 32)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize(
    ("depth", "colour", "pixel", "key"),
    [
        (1, 0, b"\0", b"\0\0"),
        (2, 0, b"\x55", b"\0\1"),
        (4, 0, b"\x77", b"\0\7"),
        (8, 0, b"\7", b"\0\7"),
        (16, 0, b"\1\2", b"\1\2"),
        (8, 2, b"\1\2\3", b"\0\1\0\2\0\3"),
        (16, 2, b"\1\2\3\4\5\6", b"\1\2\3\4\5\6"),
    ],
)
def test_a_colour_that_a_png_calls_transparent_is_white(depth: int, colour: int, pixel: bytes, key: bytes) -> None:
    assert read_image(png(depth, colour, pixel), resolution=16, max_megapixels=1).pixels.max() < 128
    assert read_image(png(depth, colour, pixel, (b"tRNS", key)), resolution=16, max_megapixels=1).pixels.min() == 255


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    bits = np.zeros((16, 16), bool)
    bits[:, 8:] = True
    Image.fromarray(bits).save(tmp_path / "b.png")
    pixels = read(tmp_path / "b.png")
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[0, 15].tolist() == [255, 255, 255]


def test_cmyk_looks_as_it_prints(tmp_path: Path) -> None:
    Image.new("CMYK", (20, 20), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=95)
    red, green, blue = read(tmp_path / "red.jpg")[8, 8].astype(int)
    assert red > 230
    assert max(green, blue) < 40


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], loop=0)
    assert read(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "webp", "tiff", "avif"])
def test_every_format_is_read(tmp_path: Path, suffix: str) -> None:
    gradient().save(tmp_path / f"x.{suffix}")
    difference = read(tmp_path / f"x.{suffix}").astype(int) - crop(gradient())
    assert np.abs(difference).mean() < 8


HEIC = base64.b64decode(  # a grey ramp of 64x48, encoded by libheif
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJp"
    "bG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAADIAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAAB"
    "AAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEA"
    "AQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAA"
    "FGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhp"
    "cG1hAAAAAAAAAAEAAQWBAgMFhAAAADptZGF0AAAALigBrxOA9sbPEMb2IzwG8Rg3rvGZVkVPGEaXOyW2JbOH8IfekqHlqchK+oGxSMA="
)


def test_heic_is_read_where_the_extra_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    (tmp_path / "x.heic").write_bytes(HEIC)
    assert find_images(tmp_path).images == [str(tmp_path / "x.heic")]
    ramp = crop(Image.linear_gradient("L").convert("RGB").resize((64, 48)))
    assert np.abs(read(tmp_path / "x.heic").astype(int) - ramp).mean() < 8


def test_a_turned_heic_is_turned_once(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    turned = bytearray(HEIC)
    for box in (b"meta", b"iprp", b"ipco"):
        at = turned.index(box) - 4
        longer = int.from_bytes(turned[at : at + 4], "big") + (9 if box == b"ipco" else 10)
        turned[at : at + 4] = longer.to_bytes(4, "big")
    at = turned.index(b"ipma") - 4
    turned[at : at + 24] = (
        (25).to_bytes(4, "big") + turned[at + 4 : at + 18] + b"\6" + turned[at + 19 : at + 24] + b"\x86"
    )
    turned[at:at] = b"\0\0\0\x09irot\1"  # a quarter, against the clock
    start = turned.index((417).to_bytes(4, "big"))
    turned[start : start + 4] = (427).to_bytes(4, "big")
    with own_pixel_budget():
        plain, found = (read_image(bytes(c), resolution=16, max_megapixels=1) for c in (HEIC, turned))
    assert (found.width, found.height) == (plain.height, plain.width)
    assert np.abs(found.pixels.astype(int) - np.rot90(plain.pixels)).mean() < 3


def test_heic_is_named_where_it_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotate.images.formats.reads_heic", lambda: False)
    (tmp_path / "x.HEIC").write_bytes(HEIC)
    walk = find_images(tmp_path)
    assert walk.images == []
    assert walk.skipped == [
        {
            "path": str(tmp_path / "x.HEIC"),
            "reason": ".heic is not read: pip install 'annotate-images[heic]', or convert it to JPEG",
        }
    ]


def test_a_large_jpeg_is_decoded_small_and_looks_the_same(tmp_path: Path) -> None:
    large = gradient(1600, 1200)
    large.save(tmp_path / "x.jpg", quality=95)
    decoded = read_image((tmp_path / "x.jpg").read_bytes(), resolution=32, max_megapixels=100)
    assert (decoded.width, decoded.height) == (1600, 1200)
    with Image.open(tmp_path / "x.jpg") as image:
        assert np.abs(decoded.pixels.astype(int) - crop(image, 32)).mean() < 1.5


@pytest.mark.parametrize(("width", "height"), [(64, 48), (97, 301), (16, 16), (500, 375), (300, 17)])
def test_the_crop_follows_pillows(width: int, height: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    short = min(width, height)
    size = (int(16 * width / short), int(16 * height / short))
    left, top = round((size[0] - 16) / 2), round((size[1] - 16) / 2)
    whole = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    expected = np.asarray(whole.crop((left, top, left + 16, top + 16)))
    difference = np.abs(square(noise, 16).astype(int) - expected)
    assert difference.max() <= 3
    assert difference.mean() < 0.75


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_has_pillows_pixels(tmp_path: Path, mode: str, progressive: bool) -> None:
    gradient(90, 70).convert(mode).save(tmp_path / "x.jpg", progressive=progressive)
    with decoded_picture((tmp_path / "x.jpg").read_bytes(), side=64, max_megapixels=1) as whole:
        assert whole.size == (90, 70)
    with Image.open(tmp_path / "x.jpg") as image:
        np.testing.assert_array_equal(whole.pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_reduced_decode_does_not_shift_the_crop(tmp_path: Path, orientation: int) -> None:
    """A side that is no multiple of eight is rounded up by the decoder: part of the last row is not there."""
    x, y = np.meshgrid(np.arange(441), np.arange(331))
    waves = np.stack([128 + 100 * np.sin(x / 9), 128 + 100 * np.sin(y / 9), 128 + 100 * np.sin((x + y) / 11)], axis=2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(waves.astype(np.uint8)).save(tmp_path / "x.jpg", quality=97, subsampling=0, exif=exif)
    with Image.open(tmp_path / "x.jpg") as image:
        expected = crop(ImageOps.exif_transpose(image), 96)
    with decoded_picture((tmp_path / "x.jpg").read_bytes(), side=96, max_megapixels=1) as whole:
        assert whole.pixels.shape[:2] < (331, 441)
    assert np.abs(read(tmp_path / "x.jpg", resolution=96).astype(int) - expected).mean() < 1.5


def test_a_single_pixel_is_an_image(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), "lime").save(tmp_path / "x.png")
    assert read(tmp_path / "x.png").reshape(-1, 3).tolist() == [[0, 255, 0]] * 256


def test_a_long_strip_shows_its_middle_in_little_memory(tmp_path: Path) -> None:
    strip = np.zeros((1, 60_001, 3), np.uint8)
    strip[0, 29_990:30_011] = 200
    Image.fromarray(strip).save(tmp_path / "x.png")
    assert read(tmp_path / "x.png", resolution=224)[112, 112].min() > 150


# -- what cannot be read -------------------------------------------------------------------------------


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    content = io.BytesIO()
    Image.new("1", (1, 1)).save(content, "png")
    data = bytearray(content.getvalue())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def test_the_pixel_budget_is_checked_before_decoding(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png_header(20_000, 20_000))
    with pytest.raises(Unreadable, match="400 megapixels, the budget is 100"):
        read(tmp_path / "x.png")


def test_an_icon_is_as_large_as_the_picture_within() -> None:
    inside = png_header(20_000, 20_000)
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inside), 22)
    icon = struct.pack("<HHH", 0, 1, 1) + entry + inside
    with own_pixel_budget(), pytest.raises(Unreadable, match="an icon of 400 megapixels"):
        read_image(icon, resolution=16, max_megapixels=100)


def test_a_larger_budget_lets_larger_images_in(tmp_path: Path) -> None:
    Image.new("1", (20_000, 10_000)).save(tmp_path / "x.png")
    assert read(tmp_path / "x.png", budget=500).max() == 0


def make_broken(kind: str, path: Path) -> None:
    content = io.BytesIO()
    gradient(400, 300).save(content, "jpeg")
    whole = content.getvalue()
    path.write_bytes(
        {
            "text": b"this is not an image",
            "empty": b"",
            "truncated": whole[: len(whole) // 2],
            "header only": whole[:30],
            "noise": random.Random(0).randbytes(5000),
        }[kind]
    )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("text", "not an image"),
        ("empty", "empty file"),
        ("truncated", "broken image: image file is truncated"),
        ("header only", "broken image|not an image"),
        ("noise", "not an image"),
    ],
)
def test_a_broken_file_gives_its_reason(tmp_path: Path, kind: str, reason: str) -> None:
    make_broken(kind, tmp_path / "x.jpg")
    with pytest.raises(Unreadable, match=reason):
        read(tmp_path / "x.jpg")


def chunk_of_png(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


LARGE_TEXT = zlib.compress(bytes(2 << 20))
SIDES = {
    "large text": chunk_of_png(b"zTXt", b"key\0\0" + LARGE_TEXT),
    "large international text": chunk_of_png(b"iTXt", b"key\0\1\0\0\0" + LARGE_TEXT),
    "large profile": chunk_of_png(b"iCCP", b"key\0\0" + LARGE_TEXT),
    "profile of an unknown kind": chunk_of_png(b"iCCP", b"key\0\7abc"),
    "empty profile": chunk_of_png(b"iCCP", b""),
    "damaged comment": chunk_of_png(b"tEXt", b"key\0hello").replace(b"hello", b"Hello"),
    "damaged transparency": chunk_of_png(b"tRNS", bytes(6)).replace(bytes(6), bytes(5) + b"\1"),
    "short size": chunk_of_png(b"pHYs", b"\1"),
}


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("side", SIDES)
def test_what_lies_beside_the_picture_of_a_png_does_not_hide_it(side: str, place: str) -> None:
    content = io.BytesIO()
    marked().save(content, "png")
    plain = content.getvalue()
    at = plain.index(b"IDAT" if place == "before" else b"IEND") - 4
    spoiled = plain[:at] + SIDES[side] + plain[at:]
    found = read_image(spoiled, resolution=16, max_megapixels=1)
    np.testing.assert_array_equal(found.pixels, read_image(plain, resolution=16, max_megapixels=1).pixels)


def test_a_mended_png_keeps_its_orientation_and_its_transparency() -> None:
    content, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    marked().save(content, "png", exif=exif, transparency=(20, 40, 20))
    plain = content.getvalue()
    at = plain.index(b"IDAT") - 4
    found = read_image(plain[:at] + SIDES["damaged comment"] + plain[at:], resolution=16, max_megapixels=1)
    assert (found.orientation, found.width, found.height) == (6, 40, 60)
    assert found.pixels.min() == 255


def test_a_png_whose_picture_is_damaged_is_not_read() -> None:
    content = bytearray(png(8, 0, b"\7", (b"tEXt", b"a\0b")))
    content[content.index(b"IDAT") + 4] ^= 255
    with pytest.raises(Unreadable, match="broken image"):
        read_image(bytes(content), resolution=16, max_megapixels=1)


def jpeg(**options: object) -> bytes:
    content = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    mode = str(options.pop("mode", "RGB"))
    Image.fromarray(noise).resize((400, 300)).convert(mode).save(content, "jpeg", **options)
    return content.getvalue()


@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"mode": "CMYK"}, {"mode": "L"}], ids=str)
def test_a_jpeg_that_lacks_its_end_mark_is_read(options: dict[str, object], missing: int) -> None:
    whole = jpeg(**options)
    found = read_image(whole[:-missing], resolution=16, max_megapixels=1)
    np.testing.assert_array_equal(found.pixels, read_image(whole, resolution=16, max_megapixels=1).pixels)


def test_a_jpeg_that_lacks_its_last_bytes_is_read() -> None:
    whole = jpeg()
    found = read_image(whole[:-40], resolution=16, max_megapixels=1)
    difference = found.pixels.astype(int) - read_image(whole, resolution=16, max_megapixels=1).pixels
    assert np.abs(difference[:-1]).max() <= 1


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"mode": "CMYK"}, {"mode": "L"}], ids=str)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_jpeg_that_is_cut_in_the_middle_is_not_read(options: dict[str, object], share: float) -> None:
    whole = jpeg(**options)
    with pytest.raises(Unreadable, match="broken image: image file is truncated"):
        read_image(whole[: int(share * len(whole))], resolution=16, max_megapixels=1)


def test_a_kind_of_image_that_is_not_decoded_is_named() -> None:
    twelve_bits = bytearray(jpeg())
    twelve_bits[twelve_bits.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(Unreadable, match=r"^broken image, or a rare kind of JPEG: convert it$"):
        read_image(bytes(twelve_bits), resolution=16, max_megapixels=1)


@pytest.mark.parametrize("suffix", ["png", "gif", "webp", "tiff", "bmp", "avif", "jpg"])
def test_any_cut_or_flipped_byte_is_an_image_or_a_reason(tmp_path: Path, suffix: str) -> None:
    content = io.BytesIO()
    gradient(24, 24).save(content, {"jpg": "jpeg"}.get(suffix, suffix))
    whole, rng = content.getvalue(), random.Random(1)
    path = tmp_path / f"x.{suffix}"
    for _ in range(60):
        data = bytearray(whole[: rng.randrange(1, len(whole))] if rng.random() < 0.5 else whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with contextlib.suppress(Unreadable):
            assert read(path, budget=1).shape == (16, 16, 3)


def test_a_thumbnail_is_the_whole_image_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    gradient(400, 200).save(tmp_path / "x.jpg", exif=exif)
    assert thumbnail((tmp_path / "x.jpg").read_bytes(), side=100, max_megapixels=10).size == (50, 100)
