"""Write the artifact of `embed` from earlier rows and new ones, image by image, so that memory never holds it whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from annotate.embedding.known import EmbeddedImage, KnownImages
from annotate.embedding.ledger import Shard, ShardOutcome
from annotate.embedding.survey import SKIPPED, TO_DO
from annotate.errors import Hint, InputError, printable
from annotate.records import Ints, SkippedFile
from annotate.workspace.arrays import write_header
from annotate.workspace.artifacts import json_line, path_line
from annotate.workspace.opening import opened

WRITTEN_TOGETHER = 1024  # images written at a time


class Assembly:
    """Writes the files of an embedding, and counts what they hold.

    count    images that have a row
    skipped  files that have none
    digest   of all paths and contents
    ran_on   devices and precisions that computed the rows
    """

    def __init__(self, folder: Path, dimensions: int, dtype: str) -> None:
        self.folder, self.dimensions, self.dtype = folder, dimensions, np.dtype(dtype)
        self.count = 0
        self.skipped: list[SkippedFile] = []
        self.ran_on: set[str] = set()
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def write(
        self,
        locations: Sequence[str],
        numbers: Ints,
        known: KnownImages,
        computed: Iterable[tuple[Shard, ShardOutcome]],
    ) -> None:
        """Write embeddings.npy, image_paths.txt and images.json.

        numbers   (N,) of each image among the known, TO_DO or SKIPPED
        computed  the shards of those to do, in order
        """
        fresh = self._outcomes(computed)
        if (numbers >= 0).any():
            self.ran_on |= set(known.ran_on.split(" and ")) - {""}
        with (
            opened(self.folder / "embeddings.npy", "wb") as rows,
            opened(self.folder / "image_paths.txt", "wb") as paths,
            opened(self.folder / "images.json", "wb") as images,
        ):
            self._header(rows)
            images.write(b"[")
            for start in range(0, len(locations), WRITTEN_TOGETHER):
                batch = numbers[start : start + WRITTEN_TOGETHER]
                before = iter(known.all_found([int(number) for number in batch if number >= 0]))
                for path, number in zip(locations[start : start + WRITTEN_TOGETHER], batch, strict=True):
                    outcome = (
                        next(fresh) if number == TO_DO else known.skipped[path] if number == SKIPPED else next(before)
                    )
                    if not isinstance(outcome, EmbeddedImage):
                        self.skipped.append(outcome)
                        self._note(path, outcome.get("digest", outcome["reason"]))
                        continue
                    rows.write(np.ascontiguousarray(outcome.row, self.dtype).tobytes())
                    paths.write(path_line(path).encode() + b"\n")
                    images.write((",\n" if self.count else "\n").encode() + json_line(outcome.facts).encode())
                    self._note(path, outcome.facts["digest"])
                    self.count += 1
            images.write(b"\n]\n")
            rows.seek(0)
            self._header(rows)

    def _outcomes(self, computed: Iterable[tuple[Shard, ShardOutcome]]) -> Iterator[EmbeddedImage | SkippedFile]:
        """What became of the images to do, in their order."""
        for shard, seen in computed:
            self.ran_on.add(seen.ran_on)
            found: dict[str, EmbeddedImage | SkippedFile] = {row["path"]: row for row in seen.skipped}
            found |= {
                path: EmbeddedImage(*image) for path, *image in zip(seen.paths, seen.images, seen.rows, strict=True)
            }
            for path in shard.paths:
                if path not in found:
                    raise InputError(
                        f"the embedding of {printable(path)} is missing among the finished shards",
                        hint=Hint("embed the images anew", "run the same command with --force"),
                    )
                yield found[path]

    def _note(self, path: str, content: str) -> None:
        self._digest.update(f"{path}\0{content}\n".encode("utf-8", "surrogateescape"))

    def _header(self, file: IO[Any]) -> None:
        """Written first, and again when the rows are counted."""
        write_header(file, (self.count, self.dimensions), self.dtype)
