"""Several workers are one server: what they count, they count together."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from backend.tokens import Tokens
from backend.windows import SIZE, SLOTS, TABLES, Windows
from elt.settings import REPOSITORY, Settings
from elt.vocabulary import Role
from local.postgres import free_port


class TestWindows:
    def test_a_key_is_counted_until_its_window_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        windows = Windows(None)
        assert [windows.count("a", 60) for _ in range(3)] == [(1, 60), (2, 60), (3, 60)]
        now += 59
        assert (windows.count("b", 1), windows.count("a", 60)) == ((1, 1), (4, 1))
        now += 1
        assert windows.count("a", 60) == (1, 60)

    def test_processes_and_threads_lose_no_count(self, tmp_path: Path) -> None:
        worker = f"""
from pathlib import Path
from threading import Thread
from backend.windows import Windows

windows = Windows(Path({str(tmp_path)!r}))
threads = [Thread(target=lambda: [windows.count("key", 600) for _ in range(1000)]) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
        workers = [subprocess.Popen([sys.executable, "-c", worker], cwd=REPOSITORY) for _ in range(3)]
        assert [worker.wait(60) for worker in workers] == [0, 0, 0]
        assert Windows(tmp_path).count("key", 600)[0] == 6001

    def test_more_keys_than_slots_make_it_no_larger(self, tmp_path: Path) -> None:
        windows = Windows(tmp_path)
        for number in range(2 * SLOTS):
            windows.count(f"address {number}", 60)
        assert windows.count("one more", 60) == (1, 60)
        assert windows.count("one more", 60)[0] == 2
        assert {path.stat().st_size for path in tmp_path.iterdir()} == {SIZE}

    def test_workers_have_tables_of_their_own_which_go_on_when_they_end(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        first, second = Windows(tmp_path), Windows(tmp_path)
        assert first.count("a", 60) == (1, 60)
        now += 10
        # The window that began last is the last to end.
        assert (second.count("a", 60), first.count("a", 60)) == ((2, 60), (3, 60))
        del second
        followers = [Windows(tmp_path) for _ in range(TABLES - 1)]
        assert followers[0].count("a", 60) == (4, 60)
        with pytest.raises(RuntimeError, match="4 workers"):
            Windows(tmp_path)
        now += 50
        assert (followers[0].count("a", 60), first.count("a", 60)) == ((3, 10), (4, 60))


@contextmanager
def served(settings: Settings, folder: Path) -> Iterator[str]:
    """The address of the server as start.sh and the image start it; its workers share a folder within this one."""
    port = free_port()
    environment = {
        "POSTGRES_PORT": str(settings.postgres_port),
        "POSTGRES_DB": settings.postgres_db,
        "API_POSTGRES_USER": settings.api_postgres_user,
        "API_POSTGRES_PASSWORD": settings.api_postgres_password.get_secret_value(),
        "API_SIGNING_KEYS": settings.api_signing_keys.get_secret_value(),
        "API_RATE_LIMIT": "20/minute",
        "MEDILINK_HOME": str(folder),
        "MEDILINK_ENV_FILE": str(folder / "none"),
        "PYTHONPATH": str(REPOSITORY),
        "TMPDIR": str(folder),
        "PATH": os.environ["PATH"],
    }
    command = [sys.executable, "-P", "-m", "backend", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 90
        while ask(f"http://127.0.0.1:{port}/health/live")[0] != 200:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def ask(address: str, token: str = "") -> tuple[int, str]:
    """Status and text of the answer, over a connection of its own; 0 where nobody listens."""
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""
    except OSError:
        return 0, ""


@pytest.mark.integration
def test_limits_and_metrics_do_not_depend_on_who_answers(
    settings: Settings, admin: psycopg.Connection, tmp_path: Path
) -> None:
    admin.execute(
        "insert into audit.api_clients (client_id, role, secret_hash, rotated_at)"
        " values ('busy', 'admin', 'none', 'yesterday'), ('watcher', 'admin', 'none', 'yesterday')"
    )
    busy, watcher = (Tokens(settings).issue(name, Role.ADMIN, []) for name in ("busy", "watcher"))
    with served(settings, tmp_path) as address:
        statuses = Counter(ask(f"{address}/api/facilities", busy)[0] for _ in range(60))
        assert statuses == {200: 20, 429: 40}
        assert len(list(tmp_path.glob("medilink-api-*/counter_*.db"))) == 2, "one worker answered everything"
        for _ in range(8):
            text = ask(f"{address}/metrics", watcher)[1]
            assert 'medilink_api_requests_total{method="GET",route="/api/facilities",status="200"} 20.0' in text
            assert 'medilink_api_requests_total{method="GET",route="/api/facilities",status="429"} 40.0' in text
            assert text.count("# TYPE medilink_last_run_succeeded gauge") == 1
    assert not list(tmp_path.glob("medilink-api-*"))
