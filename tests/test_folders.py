from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from annotate.classes.folders import RESERVED, distinct, fold, folder_names

NAMES = st.lists(
    st.text(min_size=1, max_size=40) | st.sampled_from(["CON", "a/b", "A/B", ".", "..", "x" * 300, "splits"])
)


@given(NAMES)
def test_any_class_names_become_safe_distinct_folders(names: list[str]) -> None:
    folders = folder_names(names, taken=["splits"])
    assert len({fold(folder) for folder in folders} | {"splits"}) == len(folders) + 1
    for folder in folders:
        assert 0 < len(folder.encode()) <= 120
        assert not set(folder) & set('<>:"/\\|?*')
        assert folder.isprintable()
        assert not folder.startswith((".", " "))
        assert not folder.endswith((".", " "))
        assert not RESERVED.fullmatch(folder)


def test_plain_names_stay_as_they_are() -> None:
    assert folder_names(["dog", "golden retriever", "🐶", "中文", "café"]) == [
        "dog",
        "golden retriever",
        "🐶",
        "中文",
        "café",
    ]


def test_names_that_differ_in_case_or_spelling_alone_do_not_collide() -> None:
    assert folder_names(["Dog", "dog"]) == ["Dog", "dog-2"]
    both = folder_names([unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")])
    assert len(set(both)) == 2


def test_reserved_and_empty_looking_names_are_changed() -> None:
    assert folder_names(["CON", "nul.txt", "...", "a/b", "x?"]) == ["CON_", "nul.txt_", "_", "a_b", "x_"]


@given(st.lists(st.sampled_from(["a.png", "A.PNG", "a-2.png", "b", "a-3.png", "y" * 254 + ".png"]), max_size=30))
def test_file_names_never_collide(names: list[str]) -> None:
    used: dict[str, int] = {}
    chosen = [distinct(name, used) for name in names]
    assert len({fold(name) for name in chosen}) == len(names)
    assert all(len(name.encode()) <= 255 for name in chosen)


def test_the_first_of_a_name_keeps_it() -> None:
    used: dict[str, int] = {}
    assert [distinct("a.png", used) for _ in range(3)] == ["a.png", "a-2.png", "a-3.png"]
