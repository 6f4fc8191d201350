"""Attacks on the fetch of an address that a user named: none reaches anything but the public hosts of the list.

The server is a real one that speaks TLS, with the certificate of a host of the list. Names are resolved by a double,
and what connects to a public address reaches that server: everything between is the code's own.
"""

from __future__ import annotations

import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from elt.fetch_from_url import FetchFailed, UrlRefused, assert_allowed, fetch, is_public, public_address

NHS = "www.england.nhs.uk"
HOSTS = (NHS, "files.digital.nhs.uk")
URL = f"https://{NHS}/statistics/Beds-Open-Overnight.xlsx"
PUBLIC = "93.184.215.14"


class ResolverDouble:
    """Answers each question with the next of these addresses; the last of them for good."""

    def __init__(self, *answers: str | list[str]) -> None:
        self.answers = [[answer] if isinstance(answer, str) else answer for answer in answers]
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **_: object) -> list[tuple]:
        self.asked.append(host)
        answers = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answers]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of NHS England's site that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NHS)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


@dataclass
class Site:
    """The server, and the ways to it."""

    port: int
    trust: ssl.SSLContext
    answer: Callable[[ssl.SSLSocket, bytes], None] = lambda *_: None
    requests: list[bytes] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)

    def connect(self, address: tuple[str, int], timeout: float) -> socket.socket:
        """A connection to a public address, which ends here."""
        assert address[1] == 443
        self.connected.append(address[0])
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def fetch(self, url: str = URL, resolve: ResolverDouble | None = None, **options: float) -> bytes:
        into = io.BytesIO()
        resolver = resolve or ResolverDouble(PUBLIC)
        size = fetch(url, HOSTS, into, resolve=resolver, connect=self.connect, tls=self.trust, **options)  # type: ignore[arg-type]
        assert size == len(into.getvalue())
        return into.getvalue()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def site(certificates: tuple[Path, Path]) -> Iterator[Site]:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(*certificates)
    listening = socket.create_server(("127.0.0.1", 0))
    site = Site(listening.getsockname()[1], ssl.create_default_context(cafile=str(certificates[0])))

    def serve() -> None:
        while True:
            try:
                accepted, _ = listening.accept()
            except OSError:
                return  # The test is over.
            threading.Thread(target=answer, args=[accepted], daemon=True).start()

    def answer(accepted: socket.socket) -> None:
        try:
            with served.wrap_socket(accepted, server_side=True) as client:
                request = client.recv(65536)
                site.requests.append(request)
                site.answer(client, request)
        except OSError:
            return  # The client has gone, or refused the certificate.

    threading.Thread(target=serve, daemon=True).start()
    yield site
    listening.close()


def says(text: str, body: bytes = b"") -> Callable[[ssl.SSLSocket, bytes], None]:
    return lambda client, _: client.sendall(text.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)


def refusal(url: str, hosts: tuple[str, ...] = HOSTS) -> str:
    with pytest.raises(UrlRefused) as refused:
        assert_allowed(url, hosts)
    assert url not in str(refused.value) or not url
    return refused.value.code


class TestTheAddress:
    def test_of_a_listed_host_over_https_is_allowed(self) -> None:
        assert assert_allowed(URL, HOSTS) == NHS
        assert assert_allowed("https://FILES.digital.nhs.uk:443/A5/Beds.xls?v=2", HOSTS) == "files.digital.nhs.uk"

    @pytest.mark.parametrize("scheme", ["http", "ftp", "file", "gopher", "HTTP", "javascript", "s3"])
    def test_of_another_scheme_is_refused(self, scheme: str) -> None:
        assert refusal(f"{scheme}://{NHS}/a.xlsx") == "url_scheme"

    @pytest.mark.parametrize(
        "host",
        [
            "169.254.169.254", "127.0.0.1", "localhost", "[::1]", "[::]", "2852039166", "0xa9fea9fe", "127.1",
            "0251.0376.0251.0376", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]",
            "metadata.google.internal",
            f"{NHS}.evil.example", f"evil-{NHS}", f"{NHS}.", "england.nhs.uk", "evil.example", "",
        ],
    )  # fmt: skip
    def test_of_another_host_is_refused(self, host: str) -> None:
        assert refusal(f"https://{host}/a.xlsx") == "url_host"

    @pytest.mark.parametrize("port", ["22", "80", "8443", "444", "0", ""])
    def test_on_another_port_is_refused(self, port: str) -> None:
        assert refusal(f"https://{NHS}:{port}/a.xlsx") == "url_port"

    @pytest.mark.parametrize("who", ["user@", "user:password@", "@", f"{NHS}@", f"{NHS}:443@"])
    def test_with_a_user_is_refused(self, who: str) -> None:
        assert refusal(f"https://{who}{NHS}/a.xlsx") == "url_userinfo"
        assert refusal(f"https://{who}evil.example/a.xlsx") == "url_userinfo"

    @pytest.mark.parametrize(
        "url",
        [
            f"https://evil.example\\@{NHS}/", f"https://{NHS}\\.evil.example/", f"https://{NHS}/\r\nHost: evil.example",
            f"https://{NHS}\t/a", f" https://{NHS}/a", f"https://{NHS}/a b", f"https://{NHS}/é", "https://[::1/", "https://[x]/",
            f"https://{NHS}:x/", f"https://{NHS}:99999/", f"https://{NHS}/{'a' * 2000}", f"https://{NHS}/\x00",
            "https://www.england.nhs.uk\u3002evil.example/",
        ],
    )  # fmt: skip
    def test_that_two_readers_may_read_differently_is_refused(self, url: str) -> None:
        assert refusal(url) == "url_malformed"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (PUBLIC, True), ("2606:2800:220:1::1", True), ("169.254.169.254", False), ("127.0.0.1", False),
        ("::1", False), ("::", False), ("0.0.0.1", False), ("10.0.0.1", False), ("172.16.0.1", False),
        ("192.168.1.1", False), ("100.64.0.1", False), ("224.0.0.1", False), ("255.255.255.255", False),
        ("fe80::1", False), ("fe80::1%eth0", False), ("fc00::1", False), ("fd00:ec2::254", False), ("ff02::1", False),
        ("::ffff:127.0.0.1", False), ("::ffff:169.254.169.254", False), ("::127.0.0.1", False), ("2001:db8::1", False),
        ("64:ff9b::a9fe:a9fe", False), ("2002:a9fe:a9fe::1", False), ("2001:0:1::1", False), ("2852039166", False),
        ("0xa9fea9fe", False), ("0251.0376.0251.0376", False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address: str, expected: bool) -> None:
    assert is_public(address) is expected


@pytest.mark.parametrize(
    "host", ["localhost", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "127.1", "::ffff:7f00:1"]
)
def test_a_host_that_an_operator_should_not_have_listed_is_refused_by_its_address(host: str) -> None:
    """With the machine's own resolver, which reads all these forms."""
    with pytest.raises((UrlRefused, FetchFailed)) as refused:
        public_address(host)
    assert "not public" in str(refused.value) or "cannot be resolved" in str(refused.value)


class TestTheConnection:
    def test_brings_the_bytes(self, site: Site) -> None:
        site.answer = says("HTTP/1.1 200 OK\nContent-Length: 5", b"PK\x03\x04.")
        assert site.fetch(f"{URL}?v=1#top") == b"PK\x03\x04."
        assert site.requests[0].startswith(b"GET /statistics/Beds-Open-Overnight.xlsx?v=1 HTTP/1.1\r\n")
        assert f"Host: {NHS}\r\n".encode() in site.requests[0]
        assert site.connected == [PUBLIC]
        site.answer = says("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
        assert site.fetch() == b"abc"

    @pytest.mark.parametrize("private", ["169.254.169.254", "127.0.0.1", "::1", "::ffff:10.0.0.1", "10.0.0.1"])
    def test_is_not_made_where_any_address_of_the_host_is_private(self, site: Site, private: str) -> None:
        for answers in ([private], [PUBLIC, private], [private, PUBLIC]):
            with pytest.raises(UrlRefused, match="url_not_public"):
                site.fetch(resolve=ResolverDouble(answers))
        assert site.connected == []

    def test_goes_to_the_address_that_was_looked_at_though_the_name_means_another_a_moment_later(
        self, site: Site
    ) -> None:
        site.answer = says("HTTP/1.1 200 OK\nContent-Length: 1", b"x")
        rebinding = ResolverDouble(PUBLIC, "169.254.169.254")
        assert site.fetch(resolve=rebinding) == b"x"
        assert (site.connected, rebinding.asked) == ([PUBLIC], [NHS])
        with pytest.raises(UrlRefused, match="url_not_public"):
            site.fetch(resolve=rebinding)

    def test_is_with_a_server_that_proves_to_be_the_host(self, site: Site) -> None:
        with pytest.raises(FetchFailed, match="SSLCertVerificationError"):
            site.fetch("https://files.digital.nhs.uk/a.xlsx")
        site.trust = ssl.create_default_context()
        with pytest.raises(FetchFailed, match="SSLCertVerificationError"):
            site.fetch()
        assert site.requests == []

    def test_takes_no_proxy_of_the_environment(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        site.answer = says("HTTP/1.1 200 OK\nContent-Length: 1", b"x")
        assert site.fetch() == b"x"


class TestRedirects:
    def test_are_followed_to_where_the_list_leads(self, site: Site) -> None:
        def answer(client: ssl.SSLSocket, request: bytes) -> None:
            moved = says("HTTP/1.1 302 Found\nLocation: /moved.xlsx\nContent-Length: 0")
            (says("HTTP/1.1 200 OK\nContent-Length: 2", b"ok") if b"/moved" in request else moved)(client, request)

        site.answer = answer
        assert site.fetch() == b"ok"
        assert len(site.requests) == 2

    @pytest.mark.parametrize(
        ("location", "code"),
        [
            ("http://169.254.169.254/latest/meta-data/", "url_scheme"),
            ("https://169.254.169.254/latest/meta-data/", "url_host"),
            ("https://localhost/", "url_host"),
            ("//evil.example/a.xlsx", "url_host"),
            (f"http://{NHS}/a.xlsx", "url_scheme"),
            (f"https://{NHS}:8443/", "url_port"),
            (f"https://x@{NHS}/", "url_userinfo"),
            ("file:///etc/passwd", "url_scheme"),
            ("gopher://127.0.0.1:6379/_x", "url_scheme"),
        ],
    )
    @pytest.mark.parametrize("status", [301, 307])
    def test_elsewhere_are_refused(self, site: Site, location: str, code: str, status: int) -> None:
        site.answer = says(f"HTTP/1.1 {status} Moved\nLocation: {location}\nContent-Length: 0")
        with pytest.raises(UrlRefused) as refused:
            site.fetch()
        assert refused.value.code == code
        assert len(site.connected) == 1

    def test_to_a_listed_host_that_leads_to_a_private_address_are_refused(self, site: Site) -> None:
        site.answer = says(f"HTTP/1.1 302 Found\nLocation: {URL}?again\nContent-Length: 0")
        with pytest.raises(UrlRefused, match="url_not_public"):
            site.fetch(resolve=ResolverDouble(PUBLIC, "10.0.0.1"))
        assert site.connected == [PUBLIC]

    def test_in_a_circle_end(self, site: Site) -> None:
        site.answer = says(f"HTTP/1.1 308 Moved\nLocation: {URL}\nContent-Length: 0")
        with pytest.raises(UrlRefused, match="url_redirects"):
            site.fetch()
        assert len(site.connected) == 6


class TestSizeAndTime:
    def test_a_body_that_is_announced_as_too_large_is_not_read(self, site: Site) -> None:
        site.answer = says("HTTP/1.1 200 OK\nContent-Length: 1001", b"x")
        with pytest.raises(UrlRefused, match="url_too_large"):
            site.fetch(max_bytes=1000)

    def test_a_body_that_grows_too_large_is_left(self, site: Site) -> None:
        site.answer = says("HTTP/1.1 200 OK\nConnection: close", b"x" * 1001)
        with pytest.raises(UrlRefused, match="url_too_large"):
            site.fetch(max_bytes=1000)

    def test_a_body_that_is_cut_short_is_no_file(self, site: Site) -> None:
        site.answer = says("HTTP/1.1 200 OK\nContent-Length: 10", b"abc")
        with pytest.raises(FetchFailed, match="did not answer as it should"):
            site.fetch()

    @pytest.mark.parametrize(
        "start", ["HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "HTTP/1.1 200 OK\r\nX: ", ""]
    )
    def test_a_server_that_sends_a_byte_now_and_then_is_cut_off(self, site: Site, start: str) -> None:
        def dribble(client: ssl.SSLSocket, _: bytes) -> None:
            client.sendall(start.encode())
            for _second in range(100):
                client.sendall(b"x")
                time.sleep(0.05)

        site.answer = dribble
        began = time.monotonic()
        with pytest.raises(FetchFailed, match="took longer than"):
            site.fetch(max_seconds=0.4)
        assert time.monotonic() - began < 2

    def test_a_server_that_never_shakes_hands_is_cut_off(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            site = Site(silent.getsockname()[1], ssl.create_default_context())
            with pytest.raises(FetchFailed, match="took longer than"):
                site.fetch(max_seconds=0.3)

    @pytest.mark.parametrize(
        ("status", "error"), [(404, UrlRefused), (403, UrlRefused), (503, FetchFailed), (206, UrlRefused)]
    )
    def test_what_is_no_answer_is_no_file(self, site: Site, status: int, error: type[Exception]) -> None:
        site.answer = says(f"HTTP/1.1 {status} No\nContent-Length: 6", b"<html>")
        with pytest.raises(error, match=str(status)):
            site.fetch()
