from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from annotate.kernels.bursts import find_bursts
from annotate.kernels.copies import Looks, Pairs, find_copies, groups_of
from annotate.kernels.vectors import Ints

SIDE = 32


def textures(n: int, side: int = 160, seed: int = 0) -> Looks:
    """Pictures with the spectrum of photos, no two alike."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    waves = rng.normal(size=(n, side, side // 2 + 1)) + 1j * rng.normal(size=(n, side, side // 2 + 1))
    pictures = np.fft.irfft2(waves / np.maximum(frequency, 1 / side) ** 1.2, s=(side, side))
    pictures = 128 + 45 * pictures / pictures.std(axis=(1, 2), keepdims=True)
    found: Looks = np.clip(pictures, 0, 255).astype(np.uint8)
    return found


def look(picture: Looks) -> Looks:
    return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


NOISE = np.random.default_rng(1).normal(0, 6, (160, 160))
CHANGES: dict[str, Callable[[Looks], Looks]] = {
    "nothing": lambda picture: picture,
    "mirrored": lambda picture: picture[:, ::-1],
    "darker": lambda picture: (picture * 0.6).astype(np.uint8),
    "noisy": lambda picture: np.clip(picture + np.random.default_rng(1).normal(0, 6, picture.shape), 0, 255).astype(
        "u1"
    ),
    "cropped to 80 %": lambda picture: picture[20:148, 6:134],
    "cropped in a corner": lambda picture: picture[:140, 20:],
    "smaller": lambda picture: np.asarray(Image.fromarray(picture).resize((90, 90))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_nothing_else(change: str) -> None:
    pictures = textures(60)
    looks = np.stack([look(picture) for picture in (*pictures, CHANGES[change](pictures[7]))])
    found = find_copies(looks)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(7, 60)]
    assert found.agreement[0] > 0.9


def test_pictures_of_one_colour_are_copies_of_nothing() -> None:
    plain = np.repeat(np.arange(20, dtype=np.uint8)[:, None, None] * 12, SIDE, axis=1).repeat(SIDE, axis=2)
    assert not len(find_copies(plain).first)


def test_groups_are_the_chains_of_pairs() -> None:
    pairs = Pairs(np.array([1, 2, 5]), np.array([2, 4, 6]), np.ones(3, np.float32))
    assert groups_of(8, pairs).tolist() == [-1, 0, 0, -1, 0, 1, 1, -1]
    nothing = np.empty(0, np.int64)
    assert groups_of(3, Pairs(nothing, nothing, np.empty(0, np.float32))).tolist() == [-1, -1, -1]


def burst(paths: list[str], cameras: list[str], seconds: list[float], looks: Looks) -> list[tuple[int, int]]:
    found = find_bursts(paths, cameras, np.array(seconds), looks)
    return sorted(zip(found.first.tolist(), found.second.tolist(), strict=True))


def test_photos_of_one_camera_within_seconds_are_a_burst() -> None:
    looks = np.stack([look(picture) for picture in textures(5)])
    paths, seconds = list("abcde"), [10.0, 100.0, 11.5, 11.0, float("nan")]
    assert burst(paths, ["X", "X", "X", "Y", ""], seconds, looks) == [(0, 2)]


def test_neighbours_in_number_are_a_burst_only_where_they_look_alike() -> None:
    picture = textures(1)[0]
    other = np.clip(0.9 * picture.astype(float) + 0.1 * textures(1, seed=5)[0], 0, 255).astype(np.uint8)
    looks = np.stack([look(shown) for shown in (picture, other, *textures(3, seed=2), other)])
    paths = ["a/IMG_08.jpg", "a/IMG_09.jpg", "a/IMG_10.jpg", "a/IMG_11.jpg", "b/IMG_10.jpg", "a/IMG_30.jpg"]
    assert burst(paths, [""] * 6, [float("nan")] * 6, looks) == [(0, 1)]


def test_the_order_of_looks_does_not_matter() -> None:
    pictures = textures(30)
    looks = np.stack([look(shown) for shown in (*pictures, pictures[3][:, ::-1], pictures[9][10:150, 10:150])])
    order: Ints = np.random.default_rng(3).permutation(len(looks))
    found, shuffled = find_copies(looks), find_copies(looks[order])
    assert {*zip(found.first.tolist(), found.second.tolist(), strict=True)} == {
        (min(i, j), max(i, j)) for i, j in zip(order[shuffled.first], order[shuffled.second], strict=True)
    }


def test_no_image_at_all_has_no_copies() -> None:
    assert not len(find_copies(np.zeros((0, SIDE, SIDE), np.uint8)).first)
    assert not burst([], [], [], np.zeros((0, SIDE, SIDE), np.uint8))
