"""The list of common names, and which of them say something else than the user's."""

from __future__ import annotations

import pytest

from annotate.classes.common import LIST, beside, common_names


def left_out(names: list[str], *asked: str) -> set[str]:
    return {name for name, other in zip(names, beside(names, asked).other, strict=True) if not other}


def test_what_is_narrower_than_a_name_is_a_kind_of_it() -> None:
    names = ["Samoyed", "dog", "Siamese cat", "street"]
    assert beside(names, ["dog"]).kinds == [True, False, False, False]
    assert beside(names, ["animals"]).kinds == [True, True, True, False]
    assert not any(beside(names, ["Samoyed"]).kinds)


def test_the_list_has_a_few_thousand_names_and_none_twice() -> None:
    names = common_names()
    assert 1_500 < len(names) < 4_000
    assert len({name.lower() for name in names}) == len(names)
    assert {"face", "street", "Samoyed", "car"} <= set(names)


def test_the_licence_of_the_broader_words_is_named_beside_them() -> None:
    assert "WordNet 3.0, Copyright 2006 by Princeton University" in LIST.read_text("utf-8")


@pytest.mark.parametrize(
    ("asked", "gone", "stays"),
    [
        ("dog", {"Samoyed", "pug", "dog"}, {"Siamese cat", "street", "car"}),
        ("dogs", {"Samoyed", "pug"}, {"Siamese cat"}),
        ("Samoyed", {"Samoyed", "dog"}, {"pug", "cat", "face"}),
        ("electric_guitar", {"electric guitar", "guitar"}, {"violin", "street"}),
        ("vehicle", {"car", "ambulance"}, {"dog", "street", "face"}),
        ("person", {"Woman", "soldier"}, {"dog", "street"}),
    ],
)
def test_what_a_name_covers_is_no_stranger_to_it(asked: str, gone: set[str], stays: set[str]) -> None:
    out = left_out(common_names(), asked)
    assert gone <= out
    assert not stays & out


def test_names_of_nobody_s_list_are_compared_by_their_words() -> None:
    assert left_out(["red lamp", "lamp", "chair"], "lamp (of a desk)") == {"red lamp", "lamp"}


def test_most_of_the_list_is_left_beside_a_few_names() -> None:
    names = common_names()
    assert len(left_out(names, "cat", "dog", "car")) < 0.2 * len(names)
