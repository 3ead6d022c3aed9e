"""Arrays for cleanlab: a row per image that has a class, with the class, the probabilities and the embedding.

The probabilities of an image are those without its own answer, as confident learning needs them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from annotate.exports.catalogue import Catalogue, Entry
from annotate.exports.formats import Format, Paper

ROWS_HELD = 8192  # rows that are held


def place(catalogue: Catalogue, entry: Entry) -> None:
    """Images stay where they are: images.csv names them."""


def papers(catalogue: Catalogue) -> Iterator[Paper]:
    entries = [entry for entry in catalogue.entries if entry.label is not None]
    rows, k = [entry.row for entry in entries], len(catalogue.class_names)
    labels = np.array([entry.label for entry in entries], np.int64)
    blocks = [entries[start : start + ROWS_HELD] for start in range(0, len(entries), ROWS_HELD)]
    yield "labels.npy", [npy_header(np.dtype(np.int64), labels.shape), labels.tobytes()]
    probabilities = (without_answers(catalogue, block).astype(np.float32).tobytes() for block in blocks)
    yield "pred_probs.npy", chained(npy_header(np.dtype(np.float32), (len(rows), k)), probabilities)
    if catalogue.embeddings is not None:
        features = (catalogue.embeddings[[e.row for e in block]].astype(np.float32).tobytes() for block in blocks)
        shape = (len(rows), catalogue.embeddings.shape[1])
        yield "features.npy", chained(npy_header(np.dtype(np.float32), shape), features)


def without_answers(catalogue: Catalogue, entries: Sequence[Entry]) -> npt.NDArray[np.float32]:
    """(n, K) probabilities; of an image that a person answered, what annotate would say without that."""
    chances = np.array(catalogue.chances([entry.row for entry in entries]), np.float32)
    k = chances.shape[1]
    for i, entry in enumerate(entries):
        if entry.answer is not None and entry.proposal is not None and entry.confidence is not None:
            sure = min(max(entry.confidence, 1 / k), 1.0)
            chances[i] = (1 - sure) / (k - 1)
            chances[i, entry.proposal] = sure
    shares: npt.NDArray[np.float32] = chances / chances.sum(axis=1, keepdims=True)
    return shares


def npy_header(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
    return file.getvalue()


def chained(head: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from blocks


def loading(catalogue: Catalogue) -> str:
    return (
        "import numpy as np; from cleanlab.filter import find_label_issues\n"
        'labels, probabilities = np.load("labels.npy"), np.load("pred_probs.npy")\n'
        'doubtful = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence")'
    )


def traps(catalogue: Catalogue) -> list[str]:
    return [
        "Row i of the arrays is the i-th row of images.csv that has a class_id. There are no images here.",
        "cleanlab finds answers that annotate contradicts. Labels that annotate gave agree with its own probabilities, "
        "so `--what answers` is what to look through.",
    ]


FORMAT = Format(
    "cleanlab",
    "Arrays for cleanlab: labels.npy, pred_probs.npy and features.npy, a row per image that has a class.",
    place,
    papers,
    loading,
    traps,
)
