"""The bucket that hospitals drop files into, over the parts of the S3 protocol that every S3 server does alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from elt.settings import Settings
from elt.vocabulary import Input

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# A silent peer costs at most connect + read timeout a try, three tries a call.
CLIENT_CONFIG = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "max_attempts": 3},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
    s3={"addressing_style": "path"},
)


def client(settings: Settings) -> S3Client:
    """An S3 client for the settings' endpoint; without keys in the settings boto3 finds the instance's role."""
    secret = settings.aws_secret_access_key
    return boto3.client(
        "s3",
        endpoint_url=settings.aws_endpoint_url,
        region_name=settings.aws_region,
        aws_access_key_id=settings.aws_access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=CLIENT_CONFIG,
    )


def ensure_bucket(s3: S3Client, settings: Settings) -> None:
    """Make the bucket, versioned, unless it is there; for the embedded endpoint: on AWS Terraform makes it."""
    try:
        s3.head_bucket(Bucket=settings.s3_bucket_name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchBucket"}:
            raise
        s3.create_bucket(
            Bucket=settings.s3_bucket_name,
            CreateBucketConfiguration={"LocationConstraint": settings.aws_region},  # type: ignore[typeddict-item]
        )
    s3.put_bucket_versioning(Bucket=settings.s3_bucket_name, VersioningConfiguration={"Status": "Enabled"})


def upload_drops(s3: S3Client, settings: Settings, folder: Path, arrives: Input = Input.MEDILINK) -> list[str]:
    """Put every file of `folder` (not its sub-folders) where such files arrive; returns their keys.

    Raises `FileNotFoundError` when there is no such folder, or nothing in it.
    """
    paths = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    if not paths:
        raise FileNotFoundError(
            f"{folder}: no such folder, or no file in it. Name a folder that holds the files to drop."
        )
    keys = [settings.input_prefixes[arrives] + path.name for path in paths]
    for path, key in zip(paths, keys, strict=True):
        s3.upload_file(str(path), settings.s3_bucket_name, key)
    return keys
