from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotate import images, sources
from annotate.embedding import decoding
from annotate.embedding.known import KnownImages
from annotate.exports import copying
from annotate.images import Unreadable, colours, costs, own_pixel_budget, read_image
from annotate.images.allowance import MIB, PIXEL_MEMORY, UNKNOWN_FILE, Allowance, TimedReader, TooSlow
from annotate.images.costs import memory_for
from annotate.images.mending import count_scans, mended


class Recorded(Allowance):
    """An allowance that remembers what was asked of it."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.asked: list[int] = []

    @contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        self.asked.append(amount)
        with super().taken(amount):
            yield

    @property
    def free(self) -> int:
        return self._free


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def test_threads_never_hold_more_than_the_allowance() -> None:
    allowance = Recorded(10)
    most_out = [0]
    counting = threading.Lock()

    def hold(amount: int) -> None:
        with allowance.taken(amount), counting:
            most_out[0] = max(most_out[0], allowance.total - allowance.free)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, [3, 7, 1, 25, 10, 4] * 50))
    assert most_out[0] <= 10
    assert allowance.free == 10


def test_who_asks_for_more_than_is_free_waits() -> None:
    allowance = Allowance(10)
    order: list[str] = []

    def second() -> None:
        with allowance.taken(6):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with allowance.taken(6):
            waiting = pool.submit(second)
            order.append("first")
        waiting.result()
    assert order == ["first", "second"]


@pytest.mark.parametrize(
    ("kind", "options", "image"),
    [
        ("png", {}, "I;16"),
        ("png", {}, "RGBA"),
        ("png", {}, "RGB"),
        ("gif", {}, "L"),
        ("webp", {"lossless": True, "quality": 0, "method": 0}, "RGBA"),
        ("tiff", {"compression": "tiff_lzw", "turned": True}, "RGB"),
        ("tiff", {}, "F"),
        ("jpeg", {"progressive": True}, "RGB"),
        ("jpeg", {"progressive": True}, "CMYK"),
    ],
)
def test_an_image_takes_no_more_memory_than_was_reckoned(kind: str, options: dict[str, object], image: str) -> None:
    status = Path("/proc/self/clear_refs")
    if not status.exists():
        pytest.skip("the peak of memory is read from Linux")
    exif = Image.Exif()
    options = dict(options)
    if options.pop("turned", False):
        exif[0x0112] = 6
        options["exif"] = exif
    content = saved(Image.new(image, (2600, 2600)), kind, **options)
    with Image.open(io.BytesIO(content)) as opened:
        reckoned = memory_for(opened, content)
    read_image(saved(Image.new("RGB", (900, 900)), "png"), resolution=224, max_megapixels=100)  # PyTorch is loaded
    status.write_text("5")  # forget the peak so far
    before = memory("VmRSS")
    read_image(content, resolution=224, max_megapixels=100)
    assert memory("VmHWM") - before < reckoned + 8 * MIB


def memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def test_a_hundred_megapixels_fit_into_a_gigabyte_whatever_their_kind() -> None:
    for mode in ("1", "L", "P", "I;16", "LA", "RGB", "RGBA", "CMYK", "I", "F"):
        image = Image.new(mode, (1, 1))
        image._size = (10_000, 10_000)
        assert memory_for(image, b"") < 1024 * MIB


# A WebP of 9,000 by 9,000 pixels in 34 bytes; libwebp takes 16 bytes for each pixel.
LARGE_WEBP = bytes.fromhex("524946461a000000574542505650384c0e0000002f27e3c908071011fd0f4444ff03")


def test_what_takes_more_than_a_gigabyte_is_refused_before_it_is_decoded() -> None:
    reason = r"^decoding it takes 1\.3 GB of memory, the budget is 1\.1 GB \(embed\.max_megapixels\)$"
    with own_pixel_budget(), pytest.raises(Unreadable, match=reason):
        read_image(LARGE_WEBP, resolution=16, max_megapixels=100)


def test_who_allows_more_pixels_allows_more_memory() -> None:
    costs.check_memory(1300 * MIB, max_megapixels=150)
    with pytest.raises(Unreadable, match="memory"):
        costs.check_memory(1300 * MIB, max_megapixels=100)


def test_a_file_full_of_nothing_is_not_copied() -> None:
    assert mended(b"\x89PNG\r\n\x1a\n" + bytes(1000)) is None


def test_pixels_are_given_back_however_decoding_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded(PIXEL_MEMORY.total)
    monkeypatch.setattr(images, "PIXEL_MEMORY", recorded)
    whole = saved(Image.effect_noise((64, 64), 60), "png")
    for content in (whole, whole[: len(whole) // 2], LARGE_WEBP, b"no image"):
        with suppress(Unreadable):
            read_image(content, resolution=16, max_megapixels=100)
    assert recorded.free == recorded.total
    assert len(recorded.asked) >= 2


def test_a_file_counts_while_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded(1000 * MIB)
    monkeypatch.setattr(decoding, "FILE_MEMORY", recorded)
    path = tmp_path / "a.png"
    path.write_bytes(saved(Image.new("RGB", (64, 64)), "png"))
    decoding.Decoding(resolution=16, max_megapixels=100, known=KnownImages()).outcome(str(path))
    assert recorded.asked == [path.stat().st_size]
    assert recorded.free == recorded.total


def test_organize_fetches_no_more_ahead_than_the_allowance(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []

    def fetch(path: str) -> bytes:
        fetched.append(path)
        return b"image"

    monkeypatch.setattr(sources, "fetch", fetch)
    monkeypatch.setattr(copying, "FETCHED", 2 * UNKNOWN_FILE)
    paths = [f"https://host/{i}.jpg" for i in range(20)]
    for taken, (path, content) in enumerate(copying.contents(paths, [None] * 20)):
        assert (path, content) == (paths[taken], b"image")
        assert len(fetched) <= taken + 2
    assert len(fetched) == 20


def with_scans(scans: int) -> bytes:
    """A progressive JPEG of a megapixel whose last scan comes again and again: 31 bytes each, and all pixels."""
    content = saved(Image.new("RGB", (1000, 1000), "gray"), "jpeg", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + content[-2:]


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    with pytest.raises(Unreadable, match=r"^a JPEG of more than 4,987 scans: decoding it takes too long$"):
        read_image(with_scans(6000), resolution=16, max_megapixels=100)


def test_an_ordinary_progressive_jpeg_is_read_at_the_largest_size() -> None:
    content = saved(Image.new("RGB", (1000, 1000)), "jpeg", progressive=True)
    costs.check_scans(content, (10_000, 10_000), seconds=10.0)


def test_scans_of_thumbnails_and_further_pictures_do_not_count() -> None:
    picture = saved(Image.new("RGB", (64, 64)), "jpeg", progressive=True)
    exif = b"\xff\xe1" + (len(picture) + 2).to_bytes(2, "big") + picture
    content = picture[:2] + exif + picture[2:] + picture
    assert content.count(b"\xff\xda") == 30
    assert count_scans(content, most=12) == 10


def test_a_decoder_is_stopped_that_reads_for_too_long() -> None:
    reader = TimedReader(b"abc", seconds=100)
    assert reader.read(2) == b"ab"
    with pytest.raises(TooSlow):
        TimedReader(b"abc", seconds=-1).read()


def test_what_decodes_for_too_long_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MOST_SECONDS", -1.0)
    with pytest.raises(Unreadable, match=r"^decoding takes too long"):
        read_image(saved(Image.new("RGB", (64, 64)), "png"), resolution=16, max_megapixels=100)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "CMYK", "LAB", "I;16", "F", "1", "P"])
def test_strips_make_the_picture_that_the_whole_makes(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 40, 4), dtype=np.uint8)
    image = Image.fromarray(noise).convert("L") if mode in ("I;16", "F") else Image.fromarray(noise)
    image = Image.fromarray(noise[..., :3]).convert("LAB") if mode == "LAB" else image.convert(mode)
    if mode == "P":
        image.info["transparency"] = 3
    whole = colours.rgb_on_white(image)
    monkeypatch.setattr(colours, "STRIP", 300)
    monkeypatch.setattr(colours, "sampled", lambda image: image)
    np.testing.assert_array_equal(colours.rgb_on_white(image), whole)
