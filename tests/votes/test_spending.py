"""The oracle alone knows what people said; votes that are spent well bring labels nearer to it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from annotate.errors import ComponentMissing, InputError
from annotate.kernels.vectors import Doubles, unit
from annotate.votes import files, recipes
from annotate.votes.oracle import SEED, Oracle, read_votes
from annotate.votes.recipes import RECIPES, follow
from annotate.votes.spending import Material, posterior, rounds


def scene(n: int = 200, k: int = 4, seed: int = 0) -> tuple[Material, Doubles]:
    """Images around K directions, words near them, and people who are torn where an image lies between two."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(k, 16)))
    labels = np.arange(n) % k
    images = unit(centres[labels] + 0.35 * rng.normal(size=(n, 16)))
    torn = rng.random(n) < 0.2
    hidden = np.full((n, k), 0.01)
    hidden[np.arange(n), labels] = np.where(torn, 0.6, 0.97)
    hidden[np.arange(n), (labels + 1) % k] += np.where(torn, 0.37, 0.0)
    return Material(images, centres, 12.0, k, np.arange(n)), hidden / hidden.sum(axis=1, keepdims=True)


def test_the_oracle_draws_as_the_benchmark_does_and_counts() -> None:
    hidden = np.array([[0.2, 0.8], [1.0, 0.0]])
    oracle, known = Oracle(hidden), random.Random(SEED)
    assert oracle.votes(0, 5).tolist() == known.choices(range(2), weights=[0.2, 0.8], k=5)
    assert oracle.votes(1, 2, weight=0.4).tolist() == [0, 0]
    assert oracle.budget == 7
    assert oracle.weighted_budget == pytest.approx(5.8)


def test_the_oracle_gives_no_vote_beyond_the_budget() -> None:
    oracle = Oracle(np.eye(2), 3)
    oracle.ask([0, 1])
    with pytest.raises(ValueError, match="1 left"):
        oracle.ask([0, 1])
    assert oracle.budget <= 3


def test_nothing_of_the_hidden_shares_can_be_read_off_the_oracle() -> None:
    hidden = np.array([[0.3, 0.7]])
    assert not any(value is hidden for name, value in vars(Oracle(hidden)).items() if not name.startswith("_Oracle"))


@pytest.mark.parametrize("method", ["posterior", *(name for name, recipe in RECIPES.items() if not recipe.umap)])
def test_every_method_spends_its_budget_and_labels_every_image(method: str) -> None:
    material, hidden = scene(80)
    oracle = Oracle(hidden, 100)
    steps = (
        posterior(material, oracle, 100) if method == "posterior" else follow(RECIPES[method], material, oracle, 100)
    )
    *_, last = steps
    assert oracle.budget == 100 == last.votes.sum()
    assert last.shares.sum(axis=1) == pytest.approx(np.ones(80))
    assert last.shares.min() >= 0


def test_images_that_may_not_be_asked_about_are_not() -> None:
    material, hidden = scene(60)
    material = Material(material.embeddings, material.texts, 12.0, 4, np.arange(0, 60, 2))
    *_, last = posterior(material, Oracle(hidden, 70), 70)
    assert last.votes[1::2].sum() == 0
    assert last.votes.sum() == 70


def test_votes_bring_the_labels_nearer_and_ours_nearer_than_raw_ones() -> None:
    material, hidden = scene()
    oracle = Oracle(hidden, 200)
    kl = [oracle.score(step.shares)["kl"] for step in posterior(material, oracle, 200)]
    assert kl[-1] < 0.6 * kl[0]
    raw = Oracle(hidden, 200)
    *_, last = follow(RECIPES["votes"], material, raw, 200)
    assert kl[-1] < 0.4 * raw.score(last.shares)["kl"]


def test_without_words_votes_alone_teach_what_classes_look_like() -> None:
    material, hidden = scene()
    blind = Material(material.embeddings, None, 12.0, 4, material.asked)
    oracle = Oracle(hidden, 200)
    *_, last = posterior(blind, oracle, 200)
    assert oracle.score(last.shares)["accuracy"] > 0.9


def test_rounds_grow_and_end_at_the_budget() -> None:
    sizes = list(rounds(500, 100))
    assert sum(sizes) == 500
    assert sizes[0] == 2 and max(sizes) == 34
    assert list(rounds(0, 100)) == []


def test_the_recipe_says_how_to_get_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(ComponentMissing) as missing:
        recipes.umap_plane(np.eye(3, dtype=np.float32), 0)
    assert "annotate-images[umap]" in missing.value.hint


def a_slice(folder: Path) -> files.Slice:
    images = [{"path": f"D/fold1/{name}.png", "split": "train"} for name in ("a", "b")]
    content = {"name": "D", "v_fold": 1, "classes": ["cat", "dog"], "images": images}
    (folder / "D.json").write_text(json.dumps(content))
    return files.read(folder / "D.json")


def given(folder: Path, *votes: tuple[str, str]) -> Path:
    path = folder / "annotations.json"
    said = [{"image_path": image, "class_label": name} for image, name in votes]
    path.write_text(json.dumps([{"name": "x", "annotations": said}]))
    return path


def test_votes_are_counted_by_the_name_of_the_image(tmp_path: Path) -> None:
    path = given(tmp_path, ("raw/fold1/a.png", "cat"), ("a.png", "dog"), ("D/a.png", "cat"), ("b.png", "dog"))
    assert read_votes(path, a_slice(tmp_path)) == pytest.approx(np.array([[2 / 3, 1 / 3], [0, 1]]))


@pytest.mark.parametrize(
    ("votes", "said"),
    [([("a.png", "cat")], "no vote on 1 images: b"), ([("a.png", "cow")], "no class 'cow'")],
)
def test_votes_that_are_missing_or_of_no_class_are_refused(
    votes: list[tuple[str, str]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        read_votes(given(tmp_path, *votes), a_slice(tmp_path))
