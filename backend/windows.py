"""Counts per time window, in memory that every worker of a server shares."""

from __future__ import annotations

import fcntl
import math
import mmap
import struct
import threading
import time
import weakref
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

# A key's hash, when its window ends (by the machine's monotonic clock), and how often it was counted in it. Native, so
# that each is written at once: others read meanwhile.
SLOT = struct.Struct("QdQ")
SLOTS = 32_768
# A key stands in one of eight slots from its own on; where all are taken, the window that ends first gives way.
REACH = 8 * SLOT.size
SIZE = SLOTS * SLOT.size + REACH
# As many workers as a server may have at a time.
TABLES = 4


class Windows:
    """A window per key and worker, which begins with the first count there; a key's count is that of all of them.

    Each worker writes a table of its own, and reads all: nobody waits for anybody. Raises RuntimeError when there are
    more of them than tables.
    """

    def __init__(self, folder: Path | None) -> None:
        self.turn = threading.Lock()
        if folder is None:
            self.own, self.others = mmap.mmap(-1, SIZE), []
            return
        files = [(folder / f"rate-limits-{number}").open("a+b") for number in range(TABLES)]
        for file in files:
            file.truncate(SIZE)
            weakref.finalize(self, file.close)
        self.others = [mmap.mmap(file.fileno(), SIZE) for file in files]
        self.own = self.others.pop(_first_free([file.fileno() for file in files]))

    def count(self, key: str, seconds: float) -> tuple[int, float]:
        """Count a key: how often it was in its windows, this time included, and in how many seconds the last ends."""
        number, first = _place(key)
        now = time.monotonic()
        with self.turn:
            place, last, counted = _find(self.own, first, number, now)
            last, counted = last or now + seconds, counted + 1
            SLOT.pack_into(self.own, place, number, last, counted)
        for other in self.others:
            _, ends_at, more = _find(other, first, number, now)
            if more:
                last, counted = max(last, ends_at), counted + more
        return counted, last - now


def _first_free(files: list[int]) -> int:
    """The first table that nobody has; it goes back with the process that has it, however that ends."""
    for number, file in enumerate(files):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return number
    raise RuntimeError(f"a server has {TABLES} workers at most")


@lru_cache(maxsize=4096)
def _place(key: str) -> tuple[int, int]:
    """A key's hash, and the first slot that may be its window's."""
    number = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little")
    return number, number % SLOTS * SLOT.size


def _find(table: mmap.mmap, first: int, number: int, now: float) -> tuple[int, float, int]:
    """The slot of a key's window, when it ends, and how often the key was counted; 0 and 0 where it has none yet."""
    free, frees_at = first, math.inf
    for place in range(first, first + REACH, SLOT.size):
        key, ends_at, counted = SLOT.unpack_from(table, place)
        if key == number and ends_at > now:
            return place, ends_at, counted
        if not ends_at:
            return place, 0.0, 0
        if ends_at < frees_at:
            free, frees_at = place, ends_at
    return free, 0.0, 0
