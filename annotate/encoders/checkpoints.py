"""Read the tensors of a checkpoint without running anything that is in the file.

Whoever loads a checkpoint with pickle or `torch.jit.load` runs a program that its author wrote. Here nothing of it
runs: the pickle inside is read as a list of facts (tensors, containers, dtypes, numbers, text), the folder `code/` of
a TorchScript archive is not read at all, and anything else is refused. No more memory is taken than the file is long.

    TorchScript archive    as OpenAI publishes its models: a tree of modules with tensors
    torch.save             a state dict, alone or under "state_dict"
    safetensors            checked by its own library
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from annotate.encoders.pickles import HINT, Module, NotACheckpoint, Tensor, read_pickle
from annotate.errors import InputError, printable

if TYPE_CHECKING:
    import torch

LARGEST_PICKLE = 1 << 22  # bytes; RN50x64, the largest that OpenAI published, takes a tenth of it
LARGEST_INDEX = 1 << 23  # bytes of the archive's table of contents
MOST_ENTRIES = 10_000  # modules and tensors; RN50x64 has about 2,000
MOST_NESTED = 32  # modules within modules
SAVE_AGAIN = "where it comes from, save it again with PyTorch 1.6 or later: `torch.save(model.state_dict(), FILE)`"

# What a file may hold in the wrong place, whatever it is: each is one more way of not being a checkpoint.
BROKEN = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The named tensors of a checkpoint.

    raises  InputError where the file is none, or holds what is no tensor
    """
    shown = printable(path)
    try:
        if path.suffix.lower() == ".safetensors":
            return read_safetensors(path)
        with open(path, "rb") as file:
            refuse_old_formats(file)
            return read_archive(file)
    except FileNotFoundError:
        raise InputError(f"{shown}: no such file", hint=HINT) from None
    except NotACheckpoint as error:
        raise InputError(f"{shown}: not a readable checkpoint: {error}", hint=error.hint) from error
    except BROKEN as error:
        raise InputError(f"{shown}: not a readable checkpoint", hint=HINT) from error


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise NotACheckpoint(printable(error)) from error


def refuse_old_formats(file: IO[bytes]) -> None:
    """What PyTorch before 1.6 wrote, as a tar or as one pickle after the other."""
    start = file.read(512)
    magic = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # 0x1950a86a20f9469cfc6c
    if start[2:].startswith(magic) or start[257:262] == b"ustar":
        raise NotACheckpoint("it is saved in the format of PyTorch before 1.6", SAVE_AGAIN)


# -- the archive ---------------------------------------------------------------------------------------


def read_archive(file: IO[bytes]) -> dict[str, torch.Tensor]:
    size = file.seek(0, os.SEEK_END)
    if index_size(file, size) > LARGEST_INDEX:
        raise NotACheckpoint("its table of contents is too long")
    with zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise NotACheckpoint("it has no data.pkl")
        top = pickles[0].removesuffix("/data.pkl")
        if f"{top}/byteorder" in archive.namelist() and read_entry(archive, f"{top}/byteorder", 100) != b"little":
            raise NotACheckpoint("its numbers are not in little-endian order")
        tensors = tensors_in(read_pickle(read_entry(archive, pickles[0], LARGEST_PICKLE)))
        return dict(materialised(archive, top, tensors, size))


def index_size(file: IO[bytes], size: int) -> int:
    """How long a zip archive says that its table of contents is; 0 where it is no zip archive."""
    file.seek(max(0, size - (1 << 16) - 22))  # the end record, and a comment after it
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) < end + 22:
        return 0
    listed = int(struct.unpack_from("<I", tail, end + 12)[0])
    locator = tail[end - 20 : end] if end >= 20 else b""
    if locator.startswith(b"PK\6\7"):  # more than four gigabytes or 65,535 members
        file.seek(min(struct.unpack_from("<Q", locator, 8)[0], size))
        record = file.read(56)
        if record.startswith(b"PK\6\6") and len(record) == 56:
            listed = max(listed if listed != 0xFFFFFFFF else 0, struct.unpack_from("<Q", record, 40)[0])
    return listed


def read_entry(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """A member of an archive, its checksum checked. PyTorch compresses none of those that hold numbers."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise NotACheckpoint(f"{printable(name)} is compressed")
    if info.file_size > most:
        raise NotACheckpoint(f"{printable(name)} claims {info.file_size:,} bytes")
    return archive.read(info)


def materialised(
    archive: zipfile.ZipFile, top: str, tensors: Mapping[str, Tensor], size: int
) -> Iterator[tuple[str, torch.Tensor]]:
    """Each tensor with its numbers; all together are no longer than the file."""
    import torch

    stored: dict[str, bytearray] = {}
    left = {"storages": size, "tensors": size}  # bytes

    def spend(what: str, count: int) -> None:
        left[what] -= count
        if left[what] < 0:
            raise NotACheckpoint(f"its {what} claim more bytes than the file has")

    for name, tensor in tensors.items():
        dtype, key = getattr(torch, tensor.storage.dtype), tensor.storage.key
        if key not in stored:
            claimed = archive.getinfo(f"{top}/data/{key}").file_size
            spend("storages", claimed)
            stored[key] = bytearray(read_entry(archive, f"{top}/data/{key}", claimed))
        spend("tensors", math.prod(tensor.shape) * dtype.itemsize)
        count = len(stored[key]) // dtype.itemsize
        if tensor.extent > count:
            raise NotACheckpoint(f"{printable(name)} reaches beyond its numbers")
        numbers = torch.frombuffer(stored[key], dtype=dtype, count=count)
        yield name, numbers.as_strided(tensor.shape, tensor.strides, tensor.offset)


# -- its tensors ---------------------------------------------------------------------------------------


def tensors_in(root: Any) -> dict[str, Tensor]:
    """The tensors of a tree of modules or of a state dict, by their names."""
    if isinstance(root, dict) and isinstance(root.get("state_dict"), (dict, Module)):
        root = root["state_dict"]
    attributes = root.attributes if isinstance(root, Module) else root
    if not isinstance(attributes, dict):
        raise NotACheckpoint("it holds no named tensors")
    found: dict[str, Tensor] = {}
    waiting: list[tuple[str, Mapping[Any, Any], int]] = [("", attributes, 0)]
    seen = 0
    while waiting:
        prefix, named_values, depth = waiting.pop()
        for name, value in named_values.items():
            if not isinstance(value, (Tensor, Module)) or not isinstance(name, str):
                continue
            seen += 1
            if seen > MOST_ENTRIES or depth > MOST_NESTED:
                raise NotACheckpoint("it has more modules and tensors than any model")
            if isinstance(value, Module):
                waiting.append((f"{prefix}{name}.", value.attributes, depth + 1))
            elif name != "attn_mask":  # a constant that TorchScript keeps and the model makes itself
                found[prefix + name] = value
    if not found:
        raise NotACheckpoint("it holds no named tensors")
    return found
