"""The pickle of a checkpoint, read as a list of facts: nothing of it is imported, and nothing called.

What a checkpoint needs no pickle for, a program for example, is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from annotate.errors import printable

LARGEST_NUMBER = 1 << 40  # of a size, a stride or an offset
HINT = "give a CLIP checkpoint as OpenAI publishes them (TorchScript), or a saved state dict"
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
