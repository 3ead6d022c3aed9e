"""Choosing what to ask: against scikit-activeml where it has the strategy, against brute force where not."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from annotate.kernels import asking, herding
from annotate.kernels.asking import ALIKE, STRATEGIES, Pool, centred, choose, share_right
from annotate.kernels.coverage import cover, k_center
from annotate.kernels.herding import herd, width
from annotate.kernels.vectors import unit


def pool(n: int = 200, k: int = 5, answered: int = 10, seed: int = 0) -> Pool:
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(k, 16)))
    images = centred(unit(centres[np.arange(n) % k] + 0.4 * rng.normal(size=(n, 16))))
    chances = rng.dirichlet(np.full(k, 0.4), n)
    ranked = -np.sort(-chances, axis=1)
    known = np.zeros(n, np.bool_)
    known[rng.choice(n, answered, replace=False)] = True
    spread = -(chances * np.log(chances + 1e-30)).sum(axis=1)
    return Pool(images, chances.argmax(axis=1), ranked[:, 0], ranked[:, 1], spread, known)


@pytest.fixture
def activeml() -> Any:
    """scikit-activeml's strategies, imported without what its parts warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import skactiveml.pool

        yield skactiveml.pool


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("answered", [0, 10])
def test_every_strategy_names_images_without_an_answer_each_once(strategy: str, answered: int) -> None:
    here = pool(answered=answered)
    batch = choose(here, strategy, 20)
    assert len(batch.rows) == 20 == len(np.unique(batch.rows))
    assert not here.answered[batch.rows].any()
    assert batch.random.sum() == (20 if strategy == "random" else 2)
    again = choose(here, strategy, 20)
    assert batch.rows.tolist() == again.rows.tolist()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_all_that_is_left_can_be_asked_about(strategy: str) -> None:
    here = pool(n=40, answered=25)
    assert sorted(choose(here, strategy, 100).rows.tolist()) == here.free.tolist()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_image_of_a_batch_is_nearly_another(strategy: str) -> None:
    """Every image is there three times; one of each is enough."""
    once = pool(n=60, answered=0)
    thrice = Pool(*(np.concatenate([part] * 3) for part in vars(once).values()))
    rows = choose(thrice, strategy, 30, at_random=0).rows
    cosines = thrice.images[rows] @ thrice.images[rows].T
    np.fill_diagonal(cosines, -1)
    assert cosines.max() <= ALIKE


def test_a_copy_of_an_answered_image_is_not_asked_about() -> None:
    once = pool(n=60, answered=0)
    twice = Pool(*(np.concatenate([part] * 2) for part in vars(once).values()))
    twice = Pool(**{**vars(twice), "answered": np.r_[np.ones(30, bool), np.zeros(90, bool)]})
    rows = choose(twice, "margin", 10, at_random=0).rows
    assert not np.isin(rows, np.arange(60, 90)).any()


def test_what_is_drawn_at_random_is_a_fair_draw() -> None:
    here, often = pool(n=50, answered=10), np.zeros(50)
    for seed in range(2000):
        batch = choose(here, "margin", 10, seed)
        often[batch.rows[batch.random]] += 1
    assert often[here.answered].sum() == 0
    free = often[here.free]
    assert free == pytest.approx(np.full(40, 50), abs=30)  # four deviations


@pytest.mark.parametrize(("strategy", "method"), [("margin", "margin_sampling"), ("entropy", "entropy")])
def test_the_unsure_are_those_of_scikit_activeml(strategy: str, method: str, activeml: Any) -> None:
    from skactiveml.pool import uncertainty_scores

    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.full(4, 0.6), 80)
    ranked = -np.sort(-chances, axis=1)
    spread = -(chances * np.log(chances)).sum(axis=1)
    none = np.zeros(80, np.bool_)
    here = Pool(np.eye(80, dtype=np.float32), chances.argmax(axis=1), ranked[:, 0], ranked[:, 1], spread, none)
    theirs = np.argsort(-uncertainty_scores(chances, method=method), kind="stable")
    assert STRATEGIES[strategy](here, 10, rng)[:10].tolist() == theirs[:10].tolist()


def test_the_farthest_are_those_of_scikit_activeml(activeml: Any) -> None:
    here = pool()
    labels = np.where(here.answered, here.labels.astype(float), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = activeml.CoreSet(random_state=0).query(here.images.astype(np.float64), labels, batch_size=15)
    assert k_center(here.images, here.known, 15).tolist() == theirs.tolist()


def test_the_cover_is_that_of_scikit_activeml(activeml: Any) -> None:
    """Of equals it takes any, so that what is covered is compared."""
    here, radius = pool(n=120, answered=0), 0.8
    labels = np.full(120, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = activeml.ProbCover(random_state=0, deltas=[radius]).query(
            here.images.astype(np.float64), labels, batch_size=12
        )
    ours = cover(here.images, here.labels, here.known, 12, radius)
    inside = here.images @ here.images.T >= 1 - radius**2 / 2
    sizes = [[int(inside[rows[: i + 1]].any(axis=0).sum()) for i in range(12)] for rows in (ours, theirs)]
    assert sizes[0] == pytest.approx(sizes[1], abs=2)


def brute(here: Pool, unsure: np.ndarray, sigma: float, count: int) -> list[int]:
    """Herding by its formula, every gain computed each time."""
    apart = ((here.images[:, None] - here.images[None]) ** 2).sum(axis=2)
    kernel = np.exp(-apart / sigma**2)
    covered = np.max(kernel[here.known], axis=0, initial=0)
    chosen: list[int] = []
    for _ in range(count):
        gains = np.maximum(kernel - covered, 0) @ unsure
        gains[[*here.known.tolist(), *chosen]] = -1
        chosen.append(int(gains.argmax()))
        covered = np.maximum(covered, kernel[chosen[-1]])
    return chosen


@pytest.mark.parametrize("answered", [0, 2, 30])
def test_herding_is_its_formula(answered: int) -> None:
    here = pool(answered=answered)
    for unsure, sigma in ((np.ones(200), 1.0), (1 - here.margin, width(here.images[here.known]))):
        found = herd(here.images, unsure, here.known, here.free, 15, sigma=sigma)
        assert found.tolist() == brute(here, unsure, sigma, 15)


def test_auto_is_herding_of_the_unsure_with_a_width_by_the_answers() -> None:
    here = pool(answered=12)
    found = STRATEGIES["auto"](here, 10, np.random.default_rng(0))
    assert found.tolist() == brute(here, 1 - here.margin, width(here.images[here.known]), 10)


def test_the_width_is_the_least_distance_in_fifths_within_bounds() -> None:
    def at(*degrees: float) -> np.ndarray:
        angles = np.radians(degrees)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    assert width(at(0)) == 1.0  # of one nobody can tell
    assert width(at(0, 60, 180)) == pytest.approx(1.0)  # 60 degrees are 1 apart
    assert width(at(0, 1)) == pytest.approx(0.4)
    assert width(at(0, 180)) == pytest.approx(1.2)
    assert width(at(0, 34)) == pytest.approx(0.6)  # 0.585


def test_of_very_many_images_some_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(herding, "MOST_KERNEL", 60 * 60)
    monkeypatch.setattr(herding, "FEWEST_TARGETS", 60)
    here = pool(n=400)
    rows = herd(here.images, 1 - here.margin, here.known, here.free, 20, sigma=1.0)
    assert len(np.unique(rows)) == 20
    assert not here.answered[rows].any()


def test_the_interval_of_a_share_holds_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    for true in (0.6, 0.9):
        held = [low <= true <= high for _, low, high in (share_right(int(r), 40) for r in rng.binomial(40, true, 2000))]
        assert 0.93 <= np.mean(held) <= 0.98
    assert share_right(5, 5)[2] == 1.0
    assert share_right(0, 0)[1:] == (0.0, 1.0)


def test_badge_prefers_what_would_teach_most() -> None:
    here = pool(answered=0)
    rows = asking.by_gradient(here, 30, np.random.default_rng(0))
    size = np.hypot(1 - here.first, here.second)
    assert size[rows].mean() > 1.1 * size.mean()
