"""JSON over HTTP to our own services: loopback, so never through a proxy."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any, cast

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str) -> bool:
    """Whether a GET of `url` succeeds."""
    try:
        with _opener.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def call(
    url: str, *, body: dict[str, object] | None = None, token: str | None = None, method: str | None = None
) -> dict[str, Any]:
    """The JSON object that `url` answers: to a GET, or with a body to a POST unless `method` says otherwise.

    Raises `urllib.error.HTTPError` for a status of 400 and above, `OSError` when nobody answers within 30 seconds.
    """
    request = urllib.request.Request(url, method=method, headers={"Accept": "application/json"})
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    with _opener.open(request, timeout=30) as response:
        return cast(dict[str, Any], json.load(response))
