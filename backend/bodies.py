"""How slowly a body may come: a server thread waits for it, and there are few."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

from flask import Flask
from werkzeug.exceptions import RequestTimeout

# A body may take so long, and a second more for each so many bytes that came.
PATIENCE_SECONDS = 5.0
BYTES_PER_SECOND = 65_536
# A read that was given up ends when the server closes the connection, soon after the refusal.
READERS = ThreadPoolExecutor(max_workers=64, thread_name_prefix="body")


class TimedBody:
    """A request's body that is read in time, or not at all."""

    def __init__(self, body: BinaryIO) -> None:
        self.body = body
        self.deadline = time.monotonic() + PATIENCE_SECONDS

    def read(self, size: int = -1) -> bytes:
        """The next bytes. Raises `RequestTimeout` when they come too slowly."""
        try:
            found = READERS.submit(self.body.read, size).result(max(0.0, self.deadline - time.monotonic()))
        except TimeoutError:
            raise RequestTimeout from None
        self.deadline += len(found) / BYTES_PER_SECOND
        return found


def read_in_time(app: Flask) -> None:
    """Give every request a body that is read in time."""
    direct = app.wsgi_app

    def wsgi_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.input"] = TimedBody(environ["wsgi.input"])
        return direct(environ, start_response)

    app.wsgi_app = wsgi_app  # type: ignore[method-assign]
