"""Writing what an export says: files of text and numbers, and archives of images, piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

from annotate.exports.catalogue import Catalogue, Entry
from annotate.exports.formats import Format
from annotate.exports.papers import papers
from annotate.exports.placing import NO_TIME, Placed, pictures
from annotate.progress import Advance
from annotate.workspace.opening import opened, set_time


def write_papers(
    form: Format, catalogue: Catalogue, placed: Placed, base: str | None, new: Path, advance: Advance
) -> None:
    """The format's own files and those that all have.

    placed  the images that lie there; what goes into archives is added
    """

    def contents(entries: Iterable[Entry]) -> Iterator[tuple[Entry, bytes]]:
        for entry, content in pictures(entries, always=True):
            assert content is not None
            placed.digests[entry.row] = sha256(content).hexdigest()
            yield entry, content
            advance(1)

    if form.pack:
        for path, pieces in form.pack(catalogue, contents):
            write_pieces(new / path, pieces)
    for path, pieces in form.papers(catalogue):
        write_pieces(new / path, pieces)
    for path, pieces in papers(form, catalogue, placed.digests, base):
        write_pieces(new / path, pieces)


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened(path, "wb") as file:
        for piece in pieces:
            file.write(piece)
    set_time(path, NO_TIME)
