"""Find out which images are embedded already and which are to be, by their paths, sizes and times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from annotate import sources
from annotate.embedding.decoding import NO_MEMORY
from annotate.embedding.known import KnownImages
from annotate.embedding.ledger import ShardOutcome
from annotate.images import Unreadable
from annotate.records import Ints, SkippedFile
from annotate.sources import Listing

TO_DO, SKIPPED, TOUCHED, AGAIN = -1, -2, -3, -4


@dataclass(frozen=True)
class Survey:
    """What each of N images is.

    numbers         (N,) its number among the known; TO_DO; or SKIPPED, as it was before
    unchanged       the images are those of the last run, in their order
    skipped_before  how many could not be read in the last run
    again           how many of these are tried again, because the machine or the network failed rather than they
    """

    numbers: Ints
    unchanged: bool
    skipped_before: int
    again: int

    def todo(self, locations: Sequence[str]) -> Sequence[str]:
        if not self.numbers.strides[0]:  # nothing is known
            return locations
        return [locations[i] for i in np.flatnonzero(self.numbers == TO_DO).tolist()]


def survey(listing: Listing, known: KnownImages, *, retry_skipped: bool = False, sliced: bool = False) -> Survey:
    """Look at every image's size and time; where nothing else has changed, read those again that differ in these.

    Where something has, they are left to do: whoever reads them knows their content, and their time is written anew.

    sliced  on several machines, which have to agree: what one of them could not read is to be done, without a look at
            whether this one can
    """
    locations = listing.locations
    numbers: Ints = np.broadcast_to(np.int64(TO_DO), len(locations))  # takes no memory
    failed: list[str] = []
    touched: list[int] = []
    again: list[int] = []
    if len(known) or known.skipped:
        numbers = numbers.copy()
        for i, path in enumerate(locations):
            numbers[i] = number_before(path, known, sliced)
            if path in known.skipped:
                failed.append(path)
                numbers[i] = TO_DO if retry_skipped else numbers[i]
            if numbers[i] == TOUCHED:
                touched.append(i)
                numbers[i] = known.number_at(path)
            if numbers[i] == AGAIN:
                again.append(i)
                numbers[i] = SKIPPED
    unchanged = (
        len(known) > 0
        and np.array_equal(numbers[numbers != SKIPPED], np.arange(len(known)))
        and {*failed, *(row["path"] for row in listing.passed_over)} == known.skipped.keys()
    )
    if touched and not (unchanged and all(same_bytes(locations[i], known) for i in touched)):
        numbers[touched] = TO_DO
        unchanged = False
    if again:
        numbers[again] = TO_DO
    return Survey(numbers, unchanged, len(failed), len(again))


def same_bytes(path: str, known: KnownImages) -> bool:
    facts = known.facts(known.number_at(path))
    try:
        return facts is not None and sha256(sources.fetch(path)).hexdigest() == facts["digest"]
    except Unreadable:
        return False


def number_before(path: str, known: KnownImages, sliced: bool) -> int:
    before = known.number_at(path)
    failed = known.skipped.get(path)
    if before < 0 and failed is None:
        return TO_DO
    try:
        status = sources.image_status(path)
        if status is None:  # only reading could tell: an address keeps what it had
            return before if before >= 0 else AGAIN if failed and failed.get("again") else SKIPPED
        if before >= 0:
            return before if known.unchanged(before, status.size, status.modified_ns) else TOUCHED
    except OSError as error:
        return SKIPPED if failed and failed["reason"] == sources.failure_reason(error) else TO_DO
    except Unreadable as reason:
        return SKIPPED if failed and failed["reason"] == str(reason) else TO_DO
    assert failed is not None
    same = (failed.get("size"), failed.get("modified_ns")) == (status.size, status.modified_ns)
    if not same:
        return TO_DO
    return SKIPPED if "digest" in failed or (not sliced and still_fails(failed)) else AGAIN


def still_fails(failed: SkippedFile) -> bool:
    """Whether a file still cannot be used: its bytes are known to be bad, or reading it fails for the same reason."""
    if "digest" in failed:
        return True
    try:
        sources.fetch(failed["path"])
    except Unreadable as reason:
        return str(reason) == failed["reason"]
    except MemoryError:
        return failed["reason"] == NO_MEMORY
    return False


def still_holds(seen: ShardOutcome | None, *, merging: bool = False) -> bool:
    """Whether the images of a finished shard are still as they were when it was computed.

    merging  addresses that did not answer are left as they are, since another machine asked them
    """
    if seen is None:
        return False
    files: list[tuple[str, int | None, int | None]] = [
        (path, fact["size"], fact["modified_ns"]) for path, fact in zip(seen.paths, seen.images, strict=True)
    ]
    files += [(row["path"], row.get("size"), row.get("modified_ns")) for row in seen.skipped]
    return all(as_it_was(*file) for file in files) and all(
        merging or not row.get("again") if sources.is_url(row["path"]) else still_fails(row) for row in seen.skipped
    )


def as_it_was(path: str, size: int | None, modified_ns: int | None) -> bool:
    try:
        status = sources.image_status(path)
    except (OSError, Unreadable):
        return size is None
    return status is None or (status.size, status.modified_ns) == (size, modified_ns)
