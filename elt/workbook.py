"""Workbooks: the counterpart of the structural scan for .xlsx and .xls files, read by a child process under limits.

A workbook can be read only from a whole file, so its bytes are spooled to an unnamed temporary file, which is gone with
its last handle. The parent never parses any of it.
"""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from elt.contract import Contract
from elt.scanner import FileRefused
from elt.vocabulary import FileCode
from elt.workbook_cells import no_workbook, too_large
from elt.workbook_reader import FRAME

# What a file is, is told by its first bytes, not by its name.
SIGNATURES = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")

MAX_FILE_BYTES = 128 * 1024**2

# The child's own limit counts the seconds that it works; this one those that it says nothing, as on a slow disk.
MAX_SILENCE_SECONDS = 900


def is_workbook(beginning: bytes) -> bool:
    """Whether a file that begins so is for `Workbook` to read, or to refuse; anything else is text."""
    return beginning.startswith(SIGNATURES)


class Workbook:
    """One pass over a workbook, with what `scanner.Scan` offers; a context manager that ends its child process.

    Raises `FileRefused` (not_a_workbook, encrypted_workbook, workbook_too_large, no_header, wrong_return) when it is
    entered, or while its blocks are read.
    """

    # The child writes commas; a workbook says itself how its text is encoded.
    delimiter = ","
    suspicious = 0

    def __init__(self, source: Iterable[bytes], labels: tuple[int, ...], feed: Contract) -> None:
        self._source = source
        self._request = {"feed": feed.feed, "layout": feed.layout, "required": feed.required, "labels": labels}
        self.header: list[str] = []
        self.place = ""
        self.warnings: list[str] = []
        self.records = 0
        self.rejects = 0

    def __enter__(self) -> Self:
        with tempfile.TemporaryFile() as spool:
            size = 0
            for block in self._source:
                size += len(block)
                if size > MAX_FILE_BYTES:
                    raise too_large(f"has more than {MAX_FILE_BYTES} bytes")
                spool.write(block)
            spool.seek(0)
            self._child = subprocess.Popen(
                [sys.executable, "-m", "elt.workbook_reader", json.dumps(self._request)],
                cwd=Path(__file__).parents[1],
                env={},  # No password of ours is in reach of what parses a stranger's file.
                stdin=spool,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        try:
            told = json.loads(self._receive()[1])
        except BaseException:
            self._end()
            raise
        self.header, self.place, self.warnings = told["header"], told["place"], told["warnings"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._child.kill()
        self._child.wait()
        self._child.stdout.close()  # type: ignore[union-attr]

    def blocks(self) -> Iterator[bytes]:
        """COPY blocks, as those of `scanner.Scan`."""
        while (frame := self._receive())[0] == b"B":
            yield frame[1]
        counts: dict[str, Any] = json.loads(frame[1])
        self.records, self.rejects = counts["records"], counts["rejects"]
        self.warnings += counts["warnings"]

    def _receive(self) -> tuple[bytes, bytes]:
        """The next frame, its letter and its payload; raises what the child refused the file for, or ended of."""
        kind, length = FRAME.unpack(self._take(FRAME.size))
        payload = self._take(length)
        if kind == b"R":
            refusal = json.loads(payload)
            raise FileRefused(FileCode(refusal["code"]), refusal["message"])
        return kind, payload

    def _take(self, count: int) -> bytes:
        pipe = self._child.stdout
        taken = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)  # type: ignore[arg-type]
            while len(taken) < count:
                if not selector.select(MAX_SILENCE_SECONDS):
                    raise too_large(f"took more than {MAX_SILENCE_SECONDS} seconds")
                some = pipe.read(count - len(taken))  # type: ignore[union-attr]
                if not some:
                    raise self._ended()
                taken += some
        return bytes(taken)

    def _ended(self) -> FileRefused:
        """Why the child ended without a word: by the signal of a limit, or because a parser failed on the absurd."""
        code = self._child.wait()
        if code < 0:
            return too_large(f"takes more memory or time than a workbook may (signal {-code})")
        return no_workbook("is damaged: reading it failed")
