"""webdataset: tar files in which the files of a sample lie side by side, KEY.jpg, KEY.cls and KEY.json.

A key ends at the first dot, so that names have no other dot; two samples of one key would become one. Samples come in
an order of chance that is the same each time: a reader that takes them one after another meets all classes.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from hashlib import sha256

from annotate.exports.catalogue import UNLABELLED, Catalogue, Entry
from annotate.exports.formats import Contents, Format, Paper
from annotate.exports.formats.imagefolder import papers
from annotate.exports.pieces import json_text

IMAGES_PER_TAR = 1000  # images in a tar file
UNIT = 512  # bytes of a tar's blocks
RECORD = 20 * UNIT  # a tar is a multiple of this


def place(catalogue: Catalogue, entry: Entry) -> None:
    """Images lie in the archives."""


def pack(catalogue: Catalogue, contents: Contents) -> Iterator[Paper]:
    for part in catalogue.parts:
        entries = sorted(catalogue.of(part), key=chance)
        for number, start in enumerate(range(0, len(entries), IMAGES_PER_TAR)):
            yield f"{part}-{number:06}.tar", shard(catalogue, entries[start : start + IMAGES_PER_TAR], contents)


def chance(entry: Entry) -> bytes:
    """An order that has nothing to do with classes, and is the same everywhere."""
    return sha256((entry.digest or entry.original).encode("utf-8", "surrogateescape")).digest()


def shard(catalogue: Catalogue, entries: Sequence[Entry], contents: Contents) -> Iterator[bytes]:
    size = 2 * UNIT  # two empty blocks at the end
    for entry, content in contents(entries):
        key, ending = os.path.splitext(entry.name)
        for name, piece in sample(catalogue, entry, key, ending, content):
            block = member(name, piece)
            size += len(block)
            yield block
    yield bytes(2 * UNIT + -size % RECORD)


def sample(catalogue: Catalogue, entry: Entry, key: str, ending: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of an image, by name."""
    name = None if entry.label is None else catalogue.class_names[entry.label]
    about = {"class": name, "class_id": entry.label, "said_by": entry.said_by, "confidence": entry.sure}
    yield f"{key}{ending}", content
    if entry.label is not None:
        yield f"{key}.cls", str(entry.label).encode("ascii")
    yield f"{key}.json", json_text({**about, "width": entry.width, "height": entry.height})


def member(name: str, content: bytes) -> bytes:
    """A file of a tar that belongs to nobody and has no time."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    head = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    return head + content + bytes(-len(content) % UNIT)


def loading(catalogue: Catalogue) -> str:
    part = catalogue.parts[0] if catalogue.parts else "train"
    last = (catalogue.counts[part] - 1) // IMAGES_PER_TAR
    shards = f"{part}-000000.tar" if last == 0 else f"{part}-{{000000..{last:06}}}.tar"
    endings = ";".join(sorted({os.path.splitext(entry.name)[1][1:] for entry in catalogue.entries}))
    return (
        "import webdataset\n"
        f'dataset = webdataset.WebDataset("{shards}", shardshuffle=False).decode("pil")\n'
        f'pairs = dataset.to_tuple("{endings}", "cls")  # a picture and its class id'
    )


def traps(catalogue: Catalogue) -> list[str]:
    said = ["The samples of a tar file come in an order of chance that is the same each time."]
    if UNLABELLED in catalogue.parts:
        said.append("Images without a class lie in tar files of their own, and have no .cls file.")
    return said


FORMAT = Format(
    "webdataset",
    "Tar files of samples, KEY.jpg, KEY.cls and KEY.json side by side, as webdataset reads them.",
    place,
    papers,
    loading,
    traps,
    pack=pack,
)
