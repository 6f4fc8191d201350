"""Fetch: a file from an address that a user named, without letting that user reach anything else through us.

Whoever names the address may be an attacker, and so may whoever answers there (security.md, 8): https on its own port
only, hosts from an allow-list, every address of the host public, the connection made to the very address that was
looked at, each redirect looked at in the same way, and an end to size and time.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

MAX_BYTES = 50 * 1024 * 1024
MAX_SECONDS = 120.0
SILENCE_SECONDS = 10.0
MAX_REDIRECTS = 5
MAX_URL = 2000
BLOCK_BYTES = 64 * 1024

HTTPS_PORT = 443
REDIRECTS = {301, 302, 303, 307, 308}
# What may get better by itself: the server is busy, or asks for patience.
PASSING = {408, 425, 429, 500, 502, 503, 504}

# Of IPv6 only what is given out as global unicast; in it, what leads on to an IPv4 address is no public address.
GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
TUNNELS = (ipaddress.ip_network("2002::/16"), ipaddress.ip_network("2001::/32"))


class UrlRefused(Exception):
    """Nothing is fetched from there, now or later. `code` is stable; the message repeats nothing of the address."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class FetchFailed(Exception):
    """The server could not be reached, or did not answer as it should; it may be tried again."""


def assert_allowed(url: str, hosts: tuple[str, ...]) -> str:
    """The host of an address that may be asked, as far as the address itself tells. Raises `UrlRefused`."""
    # What urlsplit drops without a word (tabs, line ends), and what browsers and it read differently, goes first.
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or set(url) & set(' \\"<>^`{|}'):
        raise UrlRefused("url_malformed", "it is no address, or too long: copy it from the browser's address bar.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UrlRefused("url_malformed", "it is no address: copy it from the browser's address bar.") from None
    if parts.scheme != "https":
        raise UrlRefused("url_scheme", "only https:// is fetched.")
    if "@" in parts.netloc:
        raise UrlRefused("url_userinfo", "an address with a user name is not fetched: leave out what stands before @.")
    if parts.netloc.endswith(":") or port not in (None, HTTPS_PORT):
        raise UrlRefused("url_port", "only the port of https is asked: leave the port out.")
    if host not in hosts:
        raise UrlRefused("url_host", f"only these hosts are asked: {', '.join(hosts)} (setting NHS_URL_HOSTS).")
    return host


def public_address(host: str, resolve: Callable[..., list[tuple[Any, ...]]] = socket.getaddrinfo) -> str:
    """The address to connect to: the host's first, if all it has are public.

    Raises `UrlRefused`, and `FetchFailed` when the name cannot be resolved.
    """
    try:
        found = [answer[4][0] for answer in resolve(host, HTTPS_PORT, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise FetchFailed(f"{host} cannot be resolved. Check the network's DNS, and try again.")
    if not all(is_public(address) for address in found):
        raise UrlRefused("url_not_public", f"{host} leads to an address that is not public.")
    return str(found[0])


def is_public(text: str) -> bool:
    """Whether an IP address, as the resolver writes it, is one of the public Internet."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and (
        address not in GLOBAL_UNICAST or any(address in tunnel for tunnel in TUNNELS)
    ):
        return False
    return address.is_global and not address.is_multicast


def fetch(
    url: str,
    hosts: tuple[str, ...],
    into: IO[bytes],
    *,
    max_bytes: int = MAX_BYTES,
    max_seconds: float = MAX_SECONDS,
    resolve: Callable[..., list[tuple[Any, ...]]] = socket.getaddrinfo,
    connect: Callable[..., socket.socket] = socket.create_connection,
    tls: ssl.SSLContext | None = None,
) -> int:
    """Write what the address answers into `into`; returns its size in bytes.

    `resolve`, `connect` and `tls` are the ways to the network. Raises `UrlRefused` or `FetchFailed`; what was written
    by then is worth nothing.
    """
    deadline = time.monotonic() + max_seconds
    context = tls or ssl.create_default_context()
    for _ in range(MAX_REDIRECTS + 1):
        host = assert_allowed(url, hosts)
        # Resolved once: the connection goes to the address that was looked at, not to whatever the name means next.
        address = public_address(host, resolve)
        try:
            with _connection(host, address, deadline, connect, context) as connection:
                parts = urlsplit(url)
                connection.request(
                    "GET",
                    (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
                    headers={"Host": host, "User-Agent": "Medilink", "Accept": "*/*", "Accept-Encoding": "identity"},
                )
                with connection.getresponse() as answer:
                    if answer.status not in REDIRECTS:
                        return _read(answer, host, into, max_bytes, deadline)
                    url = urljoin(url, answer.headers.get("Location", ""))
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > deadline:
                raise FetchFailed(f"{host} took longer than {max_seconds:.0f} s. Try again later.") from None
            # The error's own text may hold what the server sent.
            kind = type(error).__name__
            raise FetchFailed(f"{host} did not answer as it should ({kind}). Try again later.") from None
    raise UrlRefused("url_redirects", f"it is redirected more than {MAX_REDIRECTS} times.")


@contextmanager
def _connection(
    host: str,
    address: str,
    deadline: float,
    connect: Callable[..., socket.socket],
    context: ssl.SSLContext,
) -> Iterator[http.client.HTTPSConnection]:
    """A connection to this address whose server has proved that it is the host; cut off at the deadline.

    No proxy of the environment is asked: it would resolve the name anew.
    """
    raw = connect((address, HTTPS_PORT), timeout=min(SILENCE_SECONDS, max(0.01, deadline - time.monotonic())))
    with context.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False) as secure:
        # A server that sends a byte now and then keeps within every timeout of a single read.
        cutter = threading.Timer(max(0, deadline - time.monotonic()), _cut, [secure])
        cutter.daemon = True
        cutter.start()
        try:
            secure.settimeout(SILENCE_SECONDS)
            secure.do_handshake()
            connection = http.client.HTTPSConnection(host)
            connection.sock = secure
            with closing(connection):
                yield connection
        finally:
            cutter.cancel()


def _cut(secure: ssl.SSLSocket) -> None:
    """Make every read of the socket end, under way or to come; not SSL's own shutdown, which is not for two threads."""
    try:
        socket.socket.shutdown(secure, socket.SHUT_RDWR)
    except OSError:
        return  # It is closed already.


def _read(answer: http.client.HTTPResponse, host: str, into: IO[bytes], max_bytes: int, deadline: float) -> int:
    if answer.status != http.client.OK:
        message = f"{host} answered {answer.status}"
        if answer.status in PASSING:
            raise FetchFailed(f"{message}. Try again later.")
        raise UrlRefused("url_not_found", f"{message}: open the address in a browser, and copy the one that works.")
    too_large = UrlRefused("url_too_large", f"what {host} sends is larger than {max_bytes // 2**20} MiB.")
    promised = answer.length
    if promised is not None and promised > max_bytes:
        raise too_large
    size = 0
    while block := answer.read1(BLOCK_BYTES):
        size += len(block)
        if size > max_bytes:
            raise too_large
        into.write(block)
    if time.monotonic() > deadline or (promised is not None and size < promised):
        raise http.client.IncompleteRead(b"")
    return size
