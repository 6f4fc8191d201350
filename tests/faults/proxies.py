"""Proxies that do to PostgreSQL and S3 what networks do: cut, stall, lose an answer, change a byte."""

from __future__ import annotations

import functools
import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


def reset(peer: socket.socket) -> None:
    """Close without a goodbye: the other side sees a reset."""
    with suppress(OSError):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # A thread that reads from it would keep it open.
        peer.shutdown(socket.SHUT_RDWR)
    peer.close()


@dataclass
class Wire:
    """A TCP proxy in front of PostgreSQL.

    Once a connection's client has sent the texts of `pattern`, one after another, the fault happens, as often as
    `times` says: `cut` resets both sides, `stall` lets nothing through any more on any connection and closes none,
    `lose answer` lets the last of them through and swallows what the server says to it, then resets both.
    """

    target: int
    pattern: tuple[bytes, ...] = ()
    fault: str = "cut"
    times: int = 1
    happened: threading.Event = field(default_factory=threading.Event)
    _sockets: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, listener: socket.socket) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            self._sockets += [client, server]
            state = threading.Event()
            threading.Thread(target=self._to_server, args=(client, server, state), daemon=True).start()
            threading.Thread(target=self._to_client, args=(server, client, state), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, faulty: threading.Event) -> None:
        seen = 0
        with suppress(OSError):
            while chunk := client.recv(65536):
                while self.pattern and seen < len(self.pattern) and self.pattern[seen] in chunk:
                    # What follows must come in a message of its own.
                    seen += 1
                    if seen == len(self.pattern) and self._strikes():
                        faulty.set()
                        if self.fault == "lose answer":
                            server.sendall(chunk)
                            server.recv(65536)
                        self.happened.set()
                        if self.fault == "stall":
                            return
                        reset(client)
                        reset(server)
                        return
                    break
                if self._stalls():
                    return
                server.sendall(chunk)
        if not faulty.is_set():
            reset(server)

    def _stalls(self) -> bool:
        """Whether nothing gets through any more, of any connection."""
        return self.fault == "stall" and self.happened.is_set()

    def _strikes(self) -> bool:
        with self._lock:
            self.times -= 1
            return self.times >= 0

    def _to_client(self, server: socket.socket, client: socket.socket, faulty: threading.Event) -> None:
        with suppress(OSError):
            while True:
                # Of a connection that is to lose its answer the other thread reads.
                server.settimeout(None)
                chunk = server.recv(65536, socket.MSG_PEEK)
                if faulty.is_set() or self._stalls():
                    return
                if not chunk:
                    break
                client.sendall(server.recv(len(chunk)))
        if not faulty.is_set():
            reset(client)

    def close(self) -> None:
        """End every connection."""
        for peer in self._sockets:
            reset(peer)


@contextmanager
def wire(target: int, address: str = "127.0.0.1") -> Iterator[tuple[Wire, int]]:
    """A proxy and its port."""
    with socket.create_server((address, 0)) as listener:
        proxy = Wire(target)
        threading.Thread(target=proxy.serve, args=(listener,), daemon=True).start()
        yield proxy, listener.getsockname()[1]
    proxy.close()


VERBS = ("LIST", "HEAD", "GET", "COPY", "DELETE")
STATUS = {"500": "InternalError", "503": "SlowDown", "403": "ExpiredToken"}


@dataclass
class Bucket:
    """An HTTP proxy in front of S3: a fault for one kind of request, or for all ("*"), after `let_pass` of them."""

    target: str
    verb: str | None = None
    fault: str = "500"
    let_pass: int = 0
    times: int = 1_000_000
    struck: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def strikes(self, verb: str) -> bool:
        """Whether this request meets the fault."""
        if self.verb not in {verb, "*"}:
            return False
        with self._lock:
            if self.let_pass:
                self.let_pass -= 1
                return False
            self.struck += 1
            return self.struck <= self.times

    @staticmethod
    def answer_of(handler: BaseHTTPRequestHandler, proxy: Bucket) -> None:
        """As a method of the handler."""
        proxy.answer(handler)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request, faithfully or not."""
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        verb = handler.command
        if verb == "PUT" and "x-amz-copy-source" in handler.headers:
            verb = "COPY"
        elif verb == "GET" and "list-type" in handler.path:
            verb = "LIST"
        fault = self.fault if self.strikes(verb) else None
        if fault in STATUS:
            self._refuse(handler, fault)
            return
        if fault == "reset":
            reset(handler.connection)
            return
        status, headers, content = self._forward(handler, body)
        if fault == "timeout":
            # Done, and never told.
            self.ended.wait(60)
            reset(handler.connection)
            return
        if fault == "corrupt" and content:
            content = bytes([content[0] ^ 1]) + content[1:]
        handler.send_response(status)
        for name, value in headers:
            if name.lower() not in {"transfer-encoding", "connection", "content-length", "date", "server"}:
                handler.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), str(len(content)))
        handler.send_header("Content-Length", length)
        handler.end_headers()
        if fault == "cut short":
            handler.wfile.write(content[: len(content) // 2])
            reset(handler.connection)
            return
        handler.wfile.write(content)

    def _refuse(self, handler: BaseHTTPRequestHandler, fault: str) -> None:
        content = f"<?xml version='1.0'?><Error><Code>{STATUS[fault]}</Code><Message>no</Message></Error>".encode()
        handler.send_response(int(fault))
        handler.send_header("Content-Type", "application/xml")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(urlsplit(self.target).netloc, timeout=60)
        connection.request(handler.command, handler.path, body, dict(handler.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), content


@contextmanager
def bucket_proxy(target: str) -> Iterator[tuple[Bucket, str]]:
    """A proxy and its address."""
    proxy = Bucket(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            with suppress(OSError):
                super().handle_one_request()
                return
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    for verb in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{verb}", functools.partialmethod(Bucket.answer_of, proxy))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield proxy, f"http://127.0.0.1:{server.server_port}"
    finally:
        proxy.ended.set()
        server.shutdown()
        server.server_close()
