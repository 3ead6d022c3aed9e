"""The recipe of `tiny` without its data: words, optimiser, shares, rounding, drawing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import render
import torch
import train_tiny
from concepts import Concepts
from data import SETS
from muon import Muon, whitened
from safetensors.torch import load_file
from words import COLOURS, SHAPES, SYNONYMS, other_number

from annotate.encoders.openai import clip_file, read_checkpoint
from tests.conftest import small_clip

CLASSES = ["digit 0", "circle", "red", "red circle", "orange", "orange color", "labrador retriever dog", "shoes"]


@pytest.fixture(scope="module")
def concepts() -> Concepts:
    rng = np.random.default_rng(0)
    bank = {name: rng.normal(size=16).astype(np.float32) for name in ("dog", "cat", "orange", "shoe", "car", "bird")}
    return Concepts(CLASSES, bank, dimensions=4)


def test_no_name_belongs_to_two_groups_of_synonyms() -> None:
    names = Counter(name for group in SYNONYMS for name in group)
    assert {name for name, count in names.items() if count > 1} == set()


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("dog", "dogs"),
        ("carrots", "carrot"),
        ("plate of food", "plates of food"),
        ("city", "cities"),
        ("knife", "knives"),
        ("sheep", None),
        ("trousers", "pair of trousers"),
        ("salesman", "salesmen"),
        ("living room", "living rooms"),
    ],
)
def test_names_have_another_number(name: str, other: str | None) -> None:
    assert other_number(name) == other


def test_a_breed_is_a_dog_is_an_animal(concepts: Concepts) -> None:
    broader = {concepts.names[b][0] for b in concepts.broader(concepts.index["labrador retriever dog"])}
    assert {"dog", "animal"} <= broader


def test_broader_words_and_colours_are_never_negatives(concepts: Concepts) -> None:
    index, related = concepts.index, concepts.related
    assert related[index["labrador retriever dog"], index["dog"]]
    assert related[index["red circle"], index["red"]]
    assert related[index["shoes"], index["red"]]
    assert not related[index["red"], index["shoes"]]


def test_what_a_user_types_is_among_the_prompts(concepts: Concepts) -> None:
    assert {"a photo of a dog", "a photo of a dogs", "photos of dogs"} <= set(concepts.prompts(concepts.index["dog"]))
    assert "a photo of a red circle" in concepts.prompts(concepts.index["red circle"])
    assert "a photo of a red" in concepts.prompts(concepts.index["red"])
    assert "a photo of an orange" not in concepts.prompts(concepts.index["orange color"])


def test_a_word_with_two_meanings_is_taught_between_them(concepts: Concepts) -> None:
    goals = torch.nn.functional.normalize(
        torch.randn(len(concepts), 64, generator=torch.Generator().manual_seed(2)), dim=1
    )
    fruit, colour = concepts.index["orange"], concepts.index["orange color"]
    taught = train_tiny.with_second_meanings(goals, concepts)
    near = taught[fruit] @ goals.T
    assert near.topk(2).indices.tolist() == [fruit, colour]
    assert torch.equal(taught[colour], goals[colour])


def test_whitening_makes_singular_values_alike() -> None:
    values = torch.linalg.svdvals(whitened(torch.randn(3, 40, 24, generator=torch.Generator().manual_seed(0))))
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.5


def test_muon_finds_the_least_of_a_bowl() -> None:
    goal = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    weight = torch.nn.Parameter(torch.zeros_like(goal))
    optimiser = Muon([weight], lr=0.1, weight_decay=0.0)
    for step in range(200):
        optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / 200)
        optimiser.zero_grad()
        (weight - goal).square().sum().backward()
        optimiser.step()
    assert float((weight.detach() - goal).norm() / goal.norm()) < 0.05


def test_shares_fill_the_batch_also_of_the_permissive_sets_alone() -> None:
    for sets in (SETS, train_tiny.permissive(SETS)):
        assert [sum(shares) for shares in zip(*(s.shares for s in sets), strict=True)] == [train_tiny.BATCH] * len(
            train_tiny.STAGES
        )
    names = {s.name for s in train_tiny.permissive(SETS)}
    assert names.isdisjoint({"tiny-imagenet", "cifar10", "scenes", "trashnet"})


def test_the_rate_rises_and_falls_to_nothing_in_every_cycle() -> None:
    stages = [train_tiny.Stage(60, 64, 2e-3), train_tiny.Stage(40, 96, None), train_tiny.Stage(50, 96, 5e-4)]
    schedule = train_tiny.Schedule(stages)
    rates = np.array([schedule.rate(step) for step in range(schedule.last)])
    assert rates[:100].max() == pytest.approx(2e-3, rel=0.02)
    assert (np.diff(rates[5:100]) < 0).all()
    assert rates[99] < 2e-3 / 90
    assert rates[100:].max() == pytest.approx(5e-4, rel=0.02)
    assert rates[-1] < 5e-4 / 45
    assert [schedule.at(step) for step in (0, 59, 60, 99, 100, 149)] == [
        (0, 0),
        (0, 59),
        (1, 0),
        (1, 39),
        (2, 0),
        (2, 49),
    ]


def test_rounded_weights_come_back_near_what_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_clip((1, 1, 1, 1))
    monkeypatch.setattr(train_tiny, "FEW", 10)
    train_tiny.save(model, tmp_path / "w.safetensors", small=True)
    stored, read = load_file(tmp_path / "w.safetensors"), read_checkpoint(tmp_path / "w.safetensors")
    exact = model.state_dict()
    assert stored["visual.conv1.weight"].dtype == torch.int8
    assert not any(name.endswith(".scale") for name in read)
    for name, weight in read.items():
        error = (weight.float() - exact[name].float()).norm() / exact[name].float().norm().clamp(min=1e-6)
        assert float(error) < 0.02, name


def test_positions_grow_and_shrink_with_the_resolution() -> None:
    visual = clip_file("model").ModifiedResNet((1, 1, 1, 1), 16, 4, 64, 8)
    for side in (96, 64):
        train_tiny.resize(visual, side)
        assert visual(torch.zeros(2, 3, side, side)).shape == (2, 16)
        assert len(visual.attnpool.positional_embedding) == 1 + (side // 32) ** 2


@pytest.mark.parametrize("name", ["red", "blue", "gray"])
def test_a_plain_picture_is_of_its_colour(name: str) -> None:
    pixels, names = render.draw_all({name: 5}, [], seed=1)
    assert names == [name] * 5
    red, green, blue = pixels.reshape(-1, 3).astype(float).mean(axis=0)
    wide = {"red": red - max(green, blue), "blue": blue - max(red, green), "gray": 20 - abs(red - blue)}
    assert wide[name] > 0


def test_what_is_drawn_has_words() -> None:
    assert {names[0] for names in SHAPES} == set(render.SHAPES)
    assert {spoken[0] for spoken in COLOURS.values()} == set(render.COLOURS)
    assert train_tiny.concept_name("drawn simple", "orange") == "orange color"


def test_a_picture_depends_on_its_own_number_alone() -> None:
    few, _ = render.draw_all({"star": 3}, [], seed=1)
    many, _ = render.draw_all({"circle": 2, "star": 5}, [], seed=1)
    assert (many[2:5] == few).all()


def test_too_few_fonts_say_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="apt-get install"):
        render.font_files([tmp_path])
