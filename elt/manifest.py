"""Manifests: `<name>.manifest.json` beside a drop says how many rows it has and what its SHA-256 is.

`{"rows": 1200, "sha256": "…"}`; either may be left out, anything else in it is left alone. A file cut at a line end
looks whole: only its manifest tells.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from elt.contract import feed_of
from elt.scanner import FileRefused
from elt.vocabulary import FileCode, Input

SUFFIX = ".manifest.json"

# A manifest is two numbers; what is larger is none.
MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class Manifest:
    """What a manifest promises about its file."""

    rows: int | None
    sha256: str | None


def described_by(key: str, arrived: Input) -> str | None:
    """The input object that a manifest describes; None if `key` is not the manifest of a feed's file."""
    described = key.removesuffix(SUFFIX)
    return described if described != key and feed_of(described, arrived) else None


def parse(body: bytes) -> Manifest:
    """Read a manifest; raises `FileRefused` (malformed_manifest) without repeating what it says."""
    try:
        promised = json.loads(body) if len(body) <= MAX_BYTES else None
    except ValueError:
        promised = None
    if not isinstance(promised, dict):
        raise _malformed("it is not a JSON object")
    rows, sha256 = promised.get("rows"), promised.get("sha256")
    if rows is None and sha256 is None:
        raise _malformed("it has neither rows nor sha256")
    if rows is not None and (not isinstance(rows, int) or isinstance(rows, bool) or rows < 0):
        raise _malformed("rows is not a whole number")
    if sha256 is not None and not (isinstance(sha256, str) and re.fullmatch("[0-9a-fA-F]{64}", sha256)):
        raise _malformed("sha256 is not 64 hexadecimal digits")
    return Manifest(rows, sha256.lower() if sha256 else None)


def _malformed(why: str) -> FileRefused:
    return FileRefused(
        FileCode.MALFORMED_MANIFEST,
        f'its manifest cannot be read: {why}. It must be like {{"rows": 1200, "sha256": "…"}}. '
        "Correct it, and drop both again; or let the file through: medilink files release",
    )
