"""How a record says what its fields are, on disk and in memory, and how it is held to that."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Artifact:
    """How a field of a record lies on disk; no file means a fact, kept in the manifest."""

    file: str | None = None
    shape: str = ""
    dtype: str = ""  # several are separated by |
    rows: str = ""  # "unit": of length one; "probabilities": sum to one
    optional: bool = False

    def takes(self, dtype: np.dtype[Any]) -> bool:
        return dtype in [np.dtype(name) for name in self.dtype.split("|")]


def artifact(
    file: str | None = None, shape: str = "", dtype: str = "", *, rows: str = "", optional: bool = False
) -> Any:
    metadata = {"artifact": Artifact(file, shape, dtype, rows, optional)}
    return field(default=None, metadata=metadata) if optional else field(metadata=metadata)


R = TypeVar("R", bound="Record")


def some_rows(record: R, rows: npt.NDArray[np.int64]) -> R:
    """A record of some of the images: of every field that has a row for each, those rows."""
    chosen: dict[str, Any] = {}
    for name, declared in artifact_fields(type(record)).items():
        value = getattr(record, name)
        if value is not None and declared.shape.split()[:1] == ["N"]:
            chosen[name] = value[rows] if isinstance(value, np.ndarray) else [value[i] for i in rows.tolist()]
    return dataclasses.replace(record, **chosen)  # type: ignore[type-var]


class Record:
    """Base of all records. Every array is checked when the record is made, so that a record is whole or does not exist.

    stage    that makes it
    command  that makes it, for a shell; `annotate STAGE` unless it says more
    raises   ValueError that names the file and what is wrong with it
    """

    stage: ClassVar[str]
    command: ClassVar[str] = ""

    def __post_init__(self) -> None:
        lengths: dict[str, tuple[int, str]] = {}
        for name, declared in artifact_fields(type(self)).items():
            value = getattr(self, name)
            if declared.file is None or (value is None and declared.optional):
                continue
            check_value(declared, value, lengths)


def artifact_fields(record: type[Record]) -> dict[str, Artifact]:
    """How each field lies on disk, by its name."""
    return {f.name: f.metadata["artifact"] for f in dataclasses.fields(record)}  # type: ignore[arg-type]


def fits(kind: Any) -> Callable[[Any], bool]:
    """Make a check whether a value read from JSON has this type; a TypedDict may have further keys."""

    def fitting(value: Any) -> bool:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            return False
        return True

    return fitting


def record_classes(stage: str) -> list[type[Record]]:
    """The classes of records as which the artifacts of a stage can be read."""
    return [record for record in all_below(Record) if record.stage == stage]


def field_types(record: type[Record]) -> dict[str, Any]:
    """The type of each field, by its name."""
    return typing.get_type_hints(record)


def check_value(declared: Artifact, value: Any, lengths: dict[str, tuple[int, str]]) -> None:
    file = declared.file or ""
    if declared.dtype:
        if not isinstance(value, np.ndarray) or not declared.takes(value.dtype):
            expected = declared.dtype.replace("|", " or ")
            raise ValueError(f"{file}: expected {expected}, found {getattr(value, 'dtype', type(value).__name__)}")
        shape = value.shape
    else:
        shape = (len(value),) if declared.shape else ()
    letters = declared.shape.split()
    if len(shape) != len(letters):
        raise ValueError(f"{file}: expected {len(letters)} dimensions ({', '.join(letters)}), found {len(shape)}")
    for letter, length in zip(letters, shape, strict=True):
        known, where = lengths.setdefault(letter, (length, file))
        if known != length:
            raise ValueError(f"{file}: {letter} is {length} here and {known} in {where}")
    # A mapped file was checked when it was written, and has the size and time that its manifest recorded.
    if declared.rows and len(value) and not isinstance(value, np.memmap):
        off = np.abs(
            (np.linalg.norm(value, axis=1) if declared.rows == "unit" else value.sum(axis=1, dtype=np.float64)) - 1
        )
        bad = np.flatnonzero(~(off < 1e-3))
        if len(bad):
            what = "of length one" if declared.rows == "unit" else "that sum to one"
            raise ValueError(f"{file}: expected rows {what}, row {bad[0]} is not")


def stage_names() -> list[str]:
    """Every stage of which there is a record."""
    return sorted({record.stage for record in all_below(Record)})


def all_below(above: type[Record]) -> list[type[Record]]:
    return [record for child in above.__subclasses__() for record in (child, *all_below(child))]
