"""Children end with their supervisor, and what a killed one left is swept; nothing else is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from local.supervisor import (
    AlreadyRunning,
    Child,
    ChildDied,
    Record,
    Service,
    Supervisor,
    boot_id,
    end,
    locked,
    members,
    read_record,
    sweep,
)

# A service that has a child of its own, as the scheduler has its tasks, and waits.
WAIT = "import time; time.sleep(600)"
FAMILY = [sys.executable, "-c", f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{WAIT}']); {WAIT}"]
SUPERVISOR = """
import sys, time
from pathlib import Path
from local.supervisor import Service, Supervisor, locked
home = Path(sys.argv[1])
with locked(home), Supervisor(home) as supervisor:
    supervisor.start(Service("family", sys.argv[2:], {}, home))
    time.sleep(600)
"""


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def session(leader: int) -> list[psutil.Process]:
    """The living processes of a session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def write_record(home: Path, child: Child, boot: str | None = None) -> None:
    record = Record(boot or boot_id(), 1, 0.0, [child])
    (home / "children.json").write_text(json.dumps({**vars(record), "children": [vars(child)]}), encoding="utf-8")


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Child]:
    """A process in a session of its own, recorded as if it were ours."""
    process = subprocess.Popen(FAMILY, start_new_session=True, cwd="/")
    wait_for(lambda: len(session(process.pid)) == 2)
    yield Child(
        "family", process.pid, psutil.Process(process.pid).create_time(), str(tmp_path), None, signal.SIGTERM, "log"
    )
    for member in session(process.pid):
        member.kill()
    process.wait()


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor in a process of its own, with one service that has a child."""
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(tmp_path), *FAMILY])

    def is_up() -> bool:
        record = read_record(tmp_path)
        return record is not None and bool(record.children) and len(session(record.children[0].pid)) == 2

    wait_for(is_up)
    yield supervisor
    supervisor.kill()
    supervisor.wait()
    sweep(tmp_path)


def test_sweep_ends_a_recorded_session_with_its_grandchildren(tmp_path: Path, stranger: Child) -> None:
    write_record(tmp_path, stranger)
    assert sweep(tmp_path) == ["family"]
    assert session(stranger.pid) == []
    assert read_record(tmp_path) is None


def test_sweep_spares_a_process_that_only_got_the_number(tmp_path: Path, stranger: Child) -> None:
    write_record(tmp_path, Child(**{**vars(stranger), "created": stranger.created - 60}))
    assert sweep(tmp_path) == []
    assert len(session(stranger.pid)) == 2


def test_sweep_spares_everything_after_a_reboot(tmp_path: Path, stranger: Child) -> None:
    write_record(tmp_path, stranger, boot="another boot")
    assert sweep(tmp_path) == []
    assert len(session(stranger.pid)) == 2


def test_sweep_spares_a_leaderless_session_that_is_not_ours(tmp_path: Path, stranger: Child) -> None:
    psutil.Process(stranger.pid).kill()
    write_record(tmp_path, stranger)
    wait_for(lambda: len(session(stranger.pid)) == 1)
    assert sweep(tmp_path) == []
    assert len(session(stranger.pid)) == 1


def test_children_end_with_a_killed_supervisor(tmp_path: Path, supervised: subprocess.Popen[bytes]) -> None:
    record = read_record(tmp_path)
    assert record is not None
    assert record.is_supervised
    leader = record.children[0].pid
    supervised.kill()
    supervised.wait()
    wait_for(lambda: leader not in {process.pid for process in session(leader)})
    assert not record.is_supervised
    # The grandchild outlives its parent, as Airflow's tasks do.
    assert sweep(tmp_path) == ["family"]
    assert session(leader) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_supervisor_and_children(
    tmp_path: Path, supervised: subprocess.Popen[bytes], number: signal.Signals
) -> None:
    record = read_record(tmp_path)
    assert record is not None
    supervised.send_signal(number)
    supervised.wait(timeout=15)
    assert session(record.children[0].pid) == []
    assert read_record(tmp_path) is None


def test_a_second_start_is_told_the_pid(tmp_path: Path, supervised: subprocess.Popen[bytes]) -> None:
    with pytest.raises(AlreadyRunning, match=str(supervised.pid)), locked(tmp_path):
        pass


def test_the_lock_of_a_killed_supervisor_is_free(tmp_path: Path, supervised: subprocess.Popen[bytes]) -> None:
    supervised.kill()
    supervised.wait()
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text(encoding="ascii") == str(os.getpid())


def test_a_dying_child_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        with Supervisor(tmp_path) as supervisor:
            complaint = "print('the port is gone'); raise SystemExit(3)"
            supervisor.start(Service("broken", [sys.executable, "-c", complaint], {}, tmp_path))
            wait_for(lambda: "port" in (tmp_path / "logs" / "broken.log").read_text(encoding="utf-8"))
            with pytest.raises(
                ChildDied, match=r"(?s)broken ended with exit code 3.*the port is gone.*logs/broken\.log"
            ):
                wait_for(supervisor.check)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_what_ignores_its_signal_is_killed(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        process.stdout.readline()
        created = psutil.Process(process.pid).create_time()
        child = Child("stubborn", process.pid, created, str(tmp_path), None, signal.SIGTERM, "log")
        end(members([child], tmp_path), grace=0.2)
        assert not psutil.pid_exists(process.pid)
