"""The database stops and returns: 503 within 2 seconds, and answers again within 5 seconds, by itself."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from flask.testing import FlaskClient

from backend.api import Api
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
            answer = app.test_client().get("/api/facilities", headers=headers)
            seconds = time.monotonic() - started
            if answer.status_code != 200:
                assert answer.content_type == "application/problem+json"
                assert answer.json == {
                    "type": "/problems/database-unavailable",
                    "title": "Service Unavailable",
                    "status": 503,
                    "detail": "The database does not answer. Try again in a few seconds.",
                }
            return answer.status_code, seconds

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


def test_connections_that_the_server_closed_cost_no_answer(
    app: Api, client_of: Callable[..., FlaskClient], admin: psycopg.Connection
) -> None:
    client = client_of(Role.ADMIN)
    facility = {"name": "Jos Clinic", "state": "Plateau"}

    def close_them() -> None:
        closed = admin.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'medilink-api'"
        ).fetchall()
        assert closed == [(True,)]

    assert client.get("/api/facilities").status_code == 200
    close_them()
    assert client.get("/api/facilities").status_code == 200
    close_them()
    created = client.post("/api/facilities", json=facility)
    assert created.status_code == 201
    close_them()
    assert app.test_client().get("/api/facilities").status_code == 401
    logged = admin.execute("select status, count(*) from audit.access_log group by 1 order by 1").fetchall()
    assert logged == [(200, 2), (201, 1), (401, 1)]


def _stop(server: postgres.Server) -> None:
    pid = int((server.data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
    subprocess.run(["kill", "-INT", str(pid)], check=True)
    deadline = time.monotonic() + 20
    while (server.data / "postmaster.pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
