"""Files dropped through the API: under names of our making, in the input bucket."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from functools import cache
from typing import IO, TYPE_CHECKING

from elt import bucket
from elt.contract import SUFFIXES
from elt.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# How files of each kind begin; text begins with anything but a NUL.
MAGIC = {".gz": b"\x1f\x8b", ".xlsx": b"PK\x03\x04", ".xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"}


class NotAFileOfTheFeed(Exception):
    """The name ends in nothing that is taken, or the bytes are not what it says."""


def store(settings: Settings, feed: str, name: str, content: IO[bytes]) -> tuple[str, int]:
    """Put the content into the input; returns the name it got, and its size in bytes.

    Of the client's name only the ending counts, and only if it is one of ours. Raises `NotAFileOfTheFeed`, and
    botocore's errors when the bucket does not answer.
    """
    suffix = max((known for known in SUFFIXES if name.casefold().endswith(known)), key=len, default=None)
    head = content.read(4096)
    size = content.seek(0, 2)
    content.seek(0)
    if suffix is None or not size or not _is_what_it_says(suffix, head):
        raise NotAFileOfTheFeed
    given = f"{feed}_{datetime.now(UTC):%Y%m%dT%H%M%SZ}_{secrets.token_hex(4)}{suffix}"
    _client(settings).upload_fileobj(content, settings.s3_bucket_name, settings.s3_input_prefix + given)
    return given, size


def _is_what_it_says(suffix: str, head: bytes) -> bool:
    for ending, magic in MAGIC.items():
        if suffix.endswith(ending):
            return head.startswith(magic)
    return b"\x00" not in head


@cache
def _clients() -> dict[str, S3Client]:
    return {}


def _client(settings: Settings) -> S3Client:
    """One client for a bucket: it is safe to share, and takes 0.1 s to make."""
    return _clients().setdefault(settings.s3_bucket_name, bucket.client(settings))
