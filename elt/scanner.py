"""The structural scan: splits the bytes of a CSV file into records, without interpreting any value.

It yields blocks for a raw `COPY … (format csv)`: each record with the line it starts on, its fields untouched. Records
are what Python's `csv` module reads: where PostgreSQL would read a record otherwise (a quote inside an unquoted field,
a bare carriage return, mixed line ends), the record is parsed and written anew. A record that cannot be placed into the
header's columns keeps its line and becomes a reject in the same stream, so that nothing is lost and memory stays
bounded by one block.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from elt.vocabulary import FileCode, RowCode

UTF8_BOM = b"\xef\xbb\xbf"

# No cell of a hospital's file is longer; a quote that opens more than this swallows the rest of the file.
MAX_FIELD_CHARACTERS = 1024 * 1024

# Longer than any record can be; without this, a file without line ends would be held in memory whole.
MAX_LINE_BYTES = 8 * 1024 * 1024

# Everything but what gives a file its structure; what remains of a clean block is known beforehand.
_CONTENT = bytes(byte for byte in range(256) if byte not in b',"\n\r\0')


class FileRefused(Exception):
    """The file as a whole cannot be taken: `code`, and a message that says where and what next, without any value."""

    def __init__(self, code: FileCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Scan:
    """One pass over a file. After `blocks()` is exhausted, `records` is the number of records seen, rejects included.

    `labels` are COPY values that every row of the file shares, such as its file id; `place` is where the header stands.
    """

    source: Iterable[bytes]
    labels: tuple[int, ...] = ()
    header: list[str] = field(init=False)
    place: str = field(init=False, default="line 1")
    warnings: list[str] = field(init=False, default_factory=list)
    records: int = field(init=False, default=0)
    rejects: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._lines = _Lines(self.source)
        self.header = self._read_header()

    def _read_header(self) -> list[str]:
        line = self._lines.next_line()
        if line is None:
            raise FileRefused(FileCode.EMPTY_FILE, "the file is empty. Export it again and drop it anew.")
        line = line.removeprefix(UTF8_BOM)
        if b"\0" in line or not _is_utf8(line):
            raise FileRefused(FileCode.INVALID_ENCODING, "line 1: the header is not UTF-8. Save the file as UTF-8.")
        header = self._parse_record(line, [line], number=1)
        return header if isinstance(header, list) else []

    def blocks(self) -> Iterator[bytes]:
        """COPY blocks of `line,<labels>,<reject code>,<reject text>,<fields…>`; a reject has no fields.

        Raises `FileRefused` where a quote is never closed.
        """
        width = len(self.header)
        shared = b"".join(b"%d," % label for label in self.labels)
        good = b"%d," + shared + b",,%b"
        # What a block of clean, unquoted records leaves behind when its content is taken away: width - 1 commas a line.
        skeleton = b"," * (width - 1) + b"\n"
        while (chunk := self._lines.next_chunk()) is not None:
            if b'"' not in chunk and _is_utf8(chunk):
                clean = chunk.replace(b"\r\n", b"\n") if b"\r" in chunk else chunk
                count = clean.count(b"\n")
                if clean.translate(None, _CONTENT) == skeleton * count and (width > 1 or b"\n\n" not in b"\n" + clean):
                    self.records += count
                    first = self._lines.number - count + 1
                    yield b"".join(map(good.__mod__, enumerate(clean.splitlines(keepends=True), first)))
                    continue
            self._lines.push_back(chunk)
            yield b"".join(self._odd_records(_line_count(chunk), width, good, shared))

    def _odd_records(self, lines: int, width: int, good: bytes, shared: bytes) -> Iterator[bytes]:
        """The records that start within the next `lines` lines, one by one.

        Quotes, rejects and odd line ends are among them.
        """
        strict = _strict_record(width)
        end = self._lines.number + lines
        while self._lines.number < end and (line := self._lines.next_line()) is not None:
            number = self._lines.number
            record = line.rstrip(b"\r\n")
            if not record:
                continue  # A blank line is no record, as for Python's csv module.
            self.records += 1
            if b"\0" not in record and strict.fullmatch(record) and _is_utf8(record):
                yield good % (number, record + b"\n")
                continue
            raw = [line]
            outcome = self._parse_record(line, raw, number)
            if isinstance(outcome, list) and len(outcome) == width:
                yield good % (number, b",".join(map(_quoted, outcome)) + b"\n")
                continue
            self.rejects += 1
            code = RowCode.WRONG_COLUMN_COUNT if isinstance(outcome, list) else outcome
            text = b"".join(raw).decode("utf-8", "backslashreplace").replace("\0", "\\x00").rstrip("\r\n")
            yield b"%d,%b%b,%b%b\n" % (number, shared, code.encode(), _quoted(text), b"," * width)

    def _parse_record(self, line: bytes, raw: list[bytes], number: int) -> list[str] | RowCode:
        """One record from `line` on, as Python's csv module reads it; the lines it takes are appended to `raw`."""

        def texts() -> Iterator[str]:
            yield line.decode("utf-8", "surrogateescape")
            while (following := self._lines.next_line()) is not None:
                raw.append(following)
                yield following.decode("utf-8", "surrogateescape")

        fields, complete = _first_record(texts())
        if not complete:
            raise FileRefused(
                FileCode.UNCLOSED_QUOTE,
                f"line {number}: a quote opens here and is never closed."
                " Close it, or double it if it is meant as text.",
            )
        record = b"".join(raw)
        if b"\0" in record:
            return RowCode.NUL_BYTE
        return fields if _is_utf8(record) else RowCode.INVALID_ENCODING


def _first_record(texts: Iterable[str]) -> tuple[list[str], bool]:
    """The first record of `texts` as Python's csv module reads it, and whether its last quote is closed."""
    taken: list[str] = []

    def remember() -> Iterator[str]:
        for text in texts:
            taken.append(text)
            yield text

    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    try:
        fields = next(csv.reader(remember()), [])
    except csv.Error as error:
        if "field larger" in str(error):
            return [], False
        raise
    # The reader ends an open quote at the end of the file without a word; only its strict mode tells.
    try:
        next(csv.reader(taken, strict=True), None)
    except csv.Error as error:
        return fields, "unexpected end of data" not in str(error)
    return fields, True


class _Lines:
    """Lines and line-aligned chunks of a byte stream; `number` is the number of the line last handed out."""

    def __init__(self, source: Iterable[bytes]) -> None:
        self._source = iter(source)
        self._held = b""
        self._position = 0
        self.number = 0

    def _fill(self) -> bool:
        """Hold more bytes; False at the end of the stream. The last line is given its end if it lacks one."""
        rest = self._held[self._position :]
        block = next(self._source, b"\n" if rest and not rest.endswith(b"\n") else b"")
        self._held, self._position = rest + block, 0
        return bool(block)

    def next_line(self) -> bytes | None:
        """The next line with its end; None at the end of the stream.

        The end is LF, CRLF, or CR alone, as for Python's csv module.
        """
        searched = self._position
        while (cut := _line_end(self._held, searched)) < 0:
            searched = max(self._position, len(self._held) - 1) - self._position
            if searched > MAX_LINE_BYTES:
                raise FileRefused(
                    FileCode.NO_HEADER if self.number == 0 else FileCode.UNCLOSED_QUOTE,
                    f"line {self.number + 1} is longer than {MAX_LINE_BYTES} bytes: this is no CSV file."
                    " Export it again.",
                )
            if not self._fill():
                return None
        line = self._held[self._position : cut]
        self._position = cut
        self.number += 1
        return line

    def next_chunk(self) -> bytes | None:
        """All lines at hand up to the last LF, or one line; None at the end of the stream."""
        cut = self._held.rfind(b"\n", self._position) + 1
        if cut == 0:
            return self.next_line()
        chunk = self._held[self._position : cut]
        self._position = cut
        self.number += _line_count(chunk)
        return chunk

    def push_back(self, chunk: bytes) -> None:
        """Undo `next_chunk`."""
        self._position -= len(chunk)
        self.number -= _line_count(chunk)


def _line_end(held: bytes, start: int) -> int:
    """The position after the line that begins at or before `start`; -1 where more bytes are needed to tell."""
    feed = held.find(b"\n", start)
    bare = held.find(b"\r", start, feed if feed >= 0 else len(held))
    if 0 <= bare < len(held) - 1 and held[bare + 1 : bare + 2] != b"\n":
        return bare + 1
    return feed + 1 if feed >= 0 else -1


def _line_count(chunk: bytes) -> int:
    return chunk.count(b"\n") + (chunk.count(b"\r") - chunk.count(b"\r\n") if b"\r" in chunk else 0)


def _strict_record(width: int) -> re.Pattern[bytes]:
    """A record on one line that PostgreSQL and Python's csv module read alike.

    Each field is bare, or quoted from end to end.
    """
    cell = rb'(?:[^",\r]*+|"(?:[^"\r]|"")*+")'
    return re.compile(cell + rb"(?:," + cell + rb"){%d}" % (width - 1))


def _quoted(value: str) -> bytes:
    return b'"' + value.replace('"', '""').encode("utf-8") + b'"' if value else b""


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
