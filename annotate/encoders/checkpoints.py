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
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from annotate.errors import InputError, printable

if TYPE_CHECKING:
    import torch

LARGEST_PICKLE = 1 << 22  # bytes; RN50x64, the largest that OpenAI published, takes a tenth of it
LARGEST_INDEX = 1 << 23  # bytes of the archive's table of contents
MOST_ENTRIES = 10_000  # modules and tensors; RN50x64 has about 2,000
MOST_NESTED = 32  # modules within modules
LARGEST_NUMBER = 1 << 40  # of a size, a stride or an offset

HINT = "give a CLIP checkpoint as OpenAI publishes them (TorchScript), or a saved state dict"
SAVE_AGAIN = "where it comes from, save it again with PyTorch 1.6 or later: `torch.save(model.state_dict(), FILE)`"

STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
PLAIN_LISTS = {f"torch.jit._pickle build_{kind}list" for kind in ("int", "double", "bool", "tensor")}
CALLABLE = {
    "collections OrderedDict",
    "torch Size",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch.jit._pickle restore_type_tag",
    *PLAIN_LISTS,
}
NAMES = {*CALLABLE, *(f"torch {name}" for name in (*STORAGES, *STORAGES.values()))}
MODULES = "__torch__."  # what TorchScript calls the classes of its `code/`

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


class NotACheckpoint(ValueError):
    """The file is no checkpoint that can be read; the message says what is wrong."""

    def __init__(self, reason: str, hint: str = HINT) -> None:
        super().__init__(reason)
        self.hint = hint


@dataclass(frozen=True)
class Name:
    """Something outside the pickle that it refers to."""

    name: str


@dataclass
class Module:
    """A module of a TorchScript archive: parameters, buffers and modules by name."""

    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Storage:
    """Numbers that lie in the archive under a key."""

    dtype: str
    key: str


@dataclass(frozen=True)
class Tensor:
    """A view of a storage; counted in numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def extent(self) -> int:
        """How many numbers of its storage it reaches over."""
        return self.offset + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True)) + 1


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


# -- the pickle ----------------------------------------------------------------------------------------


def read_pickle(pickled: bytes) -> Any:
    """Read a pickle by the few instructions that a checkpoint needs. Nothing is imported, and nothing is called."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        taken = stack[start:]
        del stack[start:]
        return taken

    def put(pairs: list[Any]) -> None:
        place = stack[-1]
        if not isinstance(place, dict):
            raise NotACheckpoint("a pickle that puts keys into what is no dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # Other keys could be chosen to fall on one place of the dictionary, which would take hours.
            if not isinstance(key, str) and not (isinstance(key, int) and abs(key) < 1 << 31):
                raise NotACheckpoint("a dictionary whose keys are neither text nor small numbers")
            place[key] = value

    def add(values: list[Any]) -> None:
        place = stack[-1]
        if not isinstance(place, list):
            raise NotACheckpoint("a pickle that lengthens what is no list")
        place.extend(values)

    argument: Any
    for instruction, argument, _ in pickletools.genops(pickled):
        match instruction.name:
            case "PROTO" | "FRAME":
                pass
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[instruction.name])
            case (
                "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT"
                | "BINUNICODE" | "SHORT_BINUNICODE" | "BINBYTES" | "SHORT_BINBYTES"
            ):  # fmt: skip
                stack.append(argument)
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                stack.append({"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}[instruction.name]())
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(instruction.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "APPEND":
                add([stack.pop()])
            case "APPENDS":
                add(since_mark())
            case "SETITEM":
                pair = stack[-2:]
                del stack[-2:]
                put(pair)
            case "SETITEMS":
                put(since_mark())
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(outside_name(argument))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(outside_name(f"{module} {name}"))
            case "BINPERSID":
                stack.append(as_storage(stack.pop()))
            case "NEWOBJ":
                _, kind = stack.pop(), stack.pop()
                if not isinstance(kind, Name) or not kind.name.startswith(MODULES):
                    raise NotACheckpoint("a pickle that makes other objects than modules")
                stack.append(Module())
            case "REDUCE":
                arguments, kind = stack.pop(), stack.pop()
                stack.append(call_result(kind, arguments))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], Module) and isinstance(state, dict):
                    stack[-1].attributes = state
                elif not isinstance(stack[-1], dict):  # a state dict's own notes on versions are of no use here
                    raise NotACheckpoint("a pickle that gives a state to what takes none")
            case "STOP":
                return stack.pop()
            case other:
                raise NotACheckpoint(f"its pickle has an instruction that no checkpoint needs ({other})")
    raise NotACheckpoint("its pickle has no end")


def outside_name(name: str) -> Name:
    if name not in NAMES and not name.startswith(MODULES):
        raise NotACheckpoint(f"it holds more than weights: {printable(name.replace(' ', '.'))[:100]}")
    return Name(name)


def as_storage(identity: Any) -> Storage:
    """("storage", its type, its key in the archive, the device it was on, how many numbers)."""
    kind, storage, key, *_ = identity
    dtype = STORAGES.get(storage.name.removeprefix("torch ")) if isinstance(storage, Name) else None
    if kind != "storage" or dtype is None or not isinstance(key, str):
        raise NotACheckpoint("a storage of unknown kind")
    return Storage(dtype, key)


def call_result(kind: Any, arguments: Any) -> Any:
    """What a call in the pickle would give, for the few that tensors and containers need."""
    name = kind.name if isinstance(kind, Name) else ""
    if name not in CALLABLE or not isinstance(arguments, tuple):
        raise NotACheckpoint("a pickle that calls other functions than those that make tensors")
    if name == "collections OrderedDict" and not arguments:
        return {}
    if name == "torch._utils _rebuild_tensor_v2":
        storage, offset, shape, strides, *_ = arguments
        return checked_tensor(storage, offset, shape, strides)
    if name == "torch Size":
        return tuple(arguments[0])
    if name in PLAIN_LISTS or name.startswith(("torch.jit._pickle", "torch._utils")):
        return arguments[0]
    raise NotACheckpoint("a pickle whose containers are filled in an unknown way")


def checked_tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, Storage) or len(shape) != len(strides) or len(shape) > 8:
        raise NotACheckpoint("a tensor that is none")
    if not all(type(number) is int and 0 <= number < LARGEST_NUMBER for number in numbers) or 0 in shape:
        raise NotACheckpoint("a tensor of impossible size, strides or offset")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


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
