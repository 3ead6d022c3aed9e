"""When the first class stands where OUTPUT belongs, and when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.cli.forgotten import is_doubtful, output_was_forgotten


@pytest.mark.parametrize(
    "line", ["cat dog bird", "cat dog", "Cat Dog", "0 1 2", "zero one two", "red green", "red green violet"]
)
def test_a_sibling_of_the_classes_is_no_folder_for_the_dataset(photos: Path, line: str) -> None:
    output, *names = line.split()
    assert output_was_forgotten(str(photos), output, names)


@pytest.mark.parametrize(
    "line",
    [
        "dataset cat dog",
        "out red green",
        "sorted cat dog bird",
        "pets cat dog",  # may be asked, is never refused
        "cat tabby siamese",
        "sets/cat dog bird",
        "my-set cat dog",
        "cat_2 cat dog",
        "digits 0 1 2",
        "there dog bird",  # is there
    ],
)
def test_a_folder_for_the_dataset_is_not_taken_for_a_class(photos: Path, line: str) -> None:
    Path("there").mkdir()
    output, *names = line.split()
    assert not output_was_forgotten(str(photos), output, names)


def test_on_a_terminal_any_plain_word_is_asked_back_but_those_of_results() -> None:
    assert is_doubtful("pets", ["cat", "dog"])
    assert not is_doubtful("dataset", ["cat", "dog"])
    assert not is_doubtful("my-pets", ["cat", "dog"])
    Path("pets").mkdir()
    assert not is_doubtful("pets", ["cat", "dog"])


def test_classes_are_never_in_two_minds() -> None:
    assert not output_was_forgotten("photos", "cat", [])
