from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from annotate import images
from annotate.embedding import decoding, ledger
from annotate.embedding.decoding import Decoding, Outcome
from annotate.embedding.known import KnownImages
from annotate.embedding.ledger import Shard, ShardOutcome, Shards
from annotate.embedding.pipeline import Pipeline
from annotate.encoders import Encoder
from annotate.errors import InputError
from tests.embedding.conftest import Means


def run(
    paths: Sequence[str],
    sessions: Sequence[Encoder],
    *,
    batch_size: int = 8,
    workers: int | None = None,
    known: KnownImages | None = None,
    dtype: str = "float32",
) -> list[ShardOutcome]:
    decoded = Decoding(sessions[0].resolution, 10, known or KnownImages(), workers).ahead(Shards(paths))
    steps = Pipeline(sessions, batch_size=batch_size, dtype=dtype)
    return [seen for _, seen in steps.run(decoded, lambda count: None)]


def rows_of(parts: Sequence[ShardOutcome]) -> npt.NDArray[np.floating]:
    return np.concatenate([seen.rows for seen in parts])


def test_rows_come_in_the_order_of_paths_whatever_the_threads_and_shards(
    many: list[str], means: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = rows_of(run(many, [means], workers=1))
    assert len(np.unique(expected, axis=0)) == len(many)
    for shard in (1, 7, 50, 1024):
        monkeypatch.setattr(ledger, "SHARD", shard)
        parts = run(many, [means] * 3, workers=5)
        np.testing.assert_array_equal(rows_of(parts), expected)
        assert [path for seen in parts for path in seen.paths] == many


def test_every_batch_has_the_same_shape(many: list[str], means: Means, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "SHARD", 20)
    run(many, [means], batch_size=8)
    assert means.batches == [8] * (3 + 3 + 2)


def test_a_row_depends_on_its_image_alone(many: list[str], checkpoint: Path) -> None:
    from annotate.encoders import find_weights, load_sessions

    sessions = load_sessions(find_weights(str(checkpoint)), device="cpu", count=2)
    whole = rows_of(run(many, sessions, batch_size=8))
    np.testing.assert_array_equal(rows_of(run(many[::-1], sessions, batch_size=8))[::-1], whole)
    np.testing.assert_array_equal(rows_of(run(many[3:14], sessions[:1], batch_size=8)), whole[3:14])


def test_torchs_threads_are_as_many_afterwards_as_before(many: list[str], means: Means) -> None:
    import torch

    before = torch.get_num_threads()
    run(many, [means] * 2)
    assert torch.get_num_threads() == before


def test_what_is_known_is_not_decoded_again(many: list[str], means: Means, monkeypatch: pytest.MonkeyPatch) -> None:
    [before] = run(many, [means])
    calls: list[int] = []

    def counted(content: bytes, *, resolution: int, max_megapixels: float) -> images.Decoded:
        calls.append(1)
        return images.read_image(content, resolution=resolution, max_megapixels=max_megapixels)

    monkeypatch.setattr(decoding, "read_image", counted)
    os.rename(many[3], many[3].replace("03.png", "moved.png"))
    Image.new("RGB", (12, 10), "white").save(many[5])
    paths = sorted(str(path) for path in Path(many[0]).parent.iterdir())
    [after] = run(paths, [means], known=KnownImages([before]))
    assert len(calls) == 1
    np.testing.assert_array_equal(after.rows[-1], before.rows[3])
    assert after.images[-1] == before.images[3]
    np.testing.assert_array_equal(after.rows, run(paths, [means])[0].rows)


def test_a_shard_lands_before_the_next_is_decoded(
    many: list[str], means: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a kill would cost two."""
    monkeypatch.setattr(ledger, "SHARD", 20)
    taken: list[str] = []
    landed: list[int] = []

    def watched(outcomes: Iterator[Outcome], shard: Shard) -> Iterator[Outcome]:
        for path, outcome in zip(shard.paths, outcomes, strict=True):
            taken.append(path)
            time.sleep(0.01)
            yield outcome

    decoded = Decoding(means.resolution, 10, KnownImages(), 1).ahead(Shards(many))
    steps = Pipeline([means], batch_size=4, dtype="float32")
    for _ in steps.run(((shard, watched(outcomes, shard)) for shard, outcomes in decoded), lambda count: None):
        landed.append(len(taken))
    assert landed[0] < 30
    assert landed[1] < 50


class Cramped(Means):
    """A device whose memory holds so many images."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        import torch

        if len(pixels) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().encode_images(pixels)


def test_too_little_memory_halves_the_batch_and_goes_on(many: list[str], means: Means) -> None:
    cramped = Cramped(3)
    [seen] = run(many, [cramped], batch_size=8)
    np.testing.assert_array_equal(seen.rows, rows_of(run(many, [means])))
    assert set(cramped.batches) == {2}
    assert seen.ran_on == "cpu float32, batches of 2"


def test_a_device_too_small_for_one_image_is_told(many: list[str]) -> None:
    with pytest.raises(InputError, match="not enough memory on cpu for one image"):
        run(many, [Cramped(0)])


def test_other_failures_of_an_encoder_are_not_hidden(many: list[str], means: Means) -> None:
    def fail(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        raise RuntimeError("shapes do not fit")

    means.encode_images = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run(many, [means])


def test_one_bad_file_in_every_batch_hurts_no_other(many: list[str], means: Means, tmp_path: Path) -> None:
    whole = rows_of(run(many, [means]))
    folder = Path(many[0]).parent
    photo = folder / "photo.jpg"
    Image.effect_noise((300, 200), 50).convert("RGB").save(photo)
    half = photo.read_bytes()[: photo.stat().st_size // 2]
    photo.unlink()
    (folder / "07x.jpg").write_bytes(half)
    os.mkfifo(folder / "15x.jpg")
    Image.new("1", (5000, 5000)).save(folder / "23x.png")
    (folder / "31x.png").write_text("no image")
    (folder / "39x.png").touch()
    (folder / "47x.png").mkdir()
    with open(folder / "48x.png", "wb") as huge:
        huge.truncate(1 << 36)  # takes no room on the disk
    paths = sorted(str(path) for path in folder.iterdir())
    [seen] = run([*paths, str(folder / "gone.png")], [means])
    np.testing.assert_array_equal(seen.rows, whole)
    reasons = {Path(row["path"]).name: row["reason"] for row in seen.skipped}
    assert list(reasons) == ["07x.jpg", "15x.jpg", "23x.png", "31x.png", "39x.png", "47x.png", "48x.png", "gone.png"]
    assert reasons["15x.jpg"] == "not a regular file"
    assert "25 megapixels, the budget is 10" in reasons["23x.png"]
    assert reasons["48x.png"] == "64.0 GiB: no image is that large"
    assert reasons["gone.png"] == "No such file or directory"


def test_rows_can_be_float16(many: list[str], means: Means) -> None:
    [half], [full] = run(many, [means], dtype="float16"), run(many, [means])
    assert half.rows.dtype == np.float16
    np.testing.assert_array_equal(half.rows, full.rows.astype(np.float16))
