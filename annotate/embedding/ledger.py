"""The ledger of an embedding: finished work, written shard by shard, so that a kill loses only what was in flight.

The images are cut into shards in a fixed order. Each shard is written whole, its record last:

    0000012-3f2a….npy    rows of the shard's readable images
    0000012-3f2a….json   what became of each image, and the sha256 of the rows

A shard is named by its number and by the digest of its paths. It is done where its record is there. Computing a shard
again writes the same bytes, so two machines may do it at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict, overload

import numpy as np

from annotate.errors import ComponentMissing, Hint, StorageError, printable
from annotate.records import ImageFacts, Rows, SkippedFile
from annotate.records.declared import fits
from annotate.workspace import jsonfile
from annotate.workspace.arrays import array_in
from annotate.workspace.artifacts import read_file
from annotate.workspace.digests import content_digest
from annotate.workspace.opening import not_ours, own_folder, replacing_file, sync_handle

REMEMBERED = 8  # shards kept in memory after they were read: 16 MB of 512 dimensions
MOST_OF_A_FILE = 1 << 30  # bytes; a shard of 4,096 dimensions has 17 million
SHARD = 1024  # images; whole batches of any power of two


@dataclass(frozen=True)
class Shard:
    """Some images that lie next to each other in the order of all."""

    number: int
    paths: Sequence[str]

    @property
    def name(self) -> str:
        listed = hashlib.sha256("\0".join(self.paths).encode("utf-8", "surrogatepass"))
        return f"{self.number:07}-{listed.hexdigest()[:16]}"


@dataclass(frozen=True)
class ShardOutcome:
    """What became of a shard's images: n rows of those that could be read, and reasons for the others.

    rows     (n, D) float32 or float16 unit rows
    paths    n, in the order of the shard
    images   n, their facts
    skipped  the others, in the order of the shard
    ran_on   device, precision and batch size
    logit_scale  of the model
    """

    rows: Rows
    paths: Sequence[str]
    images: Sequence[ImageFacts]
    skipped: Sequence[SkippedFile]
    ran_on: str
    logit_scale: float


class ShardRecord(TypedDict):
    """A shard's outcome as JSON; `rows` is the sha256 of the rows."""

    rows: str
    paths: list[str]
    images: list[ImageFacts]
    skipped: list[SkippedFile]
    ran_on: str
    logit_scale: float
    sha256: str


class Shards(Sequence[Shard]):
    """Shards of these images, made when they are asked for: all of them, or those with some numbers."""

    def __init__(self, paths: Sequence[str], numbers: Sequence[int] | None = None) -> None:
        self.paths, self.size = paths, SHARD
        self.numbers = range(-(-len(paths) // SHARD)) if numbers is None else numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Shard: ...
    @overload
    def __getitem__(self, index: slice) -> Shards: ...
    def __getitem__(self, index: int | slice) -> Shard | Shards:
        if isinstance(index, slice):
            return Shards(self.paths, self.numbers[index])
        number = self.numbers[index]
        return Shard(number, self.paths[number * self.size : (number + 1) * self.size])

    def has(self, name: str) -> bool:
        """Whether a shard of this name is one of those that all these images make."""
        start = name.partition("-")[0]
        number = int(start) if start.isdigit() else len(self.paths)
        return number * self.size < len(self.paths) and Shards(self.paths)[number].name == name

    @property
    def images(self) -> int:
        """How many images they have together."""
        last = len(self.paths) // self.size  # the shard that is not full, where there is one
        return len(self) * self.size - (self.size - len(self.paths) % self.size if last in self.numbers else 0)


class Store(Protocol):
    """A place for small files that are written whole or not at all."""

    def write(self, name: str, content: bytes) -> None: ...

    def read(self, name: str) -> bytes:
        """raises  FileNotFoundError"""
        ...

    def file_names(self) -> set[str]: ...

    def clear(self) -> None: ...


class Ledger:
    """The shards that are done.

    place  a folder, or an address that fsspec knows (s3://bucket/folder)
    key    what the rows depend on besides the images: a digest of weights and settings
    """

    def __init__(self, place: str, key: str) -> None:
        self.place, self.key = place, key
        address = f"{place.rstrip('/')}/{key[:16]}"
        self._last: dict[str, ShardOutcome | None] = {}
        self._lock = threading.Lock()
        self.store: Store = RemoteStore(address) if "://" in place else FolderStore(Path(address))

    def done(self) -> set[str]:
        """Names of the shards that are done."""
        return {name.removesuffix(".json") for name in self.store.file_names() if name.endswith(".json")}

    def commit(self, shard: Shard, seen: ShardOutcome) -> None:
        content = io.BytesIO()
        np.save(content, seen.rows, allow_pickle=False)
        self.store.write(f"{shard.name}.npy", content.getvalue())
        record: dict[str, Any] = {
            "paths": list(seen.paths),
            "images": list(seen.images),
            "skipped": list(seen.skipped),
            "ran_on": seen.ran_on,
            "logit_scale": seen.logit_scale,
            "rows": hashlib.sha256(content.getvalue()).hexdigest(),
        }
        record["sha256"] = content_digest(record)
        self.store.write(f"{shard.name}.json", json.dumps(record).encode())

    def read(self, name: str) -> ShardOutcome | None:
        """What a shard's record says, with its rows; None where there is none, or its bytes are not those written."""
        try:
            record = jsonfile.loads(self.store.read(f"{name}.json"))
            content = self.store.read(f"{name}.npy")
            if not fits(ShardRecord)(record) or record.pop("sha256") != content_digest(record):
                return None
            if record["rows"] != hashlib.sha256(content).hexdigest():
                return None
            rows = array_in(content)
        except (FileNotFoundError, ValueError):
            return None
        seen = ShardOutcome(**{**record, "rows": rows})
        return seen if len(rows) == len(seen.paths) == len(seen.images) and rows.dtype.kind == "f" else None

    def remembered(self, name: str) -> ShardOutcome | None:
        """Like `read`, but the last few shards are kept in memory."""
        with self._lock:
            if name not in self._last:
                self._last[name] = self.read(name)
                while len(self._last) > REMEMBERED:
                    del self._last[next(iter(self._last))]
            return self._last[name]

    def clear(self) -> None:
        """Forget all; the shards have become an artifact."""
        self.store.clear()


class FolderStore:
    """A folder, of this machine or shared by several. It and the one above are annotate's: neither may be a link."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, content: bytes) -> None:
        own_folder(self.folder.parent)
        own_folder(self.folder)
        with replacing_file(self.folder / name) as file:  # others may write the same shard
            file.write(content)
            file.flush()
            sync_handle(file.fileno())

    def read(self, name: str) -> bytes:
        return read_file(self.folder / name, MOST_OF_A_FILE)

    def file_names(self) -> set[str]:
        for folder in (self.folder.parent, self.folder):
            if folder.is_symlink():
                raise not_ours(folder)
        try:
            return set(os.listdir(self.folder))
        except FileNotFoundError:
            return set()

    def clear(self) -> None:
        if self.folder.parent.is_symlink():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()  # the last of its settings
            self.folder.parent.parent.rmdir()  # the last of its images


class RemoteStore:
    """A place that fsspec knows. An object appears whole there, as object stores have it."""

    def __init__(self, address: str) -> None:
        import fsspec

        try:
            self.files, self.root = fsspec.core.url_to_fs(address)
        except (ImportError, ValueError) as error:
            raise ComponentMissing(
                f"{printable(address)}: {error}",
                hint=Hint("install annotate-images[remote]", "run `pip install 'annotate-images[remote]'`"),
            ) from error

    def write(self, name: str, content: bytes) -> None:
        with self.storage_errors(reading=False):
            self.files.pipe_file(f"{self.root}/{name}", content)

    def read(self, name: str) -> bytes:
        with self.storage_errors():
            return bytes(self.files.cat_file(f"{self.root}/{name}"))

    def file_names(self) -> set[str]:
        with self.storage_errors():
            self.files.invalidate_cache()
            try:
                return {path.rsplit("/", 1)[-1] for path in self.files.ls(self.root, detail=False)}
            except FileNotFoundError:
                return set()

    def clear(self) -> None:
        with self.storage_errors(), contextlib.suppress(FileNotFoundError):
            self.files.rm(self.root, recursive=True)

    @contextlib.contextmanager
    def storage_errors(self, *, reading: bool = True) -> Iterator[None]:
        """Turn what goes wrong at a remote place into an error with a hint; but a file to be read may be missing."""
        try:
            yield
        except FileNotFoundError as error:
            if reading:
                raise
            raise StorageError(f"{printable(self.root)}: no such place", hint="check the address") from error
        except Exception as error:  # botocore has its own, which are not imported here
            if not isinstance(error, OSError) and not type(error).__module__.startswith("botocore"):
                raise
            raise StorageError(
                f"{printable(self.root)}: {printable(error) or type(error).__name__}",
                hint="check the address and your credentials, and run the same command again",
            ) from error
