"""Counts per time window, in memory that every worker of a server shares."""

from __future__ import annotations

import fcntl
import mmap
import struct
import tempfile
import threading
import time
import weakref
from hashlib import blake2b
from pathlib import Path

# A key's hash, when its window ends (by the machine's monotonic clock), and how often it was counted in it.
SLOT = struct.Struct("<Qdq")
SLOTS = 32_768
# A key stands in one of so many slots behind its own; where all are taken, the window that ends first gives way.
REACH = 8


class Windows:
    """A window per key, which begins with the first count; in a file that the workers map, or in one of its own."""

    def __init__(self, path: Path | None) -> None:
        self.file = path.open("a+b") if path else tempfile.TemporaryFile()  # noqa: SIM115 - closed with the object
        weakref.finalize(self, self.file.close)
        self.file.truncate(SLOT.size * (SLOTS + REACH))
        self.slots = mmap.mmap(self.file.fileno(), SLOT.size * (SLOTS + REACH))
        self.turn = threading.Lock()

    def count(self, key: str, seconds: float) -> tuple[int, float]:
        """Count a key: how often it was in its window, this time included, and in how many seconds the window ends."""
        number = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little")
        # The first keeps this process's threads apart, the second the processes; it goes with a process that dies.
        with self.turn:
            fcntl.flock(self.file, fcntl.LOCK_EX)
            try:
                return self._count(number, seconds)
            finally:
                fcntl.flock(self.file, fcntl.LOCK_UN)

    def _count(self, number: int, seconds: float) -> tuple[int, float]:
        now = time.monotonic()
        first = number % SLOTS * SLOT.size
        free, frees_at = first, float("inf")
        for place in range(first, first + REACH * SLOT.size, SLOT.size):
            key, ends_at, counted = SLOT.unpack_from(self.slots, place)
            if key == number and ends_at > now:
                SLOT.pack_into(self.slots, place, key, ends_at, counted + 1)
                return counted + 1, ends_at - now
            if ends_at < frees_at:
                free, frees_at = place, ends_at
        SLOT.pack_into(self.slots, free, number, now + seconds, 1)
        return 1, seconds
