"""What a table of images says of each image in a further column."""

from __future__ import annotations

import os
from collections.abc import Iterator

from annotate.errors import Hint, InputError, first_few, printable
from annotate.sources.lists import PARQUET, TABLES, image_column, location_named, table_rows


def column_of(file: str, title: str) -> dict[str, str]:
    """The cell of each image in the column with this title; images whose cell is empty are left out.

    raises  InputError where it is no table, or has no such column
    """
    if not file.lower().endswith((*TABLES, *PARQUET)):
        raise InputError(
            f"{printable(file)} has no columns: there is no '{printable(title)}' to group by",
            hint=Hint(
                "embed a table that has one, or keep the images of a folder together",
                "embed a .csv, .tsv or .parquet that has one, or use --group-by folder",
            ),
        )
    folder = os.path.dirname(os.path.abspath(file))
    rows = all_rows(file)
    header = next(rows, [])
    titles = [name.strip().lower() for name in header]
    if title.strip().lower() not in titles:
        among = first_few([f"'{printable(name)}'" for name in header])
        raise InputError(f"{printable(file)}: no column '{printable(title)}' among {among}", hint="check its spelling")
    image, said = image_column(printable(file), header), titles.index(title.strip().lower())
    return {
        location_named(row[image].strip(), folder): row[said].strip()
        for row in rows
        if len(row) > max(image, said) and row[image].strip() and row[said].strip()
    }


def all_rows(file: str) -> Iterator[list[str]]:
    """The header, then every row, as text."""
    if not file.lower().endswith(PARQUET):
        yield from (row for _, row in table_rows(file))
        return
    from pyarrow import parquet

    with parquet.ParquetFile(file) as table:
        yield [entry.name for entry in table.schema_arrow]
        for batch in table.iter_batches():
            for row in batch.to_pylist():
                yield ["" if cell is None else str(cell) for cell in row.values()]
