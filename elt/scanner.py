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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from elt.vocabulary import FileCode, RowCode

UTF8_BOM = b"\xef\xbb\xbf"

# No cell of a hospital's file is longer; a quote that opens more than this swallows the rest of the file.
MAX_FIELD_CHARACTERS = 1024 * 1024

# Longer than any record can be; without this, a file without line ends would be held in memory whole.
MAX_LINE_BYTES = 8 * 1024 * 1024

# The last digits of a line's number; so many lines are numbered at once.
LAST_DIGITS = [b"%03d" % line for line in range(1000)]
PAGE_LINES = len(LAST_DIGITS)

# In place of the shape of a record that fits the header; a run of such records, or one that does not fit.
FITTING = b"+"
SHAPES = re.compile(rb"\++|[^+\n]*[+\n]")

# UTF-8 taken for windows-1252 and written as UTF-8 again looks like this; the last is the mark of a lost letter.
MOJIBAKE = (b"\xc3\x83\xc2", b"\xc3\x82\xc2", b"\xc3\xa2\xe2\x82\xac", b"\xc3\xa1\xc2", b"\xef\xbf\xbd")
# Bytes that are rare otherwise, of which each of these has one.
MOJIBAKE_BYTES = (b"\xc2", b"\xe2", b"\xef")


class FileRefused(Exception):
    """The file as a whole cannot be taken: `code`, and a message that says where and what next, without any value."""

    def __init__(self, code: FileCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def comma(_header: str) -> str:
    """The delimiter of a file whose header is not asked."""
    return ","


@dataclass
class Scan:
    """One pass over a file in UTF-8.

    After `blocks()` is exhausted, `records` is the number of records seen, rejects included, and `suspicious` the
    number of lines that look like mojibake.

    `labels` are COPY values that every row of the file shares, such as its file id; `place` is where the header stands.
    `choose` tells the delimiter from the first line.
    """

    source: Iterable[bytes]
    labels: tuple[int, ...] = ()
    choose: Callable[[str], str] = comma
    delimiter: str = field(init=False)
    header: list[str] = field(init=False)
    place: str = field(init=False, default="line 1")
    warnings: list[str] = field(init=False, default_factory=list)
    records: int = field(init=False, default=0)
    rejects: int = field(init=False, default=0)
    suspicious: int = field(init=False, default=0)
    _page: int = field(init=False, default=-1)
    _page_starts: list[bytes] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._lines = _Lines(self.source)
        self.header = self._read_header()
        width = len(self.header)
        delimiter = self.delimiter.encode()
        shared = b"".join(b"%d%b" % (label, delimiter) for label in self.labels)
        self._good = b"%d" + delimiter + shared + delimiter * 2 + b"%b\n"
        labels = delimiter + shared + delimiter * 2
        self._numbered = [digits + labels for digits in LAST_DIGITS]
        self._reject = b"%d" + delimiter + shared + b"%b" + delimiter + b"%b" + delimiter * width + b"\n"
        self._content = bytes(byte for byte in range(256) if byte not in delimiter + b"\n\0")
        self._edges = {b"", delimiter, b"\r", b"\n"}
        self._skeleton = delimiter * (width - 1)
        self._strict = _strict_record(width, delimiter)

    def _read_header(self) -> list[str]:
        line = self._lines.next_line()
        if line is None:
            raise FileRefused(FileCode.EMPTY_FILE, "the file is empty. Export it again and drop it anew.")
        line = line.removeprefix(UTF8_BOM)
        if b"\0" in line or not _is_utf8(line):
            raise FileRefused(FileCode.INVALID_ENCODING, "line 1: the header is not UTF-8. Save the file as UTF-8.")
        self.delimiter = self.choose(line.decode())
        header = self._parse_record(chain([line], self._lines), number=1)[0]
        return header if isinstance(header, list) else []

    def blocks(self) -> Iterator[bytes]:
        """COPY blocks of `line,<labels>,<reject code>,<reject text>,<fields…>`, separated as the file is.

        A reject has no fields. Raises `FileRefused` where a quote is never closed.
        """
        first = self._lines.number + 1
        while (chunk := self._lines.next_chunk()) is not None:
            yield b"".join(self._copied(chunk, first))
            first = self._lines.number + 1

    def _copied(self, chunk: bytes, first: int) -> Iterator[bytes]:
        """COPY rows of the records that start in `chunk`, whose first line has the number `first`.

        Records are numbered all at once; only the odd ones among them are looked at.
        """
        if not chunk.strip(b"\r\n"):
            self._lines.number += _line_count(chunk)
            return  # Blank lines are no records, and a file may be made of millions of them.
        # The bytes are looked for first: that costs next to nothing.
        if any(byte in chunk for byte in MOJIBAKE_BYTES) and any(sign in chunk for sign in MOJIBAKE):
            self.suspicious += sum(any(sign in line for sign in MOJIBAKE) for line in chunk.splitlines())
        split = self._split(chunk)
        if split is None:
            self._lines.number += _line_count(chunk)
            yield from self._one_by_one(chunk, first)
            return
        text, shapes, unfinished = split
        records = text.split(b"\n")[:-1]
        starts = self._starts(shapes, len(records), first)
        self._lines.number += len(records) + shapes.count(b"\0") + unfinished.count(b"\n")
        self.records += len(records)
        is_valid = chunk.isascii() or _is_utf8(chunk)
        odd = self._odd(records, shapes.replace(b"\0", b""), is_valid=is_valid)
        rows = [b""] * (2 * len(records))
        rows[::2] = starts
        rows[1::2] = records
        for index in odd:
            record, number = records[index], int(starts[index].partition(self.delimiter.encode())[0])
            if is_valid and record and b'"' not in record:  # The delimiters are counted: there is nothing to parse.
                self.rejects += 1
                row = self._reject % (number, RowCode.WRONG_COLUMN_COUNT.encode(), b'"%b"' % record)
            else:
                self.records -= 1
                lines = (record.replace(b"\0", b"\n") + b"\n").splitlines(keepends=True)
                row = self._odd_record(iter(lines), number)[1]
            rows[2 * index : 2 * index + 2] = b"\n" if row else b"", row.removesuffix(b"\n")
        rows.append(b"\n")
        yield b"".join(rows).replace(b"\0", b"\n").removeprefix(b"\n")
        if unfinished:
            lines = unfinished.splitlines(keepends=True)
            yield self._odd_record(chain(lines, self._lines), self._lines.number - len(lines) + 1)[1]

    def _split(self, chunk: bytes) -> tuple[bytes, bytes, bytes] | None:
        """The records of `chunk`, with NUL for line ends inside quotes, their shapes, and what begins its last record.

        A shape is what is left of a record when all that gives a file no structure is taken away; NUL stands for line
        ends inside quotes here, too. The last record is told apart only if it ends in a later chunk. None where a
        quote, a carriage return or a NUL stands so that PostgreSQL and Python's csv module might not read it alike.
        """
        if b"\0" in chunk or (b"\r" in chunk and b"\r" in chunk.replace(b"\r\n", b"")):
            return None
        parts = chunk.split(b'"')  # What stands outside of quotes, and inside, by turns.
        # Nothing but the edge of a field may stand beside a quote, or, where it is doubled, another quote.
        if not {part[-1:] for part in parts[:-1:2]} | {part[:1] for part in parts[2::2]} <= self._edges:
            return None
        unfinished = b""
        if len(parts) % 2 == 0:
            last = next((n for n in range(len(parts) - 2, 0, -2) if b"\n" in parts[n]), 0)
            ended, line_end, begun = parts[last].rpartition(b"\n")
            unfinished = b'"'.join([begun, *parts[last + 1 :]])
            parts[last:] = [ended + line_end]
        quoted, shape = parts[1::2], parts[:]
        shape[1::2] = [b"\0" * part.count(b"\n") for part in quoted]
        if b"\r" in chunk:
            parts[::2] = [part.replace(b"\r\n", b"\n") for part in parts[::2]]
        parts[1::2] = [part.replace(b"\n", b"\0") for part in quoted]
        return b'"'.join(parts), b"".join(shape).translate(None, self._content), unfinished

    def _starts(self, shapes: bytes, records: int, first: int) -> list[bytes]:
        """How the COPY row of each record begins, with the line before ended: the line it starts on, and the labels.

        To write each number by itself would cost as much as all the rest of the scan: a page of lines is numbered at
        once, and cut from.
        """
        lines: list[bytes] = []
        next_line, end = first, first + records + shapes.count(b"\0")
        while next_line < end:
            page, line = divmod(next_line, PAGE_LINES)
            if page != self._page:
                self._page, before = page, b"\n%d" % page
                self._page_starts = [before + start for start in self._numbered]
            lines += self._page_starts[line : line + end - next_line]
            next_line = (page + 1) * PAGE_LINES
        if len(lines) == records:
            return lines
        starts: list[bytes] = []
        line = 0
        for part in shapes.split(b"\0"):
            count = part.count(b"\n") + (line == 0)  # A later part begins within a record.
            starts += lines[line : line + count]
            line += count + 1
        return starts

    def _odd(self, records: list[bytes], shapes: bytes, *, is_valid: bool) -> Iterable[int]:
        """Indexes of the records that do not fit the header, are blank, or are not UTF-8."""
        fits = self._skeleton + b"\n"
        if is_valid and self._skeleton and shapes == fits * len(records):
            return ()
        odd, index = set(), 0
        for run in SHAPES.findall(shapes.replace(fits, FITTING)):
            if run.startswith(FITTING):
                index += len(run)
            else:
                odd.add(index)
                index += 1
        if not self._skeleton:
            odd.update(index for index, record in enumerate(records) if not record)
        if not is_valid:
            odd.update(index for index, record in enumerate(records) if not _is_utf8(record))
        return odd

    def _one_by_one(self, chunk: bytes, first: int) -> Iterator[bytes]:
        """COPY rows of the records that start in `chunk`, each looked at by itself."""
        lines = chunk.splitlines(keepends=True)
        taken = offset = 0
        while taken < len(lines):
            strict = self._strict.match(chunk, offset)
            if strict and _is_utf8(strict[0]):
                self.records += 1
                yield self._good % (first + taken, strict[1])
                taken += strict[0].count(b"\n")
                offset = strict.end()
            else:
                # No slice: a chunk may hold a quarter of a million lines.
                rest = map(lines.__getitem__, range(taken, len(lines)))
                count, row = self._odd_record(chain(rest, self._lines), first + taken)
                yield row
                offset += sum(map(len, lines[taken : taken + count]))
                taken += count

    def _odd_record(self, lines: Iterator[bytes], number: int) -> tuple[int, bytes]:
        """The record at the beginning of `lines`: the number of lines it takes, and its COPY row (none if blank)."""
        outcome, record = self._parse_record(lines, number)
        taken = len(record)
        text = b"".join(record)
        if not text.strip(b"\r\n"):
            return taken, b""  # A blank line is no record, as for Python's csv module.
        self.records += 1
        if isinstance(outcome, list) and len(outcome) == len(self.header):
            return taken, self._good % (number, self.delimiter.encode().join(map(_quoted, outcome)))
        self.rejects += 1
        code = RowCode.WRONG_COLUMN_COUNT if isinstance(outcome, list) else outcome
        shown = text.decode("utf-8", "backslashreplace").replace("\0", "\\x00").rstrip("\r\n")
        return taken, self._reject % (number, code.encode(), _quoted(shown))

    def _parse_record(self, lines: Iterator[bytes], number: int) -> tuple[list[str] | RowCode, list[bytes]]:
        """The first record of `lines` as Python's csv module reads it (or what is wrong with it), and its lines."""
        taken: list[bytes] = []

        def texts() -> Iterator[str]:
            for line in lines:
                taken.append(line)
                yield line.decode("utf-8", "surrogateescape")

        fields, complete = _first_record(texts(), self.delimiter)
        if not complete:
            raise FileRefused(
                FileCode.UNCLOSED_QUOTE,
                f"line {number}: a quote opens here and is never closed."
                " Close it, or double it if it is meant as text.",
            )
        record = b"".join(taken)
        if b"\0" in record:
            return RowCode.NUL_BYTE, taken
        return fields if _is_utf8(record) else RowCode.INVALID_ENCODING, taken


def _first_record(texts: Iterator[str], delimiter: str) -> tuple[list[str], bool]:
    """The first record of `texts` as Python's csv module reads it, and whether its last quote is closed."""
    first = next(texts, "")
    if '"' not in first:
        return first.rstrip("\r\n").split(delimiter), True
    taken: list[str] = []

    def remember() -> Iterator[str]:
        for text in chain([first], texts):
            taken.append(text)
            yield text

    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    try:
        fields = next(csv.reader(remember(), delimiter=delimiter), [])
        # The reader ends an open quote at the end of the file without a word: only then does it take in what follows.
        return fields, next(csv.reader([*taken, "more"], delimiter=delimiter)) == fields
    except csv.Error as error:
        if "field larger" in str(error):
            return [], False
        raise


class _Lines:
    """Lines and line-aligned chunks of a byte stream; `number` is that of the last line that was counted."""

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
        """All lines at hand up to the last LF, or one line; None at the end of the stream.

        `number` does not count them yet: who splits them has to count their ends anyhow.
        """
        cut = self._held.rfind(b"\n", self._position) + 1
        if cut == 0:
            line = self.next_line()
            self.number -= line is not None
            return line
        chunk = self._held[self._position : cut]
        self._position = cut
        return chunk

    def __iter__(self) -> Iterator[bytes]:
        """The lines that are left, one by one."""
        return iter(self.next_line, None)


def _line_end(held: bytes, start: int) -> int:
    """The position after the line that begins at or before `start`; -1 where more bytes are needed to tell."""
    feed = held.find(b"\n", start)
    bare = held.find(b"\r", start, feed if feed >= 0 else len(held))
    if 0 <= bare < len(held) - 1 and held[bare + 1 : bare + 2] != b"\n":
        return bare + 1
    return feed + 1 if feed >= 0 else -1


def _line_count(chunk: bytes) -> int:
    return chunk.count(b"\n") + (chunk.count(b"\r") - chunk.count(b"\r\n") if b"\r" in chunk else 0)


def _strict_record(width: int, delimiter: bytes) -> re.Pattern[bytes]:
    """A record that PostgreSQL and Python's csv module read alike; group 1 is the record without its line end.

    Each field is bare, or quoted from end to end.
    """
    cell = rb'(?:[^"\r\n\0' + delimiter + rb']*+|"(?:[^"\r\0]|""|\r\n)*+")'
    # A record of one empty field is no record at all.
    start = rb"(?!\r?\n)"
    return re.compile(start + rb"(" + cell + rb"(?:" + delimiter + cell + rb"){%d})\r?\n" % (width - 1))


def _quoted(value: str) -> bytes:
    return b'"' + value.replace('"', '""').encode("utf-8") + b'"' if value else b""


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
