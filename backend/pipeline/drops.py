"""Files that come through the API: under names of our making, into the bucket."""

from __future__ import annotations

from functools import cache
from typing import IO, TYPE_CHECKING

import botocore.exceptions
from flask import abort, current_app, request
from flask_openapi3.blueprint import APIBlueprint
from werkzeug.datastructures import FileStorage

from backend.problems import InvalidInput, ProblemType, invalid, unavailable
from elt import bucket
from elt.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# How files of each kind begin; text begins with anything but a NUL.
MAGIC = {".gz": b"\x1f\x8b", ".xlsx": b"PK\x03\x04", ".xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"}


# Far more than any field of a form but the file needs.
FIELD_LIMIT = 255


def allow_large_uploads(blueprint: APIBlueprint, function: str, limit: int) -> None:
    """Let the body of this route be larger than any other; it goes to disk, and from there to the bucket."""

    @blueprint.before_request
    def allow() -> None:
        if request.endpoint == f"{blueprint.name}.{function}":
            request.max_content_length = limit
            if long := [name for name, text in request.form.items() if len(text) > FIELD_LIMIT]:
                abort(invalid([InvalidInput(pointer=f"#/{name}", code="string_too_long") for name in long]))


def checked(file: object, suffixes: tuple[str, ...], code: str) -> tuple[FileStorage, str]:
    """The file of a form, and its suffix: one of these, and the bytes are what it says.

    Of the client's name only the ending counts here. Ends the request with 422 and `code` otherwise.
    """
    if not isinstance(file, FileStorage):
        abort(invalid([InvalidInput(pointer="#/file", code="missing")]))
    name = (file.filename or "").casefold()
    suffix = max((known for known in suffixes if name.endswith(known)), key=len, default=None)
    head = file.stream.read(4096)
    file.stream.seek(0)
    if suffix is None or not head or not _is_what_it_says(suffix, head):
        abort(invalid([InvalidInput(pointer="#/file", code=code)]))
    return file, suffix


def store(settings: Settings, key: str, content: IO[bytes]) -> int:
    """Put the content into the bucket; returns its size in bytes.

    Ends the request with 503 when the bucket does not answer.
    """
    size = content.seek(0, 2)
    content.seek(0)
    try:
        _client(settings).upload_fileobj(content, settings.s3_bucket_name, key)
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        current_app.logger.warning("%s: bucket: %s", request.endpoint, type(error).__name__)
        abort(unavailable("The bucket does not answer. Try again later.", ProblemType.STORAGE_UNAVAILABLE))
    return size


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
