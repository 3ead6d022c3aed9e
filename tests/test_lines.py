from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.workspace import lines
from annotate.workspace.lines import Lines


def written(folder: Path, texts: list[str]) -> Path:
    (folder / "x.txt").write_bytes("".join(f"{text}\n" for text in texts).encode())
    return folder / "x.txt"


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(
        st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=300), max_size=200
    ),
    chunk=st.sampled_from([32, 333, 1 << 20]),
)
def test_lines_are_a_list_that_lies_on_disk(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], chunk: int
) -> None:
    before, lines.CHUNK = lines.CHUNK, chunk
    try:
        read = Lines(written(tmp_path_factory.mktemp("x"), texts), bytes.decode)
        assert read == texts
        assert len(read) == len(texts)
        for start, stop in ((0, 5), (63, 66), (-3, None), (5, 2), (None, None)):
            assert read[start:stop] == texts[start:stop]
        assert read[::7] == texts[::7]
        assert [read[i] for i in range(-len(texts), len(texts))] == [*texts, *texts]
    finally:
        lines.CHUNK = before


def test_a_line_beyond_the_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IndexError):
        Lines(written(tmp_path, ["a"]), bytes.decode)[1]


def test_the_first_and_last_line_can_be_brackets(tmp_path: Path) -> None:
    read = Lines(written(tmp_path, ["[", *map(str, range(200)), "]"]), int, skip=1)
    assert list(read) == list(range(200))
    assert read[199] == 199


def test_what_was_opened_stays_when_the_file_is_replaced(tmp_path: Path) -> None:
    read = Lines(written(tmp_path, ["old"]), bytes.decode)
    (tmp_path / "new").write_text("new\n")
    os.replace(tmp_path / "new", read.path)
    assert read == ["old"]
