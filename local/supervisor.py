"""Child processes that end with their parent: one lock, a session of its own for each, a record, and a sweep.

The record (`children.json`) is what the next start goes by: whatever happened to the last supervisor, the processes of
every session that it recorded are ended before anything new is started.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Self

import psutil

GRACE_SECONDS = 8.0
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PR_SET_PDEATHSIG = 1
# Looked up here: nothing may be imported between fork and exec.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class AlreadyRunning(RuntimeError):
    """Another supervisor holds the lock."""


class StartFailed(RuntimeError):
    """A service cannot be started, or did not get ready in time."""


class ChildDied(RuntimeError):
    """A service ended although nobody asked it to."""


class Stopped(BaseException):
    """A signal asked for the end. No `Exception`: nothing that handles errors may swallow it."""


@dataclass(frozen=True)
class Service:
    """What to run, and how it is stopped."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    folder: Path
    port: int | None = None
    stop_signal: int = signal.SIGTERM
    account: pwd.struct_passwd | None = None
    stopped_last: bool = False


@dataclass(frozen=True)
class Child:
    """A started service, as `children.json` records it. Its pid is also the id of its session."""

    name: str
    pid: int
    created: float
    folder: str
    port: int | None
    stop_signal: int
    log: str


@dataclass(frozen=True)
class Record:
    """Everything that one supervisor started, in one boot of the machine."""

    boot: str
    supervisor: int
    supervisor_created: float
    children: list[Child]

    @property
    def is_supervised(self) -> bool:
        """Whether the supervisor that wrote this is alive."""
        return self.boot == boot_id() and is_same(self.supervisor, self.supervisor_created)


def boot_id() -> str:
    """A name for this boot of the machine: pids of another one mean nothing."""
    linux = Path("/proc/sys/kernel/random/boot_id")
    return linux.read_text(encoding="ascii").strip() if linux.exists() else str(psutil.boot_time())


def is_same(pid: int, created: float) -> bool:
    """Whether `pid` is still the process that was recorded, and not one that got its number later."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def read_record(home: Path) -> Record | None:
    """The record of the last supervisor, or None when there is nothing it left to do."""
    try:
        values = json.loads((home / "children.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Record(**values | {"children": [Child(**child) for child in values["children"]]})


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the lock of `home`; raises `AlreadyRunning`, with the pid, when another supervisor does."""
    with (home / "lock").open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AlreadyRunning(file.read().strip() or "unknown") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def spawn(
    command: list[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    stop_signal: int = signal.SIGTERM,
    account: pwd.struct_passwd | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, which gets `stop_signal` when the calling thread ends."""
    parent = os.getpid()

    def die_with_parent() -> None:
        # Here, because a change of user, which comes before, would clear it. The parent may be gone already.
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, stop_signal)
            if os.getppid() != parent:
                os._exit(1)

    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - there is one thread while children are started
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )


def end(processes: Iterable[tuple[psutil.Process, Child]], grace: float = GRACE_SECONDS) -> None:
    """Send each process the signal of its service, wait up to `grace` seconds for all, and kill what is left."""
    asked = []
    for process, child in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(child.stop_signal)
            asked.append(process)
    _, left = psutil.wait_procs(asked, timeout=grace)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=grace)


def members(children: Iterable[Child], home: Path) -> list[tuple[psutil.Process, Child]]:
    """Every living process of the recorded sessions, with its leader; never one that only got the number.

    While any process of a session lives, the kernel gives its id to no other. So a leader with another create time
    proves that ours are gone. Where the leader is gone, MEDILINK_HOME in the environment tells ours, or the folder they
    work in: a program that sets its own title overwrites its environment.
    """
    recorded = {child.pid: child for child in children}
    found = []
    for process in psutil.process_iter():
        try:
            child = recorded.get(os.getsid(process.pid))
            if child is None:
                continue
            if psutil.pid_exists(child.pid) and psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
                ours = is_same(child.pid, child.created)
            else:
                ours = process.environ().get("MEDILINK_HOME") == str(home) or process.cwd() == child.folder
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess, psutil.AccessDenied):
            # What this user may not look at, this user has not started.
            continue
        if ours:
            found.append((process, child))
    return found


def sweep(home: Path) -> list[str]:
    """End what a killed supervisor left behind; returns the names of the services that were still there.

    To be called with the lock held.
    """
    record = read_record(home)
    if record is None:
        return []
    left = members(record.children, home) if record.boot == boot_id() else []
    end(left, grace=5)
    (home / "children.json").unlink()
    return list(dict.fromkeys(child.name for _, child in left))


def log_tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, at most 16 KiB of it."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


class Supervisor:
    """The children of this process. To be used with the lock held, from the main thread: they end with that thread."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.logs = home / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.started: dict[str, tuple[Child, subprocess.Popen[bytes], Service]] = {}
        # Whether everything was started and has run: from then on a signal is the usual end.
        self.is_up = False
        self._busy = False
        self._asked_to_stop: str | None = None

    def __enter__(self) -> Self:
        for number in ENDING_SIGNALS:
            # Under nohup the end of the terminal is no reason to stop.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)
        self._write()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, service: Service) -> Child:
        """Start and record a service."""
        log = self.logs / f"{service.name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        self._busy = True
        process = spawn(
            service.command,
            environment=dict(service.environment) | {"MEDILINK_HOME": str(self.home)},
            folder=service.folder,
            log=log,
            stop_signal=service.stop_signal,
            account=service.account,
        )
        child = Child(
            service.name,
            process.pid,
            psutil.Process(process.pid).create_time(),
            str(service.folder),
            service.port,
            service.stop_signal,
            str(log),
        )
        self.started[service.name] = (child, process, service)
        self._write()
        self._busy = False
        if self._asked_to_stop:
            raise Stopped(self._asked_to_stop)
        return child

    def finished(self, name: str) -> bool:
        """Whether a child that is to end by itself has; raises `ChildDied` if it failed."""
        _, process, _ = self.started[name]
        code = process.poll()
        if code:
            raise self._death(name, code)
        if code == 0:
            del self.started[name]
            self._write()
        return code == 0

    def check(self, but: Iterable[str] = ()) -> None:
        """Raise `ChildDied` when a service has ended, except for those of `but`."""
        for name, (_, process, _) in self.started.items():
            if name not in but and process.poll() is not None:
                raise self._death(name, process.returncode)

    def tail(self, name: str) -> str:
        """The last lines of a service's log, and where the rest is."""
        log = Path(self.started[name][0].log)
        return f"{log_tail(log)}\n\nThe whole log: {log}"

    def stop(self) -> None:
        """End every child and what is left in its session, those that others need last. No signal interrupts it."""
        for number in ENDING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        for last in (False, True):
            children = [child for child, _, service in self.started.values() if service.stopped_last == last]
            end((process, child) for process, child in members(children, self.home) if process.pid == child.pid)
            # What a service does not take with it: tasks live in the scheduler's session and survive it.
            end(members(children, self.home), grace=2)
        (self.home / "children.json").unlink(missing_ok=True)

    def _death(self, name: str, code: int) -> ChildDied:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return ChildDied(f"{name} {how}. Its log ends with:\n\n{self.tail(name)}")

    def _write(self) -> None:
        record = Record(
            boot_id(),
            os.getpid(),
            psutil.Process().create_time(),
            [child for child, _, _ in self.started.values()],
        )
        unfinished = self.home / "children.json.new"
        unfinished.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
        unfinished.replace(self.home / "children.json")

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._asked_to_stop = signal.Signals(number).name
        # A child that is not recorded yet would be forgotten.
        if not self._busy:
            raise Stopped(self._asked_to_stop)
