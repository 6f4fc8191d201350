"""The API as start.sh runs it, over a throw-away server, and clients that cost the machine little; for benchmarks."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

from elt.settings import REPOSITORY
from local import api
from local.environment import LocalSettings

CONNECTIONS = 16


class Refused(Exception):
    """An answer of another status than was asked for."""


class Client:
    """One kept-alive HTTP connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def send(self, method: str, path: str, token: str, body: str = "") -> tuple[int, bytes]:
        """Status and body of the answer to a request; a body is JSON."""
        self.ask(method, path, token, body)
        return self.answer()

    def ask(self, method: str, path: str, token: str, body: str = "") -> None:
        """Send a request."""
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{length}\r\n"
        self.socket.sendall((head + body).encode())

    def answer(self) -> tuple[int, bytes]:
        """Status and body of the answer to it."""
        top, _, answer = self._receive().partition(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", top, re.IGNORECASE)
        size = int(found[1]) if found else 0
        while len(answer) < size:
            answer += self._receive()
        return int(top[9:12]), answer

    def get(self, path: str, token: str) -> bytes:
        """The body of the answer to a GET. Raises `Refused` unless its status is 200."""
        status, body = self.send("GET", path, token)
        if status != 200:
            raise Refused(f"{path}: {status} {body[:300]!r}")
        return body

    def _receive(self) -> bytes:
        received = self.socket.recv(262_144)
        if not received:
            raise ConnectionError("the API closed the connection")
        return received


@contextmanager
def served(settings: LocalSettings) -> Iterator[psutil.Process]:
    """The API over these settings' warehouse, until the end; its supervisor's process."""
    variables = {
        "POSTGRES_PORT": str(settings.postgres_port),
        "POSTGRES_DB": settings.postgres_db,
        "API_POSTGRES_PASSWORD": settings.api_postgres_password.get_secret_value(),
        "API_SIGNING_KEYS": settings.api_signing_keys.get_secret_value(),
        "API_RATE_LIMIT": settings.api_rate_limit,
        "MEDILINK_HOME": str(settings.medilink_home),
        "MEDILINK_ENV_FILE": str(settings.medilink_home / "none"),
        "PYTHONPATH": str(REPOSITORY),
        "PATH": os.environ["PATH"],
    }
    process = subprocess.Popen(
        api.service(settings).command,
        env=variables,
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not api.is_ready(settings):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the API does not answer")
            time.sleep(0.2)
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def at_once(work: Callable[[int], None]) -> None:
    """Do the work on as many threads as there are connections; raises the first failure of any."""
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except Exception as error:  # noqa: BLE001 - told by the thread that waits
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
