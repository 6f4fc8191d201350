"""Returns that somebody uploads, or names the address of: in the bucket, under names of our making, before all else.

A file is called after the run that was started for it: `<S3_NHS_PREFIX><run id>_<cleaned name>`. Runs that the API
starts have the UTC time as their id.
"""

from __future__ import annotations

import re
import tempfile
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from botocore.exceptions import ClientError

from elt.fetch_from_url import fetch
from elt.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SUFFIXES = (".xlsx", ".xls")
MAX_NAME = 120


def new_run_id() -> str:
    """An id for a run that begins now: 20260131T091500.123456Z."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"


def cleaned(name: str) -> str:
    """A name, of whatever origin, as part of a key: its last part, letters, digits, dots, dashes; its end."""
    last = re.split(r"[/\\]", name)[-1]
    return re.sub(r"[^A-Za-z0-9.-]+", "-", last).lstrip(".-")[-MAX_NAME:]


def name_of(url: str) -> str:
    """The cleaned name of the file that an address names."""
    return cleaned(unquote(PurePosixPath(urlsplit(url).path).name))


def object_key(settings: Settings, run_id: str, name: str) -> str:
    """Where the file of a run is kept until it is archived."""
    return f"{key_prefix(settings, run_id)}{cleaned(name)}"


def key_prefix(settings: Settings, run_id: str) -> str:
    """What the keys of a run's own files begin with."""
    return f"{settings.s3_nhs_prefix}{cleaned(run_id)}_"


def fetch_return(s3: S3Client, settings: Settings, run_id: str, url: str) -> str:
    """Keep the workbook of this address in the bucket; returns its key. A run fetches once, however often it is tried.

    Raises `UrlRefused`, or `FetchFailed`, which may pass.
    """
    key = object_key(settings, run_id, name_of(url))
    try:
        s3.head_object(Bucket=settings.s3_bucket_name, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchKey"}:
            raise
    else:
        return key
    with tempfile.TemporaryFile() as file:
        fetch(url, settings.nhs_hosts, file)
        file.seek(0)
        s3.upload_fileobj(file, settings.s3_bucket_name, key)
    return key
