"""The database stops and returns: 503 within 2 seconds, and answers again within 5 seconds, by itself."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from backend.app import create_app
from backend.database import db
from elt.database import initialise, migrate
from elt.settings import Settings
from elt.vocabulary import Role
from local import postgres
from local.postgres import CARELESS, SETTINGS
from local.supervisor import spawn

pytestmark = pytest.mark.integration


def test_503_at_once_and_back_by_itself(settings: Settings, tmp_path: Path) -> None:
    with postgres.throwaway() as server:
        with server.connect("postgres") as admin:
            admin.execute("create database medilink")
        changes = {"postgres_port": server.port, "postgres_db": "medilink"}
        settings = settings.model_copy(update=changes)
        with server.connect("postgres", "medilink") as admin:
            initialise(admin, settings)
        migrate(settings)
        with server.connect("postgres", "medilink") as admin:
            admin.execute(
                "insert into audit.api_clients (client_id, role, secret_hash, rotated_at)"
                " values ('admin', 'admin', 'none', 'yesterday')"
            )
        app = create_app(settings)
        token = app.extensions["medilink_tokens"].issue("admin", Role.ADMIN, [])
        headers = {"Authorization": f"Bearer {token}"}

        def ask() -> tuple[int, float]:
            started = time.monotonic()
            status = app.test_client().get("/api/facilities", headers=headers).status_code
            return status, time.monotonic() - started

        # A pool with several connections, all of which the stop will break.
        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ask()[0] == 200
        _stop(server)
        for _ in range(8):
            status, seconds = ask()
            assert (status, seconds < 2) == (503, True)
        assert app.test_client().get("/health").status_code == 503
        process = spawn(
            server.command((*SETTINGS, *CARELESS)),
            environment=postgres._environment(),
            folder=server.data,
            log=tmp_path / "log",
            account=server.account,
        )
        try:
            deadline = time.monotonic() + 20
            while not postgres.is_ready(server, "postgres"):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            returned = time.monotonic()
            while ask()[0] != 200:
                assert time.monotonic() - returned < 5
                time.sleep(0.1)
        finally:
            with app.app_context():
                db.engine.dispose()
            process.send_signal(signal.SIGINT)
            process.wait(20)


def _stop(server: postgres.Server) -> None:
    pid = int((server.data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
    subprocess.run(["kill", "-INT", str(pid)], check=True)
    deadline = time.monotonic() + 20
    while (server.data / "postmaster.pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
