"""Images that fit none of the names: the equations written out, planted images, and what must not be flagged."""

from __future__ import annotations

import math

import numpy as np
import pytest

from annotate.kernels import blocks, strangers
from annotate.kernels.strangers import (
    chance_strange,
    explained,
    groups_by_look,
    other_than,
    strange_rows,
    words_of,
)
from annotate.kernels.vectors import Floats, Ints, unit

D, SCALE = 96, 100.0


def words(count: int, seed: int = 0) -> Floats:
    """Names in a cone of their own."""
    rng = np.random.default_rng(seed)
    return unit(2 * unit(rng.normal(size=D)) + 2 * unit(rng.normal(size=(count, D))))


def images_of(named: Floats, seed: int = 1) -> Floats:
    """Images that lie nearest to these names, in another cone."""
    rng = np.random.default_rng(seed)
    return unit(named + unit(rng.normal(size=D)) + 0.5 * unit(rng.normal(size=named.shape)))


def scene(own: int, strange: int, seed: int = 0) -> tuple[Floats, Floats, Floats, Ints]:
    """Images of six names that are asked for and of others that are not; the names, the common ones, who is strange."""
    everything = words(80, seed)
    rng = np.random.default_rng(seed)
    shown = np.concatenate([rng.integers(0, 6, own), rng.integers(6, 12, strange)])
    return images_of(everything[shown], seed), everything[:6], everything[6:], np.flatnonzero(shown >= 6)


def test_margins_are_what_the_equation_says() -> None:
    images, texts, common, _ = scene(5, 3)
    found = explained(images, texts, common, logit_scale=SCALE)
    for image, margin, likely in zip(images.astype(float), found.margins, found.likely, strict=True):
        by_common, by_names = (
            math.log(sum(math.exp(SCALE * float(image @ row)) for row in rows.astype(float)))
            for rows in (common, texts)
        )
        assert margin == pytest.approx(by_common - by_names, abs=1e-3)
        assert likely.tolist() == np.argsort(-(common @ image))[:5].tolist()
    np.testing.assert_allclose(found.fit, 1 / (1 + np.exp(found.margins)), rtol=1e-5)


def test_the_share_of_strangers_agrees_with_their_chances() -> None:
    margins = np.random.default_rng(2).normal(0, 6, 400).astype(np.float32)
    chances, share = chance_strange(margins)
    assert share == pytest.approx(chances.sum() / 411, abs=1e-5)
    prior = math.log(share / (1 - share)) - math.log(strangers.FITTED_AT / (1 - strangers.FITTED_AT))
    np.testing.assert_allclose(
        chances, [1 / (1 + math.exp(3.4 - 0.8 * m - prior)) for m in margins.tolist()], rtol=1e-4
    )


@pytest.mark.parametrize("seed", range(3))
def test_planted_strangers_are_found(seed: int) -> None:
    images, texts, common, strange = scene(120, 50, seed)
    found = strange_rows(explained(images, texts, common, logit_scale=SCALE).margins)
    assert len(np.intersect1d(found, strange)) > 0.9 * len(strange)
    assert len(np.setdiff1d(found, strange)) < 0.1 * len(strange)


@pytest.mark.parametrize("seed", range(3))
def test_where_every_image_fits_none_is_called_strange(seed: int) -> None:
    images, texts, common, _ = scene(150, 0, seed)
    assert len(strange_rows(explained(images, texts, common, logit_scale=SCALE).margins)) == 0


def test_one_doubtful_image_is_strange_only_among_other_strangers() -> None:
    doubtful, sure, fitting = 6.0, 14.0, -10.0
    alone = np.array([doubtful] + [fitting] * 300, np.float32)
    among = np.array([doubtful] + [fitting] * 200 + [sure] * 100, np.float32)
    assert 0 not in strange_rows(alone)
    assert 0 in strange_rows(among)
    assert strangers.LEAST == 5
    assert 0 not in strange_rows(np.array([4.9] + [sure] * 300, np.float32))


def test_a_common_name_that_says_the_same_is_left_out() -> None:
    everything = words(20)
    alike = unit(everything[:1] + 0.2 * unit(np.random.default_rng(3).normal(size=(1, D))))
    assert other_than(np.concatenate([everything[5:], alike]), everything[:1]).tolist() == [True] * 15 + [False]


def test_blocks_and_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    images, texts, common, _ = scene(700, 200)
    at_once = explained(images, texts, common, logit_scale=SCALE)
    monkeypatch.setattr(strangers, "BLOCK", 256)
    monkeypatch.setattr(blocks, "cores", lambda: 3)
    in_blocks = explained(images, texts, common, logit_scale=SCALE)
    np.testing.assert_array_equal(at_once.margins, in_blocks.margins)
    np.testing.assert_array_equal(at_once.likely, in_blocks.likely)


def test_groups_are_named_by_what_most_of_them_look_like() -> None:
    face, mask, street, road = 3, 7, 11, 2
    likely = np.array([[street, road]] * 2 + [[face, mask]] * 3 + [[mask, face]] * 2 + [[9, 8]])
    groups, looks = groups_by_look(likely)
    assert groups.tolist() == [1, 1, 0, 0, 0, 0, 0, 2]
    assert looks[0] == [face, mask]
    assert looks[1][0] == street
    assert words_of(np.array([[5, 1], [5, 2], [5, 1]]), 5) == [5, 1]
    assert groups_by_look(np.empty((0, 5), np.int64))[1] == []
