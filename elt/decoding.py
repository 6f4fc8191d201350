"""From the bytes that were dropped to the UTF-8 text they hold: gzip is unpacked, an encoding the contract allows read.

Both work block by block. A gzip file is taken whole or not at all: whoever reads to the end has seen its checksum hold.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain

from elt.scanner import MAX_LINE_BYTES, FileRefused
from elt.vocabulary import FileCode

GZIP_MAGIC = b"\x1f\x8b"
BLOCK_BYTES = 256 * 1024

# A hospital's file packs to a tenth; one that unpacks to this many times its size was made to fill a disk.
MAX_EXPANSION = 200
# Below this, expansion does no harm.
HARMLESS_BYTES = 64 * 1024 * 1024


def unpacked(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks, unpacked if they are gzip (by their first bytes, whatever the file is called).

    Raises `FileRefused` (truncated, too_large) at the end or before; what was read until then must be dropped.
    """
    source = iter(blocks)
    first = next(source, b"")
    return _gunzipped(chain([first], source)) if first.startswith(GZIP_MAGIC) else chain([first], source)


def _gunzipped(blocks: Iterable[bytes]) -> Iterator[bytes]:
    member, complete = zlib.decompressobj(wbits=31), False
    packed_bytes = unpacked_bytes = 0
    for block in blocks:
        packed_bytes += len(block)
        rest = block
        while rest:
            if complete:  # Another member follows, or the zeros that some tools fill up with.
                rest = rest.lstrip(b"\0")
                if not rest:
                    break
                member, complete = zlib.decompressobj(wbits=31), False
            try:
                plain = member.decompress(rest, BLOCK_BYTES)
            except zlib.error:
                raise _truncated("its bytes are damaged, or something else follows them") from None
            unpacked_bytes += len(plain)
            if unpacked_bytes > max(HARMLESS_BYTES, MAX_EXPANSION * packed_bytes):
                raise FileRefused(
                    FileCode.TOO_LARGE,
                    f"the gzip file unpacks to more than {MAX_EXPANSION} times its size. Nothing of it was taken."
                    " Drop it unpacked, if it is meant to be so.",
                )
            if plain:
                yield plain
            complete = member.eof
            rest = member.unused_data if complete else member.unconsumed_tail
    if not complete:
        raise _truncated("it ends too early")


def _truncated(reason: str) -> FileRefused:
    return FileRefused(
        FileCode.TRUNCATED, f"the gzip file is not whole: {reason}. Nothing of it was taken. Upload it again."
    )


def in_utf8(blocks: Iterable[bytes], encodings: tuple[str, ...]) -> Iterator[bytes]:
    """The blocks, each line that is not UTF-8 read in the first of `encodings` that can read it.

    A line that none of them can read is left as it is: the scan makes a reject of its record.
    """
    others = [encoding for encoding in encodings if encoding != "utf-8"]
    if not others:
        yield from blocks
        return
    held = b""
    for block in chain(blocks, [b""]):
        # At the end, or where no line ends, all that is held is a line.
        cut = (held + block).rfind(b"\n") + 1 if block and len(held) < MAX_LINE_BYTES else len(held)
        whole, held = (held + block)[:cut], (held + block)[cut:]
        if whole:
            yield _in_utf8(whole, others)


def _in_utf8(text: bytes, encodings: list[str]) -> bytes:
    for encoding in ["utf-8", *encodings]:
        try:
            return text.decode(encoding).encode()
        except UnicodeDecodeError:
            if encoding == "utf-8" and (lines := text.splitlines(keepends=True))[1:]:
                return b"".join(_in_utf8(line, encodings) for line in lines)
    return text
