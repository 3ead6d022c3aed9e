"""The recipe of `tiny` without its data: words, backbone, head, rounding, drawing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import backbone
import numpy as np
import pytest
import render
import saving
import torch
import train_tiny
import tune
from concepts import Concepts
from data import SETS
from features import Features
from knowledge import mixtures, unit
from lessons import Lessons, concept_name
from teach import Words
from torch.nn import functional
from wordnet import WordNet
from words import COLOURS, SHAPES, SYNONYMS, other_number

from annotate.encoders.lite import Lite
from annotate.encoders.openai import Tokenizer

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


def test_the_permissive_sets_leave_out_what_is_for_research() -> None:
    names = {s.name for s in SETS if s.permissive}
    assert names.isdisjoint({"tiny-imagenet", "cifar10", "scenes", "trashnet"})
    assert {s.name for s in SETS} == set(tune.SHARES)


def test_folding_a_batch_norm_changes_nothing() -> None:
    state = published_like()
    network = Lite(backbone.folded(state) | {"tap": torch.tensor(1)})
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))

    def normed(y: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, weight, bias = (state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(y, mean, var, weight, bias, eps=1e-3)

    y = functional.conv2d(functional.pad(x, (0, 1, 0, 1)), state["_conv_stem.weight"], stride=2)
    y = functional.relu6(normed(y, "_bn0"))
    y = functional.conv2d(y, state["_blocks.0._depthwise_conv.weight"], padding=1, groups=8)
    y = functional.conv2d(functional.relu6(normed(y, "_blocks.0._bn1")), state["_blocks.0._project_conv.weight"])
    y = functional.conv2d(normed(y, "_blocks.0._bn2"), state["_conv_head.weight"])
    expected = functional.relu6(normed(y, "_bn1")).mean(dim=(2, 3))
    with torch.no_grad():
        torch.testing.assert_close(network(x)[0], expected, rtol=1e-4, atol=1e-5)


def published_like() -> dict[str, torch.Tensor]:
    """An EfficientNet-Lite of one block, named as the published ones are."""
    rng = torch.Generator().manual_seed(0)
    shapes = {
        "_conv_stem": (8, 3, 3, 3),
        "_blocks.0._depthwise_conv": (8, 1, 3, 3),
        "_blocks.0._project_conv": (4, 8, 1, 1),
        "_conv_head": (6, 4, 1, 1),
    }
    state = {f"{name}.weight": torch.randn(*shape, generator=rng) for name, shape in shapes.items()}
    for name, width in (("_bn0", 8), ("_blocks.0._bn1", 8), ("_blocks.0._bn2", 4), ("_bn1", 6)):
        for part in ("weight", "bias", "running_mean"):
            state[f"{name}.{part}"] = torch.randn(width, generator=rng)
        state[f"{name}.running_var"] = torch.rand(width, generator=rng) + 0.5
    return state


def test_a_known_name_looks_like_itself_and_one_between_like_both() -> None:
    known = unit(np.random.default_rng(0).normal(size=(6, 12))).astype(np.float32)
    weights = mixtures(known, np.vstack([known, unit(known[:1] + known[1:2])]), 2.0, 1e-4)
    np.testing.assert_allclose(weights[:6], np.eye(6), atol=0.01)
    assert set(np.argsort(-weights[6])[:2]) == {0, 1}


def test_wordnet_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text(
        "  1 a licence\n"
        "00000001 03 n 01 thing 0 001 ~ 00000002 n 0000 | what there is; a definition\n"
        "00000002 05 n 02 house_cat 0 felis 0 001 @ 00000001 n 0000 | a pet that purrs\n"
        "00000003 05 n 01 Felis 0 001 @ 00000001 n 0000 | a genus\n"
    )
    (tmp_path / "index.noun").write_text("  1 a licence\nhouse_cat n 2 1 @ 2 1 00000002 00000001\n")
    (tmp_path / "cntlist.rev").write_text("house_cat%1:05:00:: 1 7\n")
    wordnet = WordNet(tmp_path)
    assert wordnet.synsets["00000002"].words == ("house cat", "felis")
    assert wordnet.meanings["house cat"] == ["00000002", "00000001"]
    assert wordnet.above("00000002") == {"00000002": 0, "00000001": 1}
    assert wordnet.counts["house cat"] == 7
    assert wordnet.visible() == ["00000002"]  # neither a thing of no kind that is seen, nor a scholar's name


def test_words_that_are_remembered_are_those_of_the_tokenizer() -> None:
    tokenizer = Tokenizer(2000)
    words = Words(tokenizer)
    for text in ("a photo of a dog.", "st. bernard's", "t-shirt", "jack-o'-lantern", "number 42"):
        assert words(text) == tokenizer.words(text)


def test_the_closed_form_finds_the_class_that_the_classifier_finds() -> None:
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(1000, 1280, generator=rng)
    averages = torch.rand(1500, 1280, generator=rng).square() * 3
    logits = averages @ (rows - rows.mean(dim=0)).T
    head, anchors = tune.closed_form(averages, rows)
    with torch.no_grad():
        seen = functional.normalize(head(averages, torch.zeros(1500, 112, 10, 10)), dim=1)
    chosen = (seen @ anchors.T).argmax(dim=1)
    better = (logits - logits.mean(dim=0)).gather(1, chosen.unsqueeze(1)) > 0
    assert (
        float(better.float().mean()) > 0.9
    )  # 384 of 1,280 random directions are kept; a random class is better in half


def test_what_no_picture_shows_stays_where_the_words_put_it(concepts: Concepts, tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.tensor([concepts.index["shoes"], concepts.index["red"]] * 8)
    seen = Features(
        np.random.default_rng(0).normal(size=(16, 10, 10, 112)).astype(np.float16),
        np.random.default_rng(1).random((16, 1280)).astype(np.float16),
        ["shoes", "red"] * 8,
        np.zeros(16, int),
        np.ones(16, bool),
    )
    pictures = tune.Pictures(["clothing"], [seen], [labels], [torch.arange(16)])
    head, anchors = tune.closed_form(torch.rand(64, 1280, generator=rng), torch.randn(1000, 1280, generator=rng))
    base = functional.normalize(torch.randn(len(concepts), 384, generator=rng), dim=1)
    known = tune.Knowledge(
        anchors, base, torch.randn(1000, 1280), torch.zeros(1000), head.what.detach().clone(), head.what_bias.detach()
    )
    lessons = Lessons(concepts, pictures.sets, pictures.labels)
    made = tune.tune(head, pictures, lessons, known, steps=3, checkpoint=tmp_path / "head.pt", resume=False)
    moved = (made - base).abs().amax(dim=1) > 1e-6
    assert moved[concepts.index["shoes"]]
    assert not moved[concepts.index["cat"]]
    again = tune.tune(head, pictures, lessons, known, steps=3, checkpoint=tmp_path / "head.pt", resume=True)
    torch.testing.assert_close(again, made)  # all steps are done: nothing is done twice


def test_rounded_weights_come_back_near_what_they_were() -> None:
    weight = torch.randn(40, 30, generator=torch.Generator().manual_seed(0)) * torch.rand(40, 1)
    rounded, scale = saving.quantised(weight)
    assert rounded.dtype == torch.int8
    error = (rounded.float() * scale[:, None] - weight).norm(dim=1) / weight.norm(dim=1)
    assert float(error.max()) < 0.02


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
    assert concept_name("drawn simple", "orange") == "orange color"


def test_a_picture_depends_on_its_own_number_alone() -> None:
    few, _ = render.draw_all({"star": 3}, [], seed=1)
    many, _ = render.draw_all({"circle": 2, "star": 5}, [], seed=1)
    assert (many[2:5] == few).all()


def test_too_few_fonts_say_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="apt-get install"):
        render.font_files([tmp_path])
