"""PostgreSQL and S3 listen on loopback only, keep what they have been given, and start again after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest

from local import postgres, s3
from local.supervisor import spawn

pytestmark = pytest.mark.integration


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def listening(pid: int) -> set[str]:
    """The addresses, with ports, that a process and its children listen on."""
    family = {pid, *(process.pid for process in psutil.Process(pid).children(recursive=True))}
    return {
        f"{connection.laddr[0]}:{connection.laddr[1]}"
        for connection in psutil.net_connections("inet")
        if connection.pid in family and connection.status == psutil.CONN_LISTEN
    }


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.throwaway() as running:
        yield running


def test_postgres_asks_for_a_password(server: postgres.Server) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        server.connect("wrong")


def test_postgres_sorts_by_code_point_in_utf8(server: postgres.Server) -> None:
    with server.connect("postgres") as admin:
        postgres.ensure_database(admin, "warehouse")
        postgres.ensure_database(admin, "warehouse")
        locale = "select datlocprovider, datlocale, pg_encoding_to_char(encoding) from pg_database where datname = %s"
        assert admin.execute(locale, ["warehouse"]).fetchone() == ("b", "C.UTF-8", "UTF8")
        assert admin.execute("show password_encryption").fetchone() == ("scram-sha-256",)


def test_postgres_keeps_values_out_of_its_log(server: postgres.Server) -> None:
    with server.connect("postgres") as admin:
        admin.execute("create temporary table visits (complaint text not null, level integer check (level > 0))")
        with pytest.raises(psycopg.errors.CheckViolation):
            admin.execute("insert into visits values ('canary Adaeze', -1)")
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            admin.execute("select 'canary Adaeze'::integer")
    assert "canary" not in (server.data.parent / "log").read_text(encoding="utf-8")


def test_postgres_listens_on_loopback_only(server: postgres.Server) -> None:
    pid = int((server.data / "postmaster.pid").read_text(encoding="ascii").splitlines()[0])
    assert listening(pid) == {f"127.0.0.1:{server.port}"}
    unix = [connection for connection in psutil.Process(pid).net_connections("unix") if connection.laddr]
    assert unix == []


def test_postgres_starts_again_after_a_kill_even_if_its_pid_is_taken() -> None:
    with postgres.throwaway() as first:
        pid = int((first.data / "postmaster.pid").read_text(encoding="ascii").splitlines()[0])
        with first.connect("postgres") as admin:
            admin.execute("create table kept as select 1 as one")
            admin.execute("checkpoint")
        # A backend that is busy outlives its killed postmaster.
        address = f"host=127.0.0.1 port={first.port} user=postgres password=postgres"
        query = "select count(*) from generate_series(1, 10000000000)"
        with subprocess.Popen([postgres.programs() / "psql", address, "-c", query], stderr=subprocess.DEVNULL):
            with first.connect("postgres") as admin:
                running = "select pid from pg_stat_activity where query = %s"
                wait_for(lambda: admin.execute(running, [query]).fetchone())
            os.kill(pid, signal.SIGKILL)
            lines = (first.data / "postmaster.pid").read_text(encoding="ascii").splitlines()
            (first.data / "postmaster.pid").write_text("\n".join(["1", *lines[1:]]), encoding="ascii")
            again = replace(first, port=postgres.free_port())
            postgres.prepare(again, "new password")
        process = spawn(
            again.command(),
            environment={},
            folder=again.data,
            log=again.data.parent / "log",
            stop_signal=signal.SIGINT,
            account=again.account,
        )
        try:
            wait_for(lambda: postgres.is_ready(again, "new password"))
            with again.connect("new password") as admin:
                assert admin.execute("select one from kept").fetchone() == (1,)
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as somebody else")
def test_postgres_moves_to_where_its_account_can_enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "home").mkdir(mode=0o711)
    with postgres.throwaway() as elsewhere:
        place = elsewhere.data.parent.parent / f"medilink-{tmp_path.name}"
    monkeypatch.setattr(postgres, "SYSTEM_STATE", place)
    try:
        server, service = postgres.service(closed / "home", postgres.free_port(), "password")
        assert server.data.is_relative_to(place)
        assert (closed / "home" / "postgres").is_symlink()
        assert (server.data / "PG_VERSION").exists()
        assert service.account is not None
        assert closed.stat().st_mode & 0o777 == 0o700
        version = subprocess.run(
            [server.binaries / "postgres", "--version"], capture_output=True, text=True, check=True
        )
        assert version.stdout.startswith("postgres (PostgreSQL) 18")
        postgres.remove(closed / "home")
        assert list(place.iterdir()) == []
        assert not (closed / "home" / "postgres").is_symlink()
    finally:
        subprocess.run(["rm", "-rf", place], check=True)


def test_s3_listens_on_loopback_only() -> None:
    with s3.throwaway() as address:
        port = address.rpartition(":")[2]
        owners = {
            connection.pid
            for connection in psutil.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1] == int(port)
        }
        (pid,) = owners
        assert pid is not None
        assert listening(pid) == {f"127.0.0.1:{port}"}
