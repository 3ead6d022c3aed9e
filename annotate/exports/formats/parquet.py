"""A folder of images and images.parquet: the rows of images.csv, with types."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence

from annotate.errors import ComponentMissing, Hint
from annotate.exports.catalogue import Catalogue
from annotate.exports.formats import Format, Paper
from annotate.exports.formats.csv import place
from annotate.exports.formats.imagefolder import papers

TYPES = {"class_id": "int64", "confidence": "float64", "width": "int64", "height": "int64"}  # all others are texts


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[Paper]:
    """raises  ComponentMissing without pyarrow"""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise ComponentMissing(
            "Parquet needs one more package",
            hint=Hint(
                "install annotate-images[parquet], or use the format csv",
                "pip install 'annotate-images[parquet]', or use --format csv",
            ),
        ) from None
    schema = arrow.schema([(name, arrow.type_for_alias(TYPES.get(name, "string"))) for name in columns])
    listed = [[writable(cell) for cell in row] for row in rows]
    made = arrow.table([arrow.array([row[i] for row in listed], schema.types[i]) for i in range(len(columns))], schema)
    file = io.BytesIO()
    parquet.write_table(made, file)
    yield "images.parquet", [file.getvalue()]


def writable(cell: object) -> object:
    return cell.encode("utf-8", "backslashreplace").decode() if isinstance(cell, str) else cell


def loading(catalogue: Catalogue) -> str:
    return (
        "import pandas\n"
        'table = pandas.read_parquet("images.parquet")\n'
        'train = table[table.split == "train"]  # columns file, class_id, class, ...'
    )


FORMAT = Format(
    "parquet",
    "A folder of images and a table, images.parquet, with a row per image.",
    place,
    papers,
    loading,
    table=table,
)
