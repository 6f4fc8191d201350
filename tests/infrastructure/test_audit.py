"""The dependency audit: it finds, it approves, and where it could not ask it approves nothing. The SBOM is whole."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from local.postgres import free_port
from tests.infrastructure.conftest import REPOSITORY

LOCKED = set(re.findall(r'^name = "([\w.-]+)"$', (REPOSITORY / "uv.lock").read_text("utf-8"), flags=re.MULTILINE))


def audit(uv: str, address: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", REPOSITORY / "local" / "audit.sh", "--service-url", address],
        env=os.environ | {"PATH": f"{Path(uv).parent}:{os.environ['PATH']}", "UV_HTTP_RETRIES": "0"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def vulnerabilities() -> Iterator[tuple[str, dict[str, list[dict]], set[str]]]:
    """A service that speaks osv.dev's protocol: its address, what it knows by package, and what it was asked for."""
    known: dict[str, list[dict]] = {}
    asked: set[str] = set()

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            names = [query["package"]["name"] for query in queries]
            asked.update(names)
            self.answer({"results": [{"vulns": known.get(name, [])} for name in names]})

        def do_GET(self) -> None:
            self.answer(
                {
                    "id": self.path.rsplit("/", 1)[-1],
                    "summary": "made up",
                    "modified": "2026-01-01T00:00:00Z",
                    "published": "2026-01-01T00:00:00Z",
                    "affected": [{"package": {"name": "jinja2", "ecosystem": "PyPI"}, "ranges": []}],
                }
            )

        def answer(self, content: dict) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", known, asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_approves_only_what_was_asked_for_and_is_known_to_be_sound(
    uv: str, vulnerabilities: tuple[str, dict[str, list[dict]], set[str]]
) -> None:
    address, known, asked = vulnerabilities
    assert audit(uv, address).returncode == 0
    assert LOCKED - asked <= {"medilink"}

    sbom = json.loads((REPOSITORY / "test-output" / "sbom.json").read_text(encoding="utf-8"))
    assert sbom["bomFormat"] == "CycloneDX"
    named = {component["name"] for component in sbom["components"]}
    assert LOCKED - named <= {"medilink"}

    known["jinja2"] = [{"id": "PYSEC-2026-1", "modified": "2026-01-01T00:00:00Z"}]
    found = audit(uv, address)
    assert found.returncode == 1
    assert "PYSEC-2026-1" in found.stdout + found.stderr


def test_approves_nothing_when_nobody_answers(uv: str) -> None:
    unasked = audit(uv, f"http://127.0.0.1:{free_port()}")
    assert unasked.returncode == 1
    assert "Nothing is approved" in unasked.stderr
