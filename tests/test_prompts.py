from __future__ import annotations

from pathlib import Path

import pytest

from annotate.classes.prompts import article_for, automatic, number_named, prompts_for
from annotate.errors import InputError


@pytest.mark.parametrize(
    ("name", "spoken"),
    [
        ("dog", "a dog"),
        ("apple", "an apple"),
        ("hour glass", "an hour glass"),
        ("honest man", "an honest man"),
        ("unicorn", "a unicorn"),
        ("umbrella", "an umbrella"),
        ("university", "a university"),
        ("uninteresting view", "an uninteresting view"),
        ("ukulele", "a ukulele"),
        ("European robin", "a European robin"),
        ("one-way sign", "a one-way sign"),
        ("onion", "an onion"),
        ("X-ray", "an X-ray"),
        ("t-shirt", "a t-shirt"),
        ("MRI scan", "an MRI scan"),
        ("TV", "a TV"),
        ("NASA logo", "a NASA logo"),
        ("UFO", "a UFO"),
        ("8-ball", "an 8-ball"),
        ("11th hour", "an 11th hour"),
        ("12 eggs", "a 12 eggs"),
        ("the moon", "the moon"),
        ("a cat", "a cat"),
        ("éclair", "an éclair"),
        ("猫", "a 猫"),
    ],
)
def test_a_name_gets_the_article_that_a_speaker_gives_it(name: str, spoken: str) -> None:
    assert article_for(name) + name == spoken


def test_digits_are_asked_as_digits() -> None:
    assert prompts_for(["2", "7"])["2"] == ["the digit two", "handwritten number 2", "the number 2", "digit 2"]


def test_number_words_are_asked_as_hand_signs() -> None:
    assert prompts_for(["two", "Seven"])["two"] == [
        "sign language number two",
        "hand sign for two",
        "hand gesture showing two",
        "a hand showing the number 2",
        "two",
    ]


def test_anything_else_is_a_photo() -> None:
    assert prompts_for(["dog", "golden_retriever", "2"]) == {
        "dog": ["a photo of a dog"],
        "golden_retriever": ["a photo of a golden retriever"],
        "2": ["a photo of a 2"],
    }


@pytest.mark.parametrize(
    ("names", "chosen"),
    [(["1", "2"], "digits"), (["one", "two"], "sign-language"), (["1", "two"], "photo"), (["10", "11"], "photo")],
)
def test_the_set_follows_from_all_names_together(names: list[str], chosen: str) -> None:
    assert automatic(names) == chosen


def test_clip7_is_the_published_ensemble() -> None:
    prompts = prompts_for(["cat"], "clip7")["cat"]
    assert len(prompts) == 7
    assert prompts[0] == "itap of a cat."
    assert "a origami cat." in prompts  # the published wording, article and all


def test_braces_in_a_name_are_not_a_template() -> None:
    assert prompts_for(["{digit}", "x"])["{digit}"] == ["a photo of a {digit}"]


def test_a_file_gives_templates(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("- a drawing of a {}\n- a sketch of the {}\n")
    assert prompts_for(["cat"], "p.yaml") == {"cat": ["a drawing of a cat", "a sketch of the cat"]}


def test_a_file_gives_prompts_class_by_class_and_templates_for_the_rest(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("cat: [a tabby]\ntemplates: ['a {}!']\n")
    assert prompts_for(["cat", "dog"], "p.yaml") == {"cat": ["a tabby"], "dog": ["a dog!"]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("cat: [a tabby]", "no prompts for class 'dog'"),
        ("- a drawing", "has no {}"),
        ("cat: {a: b}", "expected a prompt"),
        ("cat: [[a]]", "expected a prompt"),
        ("cat: ''", "expected a prompt"),
        ("cat: [a]\ncat: [b]", "line 2: 'cat' is there twice"),
        ("? [cat]\n: a", "a list or section where a name should be"),
        ("a: b: c", "not readable as YAML"),
        ("", "expected a prompt"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "p.yaml").write_text(content)
    with pytest.raises(InputError, match=said):
        prompts_for(["cat", "dog"], "p.yaml")


def test_an_unknown_set_suggests_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        prompts_for(["cat"], "digit")
    assert caught.value.hint == "did you mean 'digits'?"


def test_number_prompts_refuse_other_names() -> None:
    with pytest.raises(InputError, match="not for 'cat'"):
        prompts_for(["cat"], "sign-language")


@pytest.mark.parametrize(
    ("name", "number"), [("2", 2), ("two", 2), ("TEN", 10), ("10", 10), ("11", None), ("cat", None)]
)
def test_numbers_are_known_by_digit_and_word(name: str, number: int | None) -> None:
    assert number_named(name) == number


def test_the_names_in_a_file_are_kept_as_they_are_written(tmp_path: Path) -> None:
    names = ["0123", "0x10", "1:30", "1_000", "yes", "no", "null", "~", "2024-01-01", "1e3", "0.10"]
    (tmp_path / "p.yaml").write_text("".join(f"{name}: [{name}, {name}!]\n" for name in names))
    assert prompts_for(names, "p.yaml") == {name: [name, f"{name}!"] for name in names}
