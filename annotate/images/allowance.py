"""How much memory and time decoding may take: one image, and all images that this process decodes at once.

A small file can unfold to gigabytes or keep a decoder busy for minutes, and a thread cannot be stopped. So an image's
cost is worked out from its header before it is decoded, and images whose cost is more than is free wait their turn.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

MIB = 1 << 20
MOST_MEMORY = 1024 * MIB  # bytes an image may take at once, file and pixels
MOST_SECONDS = 10.0  # of a processor that an image may take
FOR_MEGAPIXELS = 100.0  # that is for images of up to so many; who allows larger ones allows as much more


def share(max_megapixels: float) -> float:
    """How many times the usual cost an image may have, where images of so many pixels are allowed."""
    return max(1.0, max_megapixels / FOR_MEGAPIXELS)


class Allowance:
    """Bytes that threads share: who asks for more than is free waits, in the order of asking.

    What is more than all of it has all of it to itself.
    """

    def __init__(self, total: int) -> None:
        self.total = self._free = total
        self._turn = threading.Lock()  # held while waiting: small images do not pass a large one for ever
        self._returned = threading.Condition()

    @contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        amount = min(amount, self.total)
        with self._turn, self._returned:
            self._returned.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            with self._returned:
                self._free += amount
                self._returned.notify_all()


# 2 GiB in all, which a laptop can spare beside the model. Two of them, so that nobody who holds pixels waits: a thread
# takes from FILES for the content of a file, and then from PIXELS to decode it.
FILE_MEMORY = Allowance(512 * MIB)
PIXEL_MEMORY = Allowance(1536 * MIB)
UNKNOWN_FILE = 8 * MIB  # taken for a file at an address, whose size only reading tells


class TooSlow(Exception):
    """Decoding has taken as long as it may."""


class TimedReader(io.BytesIO):
    """The content of a file, which raises TooSlow once this thread has worked on it for so many seconds.

    Decoders read in pieces of some kilobytes. The processor's time counts, so that other programs do not.
    """

    def __init__(self, content: bytes, seconds: float) -> None:
        super().__init__(content)
        self._end = time.thread_time() + seconds

    def read(self, size: int | None = -1, /) -> bytes:
        if time.thread_time() > self._end:
            raise TooSlow
        return super().read(size)
